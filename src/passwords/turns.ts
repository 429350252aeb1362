import type { Resources } from '../context.ts'
import { unavailable } from '../http/problem.ts'
import { assertMayHash, type Hasher } from '../throttle/limits.ts'
import { inFlight, yieldToOthers } from './in-flight.ts'

/**
 * A hash blocks the isolate, and other requests wait meanwhile. So hashes that come at once take turns: each
 * begins as soon as no other request is in flight, or else after a pause as long as a hash, in which
 * everything else gets through. If eight are waiting, the next is refused.
 */
const MAX_WAITING = 8
/** How long a hash takes, until one has been measured. */
const USUAL_HASH_MS = 150
const LONGEST_HASH_MS = 2000
/** How often a waiting hash checks whether other requests are in flight. */
const LOOK_MS = 5
/**
 * A hash that begins this soon after another's end has waited for it; a login after an answer comes later.
 */
const SOON_MS = 2

/** A waiting hash. At this time at the latest its turn comes (epoch ms). */
interface Turn {
  latest: number
}
/**
 * In order. Times, not promises: a promise would belong to another request, and a cancelled one would hold up
 * all.
 */
let waiting: Turn[] = []
/** Until when a hash is, or was just, running (epoch ms). */
let busyUntil = 0
let hashMs = USUAL_HASH_MS

/** Whether a hash of ours is waiting, or has just run. */
export const hashesAreWaiting = () => waiting.length > 0 || busyUntil > Date.now()

/** Says when the present queue will be done: ours, unless another wait is given. */
export function hashingBusy(waitMs = waiting.length * 2 * hashMs) {
  const seconds = Math.max(1, Math.ceil(waitMs / 1000))
  const detail = `Too many people are signing in at once. Try again in ${seconds === 1 ? 'a second' : `${seconds} seconds`}.`
  return unavailable('hashing_busy', detail, undefined, seconds)
}

/**
 * Hashes in its turn. Whatever can be refused without a hash must be refused before, so that nobody waits for
 * a request that hashes nothing. A hash that fails gives its turn back.
 *
 * @param hasher who it is counted for; their network when absent.
 * @param first a costly check that must come before the wait: it is counted with the hash.
 * @throws 429 `too_many_requests` after too many hashes; 503 `hashing_busy`.
 */
export async function inTurn<T>(
  resources: Resources,
  hash: () => Promise<T>,
  hasher?: Hasher,
  first?: () => Promise<void>,
): Promise<T> {
  assertNotBusy()
  await assertMayHash(resources, hasher)
  await first?.()
  return countedInTurn(resources, hash)
}

/** The same for a request that was already counted. */
export async function countedInTurn<T>(resources: Resources, hash: () => Promise<T>): Promise<T> {
  const result = await (resources.config.PASSWORD_HASHES === 'cheap' ? hash() : afterTurn(hash))
  // The wait may have taken seconds.
  resources.now = Date.now()
  return result
}

async function afterTurn<T>(hash: () => Promise<T>): Promise<T> {
  await takeTurn()
  const startedAt = Date.now()
  busyUntil = startedAt + LONGEST_HASH_MS
  try {
    const result = await hash()
    await sleep(0) // The clock stands still until there is I/O.
    hashMs = Math.min(LONGEST_HASH_MS, Math.max(1, Date.now() - startedAt))
    return result
  } finally {
    busyUntil = Date.now() + SOON_MS
  }
}

/**
 * Throws 503 `hashing_busy` if eight are waiting in this isolate. For requests that would be counted before
 * their turn.
 */
export function assertNotBusy(): void {
  const now = Date.now()
  // A hash that did not start long after its turn has gone away; or the clock was set back.
  waiting = waiting.filter(
    ({ latest }) => now - latest < LONGEST_HASH_MS && latest - now < MAX_WAITING * 2 * LONGEST_HASH_MS,
  )
  if (busyUntil - now > LONGEST_HASH_MS) busyUntil = 0
  if (waiting.length >= MAX_WAITING) throw hashingBusy()
}

/**
 * A trip that has to come before a hash. No other hash waits for it, as this request would only wait in line after it.
 *
 * @throws 503 `hashing_busy` before the trip if there is no turn to wait for.
 */
export async function beforeTurn<T>(trip: () => Promise<T>): Promise<T> {
  assertNotBusy()
  const comeBack = yieldToOthers()
  try {
    return await trip()
  } finally {
    comeBack()
  }
}

async function takeTurn(): Promise<void> {
  assertNotBusy()
  const now = Date.now()
  if (waiting.length === 0 && busyUntil <= now) return
  const before = waiting.at(-1)
  const turn = { latest: (before ? before.latest + hashMs : now) + hashMs }
  waiting.push(turn)
  while (!isDue(turn)) await sleep(LOOK_MS)
  waiting = waiting.filter((other) => other !== turn)
}

/** Whether its turn has come: at its latest time, or when it is next and nothing else is in flight. */
function isDue(turn: Turn): boolean {
  const now = Date.now()
  if (now >= turn.latest) return true
  return waiting[0] === turn && busyUntil <= now && inFlight() <= waiting.length
}

const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))
