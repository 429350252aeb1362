import type { Context } from 'hono'
import { setCookie } from 'hono/cookie'
import type { AppEnv } from '../context.ts'
import { isLanguage, LANGUAGE_COOKIE, type Language } from '../values/languages.ts'
import { brandSheet } from './brand/brand.ts'
import type { Clock } from './format.ts'
import { PSEUDO, type Texts, textsOf } from './texts/index.ts'

/** What a page has to know of the request to be drawn: language, texts, clock, and whose pages these are. */
export interface View extends Clock {
  language: Language | typeof PSEUDO
  texts: Texts
  organisation: string
  logo: string | undefined
  /** The stylesheet of the organisation's colour. */
  brand: ReturnType<typeof brandSheet> | undefined
  path: string
  /** The path with its query, to come back to. */
  here: string
  requestId: string
  /** What whoever joins agrees to; undefined where there is nothing. */
  terms: { version: string; url: string | undefined; privacyUrl: string | undefined } | undefined
  /** For how long somebody who was deleted can be restored. */
  purgeDays: number
}

const YEAR_SECONDS = 365 * 86_400

/** A language that was chosen on a page, whichever it was, is kept for the browser. */
export function rememberLanguage(c: Context): void {
  const language = c.req.query('lang')
  if (!isLanguage(language)) return
  const attributes = { path: '/', secure: true, httpOnly: true, sameSite: 'Lax' } as const
  setCookie(c, LANGUAGE_COOKIE, language, { ...attributes, maxAge: YEAR_SECONDS })
}

/** @param locale the language that somebody signed in has chosen; it wins. */
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

/** The zone of the network's place, as Cloudflare knows it. */
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
