import type { Resources } from '../context.ts'
import { unavailable } from '../http/problem.ts'
import type { KnownDevice } from '../throttle/devices.ts'
import { assertMayHash } from '../throttle/limits.ts'

/**
 * A hash holds the isolate's lock, and whoever comes meanwhile waits. So hashes that come at once take turns, with a
 * pause as long as a hash before each, in which everything else gets through. The ninth who would have to wait is
 * sent away.
 */
const HASH_MS = 150
const PAUSE_MS = HASH_MS
const LONGEST_QUEUE_MS = 8 * (PAUSE_MS + HASH_MS)
const LONGEST_HASH_MS = 2000
/** A hash that begins so soon after another's end has waited for it; a login after an answer comes later. */
const SOON_MS = 2
/** Until when turns are given away, and until when a hash runs or has just run (epoch ms). */
let takenUntil = 0
let busyUntil = 0

export const hashingBusy = () =>
  unavailable('hashing_busy', 'Too many people are signing in at once. Try again in a second.', undefined, 1)

/**
 * Hashes in its turn. Everything that can be refused without a hash has to be refused before, so that nobody waits for
 * somebody who hashes nothing. A hash that fails gives its turn back.
 *
 * @param device one that the account knows, which is counted for itself.
 * @throws 429 `too_many_requests` for a network that hashes too much; 503 `hashing_busy`.
 */
export async function inTurn<T>(
  resources: Resources,
  hash: () => Promise<T>,
  device?: KnownDevice,
): Promise<T> {
  assertNotBusy()
  await assertMayHash(resources, device)
  const result = await (resources.config.PASSWORD_HASHES === 'cheap' ? hash() : afterTurn(hash))
  // It may have taken seconds.
  resources.now = Date.now()
  return result
}

async function afterTurn<T>(hash: () => Promise<T>): Promise<T> {
  const end = await takeTurn()
  busyUntil = Date.now() + LONGEST_HASH_MS
  try {
    const result = await hash()
    await sleep(0) // The clock stands still until there is I/O.
    busyUntil = Date.now() + SOON_MS
    return result
  } catch (error) {
    if (takenUntil === end) takenUntil = end - HASH_MS
    busyUntil = 0
    throw error
  }
}

/** Throws 503 `hashing_busy` when eight are waiting in this isolate. For whoever would be counted before their turn. */
export function assertNotBusy(): void {
  const now = Date.now()
  // What is further ahead than can be was noted by a clock that has been set back since.
  if (takenUntil - now > LONGEST_QUEUE_MS + PAUSE_MS + HASH_MS) takenUntil = 0
  if (busyUntil - now > LONGEST_HASH_MS) busyUntil = 0
  if (takenUntil - now >= LONGEST_QUEUE_MS) throw hashingBusy()
}

/**
 * Waits for a turn: a time, not a place in a queue of promises. Those would belong to other requests, and one that was
 * cancelled would hold up all behind it; a turn that is not taken is merely lost.
 *
 * @returns when the turn ends (epoch ms).
 */
async function takeTurn(): Promise<number> {
  assertNotBusy()
  const now = Date.now()
  const isAlone = takenUntil <= now && busyUntil <= now
  const beginsAt = isAlone ? now : Math.max(takenUntil, now) + PAUSE_MS
  const end = beginsAt + HASH_MS
  takenUntil = end
  if (beginsAt > now) await sleep(beginsAt - now)
  return end
}

const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))
