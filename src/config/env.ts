import * as z from 'zod'
import { type JwtKeys, parseJwtKeys } from '../crypto/jwt-keys.ts'
import { type OpenIdKeys, parseOpenIdKeys } from '../crypto/openid-keys.ts'
import { spellEntry } from '../values/blocked.ts'
import { lazy } from '../values/lazy.ts'
import {
  faultOfBlocked,
  faultOfBlockedApp,
  faultOfColour,
  faultOfCookieOrigin,
  faultOfCorsOrigin,
  faultOfDomain,
  faultOfHost,
  faultOfMailbox,
  faultOfName,
  faultOfOrigin,
  faultOfPicture,
  faultOfSmtp,
  faultOfToken,
  faultOfUrl,
  textsIn,
  weaknessOfSecret,
} from './checks.ts'
import { type IdentityProvider, providersIn } from './providers.ts'
import { LEAST_GRACE_SECONDS } from './waits.ts'

/**
 * Every setting: how it is parsed, and which values are valid. An issue's message says what is wrong without
 * the value, and continues the name: "ISSUER is missing". What to write instead is in `WHAT_TO_WRITE`.
 */
const checked = (faultOf: (value: string) => string | undefined) =>
  z
    .string('is missing')
    .min(1, 'is empty')
    .superRefine((value, context) => {
      const fault = value && faultOf(value)
      if (fault) context.addIssue({ code: 'custom', message: fault })
    })
/** Text that people read, or programs compare. */
const name = (max = 4096) => checked(faultOfName).pipe(z.string().max(max, 'is too long'))
const secret = () => checked(faultOfToken)
const oneOf = <const Words extends [string, ...string[]]>(...words: Words) =>
  z.enum(words, 'is not one of its words')
const number = (preset: number, min: number, max: number) => wholeNumber(min, max).default(preset)
/** Digits alone: JavaScript would also take `1e3`, `0x10` and a blank for numbers. */
const wholeNumber = (min: number, max: number) =>
  z.preprocess(
    (value) => (typeof value === 'string' && /^\d+$/.test(value) ? Number(value) : value),
    z.int('is not a whole number in digits').min(min, `is below ${min}`).max(max, `is above ${max}`),
  )
const days = (preset: number, min: number) => number(preset, min, 3650)
/** Separated by commas; the message names the entry that is wrong. */
const list = (faultOf: (entry: string) => string | undefined) =>
  z.string('is missing').transform((value, context) => {
    const entries = value
      .split(',')
      .map((entry) => entry.trim())
      .filter(Boolean)
    // Somebody meant to set something, yet it would mean the same as leaving it out.
    if (value !== '' && entries.length === 0)
      context.addIssue({ code: 'custom', message: 'has no entry between its commas and blanks' })
    for (const [index, entry] of entries.entries()) {
      const fault = faultOf(entry)
      const place = entries.length > 1 ? ` (entry ${index + 1} of ${entries.length})` : ''
      if (fault) context.addIssue({ code: 'custom', message: `${fault}${place}` })
    }
    return entries
  })

/** The most keys in `JWT_KEYS`: more would be a rotation that was never finished. */
const MAX_KEYS = 8

/** Each sign-up is checked against all of it. */
const MAX_OF_BLOCKED = 5 * 1024

export const Env = lazy(() =>
  z.object({
    TURSO_DATABASE_URL: checked((value) => faultOfUrl(value, { libsql: true })),
    TURSO_AUTH_TOKEN: secret(),
    UPSTASH_REDIS_REST_URL: checked(faultOfUrl),
    UPSTASH_REDIS_REST_TOKEN: secret(),
    JWT_KEYS: z.string('is missing').transform((value, context): JwtKeys => {
      try {
        return parseJwtKeys(value)
      } catch {
        context.addIssue({ code: 'custom', message: 'is not a set of private keys that can sign' })
        return z.NEVER
      }
    }),
    /** The keys that sign ID tokens. Without them Roster is no OpenID provider. */
    OPENID_KEYS: z
      .string()
      .transform((value, context): OpenIdKeys => {
        try {
          return parseOpenIdKeys(value)
        } catch {
          context.addIssue({
            code: 'custom',
            message: 'is not a set of RS256 and ES256 private keys that can sign',
          })
          return z.NEVER
        }
      })
      .optional(),
    SECRET_KEYS: list(weaknessOfSecret)
      .refine((keys) => keys.length > 0, 'is empty')
      .refine((keys) => keys.length <= MAX_KEYS, `has more than ${MAX_KEYS} entries`),
    /** Seals the history (activity/seals.ts): the first key signs, all verify. Without it nothing is sealed. */
    HISTORY_KEY: list(weaknessOfSecret)
      .refine((keys) => keys.length <= MAX_KEYS, `has more than ${MAX_KEYS} entries`)
      .default([]),
    ISSUER: checked(faultOfOrigin),
    AUDIENCE: name().default('roster'),
    /** The origin of links in mails: never taken from a request. */
    LINK_ORIGIN: checked(faultOfOrigin).optional(),
    CORS_ORIGINS: list(faultOfCorsOrigin).default([]),
    /** Origins beside our own whose pages may use the session cookie: apps on the same site. */
    COOKIE_ORIGINS: list(faultOfCookieOrigin).default([]),
    /** App URLs that sign-in may redirect to (`redirect_to`), each matched exactly. */
    APP_URLS: list(faultOfUrl).default([]),
    /**
     * Sent by our own servers as `Roster-Proxy-Secret`, so that they may pass on their clients' addresses.
     */
    TRUSTED_PROXY_SECRET: list(weaknessOfSecret).default([]),
    SIGNUP: oneOf('open', 'closed').default('open'),
    /** Whether there are pages under /admin. */
    CONSOLE: oneOf('on', 'off').default('on'),
    /** Mail domains that may sign up, and to which an address may be changed; all when empty. */
    SIGNUP_DOMAINS: z.string().toLowerCase().pipe(list(faultOfDomain)).default([]),
    /** Who may not sign up: addresses, domains with their subdomains, networks. */
    SIGNUP_BLOCKED: z
      .string()
      .max(MAX_OF_BLOCKED, `is longer than ${MAX_OF_BLOCKED / 1024} KB`)
      .toLowerCase()
      .pipe(list(faultOfBlocked))
      .transform((entries) => entries.map(spellEntry))
      .default([]),
    /** The default depends on MAIL_FROM and SIGNUP_DOMAINS: see main.ts. */
    EMAIL_VERIFICATION: oneOf('required', 'optional').optional(),
    /** Whether people can sign in by a mailed code, and also sign up where that is open. */
    EMAIL_CODE_SIGNIN: oneOf('on', 'off').default('off'),
    /** The providers that people can sign in with: JSON, described in docs/identity-providers.md. */
    IDENTITY_PROVIDERS: z
      .string()
      .transform((value, context): IdentityProvider[] => {
        const providers = providersIn(value)
        if (typeof providers !== 'string') return providers
        context.addIssue({ code: 'custom', message: providers })
        return z.NEVER
      })
      .default([]),
    /** Whether an app may register itself by a metadata document: its id is the URL of that document. */
    CLIENT_METADATA: oneOf('on', 'off').default('off'),
    /** Such apps that are blocked: hosts with their subdomains, and single URLs. */
    CLIENT_METADATA_BLOCKED: list(faultOfBlockedApp).default([]),
    /** Who has to have a second factor. */
    SECOND_FACTOR: oneOf('optional', 'managers', 'everybody').default('optional'),
    /** Session lifetimes of anybody with a role above `user` are shorter: idle, and in all. */
    PRIVILEGED_IDLE_MINUTES: number(30, 5, 20_160),
    PRIVILEGED_HOURS: number(12, 1, 720),
    /** The WebAuthn relying party id; by default ISSUER's host. It must stay the same when ISSUER moves. */
    WEBAUTHN_RP_ID: checked(faultOfHost).optional(),
    /** Origins beside ISSUER's own at which our passkeys may be used. */
    WEBAUTHN_ORIGINS: list(faultOfOrigin).default([]),
    ORGANISATION: name(100).default('Roster'),
    /** What new users agree to. Everybody is asked again when TERMS_VERSION changes: see main.ts. */
    TERMS_URL: checked(faultOfUrl).optional(),
    PRIVACY_URL: checked(faultOfUrl).optional(),
    TERMS_VERSION: name(50).optional(),
    /** For the pages: a logo, by a URL of this origin or a data URL; and a colour, as #rrggbb. */
    BRAND_LOGO_URL: checked(faultOfPicture).optional(),
    BRAND_COLOUR: checked(faultOfColour).optional(),
    /** Texts of the pages to replace: by language, then by key, such as `signin.title`. */
    PAGE_TEXTS: z
      .string()
      .transform((value, context): Record<string, Record<string, string>> => {
        const texts = textsIn(value)
        if (!texts) context.addIssue({ code: 'custom', message: 'is not an object of languages with texts' })
        return texts ?? z.NEVER
      })
      .default({}),
    /** With both set, sign-ups are checked by Cloudflare Turnstile. */
    TURNSTILE_SITE_KEY: checked(faultOfToken).optional(),
    TURNSTILE_SECRET: secret().optional(),
    TURNSTILE_URL: checked(faultOfUrl).default('https://challenges.cloudflare.com'),
    /** `address` or `Name <address>`. Without it no mail is sent, and what needs mail answers 503. */
    MAIL_FROM: checked(faultOfMailbox).optional(),
    MAIL_REPLY_TO: checked(faultOfMailbox).optional(),
    /** Sends mail by SMTP: `smtps://user:password@host:465`. */
    SMTP_URL: checked(faultOfSmtp).optional(),
    /** Sends mail by Resend. Without this and SMTP_URL, the binding `EMAIL` is used. */
    RESEND_API_KEY: secret().optional(),
    RESEND_URL: checked(faultOfUrl).default('https://api.resend.com'),
    /** `Server-Timing` for everybody, not only for signed-in users. */
    DEBUG_TIMING: oneOf('on', 'off').default('off'),
    /**
     * Asks the public range service whether a new password is in a known breach. Only the first five digits
     * of its digest are sent.
     */
    BREACHED_PASSWORDS: oneOf('on', 'off').default('off'),
    BREACHED_PASSWORDS_URL: checked(faultOfUrl).default('https://api.pwnedpasswords.com'),
    /** The most failed logins per network, over all accounts. An office or a school is one network. */
    NETWORK_FAILURES_PER_HOUR: number(30, 10, 100_000),
    /**
     * `on`: apps and providers on this machine may be called. Refused unless ISSUER is on this machine, too.
     */
    OUTBOUND_LOCAL: oneOf('on', 'off').default('off'),
    /** `errors`: logs only requests that were answered with 500 or above. */
    LOG: oneOf('errors', 'all').default('all'),
    /**
     * `cheap`: for tests that are not about hashing. Refused for any deployment that others could reach: see
     * main.ts.
     */
    PASSWORD_HASHES: oneOf('full', 'cheap').default('full'),
    /**
     * The most mails per hour that strangers can cause, in all. Beyond it, only known devices and people get
     * mail.
     */
    MAILS_PER_HOUR: number(2000, 1, 1_000_000),
    /**
     * The most mails per hour that one network can cause, sign-ups included: an office or a school is one
     * network.
     */
    NETWORK_MAILS_PER_HOUR: number(30, 1, 100_000),
    REFRESH_GRACE_SECONDS: number(30, LEAST_GRACE_SECONDS, 300),
    /** How long Redis may answer from a copy of what libSQL said; 0 for never. */
    NEAR_READ_SECONDS: number(60, 0, 60),
    PURGE_AFTER_DAYS: days(30, 1),
    /** Accounts that are still unverified and unused after this time are erased. */
    UNVERIFIED_DAYS: days(30, 1),
    // A trigger keeps history for 30 days by the database's clock. One more day here, so that clean-up never
    // fails on it.
    ACTIVITY_DAYS: days(400, 31),
    /**
     * How long database backups are kept, and with them the ledger of what they lack (activity/ledger.ts); 0:
     * no backups.
     */
    BACKUPS_KEPT_DAYS: days(30, 0),
    /** By default 90, or ACTIVITY_DAYS if that is less: see main.ts. */
    ACTIVITY_NOISE_DAYS: wholeNumber(31, 3650).optional(),
  }),
)

export type Setting = keyof z.input<ReturnType<typeof Env>>

const URL_OF = (service: string) => `the https:// URL of ${service} (http:// only for localhost)`
const NUMBER_OF = (what: string) => `a number of ${what}`

/** Continues "Write ". */
export const WHAT_TO_WRITE: Record<Setting, string> = {
  TURSO_DATABASE_URL: 'the libsql:// or https:// URL of the database (http:// only for localhost)',
  TURSO_AUTH_TOKEN: 'the token of the database, which no other setting has',
  UPSTASH_REDIS_REST_URL: URL_OF('Redis'),
  UPSTASH_REDIS_REST_TOKEN: 'the token of Redis, which no other setting has',
  JWT_KEYS: 'what `npm run keys:generate` prints',
  OPENID_KEYS: 'what `npm run keys:generate` prints, or leave it out for no OpenID',
  SECRET_KEYS: 'what `npm run keys:generate` prints, several separated by commas',
  HISTORY_KEY: 'what `npm run keys:generate` prints, several separated by commas, or leave it out',
  ISSUER: "the Worker's own origin, such as https://roster.your-domain (http:// only for localhost)",
  AUDIENCE: 'the audience of the tokens, or leave it out',
  LINK_ORIGIN:
    'an origin that readers of mails can open, such as https://roster.your-domain, or leave it out',
  CORS_ORIGINS: 'origins such as https://app.your-domain, each in full, separated by commas',
  COOKIE_ORIGINS: 'origins on the same site such as https://app.your-domain, separated by commas',
  APP_URLS: 'whole URLs such as https://app.your-domain/signed-in, separated by commas',
  TRUSTED_PROXY_SECRET: 'what `npm run keys:generate` prints for SECRET_KEYS, another one, or leave it out',
  SIGNUP: 'open or closed',
  CONSOLE: 'on or off',
  SIGNUP_DOMAINS:
    'whole domains such as your-domain.com, separated by commas: no @, no *, other letters as xn--…, subdomains one by one',
  SIGNUP_BLOCKED: `addresses, whole domains such as elsewhere.com, IP addresses and networks such as 192.0.2.0/24, separated by commas, ${MAX_OF_BLOCKED / 1024} KB in all`,
  EMAIL_VERIFICATION: 'required, or leave it out',
  EMAIL_CODE_SIGNIN: 'on or off',
  IDENTITY_PROVIDERS: 'a JSON list of providers as docs/identity-providers.md shows it, or leave it out',
  CLIENT_METADATA: 'on or off',
  CLIENT_METADATA_BLOCKED:
    'whole domains such as elsewhere.com, and whole URLs such as https://elsewhere.com/app.json, separated by commas',
  SECOND_FACTOR: 'optional, managers or everybody',
  PRIVILEGED_IDLE_MINUTES: NUMBER_OF('minutes from 5 to 20160'),
  PRIVILEGED_HOURS: NUMBER_OF('hours from 1 to 720'),
  WEBAUTHN_RP_ID: "the domain that passkeys are made for, such as your-domain, or leave it out for ISSUER's",
  WEBAUTHN_ORIGINS: 'origins such as https://app.your-domain, separated by commas, or leave it out',
  ORGANISATION: 'a name of at most 100 characters, in one line',
  TERMS_URL: 'the https:// URL of the terms of use, or leave it out',
  PRIVACY_URL: 'the https:// URL of the privacy notice, or leave it out',
  TERMS_VERSION: 'another one whenever the terms change, such as 2026-11-28, or leave it out',
  BRAND_LOGO_URL: 'a path of this origin such as /logo.svg, or a data: image in base64, or leave it out',
  BRAND_COLOUR: 'a colour such as #01614d, or leave it out',
  PAGE_TEXTS: 'JSON such as {"en":{"signin.title":"Welcome"}}, or leave it out',
  TURNSTILE_SITE_KEY: 'the site key of a Turnstile widget, beside its secret, or leave both out',
  TURNSTILE_SECRET: 'the secret of that Turnstile widget, which no other setting has, or leave both out',
  TURNSTILE_URL: URL_OF('Turnstile'),
  MAIL_FROM: 'an address, or a name and an address as in Name <no-reply@your-domain>',
  MAIL_REPLY_TO: 'an address, or leave it out',
  RESEND_API_KEY:
    'the key of Resend, which no other setting has, or bind `send_email` as EMAIL in wrangler.toml',
  SMTP_URL:
    'smtps://user:password@host:465 of a mail server, the user and the password as in URLs (@ is %40), or leave it out',
  RESEND_URL: URL_OF('the mail service'),
  DEBUG_TIMING: 'on, or leave it out',
  BREACHED_PASSWORDS: 'on or off',
  BREACHED_PASSWORDS_URL: URL_OF('the range service'),
  NETWORK_FAILURES_PER_HOUR: NUMBER_OF('failures from 10 to 100000'),
  OUTBOUND_LOCAL: 'on where ISSUER is on this machine, or else leave it out',
  LOG: 'errors or all',
  PASSWORD_HASHES: 'full, or leave it out',
  MAILS_PER_HOUR: NUMBER_OF('mails from 1 to 1000000'),
  NETWORK_MAILS_PER_HOUR: NUMBER_OF('mails from 1 to 100000'),
  REFRESH_GRACE_SECONDS: NUMBER_OF(`seconds from ${LEAST_GRACE_SECONDS} to 300`),
  NEAR_READ_SECONDS: NUMBER_OF('seconds from 0 to 60'),
  PURGE_AFTER_DAYS: NUMBER_OF('days from 1 to 3650'),
  UNVERIFIED_DAYS: NUMBER_OF('days from 1 to 3650'),
  ACTIVITY_DAYS: NUMBER_OF('days from 31 to 3650'),
  BACKUPS_KEPT_DAYS: NUMBER_OF('days from 0 to ACTIVITY_DAYS'),
  ACTIVITY_NOISE_DAYS: NUMBER_OF('days from 31 to ACTIVITY_DAYS, or leave it out'),
}
