import * as z from 'zod'
import { type JwtKeys, parseJwtKeys } from '../crypto/jwt-keys.ts'
import { type Keyring, keyring } from '../crypto/keyring.ts'
import { lazy, type Of } from '../values/lazy.ts'

/** Values that stand in documentation, and what people type to get past a check. */
const EXAMPLE = /change.?me|example|replace.?me|your[-_ ]|secret.?here|[<>]|(.)\1{9}/i

const secret = lazy(() =>
  z
    .string()
    .min(32)
    .refine((value) => !EXAMPLE.test(value), 'is an example'),
)
const days = (preset: number, min: number) => z.coerce.number().int().min(min).max(3650).default(preset)
const list = lazy(() =>
  z
    .string()
    .default('')
    .transform((value) =>
      value
        .split(',')
        .map((item) => item.trim())
        .filter(Boolean),
    ),
)
const origin = lazy(() =>
  z.url({ protocol: /^https?$/ }).refine((value) => URL.parse(value)?.origin === value, 'is not an origin'),
)

const Env = lazy(() =>
  z
    .object({
      TURSO_DATABASE_URL: z.url({ protocol: /^(libsql|https?)$/ }),
      TURSO_AUTH_TOKEN: z.string().min(1),
      UPSTASH_REDIS_REST_URL: z.url({ protocol: /^https?$/ }),
      UPSTASH_REDIS_REST_TOKEN: z.string().min(1),
      JWT_KEYS: z.string().transform((value, context): JwtKeys => {
        try {
          return parseJwtKeys(value)
        } catch {
          context.addIssue({ code: 'custom', message: 'is not a private JWK set' })
          return z.NEVER
        }
      }),
      SECRET_KEYS: list().pipe(z.array(secret()).min(1)),
      ISSUER: origin(),
      AUDIENCE: z.string().min(1).default('roster'),
      /** Where the links in mails lead: never taken from a request. */
      LINK_ORIGIN: origin().optional(),
      CORS_ORIGINS: list().pipe(z.array(origin())),
      SIGNUP: z.enum(['open', 'closed']).default('open'),
      /** Mail domains that may sign up; all when empty. */
      SIGNUP_DOMAINS: list().transform((domains) => domains.map((domain) => domain.toLowerCase())),
      EMAIL_VERIFICATION: z.enum(['required', 'optional']).default('optional'),
      ORGANISATION: z.string().min(1).max(100).default('Roster'),
      /** `address` or `Name <address>`. Without it no mail is sent, and what needs mail answers 503. */
      MAIL_FROM: z
        .string()
        .regex(/^[^<>\r\n]*<?[^\s<>@]+@[^\s<>@]+>?$/)
        .optional(),
      MAIL_REPLY_TO: z.email().optional(),
      /** Sends by Resend; without it, by the binding `EMAIL`. */
      RESEND_API_KEY: z.string().min(1).optional(),
      RESEND_URL: z.url({ protocol: /^https?$/ }).default('https://api.resend.com'),
      // At least as long as a request may be on its way twice.
      REFRESH_GRACE_SECONDS: z.coerce.number().int().min(10).max(300).default(30),
      PURGE_AFTER_DAYS: days(30, 1),
      // A trigger keeps history for 30 days, by the database's clock; a day more, so that clean-up never runs into it.
      ACTIVITY_DAYS: days(400, 31),
      ACTIVITY_NOISE_DAYS: days(90, 31),
    })
    .refine((env) => env.EMAIL_VERIFICATION === 'optional' || env.MAIL_FROM, { path: ['MAIL_FROM'] })
    .refine((env) => new Set(env.SECRET_KEYS).size === env.SECRET_KEYS.length, { path: ['SECRET_KEYS'] })
    .refine(
      (env) =>
        ![env.UPSTASH_REDIS_REST_TOKEN, env.TURSO_AUTH_TOKEN, env.JWT_KEYS.signing.d].some(
          (secret) => secret !== undefined && env.SECRET_KEYS.includes(secret),
        ),
      {
        path: ['SECRET_KEYS'],
      },
    ),
)

export type Config = Readonly<
  Of<typeof Env> & {
    /** One secret is never used for two purposes: each has a key of its own, derived by HKDF-SHA256. */
    keys: Readonly<Record<(typeof PURPOSES)[number], Keyring>>
  }
>

const PURPOSES = [
  'refresh_token',
  'one_time_token',
  'password_pepper',
  'cursor',
  'throttle',
  'idempotency',
] as const

/** Settings that are missing or unfit, by name. Never with a value: this goes to logs and answers. */
export class ConfigError extends Error {
  readonly names: string[]
  constructor(names: string[]) {
    super(`Settings missing or unfit: ${names.join(', ')}`)
    this.names = names
  }
}

const parsed = new WeakMap<object, Config | ConfigError>()

/** Reads and checks all settings, once per isolate. The only reader of the environment. Throws ConfigError. */
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
  if (!result.success) {
    return new ConfigError([...new Set(result.error.issues.map((issue) => String(issue.path[0])))].sort())
  }
  const keys = Object.fromEntries(
    PURPOSES.map((purpose) => [purpose, keyring(result.data.SECRET_KEYS, purpose)]),
  )
  return { ...result.data, keys: keys as Config['keys'] }
}
