/** A request whose client went away may never end; after so long it is not waited for any more. */
const FORGOTTEN_AFTER_MS = 15_000

/** When each request of this isolate began that has no answer yet (epoch ms). */
const begun = new Map<symbol, number>()

/** Notes that a request has begun. @returns what notes that it is answered. */
export function enter(): () => void {
  const request = Symbol()
  begun.set(request, Date.now())
  return () => void begun.delete(request)
}

/** Those of them that let everybody else go first: nobody waits for their end. */
const behind = new Map<symbol, number>()

/** Notes that a request waits behind all others. @returns what notes that it does not any more. */
export function goBehind(): () => void {
  const request = Symbol()
  behind.set(request, Date.now())
  return () => void behind.delete(request)
}

/** How many requests of this isolate wait for their answer, and are not behind all others. */
export function inFlight(): number {
  const oldest = Date.now() - FORGOTTEN_AFTER_MS
  for (const requests of [begun, behind])
    for (const [request, at] of requests) if (at < oldest) requests.delete(request)
  return Math.max(0, begun.size - behind.size)
}
