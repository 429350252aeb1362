/** A request whose client has gone may never end; after this time it is not waited for. */
const FORGOTTEN_AFTER_MS = 15_000

/** When each unanswered request of this isolate began (epoch ms). */
const begun = new Map<symbol, number>()

/** Records that a request has begun. @returns a function to call when it is answered. */
export function beginRequest(): () => void {
  const request = Symbol()
  begun.set(request, Date.now())
  return () => void begun.delete(request)
}

/** Those of them that let everybody else go first: nobody waits for them. */
const behind = new Map<symbol, number>()

/** Records that a request waits behind all others. @returns a function to call when it no longer does. */
export function yieldToOthers(): () => void {
  const request = Symbol()
  behind.set(request, Date.now())
  return () => void behind.delete(request)
}

/** How many requests of this isolate are unanswered, and not behind all others. */
export function inFlight(): number {
  const oldest = Date.now() - FORGOTTEN_AFTER_MS
  for (const requests of [begun, behind])
    for (const [request, at] of requests) if (at < oldest) requests.delete(request)
  return Math.max(0, begun.size - behind.size)
}
