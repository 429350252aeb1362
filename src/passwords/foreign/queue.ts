import { networkOf, rangeOf } from '../../throttle/networks.ts'
import { goBehind } from '../in-flight.ts'
import { hashesAreWaiting, hashingBusy } from '../turns.ts'
import { type Place, placeBehind, stillThere, turnOf } from './places.ts'

/**
 * Foreign hashes take turns of their own, behind ours and one at a time, as they take up to four seconds of CPU and 64 MiB
 * each. What is waited for is known beforehand, from what each hash costs: so nobody waits in vain. That many guesses at
 * one imported account, or from one network, keep nobody else out, an account has one place, and a network never the last.
 */
/** How long a steady stream of our own hashes may go before one. */
const LONGEST_BEHIND_MS = 2000
const LOOK_MS = 5

/** In order; it is the first one's turn. */
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
 *   would take the last place; and for whoever waited for so long that their place was given away.
 */
export async function inForeignTurn<T>(
  by: { userId: string; ip: string | null; bookedMs: number },
  verify: (hasWaited: boolean) => Promise<T>,
): Promise<T> {
  const place = takePlace(by, Date.now())
  const comeBack = goBehind()
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

/** Lets others in: a microtask would not. */
export const pause = () => sleep(0)

const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))
