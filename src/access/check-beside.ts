import type { Context, Next } from 'hono'

/**
 * Checks a token while the handler's own query runs, not before it; the answer is sent only when both are
 * done. A *write* in the meantime is safe: it has the same condition in it (`tokenIsLive`).
 */
export async function runBesideCheck(
  c: Context,
  next: Next,
  assertLive: () => Promise<unknown>,
): Promise<void> {
  await next()
  try {
    await assertLive()
  } catch (error) {
    // The handler's answer must not be seen, nor its headers; the CORS headers stay.
    const headers = [...c.res.headers].filter(([name]) => /^(access-control-.*|vary)$/.test(name))
    c.res = undefined
    c.res = new Response(null, { headers })
    throw error
  }
}
