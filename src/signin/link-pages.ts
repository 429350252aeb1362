import type * as z from 'zod'
import type { Resources } from '../context.ts'
import { validate } from '../http/validate.ts'
import { acceptInvitation } from '../invitations/accept.ts'
import { AcceptInvitation } from '../invitations/schemas.ts'
import type { LinkPurpose } from '../links/models.ts'
import { MailedLink } from '../links/schemas.ts'
import type { Texts } from '../pages/texts/index.ts'
import { PASSWORD_MIN_LENGTH } from '../passwords/policy.ts'
import { disownFactor, disownSession } from '../recovery/disown.ts'
import { approveEmailChange, confirmEmailChange, undoEmailChange } from '../recovery/email-change.ts'
import { reopenAccount } from '../recovery/reopen.ts'
import { resetPassword } from '../recovery/reset.ts'
import { ConfirmEmailChange, DisownFactor, ResetPassword, VerifyEmail } from '../recovery/schemas.ts'
import { unlockAccount } from '../recovery/unlock.ts'
import { verifyEmail } from '../recovery/verify.ts'
import type { Claims } from '../sessions/access-tokens.ts'

/** `asked`: the old address must approve first, and was mailed. `kept`: the second factor was not removed. */
export type Outcome = 'done' | 'asked' | 'kept'

/**
 * What a mailed link leads to. Opening it does nothing, because mail scanners open links too; pressing its
 * button does.
 */
export interface LinkPage {
  fields: Field[]
  /** More fields, for a browser that did not request the mail. */
  ofStrangers: Field[]
  /** Whether the mail also contains a code. */
  hasCode: boolean
  /** Whether the token of a known device is sent along, as a proof. */
  takesDevice?: boolean
  /** Does what the link is for; `actor` is the signed-in user, if any. Returns which text says what was done. */
  submit(resources: Resources, fields: object, actor: Claims | undefined): Promise<Outcome>
  /** Where the browser goes afterwards; `signedIn` if that differs with a session. */
  next?: { signedOut: string; signedIn?: string }
  /** Where to get another link, or to continue without one. */
  instead: string
}

export interface Field {
  name: string
  label: (texts: Texts) => string
  hint?: (texts: Texts) => string
  type: 'text' | 'password'
  autocomplete: string
  required: boolean
}

const newPassword = (name: string, label: Field['label']): Field => ({
  name,
  label,
  hint: ({ signin }) => signin.signup.passwordHint(PASSWORD_MIN_LENGTH),
  type: 'password',
  autocomplete: 'new-password',
  required: true,
})

const submitting =
  <S extends z.ZodType>(
    schema: () => S,
    use: (resources: Resources, input: z.output<S>, actor: Claims | undefined) => Promise<unknown>,
  ): LinkPage['submit'] =>
  async (resources, fields, actor) => {
    await use(resources, validate(schema(), fields), actor)
    return 'done'
  }

const page = (given: Partial<LinkPage> & Pick<LinkPage, 'submit' | 'instead'>): LinkPage => ({
  fields: [],
  ofStrangers: [],
  hasCode: false,
  ...given,
})

export const PAGES: Record<LinkPurpose, LinkPage> = {
  verify_email: page({
    hasCode: true,
    ofStrangers: [
      {
        name: 'password',
        label: ({ links }) => links.verify_email.password,
        hint: ({ links }) => links.verify_email.passwordHint,
        type: 'password',
        autocomplete: 'current-password',
        required: false,
      },
      {
        ...newPassword('new_password', ({ links }) => links.verify_email.newPassword),
        hint: ({ links }) => links.verify_email.newPasswordHint(PASSWORD_MIN_LENGTH),
        required: false,
      },
    ],
    submit: submitting(VerifyEmail, verifyEmail),
    next: { signedOut: '/signin?done=confirmed', signedIn: '/account?done=confirmed' },
    instead: '/signup/resend',
  }),
  reset_password: page({
    hasCode: true,
    fields: [newPassword('new_password', ({ links }) => links.reset_password.newPassword)],
    submit: submitting(ResetPassword, resetPassword),
    next: { signedOut: '/signin?done=reset' },
    instead: '/forgot',
  }),
  change_email: page({
    async submit(resources, fields, actor) {
      const outcome = await confirmEmailChange(resources, validate(ConfirmEmailChange(), fields), actor)
      return outcome === 'changed' ? 'done' : 'asked'
    },
    next: { signedOut: '/signin?done=address', signedIn: '/account?done=address' },
    instead: '/account',
  }),
  approve_email_change: page({ submit: submitting(MailedLink, approveEmailChange), instead: '/account' }),
  undo_email_change: page({
    submit: submitting(MailedLink, undoEmailChange),
    next: { signedOut: '/forgot?done=undone' },
    instead: '/forgot',
  }),
  unlock_account: page({
    submit: submitting(MailedLink, unlockAccount),
    next: { signedOut: '/signin?done=unlocked' },
    instead: '/forgot',
  }),
  reopen_account: page({
    submit: submitting(MailedLink, reopenAccount),
    next: { signedOut: '/forgot?done=reopened' },
    instead: '/signin',
  }),
  disown_session: page({
    submit: submitting(MailedLink, disownSession),
    next: { signedOut: '/forgot?done=disowned' },
    instead: '/forgot',
  }),
  disown_factor: page({
    takesDevice: true,
    fields: [
      {
        name: 'password',
        label: ({ links }) => links.verify_email.password,
        hint: ({ links }) => links.disown_factor.passwordHint,
        type: 'password',
        autocomplete: 'current-password',
        required: false,
      },
    ],
    async submit(resources, fields) {
      const { factor } = await disownFactor(resources, validate(DisownFactor(), fields))
      return factor === 'kept' ? 'kept' : 'done'
    },
    next: { signedOut: '/forgot?done=disowned' },
    instead: '/forgot',
  }),
  accept_invitation: page({
    fields: [
      {
        name: 'name',
        label: ({ common }) => common.name,
        type: 'text',
        autocomplete: 'name',
        required: false,
      },
      newPassword('password', ({ links }) => links.accept_invitation.password),
    ],
    submit: submitting(AcceptInvitation, acceptInvitation),
    instead: '/signin',
  }),
}
