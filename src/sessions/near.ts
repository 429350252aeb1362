import type { Resources } from '../context.ts'
import { decryptJson, encryptJson } from '../crypto/encryption.ts'
import type { Profile } from '../users/models.ts'
import { profileColumns } from '../users/models.ts'
import { ACCESS_TOKEN_SECONDS, type Claims } from './access-tokens.ts'

/**
 * Who somebody is, and what a token may do (oauth/word/), near to whoever asks. After libSQL has said it, a copy is put
 * into Redis for less than a minute, and Redis answers alone from then on. Redis refuses nobody: whatever contradicts a
 * copy only leads to libSQL, which decides.
 *
 * Beside each change of a session or a user, and before its answer, Redis is told to doubt. A doubt outlives every copy
 * that was made before it, and every write that lands late; a read that found one puts no copy. So a copy from before a
 * change is not used after it, but where Redis could not be told, or has lost it: then for as long as a copy is worth
 * anything (NEAR_READ_SECONDS). All orders of events are gone through in test/faults/near-model.test.ts.
 */

export const copyKey = (of: string) => `copy:${of}`
const sessionKey = (sessionId: string) => `revoked:session:${sessionId}`
/** Of a user, or of an app or a service. */
export const doubtKey = (id: string) => `doubt:${id}`

/** As long as a token can live, and the clock tolerance. */
const ENDED_MS = (ACCESS_TOKEN_SECONDS + 60) * 1000
/** Longer than a copy, and a write that lands late, together; whatever NEAR_READ_SECONDS says. */
const DOUBT_MS = 180_000
/** By how much the clocks of who puts a copy and who reads it may differ. */
const CLOCKS_MS = 5_000

/** Sealed. */
const MAX_COPY_LENGTH = 8204

/** How long a copy is worth anything. */
export interface Timed {
  /** The moment before libSQL was asked (epoch ms, by the clock of who asked). */
  readAt: number
  /** When what it is of ends by itself (epoch ms). */
  endsAt: number
}

/** A copy takes no more of what users keep with us along: whoever asks for that, of those who have more, asks libSQL. */
const MOST_METADATA = 512

/** A profile as it stands near: `metadata` is missing where there is much of it. */
type NearProfile = Omit<Profile, 'metadata'> & Partial<Pick<Profile, 'metadata'>>

/** What libSQL says of whoever has a session. */
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
  /** Whether what libSQL says now may be put near. */
  mayKeep: boolean
}

const NOTHING: Near = { mayKeep: false }

/** What Redis has said, by key; undefined where it has said nothing. */
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

/** What contradicts a copy of a session, by being there. */
export const keysAgainst = (sessionId: string, ...ids: string[]) => [
  sessionKey(sessionId),
  ...ids.map(doubtKey),
]

/** Whether Redis has answered, and knows of none of these. */
export const areClear = (replies: Replies, keys: readonly string[]) =>
  replies !== undefined && keys.every((key) => replies.get(key) === null)

/** Another form of a profile is not taken for this one: its copies do not open. */
const aboutOf = (sessionId: string) => `copy ${sessionId} ${Object.keys(profileColumns).join()}`

const keysOf = ({ sid, sub }: Claims) => keysAgainst(sid, sub)

/** What has to be asked for, to answer for a token of a login. */
export const keysOfLogin = (claims: Claims) => [copyKey(claims.sid), ...keysOf(claims)]

/** What a copy says of a login, where nothing contradicts it. */
export async function openLogin(
  { config }: Pick<Resources, 'config'>,
  claims: Claims,
  replies: Replies,
): Promise<Near> {
  if (!areClear(replies, keysOf(claims))) return NOTHING
  const copy = await openCopy<Copy>(config, replies!.get(copyKey(claims.sid)), aboutOf(claims.sid))
  return { mayKeep: true, ...(copy && fits(copy, claims) && { profile: copy.profile }) }
}

/** Who has a login, in one call. Never throws. */
const askNear = async (resources: Pick<Resources, 'config' | 'redis'>, claims: Claims): Promise<Near> =>
  openLogin(resources, claims, await readNear(resources, keysOfLogin(claims)))

/** A copy answers for a token of the same state alone. */
const fits = (copy: Copy, { sub, epoch, role, turn = copy.turn }: Claims) =>
  copy.sub === sub && copy.epoch === epoch && copy.role === role && copy.turn === turn

/** By the reader's clock. Its maker's has judged it too: the copy was put for no longer. */
const isWorth = ({ readAt, endsAt }: Timed, lifetimeMs: number, now: number) =>
  now >= readAt - CLOCKS_MS && now < Math.min(readAt + lifetimeMs, endsAt) - CLOCKS_MS

/**
 * Who somebody is: from the copy that is near, where there is a good one, else as `read` says, which is then put near.
 *
 * @param near what the nearest Redis has said, where it was asked already.
 * @param isFresh whether a copy will not do, as for whoever has just changed something.
 * @param read asks libSQL; throws where what was brought does not count.
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
  return (metadata?.length ?? 0) > MOST_METADATA ? profile : { ...profile, metadata }
}

/** Puts what libSQL has said of a login near. For after the answer. */
const keepNear = (
  resources: Pick<Resources, 'config' | 'redis'>,
  { sid, sub, epoch, role }: Claims,
  { profile, ...found }: Found & { turn: number },
) => putCopy(resources, sid, aboutOf(sid), { ...found, profile: toNear(profile), sub, epoch, role })

/** Puts a copy near, sealed, for as long as it is worth anything. `about` is what it opens for alone. */
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

/** A copy that still counts; undefined for anything else that stands there. */
export async function openCopy<T extends Timed>(
  { keys, NEAR_READ_SECONDS }: Resources['config'],
  sealed: string | null | undefined,
  about: string,
): Promise<T | undefined> {
  if (typeof sealed !== 'string' || sealed.length > MAX_COPY_LENGTH) return undefined
  const copy = await decryptJson<T>(keys.near_copy, sealed, about)
  return copy && isWorth(copy, NEAR_READ_SECONDS * 1000, Date.now()) ? copy : undefined
}

export interface Doubts {
  users?: readonly string[]
  /** Those that end. With one, name its user too: there may be apps' sessions under it. */
  sessions?: readonly string[]
  /** Apps and services. */
  clients?: readonly string[]
  /** What else is said in the same call, and for how long (ms). */
  also?: ReadonlyMap<string, number> | undefined
}

/** Makes a change, and tells Redis to doubt meanwhile: both are over before the answer, whatever became of the write. */
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

/** Tells Redis that what it knows of users, sessions and clients may be so no longer; one call. Never throws. */
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
