import type { Context } from 'hono'
import { getCookie, setCookie } from 'hono/cookie'
import { createMiddleware } from 'hono/factory'
import type { AppEnv, Resources } from '../context.ts'
import { openSealed, seal } from '../crypto/sealed.ts'
import { documented, readForm } from '../http/operation.ts'
import { AppError } from '../http/problem.ts'
import type { Claims } from '../sessions/access-tokens.ts'
import { HOUR_MS } from '../values/durations.ts'

/**
 * Every form carries a sealed token that is bound to the session, or to the browser where nobody is signed in yet: so
 * neither another site nor somebody else's page can have it sent.
 */
const BROWSER_COOKIE = '__Host-roster-browser'
const LIFETIME_MS = 12 * HOUR_MS

export const staleForm = () =>
  new AppError(
    403,
    'stale_form',
    'The form was open for too long, or in another sign-in. Nothing was changed.',
  )

export const makeFormToken = ({ config, now }: Pick<Resources, 'config' | 'now'>, binding: string) =>
  seal(config.keys.form_token, `form.${binding}.${now}`)

/** A token for a browser in which nobody is signed in, with the cookie that it is bound to. */
export function browserFormToken(c: Context): string {
  const known = getCookie(c, BROWSER_COOKIE)
  const browser = known && /^[\w-]{36}$/.test(known) ? known : crypto.randomUUID()
  if (browser !== known)
    setCookie(c, BROWSER_COOKIE, browser, { path: '/', secure: true, httpOnly: true, sameSite: 'Lax' })
  return makeFormToken(c.var as AppEnv['Variables'], browser)
}

export const browserOf = (c: Context) => getCookie(c, BROWSER_COOKIE)
export const sessionOf = (c: Context) => (c.var as { actor: Claims }).actor.sid

/** Whether a form was drawn for this session or browser, not long ago, and sent by a page of ours. */
export const isOurForm = (c: Context, fields: Record<string, string>, binding: string | undefined): boolean =>
  isOurLink(c, fields.form_token, binding) && comesFromHere(c, (c.var as Resources).config.ISSUER)

/** Whether a link was drawn for this session or browser, not long ago: it carries the token of its page's form. */
export function isOurLink(c: Context, token: string | undefined, binding: string | undefined): boolean {
  const { config, now } = c.var as Resources
  const [, bound, madeAt] =
    /^form\.([\w-]{36})\.(\d+)$/.exec(openSealed(config.keys.form_token, token ?? '') ?? '') ?? []
  return madeAt !== undefined && now - Number(madeAt) < LIFETIME_MS && bound === binding
}

/** Reads a form of ours, as `c.var.fields`. Throws 403 `stale_form` for one whose token is not bound to `binding`. */
export const form = (bindingOf: (c: Context) => string | undefined) =>
  documented(
    createMiddleware<AppEnv & { Variables: { fields: Record<string, string> } }>(async (c, next) => {
      const fields = await readForm(c)
      if (!isOurForm(c, fields, bindingOf(c))) throw staleForm()
      c.set('fields', fields)
      await next()
    }),
    { problems: [staleForm] },
  )

/** The browser's word on where the form stood. Old ones send no Sec-Fetch-Site, so Origin is asked as well. */
function comesFromHere(c: Context, issuer: string): boolean {
  const origin = c.req.header('origin')
  const site = c.req.header('sec-fetch-site')
  if (origin === 'null') return site === 'same-origin'
  const own = new URL(c.req.url).origin
  return (
    (origin === undefined || origin === own || origin === issuer) && (site ?? 'same-origin') === 'same-origin'
  )
}
