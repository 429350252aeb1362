import type { components } from './api.d.ts'

/**
 * What the tabs of one origin tell one another of their sessions, and what each makes of it. Nothing here waits or
 * asks: the whole of it is searched for what could go wrong in test/protocol.test.ts.
 */

export type User = components['schemas']['User']

/** The tokens of a session. */
export interface Held {
  access: string
  refresh: string
  /** Epoch ms: when `access` ends, and when another is asked for. */
  expiresAt: number
  renewAt: number
  user: User
}

/** Of a session, how often its refresh token has been rotated: the higher is the later, in every tab. */
export interface Place {
  session: string
  counter: number
}

export type Word =
  /** `joins`: also for a tab where nobody is signed in. A successor is for the tabs of its session alone. */
  | { kind: 'tokens'; held: Held; joins: boolean }
  /** Somebody signed out (all of the session), or the token at this place was refused. */
  | ({ kind: 'ended' } & Place)
  /** Who has later tokens than these, or any at all? */
  | { kind: 'asking'; place?: Place | undefined }
  /** A refresh begins. Whoever has the same token makes sure that its successor comes, should that tab die or sleep. */
  | ({ kind: 'refreshing' } & Place)
  /** It has come to nothing, and its tab lives: whoever needs a token tries for itself. */
  | ({ kind: 'gave_up' } & Place)
  /** In a browser that keeps the cookie: somebody signed in or out. */
  | { kind: 'changed' }

/** A refresh token says where it stands: `rt_<session>.<counter>.<mac>`. */
export function placeOf(refreshToken: string): Place {
  const [, session = refreshToken, counter = '0'] = /^rt_([^.]+)\.(\d+)\./.exec(refreshToken) ?? []
  return { session, counter: Number(counter) }
}

export interface Known {
  held: Held | undefined
  /** A tab that was just opened, and asks who is there: of several accounts it takes the one that signed in last. */
  isJoining: boolean
  /** Sessions that are over, and never come back by a word that was late. */
  ended: readonly string[]
  /** Whether another tab is about to refresh what is held. */
  isAwaited: boolean
}

export const NOBODY: Known = { held: undefined, isJoining: false, ended: [], isAwaited: false }

/** Of one session, the tokens that were rotated later and the user who was changed later: they need not come together. */
function latestOf(own: Held, other: Held): Held {
  const tokens = placeOf(other.refresh).counter > placeOf(own.refresh).counter ? other : own
  const user = other.user.version > own.user.version ? other.user : own.user
  return tokens.user === user ? tokens : { ...tokens, user }
}

const isAt = (own: Place | undefined, { session, counter }: Place) =>
  own?.session === session && own.counter === counter

/** What a tab makes of a word, and what it says to it. */
export function hear(known: Known, word: Word): { known: Known; says?: Word | undefined } {
  const { held } = known
  const own = held && placeOf(held.refresh)
  switch (word.kind) {
    case 'tokens': {
      const { session } = placeOf(word.held.refresh)
      const isOwn = own?.session === session
      // Ids of sessions begin with the time.
      const isOurs = isOwn || (word.joins && (!own || (known.isJoining && own.session < session)))
      if (!isOurs || known.ended.includes(session)) return { known }
      const next = isOwn ? latestOf(held!, word.held) : word.held
      // Another name is no successor: that one may have to be asked for here still.
      const isAwaited = known.isAwaited && next.refresh === held?.refresh
      // Said again, as an end is: a tab that was just opened may have the user from here as they were before.
      const isNews = isOwn && next.user !== held!.user
      const says = isNews ? { ...word, held: next, joins: false } : undefined
      return { known: { ...known, held: next, isAwaited }, says }
    }
    case 'asking': {
      const { place } = word
      const isLater = own && (!place || (own.session === place.session && own.counter > place.counter))
      return isLater ? { known, says: { kind: 'tokens', held: held!, joins: !place } } : { known }
    }
    case 'refreshing':
    case 'gave_up':
      return isAt(own, word) ? { known: { ...known, isAwaited: word.kind === 'refreshing' } } : { known }
    case 'ended': {
      const isAll = word.counter === EVERY
      const ended = isAll ? [...known.ended, word.session] : known.ended
      // Of a token that was refused, what came after it may be good still.
      const isOut = own?.session === word.session && own.counter <= word.counter
      if (!isOut) return { known: { ...known, ended } }
      // Said again: whoever this tab has just given its tokens may have been opened after the first word.
      return { known: { ...known, ended, held: undefined, isAwaited: false }, says: word }
    }
    default:
      return { known }
  }
}

/** The counter of a session that has ended whole. */
export const EVERY = Number.MAX_SAFE_INTEGER
