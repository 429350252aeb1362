/*
 * Who waits for the check of a foreign hash, as values alone: queue.ts goes by it, and test/foreign/queue-model.test.ts tries
 * every order of what can happen.
 */

export const LONGEST_WAIT_MS = 4000
/** How much longer than booked one may take, on a processor that is busy, until it is thought to have gone away. */
const PATIENCE = 8
const GRACE_MS = 10_000

export interface Asking {
  userId: string
  network: string
  bookedMs: number
}
export interface Place extends Asking {
  /** Who has a place longer than this has gone away (epoch ms). */
  until: number
}

/** Those who have not gone away: a request that is cancelled does not go on, and never gives a place back. */
export const stillThere = (places: readonly Place[], now: number, except?: Place) =>
  places.filter((place) => place === except || place.until > now)

/** A place behind these, or how long whoever asks has to stay away. */
export function placeBehind(
  places: readonly Place[],
  asking: Asking,
  now: number,
): { place: Place; busyMs?: undefined } | { place?: undefined; busyMs: number } {
  const { userId, network, bookedMs } = asking
  const waitMs = places.reduce((sum, other) => sum + other.bookedMs, 0)
  const isLast = waitMs + bookedMs > LONGEST_WAIT_MS
  if (
    waitMs > LONGEST_WAIT_MS ||
    places.some((other) => other.userId === userId) ||
    (isLast && places.some((other) => other.network === network))
  )
    return { busyMs: Math.max(waitMs, bookedMs) }
  return { place: { ...asking, until: now + GRACE_MS + PATIENCE * (waitMs + bookedMs) } }
}

/** Whether it is somebody's turn; `lost` where they have waited for so long that they were thought to have gone away. */
export const turnOf = (places: readonly Place[], place: Place): 'now' | 'later' | 'lost' =>
  places[0] === place ? 'now' : places.includes(place) ? 'later' : 'lost'
