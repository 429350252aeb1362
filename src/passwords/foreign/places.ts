/*
 * The queue for checks of foreign hashes, as plain values: queue.ts uses it, and
 * test/foreign/queue-model.test.ts tries every order of events.
 */

export const LONGEST_QUEUE_MS = 4000
/** How much longer than booked a check may take, on a busy processor, before its request counts as gone. */
const PATIENCE = 8
const GRACE_MS = 10_000

export interface Asking {
  userId: string
  network: string
  bookedMs: number
}
export interface Place extends Asking {
  /** After this time the request counts as gone (epoch ms). */
  until: number
}

/** Drops requests that have gone: a cancelled one does not go on, and never gives its place back. */
export const stillThere = (places: readonly Place[], now: number, except?: Place) =>
  places.filter((place) => place === except || place.until > now)

/** A place at the end of the queue, or how long the caller has to stay away. */
export function placeBehind(
  places: readonly Place[],
  asking: Asking,
  now: number,
): { place: Place; busyMs?: undefined } | { place?: undefined; busyMs: number } {
  const { userId, network, bookedMs } = asking
  const waitMs = places.reduce((sum, other) => sum + other.bookedMs, 0)
  const isLast = waitMs + bookedMs > LONGEST_QUEUE_MS
  if (
    waitMs > LONGEST_QUEUE_MS ||
    places.some((other) => other.userId === userId) ||
    (isLast && places.some((other) => other.network === network))
  )
    return { busyMs: Math.max(waitMs, bookedMs) }
  return { place: { ...asking, until: now + GRACE_MS + PATIENCE * (waitMs + bookedMs) } }
}

/** Whether it is a place's turn; `lost` if it waited so long that it counted as gone. */
export const turnOf = (places: readonly Place[], place: Place): 'now' | 'later' | 'lost' =>
  places[0] === place ? 'now' : places.includes(place) ? 'later' : 'lost'
