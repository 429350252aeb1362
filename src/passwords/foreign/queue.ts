import { networkOf, rangeOf } from '../../throttle/networks.ts'
import { yieldToOthers } from '../in-flight.ts'
import { hashesAreWaiting, hashingBusy } from '../turns.ts'
import { type Place, placeBehind, stillThere, turnOf } from './places.ts'

/**
 * Foreign hashes have a queue of their own, after ours and one at a time, as each takes up to four seconds of
 * CPU and 64 MiB. The cost of each hash is known, so the wait is known beforehand, and nobody waits in vain.
 * Many guesses at one imported account, or from one network, keep nobody else out: an account has one place,
 * and a network never takes the last if it has another.
 */
/** How long a steady stream of our own hashes may delay one. */
const LONGEST_BEHIND_MS = 2000
const LOOK_MS = 5

/** In order; the first one has its turn. */
let places: Place[] = []

/** An IPv4 /24, or an IPv6 /64. */
const placeNetworkOf = (ip: string | null) => {
  const range = rangeOf(ip, { ofIpv4: true })
  return range?.includes('.') ? range : networkOf(ip)
}

/**
 * Verifies a foreign hash in its turn.
 *
 * @param verify is told whether there was a wait: then the hash must be read again, as it may be one of ours
 *   by now.
 * @throws 503 `hashing_busy` if the wait would be over four seconds, the account is already waiting, or its
 *   network would take the last place; and if the wait took so long that the place was given away.
 */
export async function inForeignTurn<T>(
  by: { userId: string; ip: string | null; bookedMs: number },
  verify: (hasWaited: boolean) => Promise<T>,
): Promise<T> {
  const place = takePlace(by, Date.now())
  const comeBack = yieldToOthers()
  try {
    const hasWaited = turnOf(places, place) !== 'now'
    while (turnOf(places, place) !== 'now') {
      if (turnOf(places, place) === 'lost') throw hashingBusy(place.bookedMs)
      await sleep(LOOK_MS)
      places = stillThere(places, Date.now(), place)
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
  places = stillThere(places, now)
  const { place, busyMs } = placeBehind(places, { userId, network: placeNetworkOf(ip), bookedMs }, now)
  if (!place) throw hashingBusy(busyMs)
  places = [...places, place]
  return place
}

/** Lets other requests in; a microtask would not. */
export const pause = () => sleep(0)

const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))
