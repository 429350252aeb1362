import { html } from 'hono/html'
import type { Purpose } from '../links/models.ts'
import { type About, type Asked, type MailText, sentenceOf } from './text.ts'
import { accountClosed } from './texts/account-closed.ts'
import { accountEnabled } from './texts/account-enabled.ts'
import { accountLocked } from './texts/account-locked.ts'
import { accountMade } from './texts/account-made.ts'
import { accountRestored } from './texts/account-restored.ts'
import { addressChanged } from './texts/address-changed.ts'
import { addressReplaced } from './texts/address-replaced.ts'
import { addressReplacedByAdmin } from './texts/address-replaced-by-admin.ts'
import { alreadyRegistered } from './texts/already-registered.ts'
import { approveEmailChange } from './texts/approve-email-change.ts'
import { confirmEmailChange } from './texts/confirm-email-change.ts'
import { emailChangeRequested } from './texts/email-change-requested.ts'
import { enrolFactor } from './texts/enrol-factor.ts'
import { factorsReset } from './texts/factors-reset.ts'
import { invitation } from './texts/invitation.ts'
import { passkeyAdded } from './texts/passkey-added.ts'
import { passkeyRemoved } from './texts/passkey-removed.ts'
import { passwordChanged } from './texts/password-changed.ts'
import { recoveryCodesLow } from './texts/recovery-codes-low.ts'
import { recoveryCodesRenewed } from './texts/recovery-codes-renewed.ts'
import { resetPassword } from './texts/reset-password.ts'
import { roleChanged } from './texts/role-changed.ts'
import { totpAdded } from './texts/totp-added.ts'
import { totpRemoved } from './texts/totp-removed.ts'
import { verifyEmail } from './texts/verify-email.ts'

/** Every mail there is: what its link is for, whether there is a code beside it, and whether its reader asked for it. */
export const TEXTS = {
  enrol_factor: { write: enrolFactor, purpose: 'enrol_factor', hasCode: true, isAsked: true },
  totp_added: { write: totpAdded, purpose: null, hasCode: false, isAsked: true },
  totp_removed: { write: totpRemoved, purpose: null, hasCode: false, isAsked: true },
  passkey_added: { write: passkeyAdded, purpose: null, hasCode: false, isAsked: true },
  passkey_removed: { write: passkeyRemoved, purpose: null, hasCode: false, isAsked: true },
  factors_reset: { write: factorsReset, purpose: null, hasCode: false, isAsked: false },
  recovery_codes_low: { write: recoveryCodesLow, purpose: null, hasCode: false, isAsked: true },
  recovery_codes_renewed: { write: recoveryCodesRenewed, purpose: null, hasCode: false, isAsked: true },
  verify_email: { write: verifyEmail, purpose: 'verify_email', hasCode: true, isAsked: true },
  account_made: { write: accountMade, purpose: 'verify_email', hasCode: false, isAsked: false },
  already_registered: { write: alreadyRegistered, purpose: null, hasCode: false, isAsked: true },
  reset_password: { write: resetPassword, purpose: 'reset_password', hasCode: true, isAsked: true },
  password_changed: { write: passwordChanged, purpose: null, hasCode: false, isAsked: true },
  confirm_email_change: { write: confirmEmailChange, purpose: 'change_email', hasCode: true, isAsked: true },
  approve_email_change: {
    write: approveEmailChange,
    purpose: 'approve_email_change',
    hasCode: false,
    isAsked: true,
  },
  email_change_requested: {
    write: emailChangeRequested,
    purpose: 'undo_email_change',
    hasCode: false,
    isAsked: true,
  },
  address_changed: { write: addressChanged, purpose: 'undo_email_change', hasCode: false, isAsked: false },
  address_replaced: { write: addressReplaced, purpose: null, hasCode: false, isAsked: false },
  address_replaced_by_admin: { write: addressReplacedByAdmin, purpose: null, hasCode: false, isAsked: false },
  role_changed: { write: roleChanged, purpose: null, hasCode: false, isAsked: false },
  account_enabled: { write: accountEnabled, purpose: null, hasCode: false, isAsked: false },
  account_restored: { write: accountRestored, purpose: null, hasCode: false, isAsked: false },
  account_closed: { write: accountClosed, purpose: 'reopen_account', hasCode: false, isAsked: true },
  account_locked: { write: accountLocked, purpose: 'unlock_account', hasCode: false, isAsked: false },
  invitation: { write: invitation, purpose: 'accept_invitation', hasCode: false, isAsked: false },
} as const satisfies Record<
  string,
  { write: (about: About) => MailText; purpose: Purpose | null; hasCode: boolean; isAsked: boolean }
>

export type MailKind = keyof typeof TEXTS

export interface Rendered {
  subject: string
  text: string
  html: string
}

const CODE_INTRO = 'Or type this code, good for 10 minutes:'
const CODE_ALONE = 'The code, good for 10 minutes:'

/** Both forms of a mail. Everything that people have typed is escaped, and kept to one line. */
export function render(
  mail: MailText,
  access?: { link?: string; code?: string | undefined },
  asked?: Asked,
): Rendered {
  const oneLine = (value: string) => value.replace(/\s+/g, ' ').trim()
  const paragraphs = mail.paragraphs.map(oneLine)
  const lifetime = mail.lifetime && `The link is good once, for ${mail.lifetime}.`
  const small = [lifetime, asked && sentenceOf(asked)].filter((line) => line !== undefined)
  const intro = access?.link ? CODE_INTRO : CODE_ALONE
  const plain = [...paragraphs, access?.link, access?.code && `${intro} ${access.code}`, ...small]
  const button =
    access &&
    html`${access.link ? html`<p><a href="${access.link}" style="display:inline-block;padding:.6em 1.2em;border-radius:.5em;background:#1f4fd8;color:#fff;text-decoration:none">${mail.button}</a></p>` : ''}
${access.code ? html`<p>${intro} <strong style="font-size:1.2em;letter-spacing:.1em">${access.code}</strong></p>` : ''}`
  const page = html`<!doctype html><html lang="en"><meta charset="utf-8">
<body style="font:16px/1.5 system-ui,sans-serif;color:#1c1c1e;max-width:34em;margin:2em auto;padding:0 1em">
${paragraphs.map((paragraph) => html`<p>${paragraph}</p>`)}
${button ?? ''}
${small.map((line) => html`<p style="color:#6b6b70">${line}</p>`)}
</body></html>`
  return {
    subject: oneLine(mail.subject),
    text: `${plain.filter(Boolean).join('\n\n')}\n`,
    html: String(page),
  }
}
