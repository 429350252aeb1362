import type { Context } from 'hono'
import type { AppEnv } from '../context.ts'
import type { AppError } from '../http/problem.ts'
import { type CookieSession, sessionCookie } from '../sessions/cookie.ts'

/**
 * The hints in the cookie are out of date. The request changed nothing, and is repeated with the cookie
 * `renewed`.
 */
export class StaleHint extends Error {
  readonly renewed: CookieSession
  constructor(renewed: CookieSession) {
    super('the hint of a cookie was wrong')
    this.renewed = renewed
  }
}

/** Requests that are repeats, with the id of the original request: they are not repeated again. */
const repeats = new WeakMap<Request, string>()
export const idOfRetriedRequest = (c: Context) => repeats.get(c.req.raw)

type Fetch = (request: Request, env: object, context: ExecutionContext) => Response | Promise<Response>

/**
 * Repeats the request with the right cookie, and sends that to the browser. It costs a second trip. A body
 * that could not be read cannot be sent again, and would be refused again: that is the answer.
 */
export async function retryWithCurrentHint(
  c: Context<AppEnv>,
  { renewed }: StaleHint,
  { fetch, refuse }: { fetch: Fetch; refuse: (error: AppError) => Response | Promise<Response> },
): Promise<Response> {
  const setCookie = sessionCookie(c.var.config.keys.session_cookie, renewed)
  const refused = c.get('bodyRefused')
  const answer = refused ? await refuse(refused) : await repeat(c, setCookie, fetch)
  const isReplaced = answer.headers
    .getSetCookie()
    .some((cookie) => cookie.startsWith(`${setCookie.split('=')[0]}=`))
  const out = new Response(answer.body, answer)
  if (!isReplaced) out.headers.append('set-cookie', setCookie)
  return out
}

function repeat(c: Context<AppEnv>, setCookie: string, fetch: Fetch): Response | Promise<Response> {
  const headers = new Headers(c.req.raw.headers)
  // Of two cookies with the same name, each of our parsers takes the first.
  headers.set('cookie', `${setCookie.split(';')[0]}; ${headers.get('cookie')}`)
  const { method } = c.req
  const body = ['GET', 'HEAD'].includes(method) ? null : (c.get('bodyRead') ?? c.req.raw.body)
  // This passes on the country that the request comes from.
  const { cf } = c.req.raw as { cf?: RequestInitCfProperties }
  const request = new Request(c.req.url, { method, headers, body, ...(cf && { cf }) })
  repeats.set(request, c.var.requestId)
  c.set('isRepeated', true)
  return fetch(request, c.env, c.executionCtx as ExecutionContext)
}
