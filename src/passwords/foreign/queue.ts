import { networkOf, rangeOf } from '../../throttle/networks.ts'
import { goBehind } from '../in-flight.ts'
import { hashesAreWaiting, hashingBusy } from '../turns.ts'

/**
 * Foreign hashes take turns of their own, behind ours and one at a time, as they take up to four seconds of CPU and 64 MiB
 * each. What is waited for is known beforehand, from what each hash costs: so nobody waits in vain. That many guesses at
 * one imported account, or from one network, keep nobody else out, an account has one place, and a network never the last.
 */
const LONGEST_WAIT_MS = 4000
/** How much longer than booked one may take, on a processor that is busy, until it is thought to have gone away. */
const PATIENCE = 8
const GRACE_MS = 10_000
/** How long hashes of ours, that come and come, go before one. */
const LONGEST_BEHIND_MS = 2000
const LOOK_MS = 5

interface Place {
  userId: string
  network: string
  bookedMs: number
  /** Who has a place longer than this has gone away (epoch ms). */
  until: number
}
/** In order; the first one's turn it is. */
let places: Place[] = []

/** An IPv4 /24, or an IPv6 /64. */
const placeNetworkOf = (ip: string | null) => {
  const range = rangeOf(ip, { ofIpv4: true })
  return range?.includes('.') ? range : networkOf(ip)
}

/**
 * Verifies a foreign hash in its turn.
 *
 * @param verify is told whether it was waited for: then the hash has to be read again, as it may be one of ours by now.
 * @throws 503 `hashing_busy` for whoever would wait more than four seconds, whose account waits already, or whose network
 *   would take the last place.
 */
export async function inForeignTurn<T>(
  by: { userId: string; ip: string | null; bookedMs: number },
  verify: (hasWaited: boolean) => Promise<T>,
): Promise<T> {
  const place = takePlace(by, Date.now())
  const comeBack = goBehind()
  try {
    const hasWaited = places[0] !== place
    while (places[0] !== place) {
      await sleep(LOOK_MS)
      forget(Date.now(), place)
    }
    const latest = Date.now() + LONGEST_BEHIND_MS
    while (hashesAreWaiting() && Date.now() < latest) await sleep(LOOK_MS)
    return await verify(hasWaited)
  } finally {
    comeBack()
    places = places.filter((other) => other !== place)
  }
}

function takePlace(
  { userId, ip, bookedMs }: { userId: string; ip: string | null; bookedMs: number },
  now: number,
): Place {
  forget(now)
  const network = placeNetworkOf(ip)
  const waitMs = places.reduce((sum, other) => sum + other.bookedMs, 0)
  const isLast = waitMs + bookedMs > LONGEST_WAIT_MS
  if (
    waitMs > LONGEST_WAIT_MS ||
    places.some((other) => other.userId === userId) ||
    (isLast && places.some((other) => other.network === network))
  )
    throw hashingBusy(Math.max(waitMs, bookedMs))
  const place = { userId, network, bookedMs, until: now + GRACE_MS + PATIENCE * (waitMs + bookedMs) }
  places.push(place)
  return place
}

/** Who has gone away never gives a place back: a request that is cancelled does not go on. */
function forget(now: number, except?: Place): void {
  places = places.filter((place) => place === except || place.until > now)
}

/** Lets others in: a microtask would not. */
export const pause = () => sleep(0)

const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))
