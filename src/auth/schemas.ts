import * as z from 'zod'
import { RecoveryCode, TotpCode } from '../factors/schemas.ts'
import { Accepted } from '../links/schemas.ts'
import { challengeId, PasskeyAssertion } from '../passkeys/schemas.ts'
import { NewPassword, Password } from '../passwords/schemas.ts'
import { DisplayName, EmailInput, TermsVersion, User } from '../users/schemas.ts'
import { lazy, type Of } from '../values/lazy.ts'
import { text } from '../values/text.ts'
import { keeping } from './keep-signed-in.ts'

export const SignUp = lazy(() =>
  z
    .strictObject({
      email: EmailInput(),
      password: NewPassword(),
      name: DisplayName(),
      terms_version: TermsVersion().optional(),
      challenge_token: text(2048).optional().meta({
        description: 'Of Cloudflare Turnstile, for the action `signup`, where the deployment asks for it.',
      }),
    })
    .meta({ id: 'SignUp' }),
)
export type SignUp = Of<typeof SignUp>

const token = () => text(256, 1)

export const LogIn = lazy(() =>
  z
    .strictObject({
      email: text(320, 1).meta({ example: 'ada@example.com' }),
      password: Password(),
      device_token: token().optional().meta({
        description: 'From an earlier sign-in on this device, whose attempts are then counted apart.',
      }),
      signup_token: token().optional().meta({
        description:
          'From signing up, until the address is confirmed. Where it has to be, a wrong password is then 403 `email_not_verified`, too.',
      }),
      ...keeping(),
    })
    .meta({ id: 'LogIn' }),
)
export type LogIn = Of<typeof LogIn>

const device = () => ({
  device_token: token().optional().meta({ description: 'From an earlier sign-in on this device.' }),
})
const challenge = () => text(256, 1).meta({ description: 'From the answer 403 `second_factor_required`.' })

/** By one of the methods that the challenge named. */
export const SecondFactor = lazy(() =>
  z
    .union([
      z.strictObject({ challenge: challenge(), code: TotpCode(), ...device(), ...keeping() }),
      z.strictObject({ challenge: challenge(), recovery_code: RecoveryCode(), ...device(), ...keeping() }),
      z.strictObject({ challenge: challenge(), passkey: PasskeyAssertion(), ...device(), ...keeping() }),
    ])
    .meta({ id: 'SecondFactor' }),
)
export type SecondFactor = Of<typeof SecondFactor>

export const SecondFactorChallenge = lazy(() =>
  z.strictObject({ challenge: challenge() }).meta({ id: 'SecondFactorChallenge' }),
)

export const PasskeyLogIn = lazy(() =>
  z
    .strictObject({ challenge_id: challengeId(), credential: PasskeyAssertion(), ...device(), ...keeping() })
    .meta({ id: 'PasskeyLogIn' }),
)
export type PasskeyLogIn = Of<typeof PasskeyLogIn>

/** The form of OAuth2 password clients (RFC 6749 section 4.3.2); their other members are ignored. */
export const LogInForm = lazy(() =>
  z
    .object({
      username: LogIn().shape.email,
      password: Password(),
      grant_type: z.literal(['password', '']).optional(),
    })
    .transform(({ username, password }) => ({ email: username, password })),
)

export const Refresh = lazy(() => z.strictObject({ refresh_token: text(512, 1) }).meta({ id: 'Refresh' }))
/** The same as a form of those clients (RFC 6749 section 6). */
export const RefreshForm = lazy(() =>
  z
    .object({
      refresh_token: Refresh().shape.refresh_token,
      grant_type: z.literal(['refresh_token', '']).optional(),
    })
    .transform(({ refresh_token }) => ({ refresh_token })),
)

const byMail = () => ({
  mail_code: text(8)
    .regex(/^\d{8}$/, 'Has eight digits.')
    .meta({ description: 'For whoever has neither a password nor a passkey.' }),
  request_token: token().meta({ description: 'From the answer to the request for the code.' }),
})

/** What a signed-in user proves again who they are with. */
export const Reauthenticate = lazy(() =>
  z
    .union([
      z.strictObject({ password: Password() }),
      z.strictObject({ password: Password(), code: TotpCode() }),
      z.strictObject({ password: Password(), recovery_code: RecoveryCode() }),
      z.strictObject({ challenge_id: challengeId(), credential: PasskeyAssertion() }),
      z.strictObject(byMail()),
      z.strictObject({ ...byMail(), code: TotpCode() }),
      z.strictObject({ ...byMail(), recovery_code: RecoveryCode() }),
    ])
    .meta({ id: 'Reauthenticate' }),
)
export type Reauthenticate = Of<typeof Reauthenticate>

export const Reauthenticated = lazy(() =>
  z
    .object({
      access_token: z
        .string()
        .meta({ description: 'With a fresh `auth_time`; a refresh gives the old one.' }),
      token_type: z.literal('Bearer'),
      expires_in: z.int().meta({ description: 'Seconds.', example: 600 }),
    })
    .meta({ id: 'Reauthenticated' }),
)
export type Reauthenticated = Of<typeof Reauthenticated>

const signupToken = () =>
  z.string().meta({
    description: 'Shows that it was you who signed up. Leave it out once the address is confirmed.',
  })
export const SignedUp = lazy(() => User().extend({ signup_token: signupToken() }).meta({ id: 'SignedUp' }))
export type SignedUp = Of<typeof SignedUp>
export const SignupAccepted = lazy(() =>
  Accepted().extend({ signup_token: signupToken() }).meta({ id: 'SignupAccepted' }),
)
export type SignupAccepted = Of<typeof SignupAccepted>

const NeedsBetterPassword = lazy(() =>
  z.literal(true).meta({
    description:
      'At the first sign-in with a password that came from another system, where it could not be set here: ask for a better one.',
  }),
)

const FirstRecoveryCodes = lazy(() =>
  z.array(z.string()).meta({
    description:
      'At the first sign-in by an authenticator app that came from another system: ten, shown this once. Each lets its owner in once.',
  }),
)

export const Tokens = lazy(() =>
  z
    .object({
      access_token: z.string(),
      token_type: z.literal('Bearer'),
      expires_in: z.int().meta({ description: 'Seconds.', example: 600 }),
      refresh_token: z.string(),
      device_token: z.string().optional().meta({
        description:
          'Only at a sign-in and with a new password: send it at the next sign-in from this device.',
      }),
      refresh_expires_in: z.int().meta({ description: 'Seconds.', example: 1_209_600 }),
      user: User(),
      needs_better_password: NeedsBetterPassword().optional(),
      recovery_codes: FirstRecoveryCodes().optional(),
    })
    .meta({ id: 'Tokens' }),
)
export type Tokens = Of<typeof Tokens>

/** For a session that is kept in a cookie. */
const SignedInByCookie = lazy(() =>
  z
    .object({
      user: User(),
      needs_better_password: NeedsBetterPassword().optional(),
      recovery_codes: FirstRecoveryCodes().optional(),
    })
    .meta({ id: 'SignedInByCookie' }),
)

const orByCookie = <S extends z.ZodType>(schema: () => S) =>
  lazy(() => z.union([schema(), SignedInByCookie()]))
export const TokensOrCookie = orByCookie(Tokens)
export const ReauthenticatedOrCookie = orByCookie(Reauthenticated)
