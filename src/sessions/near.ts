import type { Resources } from '../context.ts'
import { decryptJson, encryptJson } from '../crypto/encryption.ts'
import type { Keyring } from '../crypto/keyring.ts'
import type { Profile } from '../users/models.ts'
import { profileColumns } from '../users/models.ts'
import { BoundedMap } from '../values/bounded-map.ts'
import { ACCESS_TOKEN_SECONDS, type Claims } from './access-tokens.ts'

/**
 * Caches in Redis who somebody is, and what a token may do (oauth/introspection/). After libSQL has answered, a copy
 * is stored for less than a minute, and Redis answers alone from then on. Redis never refuses anybody: if
 * anything contradicts a copy, libSQL is asked, and decides.
 *
 * Each change of a session or a user stores a doubt in Redis, before the change is answered. A doubt outlives
 * every copy made before it, and every write that lands late; a read that found one stores no copy. So no
 * copy from before a change is used after it, unless Redis could not be reached or lost the doubt: then until
 * the copy expires (NEAR_READ_SECONDS). test/faults/near-model.test.ts goes through all orders of events.
 */

export const copyKey = (of: string) => `copy:${of}`
const sessionKey = (sessionId: string) => `revoked:session:${sessionId}`
/** Doubts a user, an app or a service. */
export const doubtKey = (id: string) => `doubt:${id}`

/** As long as a token can live, plus the clock tolerance. */
const ENDED_MS = (ACCESS_TOKEN_SECONDS + 60) * 1000
/** Longer than a copy's lifetime and a late write together, whatever NEAR_READ_SECONDS says. */
const DOUBT_MS = 180_000
/** How far the clocks of a copy's writer and reader may differ. */
const CLOCKS_MS = 5_000

/** When sealed. */
const MAX_COPY_LENGTH = 8204

/** How long a copy may be used. */
export interface Timed {
  /** Just before libSQL was asked (epoch ms, by the asker's clock). */
  readAt: number
  /** When the session expires by itself (epoch ms). */
  endsAt: number
}

/** Longer `metadata` is left out of the copy: a request for it asks libSQL. */
const MAX_METADATA = 512

/** A profile as cached: long `metadata` is missing. */
type NearProfile = Omit<Profile, 'metadata'> & Partial<Pick<Profile, 'metadata'>>

/** What libSQL says about the user of a session. */
interface Found extends Timed {
  profile: Profile
}

interface Copy extends Timed {
  profile: NearProfile
  sub: string
  epoch: number
  role: string
  turn: number
}

interface Near {
  /** From a copy that nothing contradicts. */
  profile?: NearProfile
  /** Whether libSQL's answer may be cached. */
  mayKeep: boolean
}

const NOTHING: Near = { mayKeep: false }

/** Redis's replies, by key; undefined if it did not answer. */
export type Replies = ReadonlyMap<string, string | null> | undefined

/** Asks the nearest Redis, in one call. Never throws. */
export async function readNear(
  { config, redis }: Pick<Resources, 'config' | 'redis'>,
  keys: readonly string[],
): Promise<Replies> {
  if (config.NEAR_READ_SECONDS === 0) return undefined
  const asked = [...new Set(keys)]
  const replies = await redis.mget(asked)
  return replies && new Map(asked.map((key, at) => [key, replies[at]!]))
}

/** Keys whose presence contradicts a copy of a session. */
export const doubtKeysOf = (sessionId: string, ...ids: string[]) => [
  sessionKey(sessionId),
  ...ids.map(doubtKey),
]

/** Whether Redis has answered, and has none of these keys. */
export const areClear = (replies: Replies, keys: readonly string[]) =>
  replies !== undefined && keys.every((key) => replies.get(key) === null)

/** Copies of another form of the profile cannot be opened, so none is mistaken for this one. */
const FORM = Object.keys(profileColumns).join()
const aboutOf = (sessionId: string) => `copy ${sessionId} ${FORM}`

const keysOf = ({ sid, sub }: Claims) => doubtKeysOf(sid, sub)

/** The keys to read for a token of a login. */
export const keysOfLogin = (claims: Claims) => [copyKey(claims.sid), ...keysOf(claims)]

/** The profile in a copy of a login, if nothing contradicts it. */
export async function openLogin(
  { config }: Pick<Resources, 'config'>,
  claims: Claims,
  replies: Replies,
): Promise<Near> {
  if (!areClear(replies, keysOf(claims))) return NOTHING
  const copy = await openCopy<Copy>(config, replies!.get(copyKey(claims.sid)), aboutOf(claims.sid))
  return { mayKeep: true, ...(copy && fits(copy, claims) && { profile: copy.profile }) }
}

/** Looks up a login in Redis, in one call. Never throws. */
const askNear = async (resources: Pick<Resources, 'config' | 'redis'>, claims: Claims): Promise<Near> =>
  openLogin(resources, claims, await readNear(resources, keysOfLogin(claims)))

/** A copy answers only for a token of the same state. */
const fits = (copy: Copy, { sub, epoch, role, turn = copy.turn }: Claims) =>
  copy.sub === sub && copy.epoch === epoch && copy.role === role && copy.turn === turn

/** By the reader's clock. The writer's has judged it too: the copy was stored for no longer. */
const isWorth = ({ readAt, endsAt }: Timed, lifetimeMs: number, now: number) =>
  now >= readAt - CLOCKS_MS && now < Math.min(readAt + lifetimeMs, endsAt) - CLOCKS_MS

/**
 * Who somebody is: from the cached copy if there is a good one, otherwise from `read`, whose answer is then
 * cached.
 *
 * @param near the nearest Redis's reply, if it was already asked.
 * @param isFresh whether a copy will not do, as for a client that has just changed something.
 * @param read asks libSQL; throws if the credential is not valid.
 */
export async function findNear(
  resources: Pick<Resources, 'config' | 'redis' | 'afterwards'>,
  claims: Claims,
  { isFresh, near: said }: { isFresh: boolean; near?: Near },
  read: () => Promise<Omit<Found, 'readAt'> & { turn: number }>,
): Promise<Profile> {
  const near = said ?? (isFresh ? NOTHING : await askNear(resources, claims))
  if (near.profile && isWhole(near.profile)) return near.profile
  const readAt = Date.now()
  const found = await read()
  if (near.mayKeep) resources.afterwards(keepNear(resources, claims, { ...found, readAt }))
  return found.profile
}

const isWhole = (profile: NearProfile): profile is Profile => profile.metadata !== undefined

function toNear({ metadata, ...profile }: Profile): NearProfile {
  return (metadata?.length ?? 0) > MAX_METADATA ? profile : { ...profile, metadata }
}

/** Caches libSQL's answer about a login. Call after the answer is sent. */
const keepNear = (
  resources: Pick<Resources, 'config' | 'redis'>,
  { sid, sub, epoch, role }: Claims,
  { profile, ...found }: Found & { turn: number },
) => putCopy(resources, sid, aboutOf(sid), { ...found, profile: toNear(profile), sub, epoch, role })

/** Stores a copy, sealed, for as long as it may be used. It opens only for the same `about`. */
export async function putCopy<T extends Timed>(
  { config, redis }: Pick<Resources, 'config' | 'redis'>,
  of: string,
  about: string,
  copy: T,
): Promise<void> {
  const sealed = await encryptJson(config.keys.near_copy, copy, about)
  const left = Math.min(copy.readAt + config.NEAR_READ_SECONDS * 1000, copy.endsAt) - Date.now()
  if (left > 0) await redis.put(copyKey(of), sealed, Math.ceil(left))
}

/**
 * Copies that this isolate has opened, by their sealed text, so that frequent reads decrypt once. Whether a copy may still
 * be used is checked each time.
 */
const opened = new WeakMap<Keyring, BoundedMap<string, { about: string; copy: Timed }>>()
const MAX_OPENED = 1000

/** A copy that may still be used; undefined for anything else under that key. It is shared between requests: read only. */
export async function openCopy<T extends Timed>(
  { keys: { near_copy: keys }, NEAR_READ_SECONDS }: Resources['config'],
  sealed: string | null | undefined,
  about: string,
): Promise<Readonly<T> | undefined> {
  if (typeof sealed !== 'string' || sealed.length > MAX_COPY_LENGTH) return undefined
  const copy = await openOnce<T>(keys, sealed, about)
  return copy && isWorth(copy, NEAR_READ_SECONDS * 1000, Date.now()) ? copy : undefined
}

async function openOnce<T extends Timed>(
  keys: Keyring,
  sealed: string,
  about: string,
): Promise<T | undefined> {
  const ours = opened.get(keys) ?? new BoundedMap(MAX_OPENED)
  opened.set(keys, ours)
  const known = ours.get(sealed)
  if (known?.about === about) return known.copy as T
  const copy = await decryptJson<T>(keys, sealed, about)
  if (copy) ours.set(sealed, { about, copy })
  return copy
}

export interface Doubts {
  users?: readonly string[]
  /** Those that end. Name their user too, as apps' sessions may be under them. */
  sessions?: readonly string[]
  /** Apps and services. */
  clients?: readonly string[]
  /** Other keys to set in the same call, and for how long (ms). */
  also?: ReadonlyMap<string, number> | undefined
}

/**
 * Makes a change while storing a doubt in Redis. Both are done before the answer, whatever became of the
 * write.
 */
export async function whileDoubting<T>(
  resources: Pick<Resources, 'redis' | 'afterwards'>,
  doubts: Doubts,
  write: () => Promise<T>,
): Promise<T> {
  const told = publishDoubts(resources, doubts)
  try {
    return await write()
  } finally {
    await told
  }
}

/**
 * Makes a change of which only the answer says whom it affects, so that its caller publishes the doubts. Without an
 * answer it may have been made all the same, and whoever it may affect is doubted.
 */
export async function orDoubting<T>(
  resources: Pick<Resources, 'redis' | 'afterwards'>,
  doubts: Doubts,
  write: () => Promise<T>,
): Promise<T> {
  try {
    return await write()
  } catch (error) {
    await publishDoubts(resources, doubts)
    throw error
  }
}

/** Tells Redis that its copies of users, sessions and clients may be outdated; one call. Never throws. */
export async function publishDoubts(
  { redis, afterwards }: Pick<Resources, 'redis' | 'afterwards'>,
  { users = [], sessions = [], clients = [], also = new Map() }: Doubts,
): Promise<void> {
  const lifetimes = new Map([
    ...also,
    ...[...users, ...clients].map((id) => [doubtKey(id), DOUBT_MS] as const),
    ...sessions.flatMap((id) => [[sessionKey(id), ENDED_MS] as const, [copyKey(id), 0] as const]),
  ])
  if (lifetimes.size === 0) return
  const { marksAreFailing } = redis
  const told = redis.mark(lifetimes)
  if (marksAreFailing) afterwards(told)
  else await told
}
