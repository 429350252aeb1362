import type { Resources } from '../context.ts'
import { decryptText, encryptText } from '../crypto/encryption.ts'
import type { Profile } from '../users/models.ts'
import { profileColumns } from '../users/models.ts'
import { ACCESS_TOKEN_SECONDS, type Claims } from './access-tokens.ts'

/**
 * Who somebody is, near to whoever asks. After libSQL has said it, a copy is put into Redis for less than a minute, and
 * Redis answers alone from then on. Redis refuses nobody: whatever contradicts a copy only leads to libSQL, which decides.
 *
 * Beside each change of a session or a user, and before its answer, Redis is told to doubt. A doubt outlives every copy
 * that was made before it, and every write that lands late; a read that found one puts no copy. So a copy from before a
 * change is not used after it, but where Redis could not be told, or has lost it: then for as long as a copy is worth
 * anything (NEAR_READ_SECONDS). All orders of events are gone through in test/faults/near-model.test.ts.
 */

const copyKey = (sessionId: string) => `copy:${sessionId}`
const sessionKey = (sessionId: string) => `revoked:session:${sessionId}`
const doubtKey = (userId: string) => `doubt:${userId}`

/** As long as a token can live, and the clock tolerance. */
const ENDED_MS = (ACCESS_TOKEN_SECONDS + 60) * 1000
/** Longer than a copy, and a write that lands late, together; whatever NEAR_READ_SECONDS says. */
const DOUBT_MS = 180_000
/** By how much the clocks of who puts a copy and who reads it may differ. */
const CLOCKS_MS = 5_000

/** Sealed. */
const MAX_COPY_LENGTH = 8204

/** Whom a copy is about, and for how long it is worth anything. */
interface Copied {
  profile: Profile
  /** The moment before libSQL was asked (epoch ms, by the clock of who asked). */
  readAt: number
  /** When the session ends by itself (epoch ms). */
  endsAt: number
}

interface Copy extends Copied {
  sub: string
  epoch: number
  role: string
  turn: number
}

interface Near {
  /** From a copy that nothing contradicts. */
  profile?: Profile
  /** Whether what libSQL says now may be put near. */
  mayKeep: boolean
}

const NOTHING: Near = { mayKeep: false }

/** Another form of a profile is not taken for this one: its copies do not open. */
const aboutOf = (sessionId: string) => `copy ${sessionId} ${Object.keys(profileColumns).join()}`

/** Asks the nearest Redis, in one call. Never throws. */
async function askNear(
  { config, redis }: Pick<Resources, 'config' | 'redis'>,
  claims: Claims,
): Promise<Near> {
  if (config.NEAR_READ_SECONDS === 0) return NOTHING
  const keys = [copyKey(claims.sid), sessionKey(claims.sid), doubtKey(claims.sub)]
  const replies = await redis.mget(keys)
  if (!replies) return NOTHING
  const [sealed, ended, doubted] = replies
  if (ended !== null || doubted !== null) return NOTHING
  const copy = typeof sealed === 'string' ? await open(config, sealed, claims.sid) : undefined
  const isGood = copy && fits(copy, claims) && isWorth(copy, config.NEAR_READ_SECONDS * 1000, Date.now())
  return { mayKeep: true, ...(isGood && { profile: copy.profile }) }
}

/** A copy answers for a token of the same state alone. */
const fits = (copy: Copy, { sub, epoch, role, turn = copy.turn }: Claims) =>
  copy.sub === sub && copy.epoch === epoch && copy.role === role && copy.turn === turn

/** By the reader's clock. Its maker's has judged it too: the copy was put for no longer. */
const isWorth = ({ readAt, endsAt }: Copied, lifetimeMs: number, now: number) =>
  now >= readAt - CLOCKS_MS && now < Math.min(readAt + lifetimeMs, endsAt) - CLOCKS_MS

/**
 * Who somebody is: from the copy that is near, where there is a good one, else as `read` says, which is then put near.
 *
 * @param isFresh whether a copy will not do, as for whoever has just changed something.
 * @param read asks libSQL; throws where what was brought does not count.
 */
export async function findNear(
  resources: Pick<Resources, 'config' | 'redis' | 'afterwards'>,
  claims: Claims,
  { isFresh }: { isFresh: boolean },
  read: () => Promise<Omit<Copied, 'readAt'> & { turn: number }>,
): Promise<Profile> {
  const near: Near = isFresh ? NOTHING : await askNear(resources, claims)
  if (near.profile) return near.profile
  const readAt = Date.now()
  const found = await read()
  if (near.mayKeep) resources.afterwards(keepNear(resources, claims, { ...found, readAt }))
  return found.profile
}

/** Puts what libSQL has said near. For after the answer. */
async function keepNear(
  { config, redis }: Pick<Resources, 'config' | 'redis'>,
  { sid, sub, epoch, role }: Claims,
  { turn, ...copied }: Copied & { turn: number },
): Promise<void> {
  const copy: Copy = { ...copied, sub, epoch, role, turn }
  const sealed = await seal(config, copy, sid)
  const left = Math.min(copy.readAt + config.NEAR_READ_SECONDS * 1000, copy.endsAt) - Date.now()
  if (left > 0) await redis.put(copyKey(sid), sealed, Math.ceil(left))
}

const seal = ({ keys }: Pick<Resources['config'], 'keys'>, copy: Copy, sessionId: string) =>
  encryptText(keys.near_copy, new TextEncoder().encode(JSON.stringify(copy)), aboutOf(sessionId))

async function open({ keys }: Pick<Resources['config'], 'keys'>, sealed: string, sessionId: string) {
  if (sealed.length > MAX_COPY_LENGTH) return undefined
  const plain = await decryptText(keys.near_copy, sealed, aboutOf(sessionId))
  return plain && (JSON.parse(new TextDecoder().decode(plain)) as Copy)
}

export interface Doubts {
  users?: readonly string[]
  /** Those that end. */
  sessions?: readonly string[]
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

/** Tells Redis that what it knows of users and sessions may be so no longer; one call. Never throws. */
export async function publishDoubts(
  { redis, afterwards }: Pick<Resources, 'redis' | 'afterwards'>,
  { users = [], sessions = [] }: Doubts,
): Promise<void> {
  const lifetimes = new Map([
    ...users.map((id) => [doubtKey(id), DOUBT_MS] as const),
    ...sessions.flatMap((id) => [[sessionKey(id), ENDED_MS] as const, [copyKey(id), 0] as const]),
  ])
  if (lifetimes.size === 0) return
  const { marksAreFailing } = redis
  const told = redis.mark(lifetimes)
  if (marksAreFailing) afterwards(told)
  else await told
}
