import * as z from 'zod'
import { Id, Time } from '../ids.ts'
import { listOf } from '../pagination.ts'
import { DisplayName, EmailInput, NewPassword, User } from '../users/schemas.ts'

/** Half a character (a lone surrogate) can be neither stored nor hashed as what it is. */
const text = z.string().refine((value) => value.isWellFormed(), { message: 'Is not valid Unicode.' })

/** A password that is being checked: only kept from being absurd. */
export const Password = text.min(1).max(1024).meta({ format: 'password', example: 'seven brown foxes read' })

export const SignUp = z
  .strictObject({ email: EmailInput, password: NewPassword, name: DisplayName })
  .meta({ id: 'SignUp' })

export const LogIn = z
  .strictObject({
    email: text.min(1).max(320).meta({ example: 'ada@example.com' }),
    password: Password,
  })
  .meta({ id: 'LogIn' })
export type LogIn = z.infer<typeof LogIn>

/** The form of OAuth2 password clients (RFC 6749 section 4.3.2); what they send besides is ignored. */
export const LogInForm = z
  .strictObject({
    username: LogIn.shape.email,
    password: Password,
    grant_type: z.literal(['password', '']).optional(),
    scope: z.string().optional(),
    client_id: z.string().optional(),
    client_secret: z.string().optional(),
  })
  .transform(({ username, password }) => ({ email: username, password }))

export const Refresh = z.strictObject({ refresh_token: z.string().min(1).max(512) }).meta({ id: 'Refresh' })

export const ChangePassword = z
  .strictObject({ current_password: Password, new_password: NewPassword })
  .meta({ id: 'ChangePassword' })
export type ChangePassword = z.infer<typeof ChangePassword>

export const Tokens = z
  .object({
    access_token: z.string(),
    token_type: z.literal('Bearer'),
    /** Seconds. */
    expires_in: z.int(),
    refresh_token: z.string(),
    /** Seconds. */
    refresh_expires_in: z.int(),
    user: User,
  })
  .meta({ id: 'Tokens' })
export type Tokens = z.infer<typeof Tokens>

export const Session = z
  .object({
    id: Id,
    created_at: Time,
    last_seen_at: Time,
    expires_at: Time,
    ip: z.string().nullable(),
    user_agent: z.string().nullable(),
    country: z.string().nullable(),
    current: z.boolean(),
  })
  .meta({ id: 'Session' })
export type Session = z.infer<typeof Session>
export const SessionList = listOf(Session).meta({ id: 'SessionList' })
