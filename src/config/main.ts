import { type Keyring, keyring } from '../crypto/keyring.ts'
import type { Of } from '../values/lazy.ts'
import { closestSetting, faultOfCalled, isLoopback } from './checks.ts'
import { Env, type Setting, WHAT_TO_WRITE } from './env.ts'
import { isLocalProvider, placeOf } from './providers.ts'

type Settings = Of<typeof Env>

export type Config = Readonly<
  Omit<Settings, 'EMAIL_VERIFICATION' | 'WEBAUTHN_RP_ID' | 'ACTIVITY_NOISE_DAYS'> & {
    EMAIL_VERIFICATION: 'required' | 'optional'
    WEBAUTHN_RP_ID: string
    ACTIVITY_NOISE_DAYS: number
    /** No secret serves two purposes: each purpose has a key of its own, derived by HKDF-SHA256. */
    keys: Readonly<Record<(typeof PURPOSES)[number], Keyring>>
  }
>

const PURPOSES = [
  'refresh_token',
  'device_token',
  'signup_token',
  'one_time_token',
  'password_pepper',
  'cursor',
  'throttle',
  'idempotency',
  'session_cookie',
  'challenge',
  'totp_seed',
  'foreign_hash',
  'form_token',
  'near_copy',
  'carried_form',
  'oauth_code',
  'oauth_asked',
  'oauth_logout',
  'identity_provider',
  'oauth_pushed',
  'api_key',
  'client_secret',
  'client_metadata',
  'oauth_device',
  'webhook_secret',
  'ledger',
] as const

/** What is wrong with one setting, without its value: "is missing". */
interface Fault {
  name: string
  wrong: string
}

const WHERE = 'Locally it is in .dev.vars, otherwise in the secrets or [vars] of the Worker.'

/**
 * Settings that are missing or invalid. `message` lists only their names, and may go into answers.
 * `sentences` are for logs and terminals: what is wrong with each, what to write and where. Neither contains
 * a value.
 */
export class ConfigError extends Error {
  readonly names: string[]
  readonly sentences: string[]
  constructor(faults: Fault[]) {
    const names = [...new Set(faults.map(({ name }) => name))].sort()
    super(`Settings missing or unfit: ${names.join(', ')}`)
    this.names = names
    this.sentences = [...new Set(faults.map(toSentence))].sort()
  }
}

function toSentence({ name, wrong }: Fault): string {
  const what = WHAT_TO_WRITE[name as Setting]
  return `${name} ${wrong}.${what ? ` Write ${what}.` : ''} ${WHERE}`
}

const parsed = new WeakMap<object, Config | ConfigError>()

/**
 * Parses and checks all settings, once per isolate. The only reader of the environment. Throws ConfigError.
 */
export function configOf(env: object): Config {
  let config = parsed.get(env)
  if (!config) {
    config = parse(env)
    parsed.set(env, config)
  }
  if (config instanceof ConfigError) throw config
  return config
}

function parse(env: object): Config | ConfigError {
  const result = Env().safeParse(env)
  const faults: Fault[] = [
    ...misspeltNames(env),
    ...(result.error?.issues ?? []).map(({ path, message }) => ({ name: String(path[0]), wrong: message })),
    ...(result.data ? [...contradictions(result.data, env), ...sharedSecrets(result.data)] : []),
  ]
  if (!result.success || faults.length > 0) return new ConfigError(faults)
  const settings = result.data
  const keys = Object.fromEntries(
    PURPOSES.map((purpose) => [purpose, keyring(settings.SECRET_KEYS, purpose)]),
  )
  return {
    ...settings,
    EMAIL_VERIFICATION: verificationOf(settings),
    WEBAUTHN_RP_ID: settings.WEBAUTHN_RP_ID ?? new URL(settings.ISSUER).hostname,
    ACTIVITY_NOISE_DAYS: noiseDaysOf(settings),
    TERMS_VERSION: termsVersionOf(settings),
    keys: keys as Config['keys'],
  }
}

/**
 * A deployment that can send mail requires verified addresses; one that admits people by their domain has to.
 */
const verificationOf = ({ EMAIL_VERIFICATION, MAIL_FROM, SIGNUP_DOMAINS }: Settings) =>
  EMAIL_VERIFICATION ?? (MAIL_FROM || SIGNUP_DOMAINS.length > 0 ? 'required' : 'optional')

/** Terms get a version even where none is set: it is stored with each agreement. */
const termsVersionOf = ({ TERMS_URL, PRIVACY_URL, TERMS_VERSION }: Settings) =>
  TERMS_URL || PRIVACY_URL ? (TERMS_VERSION ?? '1') : undefined

const noiseDaysOf = ({ ACTIVITY_DAYS, ACTIVITY_NOISE_DAYS = Math.min(90, ACTIVITY_DAYS) }: Settings) =>
  ACTIVITY_NOISE_DAYS

/** A misspelt setting would be ignored, and the laxer default would hold. */
function misspeltNames(env: object): Fault[] {
  const settings = Object.keys(WHAT_TO_WRITE)
  return Object.keys(env).flatMap((name) => {
    const meant = settings.includes(name) ? undefined : closestSetting(name, settings)
    return meant ? [{ name, wrong: `is not a setting. Write ${meant}, or give it a name less like one` }] : []
  })
}

/** Settings that are valid one by one, but contradict each other. */
function contradictions(settings: Settings, env: object): Fault[] {
  const faults: Fault[] = []
  if (noiseDaysOf(settings) > settings.ACTIVITY_DAYS) {
    const wrong = 'is above ACTIVITY_DAYS, so noise would outlive what matters'
    faults.push({ name: 'ACTIVITY_NOISE_DAYS', wrong })
  }
  if (settings.BACKUPS_KEPT_DAYS > settings.ACTIVITY_DAYS) {
    const wrong = 'is above ACTIVITY_DAYS, but the history has to cover what backups hold'
    faults.push({ name: 'BACKUPS_KEPT_DAYS', wrong })
  }
  if (settings.TERMS_VERSION && !termsVersionOf(settings)) {
    faults.push({ name: 'TERMS_VERSION', wrong: 'is the version of no terms, as TERMS_URL is missing' })
  }
  for (const [name, other] of [
    ['TURNSTILE_SECRET', 'TURNSTILE_SITE_KEY'],
    ['TURNSTILE_SITE_KEY', 'TURNSTILE_SECRET'],
  ] as const) {
    if (settings[other] && !settings[name]) faults.push({ name, wrong: `is missing, and ${other} is there` })
  }
  const kids = new Set(settings.JWT_KEYS.verifying.map(({ kid }) => kid))
  if (settings.OPENID_KEYS?.verifying.some(({ kid }) => kids.has(kid)))
    faults.push({ name: 'OPENID_KEYS', wrong: 'has a kid that is in JWT_KEYS too' })
  if (settings.CLIENT_METADATA === 'on' && !settings.OPENID_KEYS)
    faults.push({
      name: 'OPENID_KEYS',
      wrong: 'is missing, and CLIENT_METADATA lets apps sign users in with it',
    })
  const { ISSUER, LINK_ORIGIN = ISSUER } = settings
  const isLocal = (origin: string) => isLoopback(new URL(origin).hostname)
  if (isLocal(LINK_ORIGIN) !== isLocal(ISSUER)) {
    const wrong = `is ${isLocal(LINK_ORIGIN) ? '' : 'not '}on this machine, and ISSUER is${isLocal(ISSUER) ? '' : ' not'}`
    faults.push({ name: 'LINK_ORIGIN', wrong })
  }
  // RFC 6761 section 6.2: nobody can own a name under .test, so no deployment has one.
  const isOfNobody = new URL(ISSUER).hostname.endsWith('.test')
  if (settings.OUTBOUND_LOCAL === 'on' && !isLocal(ISSUER) && !isOfNobody)
    faults.push({
      name: 'OUTBOUND_LOCAL',
      wrong: 'has Roster call this machine, and ISSUER is not on it',
    })
  if (settings.SIGNUP_DOMAINS.length > 0 && settings.EMAIL_VERIFICATION === 'optional') {
    const wrong = 'proves no address, so SIGNUP_DOMAINS lets in whoever claims one'
    faults.push({ name: 'EMAIL_VERIFICATION', wrong })
  }
  if (settings.PASSWORD_HASHES === 'cheap' && !isOfNobody) {
    faults.push({ name: 'PASSWORD_HASHES', wrong: 'is only for tests, with an ISSUER under .test' })
  }
  const required = 'but nobody can confirm an address without it, and confirming is required'
  const isRequired = verificationOf(settings) === 'required'
  const { SMTP_URL, RESEND_API_KEY } = settings
  if (!settings.MAIL_FROM && (isRequired || RESEND_API_KEY || SMTP_URL)) {
    const service = SMTP_URL ? 'SMTP_URL' : 'RESEND_API_KEY'
    const wrong = `is missing, ${isRequired ? required : `but no mail goes without it, and ${service} is set`}`
    faults.push({ name: 'MAIL_FROM', wrong })
  }
  if (settings.EMAIL_CODE_SIGNIN === 'on' && !settings.MAIL_FROM)
    faults.push({ name: 'MAIL_FROM', wrong: 'is missing, and EMAIL_CODE_SIGNIN mails codes' })
  if (SMTP_URL && RESEND_API_KEY)
    faults.push({ name: 'SMTP_URL', wrong: 'is set beside RESEND_API_KEY, and mail goes by only one' })
  if (SMTP_URL?.startsWith('smtp:') && settings.OUTBOUND_LOCAL === 'off')
    faults.push({ name: 'SMTP_URL', wrong: 'is on this machine, which needs OUTBOUND_LOCAL' })
  if (settings.MAIL_FROM && !RESEND_API_KEY && !SMTP_URL && !('EMAIL' in env && env.EMAIL)) {
    const wrong = `is missing, ${isRequired ? required : 'but no mail goes without it, and MAIL_FROM is set'}`
    faults.push({ name: 'RESEND_API_KEY', wrong })
  }
  return [...faults, ...farDomains(settings), ...uncallableProviders(settings)]
}

/** Domains that are unrelated to ISSUER's, so that settings which use them cannot work. */
function farDomains({ ISSUER, WEBAUTHN_RP_ID, WEBAUTHN_ORIGINS, COOKIE_ORIGINS }: Settings): Fault[] {
  const hostOf = (origin: string) => new URL(origin).hostname
  const faults: Fault[] = []
  // WebAuthn section 5.1.3 step 8: an origin makes passkeys for its own domain and those above it, or for a
  // domain that lists it.
  const isUnder = (host: string) => host === WEBAUTHN_RP_ID || host.endsWith(`.${WEBAUTHN_RP_ID}`)
  if (WEBAUTHN_RP_ID && ![ISSUER, ...WEBAUTHN_ORIGINS].map(hostOf).some(isUnder)) {
    const wrong =
      'is a domain that neither ISSUER nor one of WEBAUTHN_ORIGINS is under, so no passkey can be made'
    faults.push({ name: 'WEBAUTHN_RP_ID', wrong })
  }
  // A site is a registered domain, of at least two labels: across sites, no cookie is sent.
  const siteOf = (origin: string) => hostOf(origin).split('.').slice(-2).join('.')
  if (COOKIE_ORIGINS.some((origin) => siteOf(origin) !== siteOf(ISSUER))) {
    const wrong = "has an origin of another site than ISSUER's, where browsers send no cookie of ours"
    faults.push({ name: 'COOKIE_ORIGINS', wrong })
  }
  return faults
}

/** Providers whose issuer may not be called, so that nobody could sign in with them. */
const uncallableProviders = ({ IDENTITY_PROVIDERS, ...own }: Settings): Fault[] =>
  IDENTITY_PROVIDERS.flatMap((provider, index) => {
    const fault = faultOfCalled(provider.issuer, own)
    if (!fault) return []
    const isHeldBack = own.OUTBOUND_LOCAL === 'off' && isLocalProvider(provider)
    const wrong = isHeldBack
      ? 'has one on this machine, which needs OUTBOUND_LOCAL'
      : `has an issuer that ${fault}`
    return [{ name: 'IDENTITY_PROVIDERS', wrong: `${wrong} ${placeOf(index, IDENTITY_PROVIDERS)}` }]
  })

const passwordIn = (url: string | undefined) => (url ? decodeURIComponent(new URL(url).password) : undefined)

/** A secret that is used twice is no secret. Of two equal ones, the later in this list is named. */
function sharedSecrets(settings: Settings): Fault[] {
  type Value = [name: Setting, value: string | undefined]
  const { JWT_KEYS, OPENID_KEYS, SECRET_KEYS } = settings
  const known: Value[] = [
    ...(
      ['ISSUER', 'AUDIENCE', 'ORGANISATION', 'LINK_ORIGIN', 'MAIL_FROM', 'TURNSTILE_SITE_KEY'] as const
    ).map((name): Value => [name, settings[name]]),
    ...JWT_KEYS.verifying.flatMap(({ kid, x, y }) => [kid, x, y].map((value): Value => ['JWT_KEYS', value])),
  ]
  const secrets: Value[] = [
    ...JWT_KEYS.secrets.map((d): Value => ['JWT_KEYS', d]),
    ...(OPENID_KEYS?.secrets ?? []).map((d): Value => ['OPENID_KEYS', d]),
    ['TURSO_AUTH_TOKEN', settings.TURSO_AUTH_TOKEN],
    ['UPSTASH_REDIS_REST_TOKEN', settings.UPSTASH_REDIS_REST_TOKEN],
    ['RESEND_API_KEY', settings.RESEND_API_KEY],
    ['TURNSTILE_SECRET', settings.TURNSTILE_SECRET],
    ['SMTP_URL', passwordIn(settings.SMTP_URL)],
    ...settings.IDENTITY_PROVIDERS.flatMap(({ client_secret, private_key }) =>
      [client_secret, private_key].map((value): Value => ['IDENTITY_PROVIDERS', value]),
    ),
    ...settings.TRUSTED_PROXY_SECRET.map((key): Value => ['TRUSTED_PROXY_SECRET', key]),
    ...settings.HISTORY_KEY.map((key): Value => ['HISTORY_KEY', key]),
    ...SECRET_KEYS.map((key): Value => ['SECRET_KEYS', key]),
  ]
  // The date that may follow a key of ours is not part of its secret.
  const bare = (value: string | undefined) => value?.replace(/=\d{8}T\d{6}Z$/, '')
  return secrets.flatMap(([name, value], index) => {
    const twin = [...known, ...secrets.slice(0, index)].find(([, its]) => bare(its) === bare(value))
    return twin && value ? [{ name, wrong: `has the same value as ${twin[0]}` }] : []
  })
}
