import type * as z from 'zod'
import type { Resources } from '../context.ts'
import { validate } from '../http/validate.ts'
import { acceptInvitation } from '../invitations/accept.ts'
import { AcceptInvitation } from '../invitations/schemas.ts'
import type { Purpose } from '../links/models.ts'
import { MailedLink } from '../links/schemas.ts'
import { PASSWORD_MIN_LENGTH } from '../passwords/policy.ts'
import { approveEmailChange, confirmEmailChange, undoEmailChange } from '../recovery/email-change.ts'
import { resetPassword } from '../recovery/reset.ts'
import { ConfirmEmailChange, ResetPassword, VerifyEmail } from '../recovery/schemas.ts'
import { unlockAccount } from '../recovery/unlock.ts'
import { verifyEmail } from '../recovery/verify.ts'

/** Where the links in mails lead. Opening one does nothing, as mail scanners open them too: pressing its button does. */
export interface LinkPage {
  title: string
  button: string
  done: string
  fields?: Field[]
  /** What is asked of somebody whom this browser does not know as the one who asked for the mail. */
  ofStrangers?: Field[]
  /** Whether its mail has a code as well. */
  hasCode?: boolean
  /** Does it; answers what to say instead of `done`. */
  submit(resources: Resources, fields: object): Promise<string | undefined>
}

export interface Field {
  name: string
  label: string
  type: 'text' | 'password'
  autocomplete: string
  required: boolean
}

const newPassword = (name: string): Field => ({
  name,
  label: `New password, at least ${PASSWORD_MIN_LENGTH} characters`,
  type: 'password',
  autocomplete: 'new-password',
  required: true,
})

const submitting =
  <S extends z.ZodType>(
    schema: () => S,
    use: (resources: Resources, input: z.output<S>) => Promise<unknown>,
  ) =>
  async (resources: Resources, fields: object) => {
    await use(resources, validate(schema(), fields))
    return undefined
  }

export const PAGES: Partial<Record<Purpose, LinkPage>> = {
  verify_email: {
    title: 'Confirm your e-mail address',
    button: 'Confirm address',
    done: 'Your address is confirmed.',
    hasCode: true,
    ofStrangers: [
      {
        name: 'password',
        label: 'The password of your account, if you chose it yourself',
        type: 'password',
        autocomplete: 'current-password',
        required: false,
      },
      {
        ...newPassword('new_password'),
        label: `Or a new password, at least ${PASSWORD_MIN_LENGTH} characters: nobody who knows an older one gets in`,
        required: false,
      },
    ],
    submit: submitting(VerifyEmail, (resources, input) => verifyEmail(resources, input, undefined)),
  },
  reset_password: {
    title: 'Choose a new password',
    button: 'Set password',
    done: 'Your password is changed, and every device has been logged out. You can log in now.',
    hasCode: true,
    fields: [newPassword('new_password')],
    submit: submitting(ResetPassword, resetPassword),
  },
  change_email: {
    title: 'Use this e-mail address',
    button: 'Use this address',
    done: 'This is the address of your account now.',
    async submit(resources, fields) {
      const outcome = await confirmEmailChange(resources, validate(ConfirmEmailChange(), fields), undefined)
      return outcome === 'changed'
        ? undefined
        : 'This address is confirmed. Now approve it from the old one: we have mailed a link there.'
    },
  },
  approve_email_change: {
    title: 'Approve the new e-mail address',
    button: 'Approve the new address',
    done: 'The new address is the address of your account now.',
    submit: submitting(MailedLink, approveEmailChange),
  },
  undo_email_change: {
    title: 'Keep the old e-mail address',
    button: 'Undo the change',
    done: 'The change is undone, and every device has been logged out. Now choose a new password.',
    submit: submitting(MailedLink, undoEmailChange),
  },
  unlock_account: {
    title: 'Unlock your account',
    button: 'Unlock my account',
    done: 'Your password can be used again. You can log in now.',
    submit: submitting(MailedLink, unlockAccount),
  },
  accept_invitation: {
    title: 'Accept the invitation',
    button: 'Make my account',
    done: 'Your account is made. You can log in now.',
    fields: [
      { name: 'name', label: 'Your name', type: 'text', autocomplete: 'name', required: false },
      newPassword('password'),
    ],
    submit: submitting(AcceptInvitation, acceptInvitation),
  },
}
