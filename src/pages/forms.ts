import type { Context } from 'hono'
import { getCookie, setCookie } from 'hono/cookie'
import { createMiddleware } from 'hono/factory'
import type { Child } from 'hono/jsx'
import type { AppEnv, Resources } from '../context.ts'
import { openSealed, seal } from '../crypto/sealed.ts'
import { documented, readForm } from '../http/operation.ts'
import { AppError } from '../http/problem.ts'
import type { Claims } from '../sessions/access-tokens.ts'
import { HOUR_MS } from '../values/durations.ts'
import { GoingOnPage } from './layout.tsx'
import { respond } from './respond.ts'
import { viewOf } from './view.ts'

/**
 * Every form carries a sealed token, bound to the session; or to the browser, where nobody is signed in yet.
 * So neither another site nor another user's page can have it sent.
 */
const BROWSER_COOKIE = '__Host-roster-browser'
const LIFETIME_MS = 12 * HOUR_MS

export const staleForm = () =>
  new AppError(
    403,
    'stale_form',
    'The form was open for too long, or is from another sign-in. Nothing was changed.',
  )

export const makeFormToken = ({ config, now }: Pick<Resources, 'config' | 'now'>, binding: string) =>
  seal(config.keys.form_token, `form.${binding}.${now}`)

/** A token for a browser in which nobody is signed in, bound to its cookie. */
export function browserFormToken(c: Context): string {
  const known = getCookie(c, BROWSER_COOKIE)
  const browser = known && /^[\w-]{36}$/.test(known) ? known : crypto.randomUUID()
  if (browser !== known)
    setCookie(c, BROWSER_COOKIE, browser, { path: '/', secure: true, httpOnly: true, sameSite: 'Lax' })
  return makeFormToken(c.var as AppEnv['Variables'], browser)
}

export const browserOf = (c: Context) => getCookie(c, BROWSER_COOKIE)
export const sessionOf = (c: Context) => (c.var as { actor: Claims }).actor.sid

/** Whether a form was made for this session or browser recently, and sent by a page of ours. */
export const isOurForm = (c: Context, fields: Record<string, string>, binding: string | undefined): boolean =>
  isOurLink(c, fields.form_token, binding) && comesFromHere(c, (c.var as Resources).config.ISSUER)

/** Whether a link was made for this session or browser recently: it carries the token of its page's form. */
export function isOurLink(c: Context, token: string | undefined, binding: string | undefined): boolean {
  const { config, now } = c.var as Resources
  const [, bound, madeAt] =
    /^form\.([\w-]{36})\.(\d+)$/.exec(openSealed(config.keys.form_token, token ?? '') ?? '') ?? []
  return madeAt !== undefined && now - Number(madeAt) < LIFETIME_MS && bound === binding
}

/**
 * Reads one of our forms, as `c.var.fields`. Throws 403 `stale_form` if its token is not bound to `binding`.
 */
export const form = (bindingOf: (c: Context) => string | undefined, read = readForm) =>
  documented(
    createMiddleware<AppEnv & { Variables: { fields: Record<string, string> } }>(async (c, next) => {
      const fields = await read(c)
      if (!isOurForm(c, fields, bindingOf(c))) throw staleForm()
      c.set('fields', fields)
      await next()
      const to = placeOfApp(c)
      if (to !== undefined) await goOnByPage(c, to)
    }),
    { problems: [staleForm] },
  )

/**
 * The URL of an app that a form would redirect to, or one of ours that may redirect there. In ASCII, because a
 * `Refresh` is read as Latin-1, unlike a `Location`.
 */
function placeOfApp(c: Context): string | undefined {
  if (c.res.status !== 303 || c.req.header('sec-fetch-mode') !== 'navigate') return undefined
  const { origin } = new URL(c.req.url)
  const to = new URL(c.res.headers.get('location')!, origin)
  if (to.origin !== origin) return isWeb(to) ? to.href : undefined
  if (!/^\/(oauth\/\w+|terms|signin\/with\/[\w-]+\/link)$/.test(to.pathname)) return undefined
  const end = URL.parse(to.searchParams.get('redirect_uri') ?? '')
  return end === null || isWeb(end) ? to.pathname + to.search : undefined
}

/** Other schemes open a native app, which some browsers only allow after a tap. */
const isWeb = ({ protocol }: URL) => /^https?:$/.test(protocol)

/**
 * Chromium applies the page's `form-action` to all redirects after a form, including the app's own, which we
 * do not know. So an app is reached through a page of ours, at which the chain of redirects ends.
 */
async function goOnByPage(c: Context, to: string): Promise<void> {
  const page = await respond(c, GoingOnPage({ view: viewOf(c), to }) as Child)
  c.res = page
  c.res.headers.delete('location')
  // The app may have opened this window, and be waiting for it to close.
  c.res.headers.delete('cross-origin-opener-policy')
  c.res.headers.set('refresh', `0; url=${to}`)
}

/**
 * The browser's own report of where the form came from. Old browsers send no Sec-Fetch-Site, so Origin is
 * checked as well.
 */
function comesFromHere(c: Context, issuer: string): boolean {
  const origin = c.req.header('origin')
  const site = c.req.header('sec-fetch-site')
  if (origin === 'null') return site === 'same-origin'
  const own = new URL(c.req.url).origin
  return (
    (origin === undefined || origin === own || origin === issuer) && (site ?? 'same-origin') === 'same-origin'
  )
}
