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

/** How many requests of this isolate wait for their answer. */
export function inFlight(): number {
  const oldest = Date.now() - FORGOTTEN_AFTER_MS
  for (const [request, at] of begun) if (at < oldest) begun.delete(request)
  return begun.size
}
