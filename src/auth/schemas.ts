import * as z from 'zod'
import { listOf } from '../http/pagination.ts'
import { DisplayName, EmailInput, NewPassword, User } from '../users/schemas.ts'
import { Id, Time } from '../values/ids.ts'
import { type Of, once } from '../values/lazy.ts'

/** Half a character (a lone surrogate) can be neither stored nor hashed as what it is. */
const text = once(() =>
  z.string().refine((value) => value.isWellFormed(), { message: 'Is not valid Unicode.' }),
)

/** A password that is being checked: only kept from being absurd. */
export const Password = once(() =>
  text().min(1).max(1024).meta({ format: 'password', example: 'seven brown foxes read' }),
)

export const SignUp = once(() =>
  z
    .strictObject({ email: EmailInput(), password: NewPassword(), name: DisplayName() })
    .meta({ id: 'SignUp' }),
)
export type SignUp = Of<typeof SignUp>

export const LogIn = once(() =>
  z
    .strictObject({
      email: text().min(1).max(320).meta({ example: 'ada@example.com' }),
      password: Password(),
    })
    .meta({ id: 'LogIn' }),
)
export type LogIn = Of<typeof LogIn>

/** The form of OAuth2 password clients (RFC 6749 section 4.3.2); what they send besides is ignored. */
export const LogInForm = once(() =>
  z
    .strictObject({
      username: LogIn().shape.email,
      password: Password(),
      grant_type: z.literal(['password', '']).optional(),
      scope: z.string().optional(),
      client_id: z.string().optional(),
      client_secret: z.string().optional(),
    })
    .transform(({ username, password }) => ({ email: username, password })),
)

export const Refresh = once(() =>
  z.strictObject({ refresh_token: z.string().min(1).max(512) }).meta({ id: 'Refresh' }),
)

export const ChangePassword = once(() =>
  z
    .strictObject({ current_password: Password(), new_password: NewPassword() })
    .meta({ id: 'ChangePassword' }),
)
export type ChangePassword = Of<typeof ChangePassword>

/** The token in a mailed link; or the address the mail went to, and the code in it. */
const proof = () => ({
  token: z.string().min(1).max(256).optional(),
  email: z.string().min(1).max(320).optional(),
  code: z
    .string()
    .regex(/^\d{8}$/, 'Has eight digits.')
    .optional()
    .meta({ example: '04718152' }),
})
export type Proof = { [Member in keyof ReturnType<typeof proof>]?: string | undefined }

const isProof = ({ token, email, code }: Proof) =>
  token === undefined ? email !== undefined && code !== undefined : (email ?? code) === undefined

const withProof = <S extends z.ZodRawShape>(shape: S) =>
  z.strictObject({ ...proof(), ...shape }).refine((input) => isProof(input as Proof), {
    message: 'Give token, or email and code.',
  })

export const MailedProof = once(() => withProof({}).meta({ id: 'MailedProof' }))
export const ResetPassword = once(() =>
  withProof({ new_password: NewPassword() }).meta({ id: 'ResetPassword' }),
)
export type ResetPassword = Of<typeof ResetPassword>
export const AcceptInvitation = once(() =>
  withProof({ password: NewPassword(), name: DisplayName().optional() }).meta({
    id: 'AcceptInvitation',
  }),
)
export type AcceptInvitation = Of<typeof AcceptInvitation>

export const Addressed = once(() => z.strictObject({ email: EmailInput() }).meta({ id: 'Addressed' }))
export const ChangeEmail = once(() =>
  z.strictObject({ new_email: EmailInput(), current_password: Password() }).meta({ id: 'ChangeEmail' }),
)
export type ChangeEmail = Of<typeof ChangeEmail>

/** What is answered where the answer must not tell whether there is an account. */
export const Accepted = once(() => z.object({ status: z.literal('accepted') }).meta({ id: 'Accepted' }))
export const ACCEPTED: Of<typeof Accepted> = { status: 'accepted' }

export const Tokens = once(() =>
  z
    .object({
      access_token: z.string(),
      token_type: z.literal('Bearer'),
      expires_in: z.int().meta({ description: 'Seconds.', example: 600 }),
      refresh_token: z.string(),
      refresh_expires_in: z.int().meta({ description: 'Seconds.', example: 1_209_600 }),
      user: User(),
    })
    .meta({ id: 'Tokens' }),
)
export type Tokens = Of<typeof Tokens>

export const Session = once(() =>
  z
    .object({
      id: Id(),
      created_at: Time(),
      last_seen_at: Time(),
      expires_at: Time(),
      ip: z.string().nullable(),
      user_agent: z.string().nullable(),
      country: z.string().nullable(),
      current: z.boolean().meta({ description: 'Whether it is the session that asks.' }),
    })
    .meta({ id: 'Session' }),
)
export type Session = Of<typeof Session>
export const SessionList = once(() => listOf(Session()).meta({ id: 'SessionList' }))
