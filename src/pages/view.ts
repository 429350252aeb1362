import type { Context } from 'hono'
import { setCookie } from 'hono/cookie'
import type { AppEnv } from '../context.ts'
import { YEAR_MS } from '../values/durations.ts'
import { isLanguage, LANGUAGE_COOKIE, type Language } from '../values/languages.ts'
import { brandSheet } from './brand/brand.ts'
import type { Clock } from './format.ts'
import { PSEUDO, type Texts, textsOf } from './texts/index.ts'

/** What a page needs to know of the request: language, texts, clock, and the organisation. */
export interface View extends Clock {
  language: Language | typeof PSEUDO
  texts: Texts
  organisation: string
  logo: string | undefined
  /** The stylesheet for the organisation's colour. */
  brand: ReturnType<typeof brandSheet> | undefined
  path: string
  /** The path with its query, to return to. */
  here: string
  requestId: string
  /** The terms that new users agree to; undefined if there are none. */
  terms: { version: string; url: string | undefined; privacyUrl: string | undefined } | undefined
  /** For how many days a deleted user can be restored. */
  purgeDays: number
}

/** Remembers, for this browser, the language that was chosen on a page. */
export function rememberLanguage(c: Context): void {
  const language = c.req.query('lang')
  if (!isLanguage(language)) return
  const attributes = { path: '/', secure: true, httpOnly: true, sameSite: 'Lax' } as const
  setCookie(c, LANGUAGE_COOKIE, language, { ...attributes, maxAge: YEAR_MS / 1000 })
}

/** @param locale the language that a signed-in user has chosen; it wins. */
export function viewOf(c: Context, locale?: string | null): View {
  const { config, now, requestId } = c.var as AppEnv['Variables']
  const language = languageOf(c, locale)
  const url = new URL(c.req.url)
  return {
    language,
    texts: textsOf(language, config.PAGE_TEXTS),
    timeZone: zoneOf(c),
    now,
    organisation: config.ORGANISATION,
    logo: config.BRAND_LOGO_URL,
    brand: config.BRAND_COLOUR === undefined ? undefined : brandSheet(config.BRAND_COLOUR),
    path: url.pathname,
    here: url.pathname + url.search,
    requestId,
    terms: config.TERMS_VERSION
      ? { version: config.TERMS_VERSION, url: config.TERMS_URL, privacyUrl: config.PRIVACY_URL }
      : undefined,
    purgeDays: config.PURGE_AFTER_DAYS,
  }
}

function languageOf(c: Context, locale: string | null | undefined): View['language'] {
  if (c.req.query('lang') === PSEUDO) return PSEUDO
  return isLanguage(locale) ? locale : (c.var as AppEnv['Variables']).origin.language
}

/** The time zone of the client's network, according to Cloudflare. */
export function zoneOf(c: Context): string {
  const zone = (c.req.raw.cf as IncomingRequestCfProperties | undefined)?.timezone
  if (typeof zone !== 'string') return 'UTC'
  try {
    new Intl.DateTimeFormat('en', { timeZone: zone })
    return zone
  } catch {
    return 'UTC'
  }
}
