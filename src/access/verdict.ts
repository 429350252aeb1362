import type { Context, Next } from 'hono'

/**
 * Whether a token counts is asked beside the handler's own query, not before it; the answer is sent only when both are
 * there. What a handler *changes* meanwhile is safe: its write has the same condition in it (`tokenIsLive`).
 */
export async function nextOnVerdict(
  c: Context,
  next: Next,
  assertLive: () => Promise<unknown>,
): Promise<void> {
  await next()
  try {
    await assertLive()
  } catch (error) {
    // The handler's answer is not to be seen, its headers neither; what CORS has put there stays.
    const headers = [...c.res.headers].filter(([name]) => /^(access-control-.*|vary)$/.test(name))
    c.res = undefined
    c.res = new Response(null, { headers })
    throw error
  }
}
