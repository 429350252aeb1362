import type { components } from './api.d.ts'

/**
 * What the tabs of one origin tell one another about their sessions, and how each reacts. Nothing here waits
 * or sends a request: test/protocol.test.ts searches all of it for faults.
 */

export type User = components['schemas']['User']

/** The tokens of a session. */
export interface Held {
  access: string
  refresh: string
  /** Epoch ms: when `access` expires, and when it is refreshed. */
  expiresAt: number
  renewAt: number
  user: User
}

/** How often the refresh token of a session has been rotated: the higher counter is later, in every tab. */
export interface Place {
  session: string
  counter: number
}

export type Word =
  /**
   * `joins`: also for tabs where nobody is signed in. Rotated tokens are only for tabs of the same session.
   */
  | { kind: 'tokens'; held: Held; joins: boolean }
  /** Somebody signed out (the whole session), or the token with this counter was refused. */
  | ({ kind: 'ended' } & Place)
  /** Asks who has later tokens than these, or any at all. */
  | { kind: 'asking'; place?: Place | undefined }
  /**
   * A refresh begins. Tabs with the same token make sure that it completes, in case this tab dies or sleeps.
   */
  | ({ kind: 'refreshing' } & Place)
  /** The refresh failed, and its tab is alive: whoever needs a token tries for itself. */
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
  /**
   * A tab that was just opened, and asks for tokens: of several accounts it takes the one that signed in
   * last.
   */
  isJoining: boolean
  /** Sessions that have ended. A late message never brings them back. */
  ended: readonly string[]
  /** Whether another tab is refreshing the tokens held here. */
  isAwaited: boolean
}

export const NOBODY: Known = { held: undefined, isJoining: false, ended: [], isAwaited: false }

/** Of one session, the later tokens and the later user, which need not come together. */
function latestOf(own: Held, other: Held): Held {
  const tokens = placeOf(other.refresh).counter > placeOf(own.refresh).counter ? other : own
  const user = other.user.version > own.user.version ? other.user : own.user
  return tokens.user === user ? tokens : { ...tokens, user }
}

const isAt = (own: Place | undefined, { session, counter }: Place) =>
  own?.session === session && own.counter === counter

/** How a tab reacts to a message, and what it answers. */
export function hear(known: Known, word: Word): { known: Known; says?: Word | undefined } {
  const { held } = known
  const own = held && placeOf(held.refresh)
  switch (word.kind) {
    case 'tokens': {
      const { session } = placeOf(word.held.refresh)
      const isOwn = own?.session === session
      // Session ids begin with the time.
      const isOurs = isOwn || (word.joins && (!own || (known.isJoining && own.session < session)))
      if (!isOurs || known.ended.includes(session)) return { known }
      const next = isOwn ? latestOf(held!, word.held) : word.held
      // If only the user's name has changed, the new tokens may still have to be requested here.
      const isAwaited = known.isAwaited && next.refresh === held?.refresh
      // Repeated, like an end: a tab that was just opened may have got the old user from here.
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
      // Tokens that were rotated after a refused one may still be valid.
      const isOut = own?.session === word.session && own.counter <= word.counter
      if (!isOut) return { known: { ...known, ended } }
      // Repeated: a tab that just got its tokens from here may have been opened after the first message.
      return { known: { ...known, ended, held: undefined, isAwaited: false }, says: word }
    }
    default:
      return { known }
  }
}

/** A counter that stands for the whole session. */
export const EVERY = Number.MAX_SAFE_INTEGER
