import * as z from 'zod'
import { withLink, withProof } from '../links/schemas.ts'
import { MAILS_TO_ADDRESS } from '../mail/limits.ts'
import { NewPassword, Password } from '../passwords/schemas.ts'
import { EmailInput } from '../users/schemas.ts'
import { lazy, type Of } from '../values/lazy.ts'
import { text } from '../values/text.ts'

export const ChangePassword = lazy(() =>
  z
    .strictObject({ current_password: Password(), new_password: NewPassword() })
    .meta({ id: 'ChangePassword' }),
)
export type ChangePassword = Of<typeof ChangePassword>

export const ResetPassword = lazy(() =>
  withProof({ new_password: NewPassword() }).meta({ id: 'ResetPassword' }),
)
export type ResetPassword = Of<typeof ResetPassword>

/** What shows, beside the mail, that its reader made the account, or takes it over. */
export const VerifyEmail = lazy(() =>
  withProof({
    signup_token: text(256, 1).optional().meta({ description: 'From the answer to signing up.' }),
    password: Password().optional().meta({ description: 'The current one.' }),
    new_password: NewPassword().optional().meta({ description: 'Voids every earlier way in.' }),
  }).meta({ id: 'VerifyEmail' }),
)
export type VerifyEmail = Of<typeof VerifyEmail>

export const ConfirmEmailChange = lazy(() => withProof({}).meta({ id: 'ConfirmEmailChange' }))
export type ConfirmEmailChange = Of<typeof ConfirmEmailChange>

export const AskForMail = lazy(() =>
  z
    .strictObject({
      email: EmailInput(),
      device_token: text(256, 1)
        .optional()
        .meta({
          description: `Of a device that has signed in before: ${MAILS_TO_ADDRESS} more mails an hour are kept for it.`,
        }),
    })
    .meta({ id: 'AskForMail' }),
)
export type AskForMail = Of<typeof AskForMail>

export const ChangeEmail = lazy(() =>
  z
    .strictObject({
      new_email: EmailInput(),
      current_password: Password().optional().meta({ description: 'Left out where the account has none.' }),
    })
    .meta({ id: 'ChangeEmail' }),
)
export type ChangeEmail = Of<typeof ChangeEmail>

export const DisownFactor = lazy(() =>
  withLink({
    password: Password()
      .optional()
      .meta({ description: 'The current one, if it was set before the factor was added.' }),
    device_token: text(256, 1)
      .optional()
      .meta({ description: 'Of a device that signed in before the factor was added.' }),
  }).meta({ id: 'DisownFactor' }),
)
export type DisownFactor = Of<typeof DisownFactor>

/** What became of the factor: `none` if it was already gone, or the mail named none. */
export const FactorDisowned = lazy(() =>
  z.object({ factor: z.enum(['removed', 'kept', 'none']) }).meta({ id: 'FactorDisowned' }),
)
export type FactorDisowned = Of<typeof FactorDisowned>
