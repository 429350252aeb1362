import { html } from 'hono/html'
import type { Purpose } from '../links/models.ts'
import { CODE_LIFETIME_MS } from '../links/service.ts'
import { inWords } from '../values/durations.ts'
import { type About, type Asked, type MailText, sentenceOf } from './text.ts'
import { accountClosed } from './texts/account-closed.ts'
import { accountDeleted } from './texts/account-deleted.ts'
import { accountDisabled } from './texts/account-disabled.ts'
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
import { factorLocked } from './texts/factor-locked.ts'
import { factorsReset } from './texts/factors-reset.ts'
import { invitation } from './texts/invitation.ts'
import { newDevice } from './texts/new-device.ts'
import { passkeyAdded } from './texts/passkey-added.ts'
import { passkeyRemoved } from './texts/passkey-removed.ts'
import { passwordChanged } from './texts/password-changed.ts'
import { reauthenticate } from './texts/reauthenticate.ts'
import { recoveryCodesLow } from './texts/recovery-codes-low.ts'
import { recoveryCodesRenewed } from './texts/recovery-codes-renewed.ts'
import { resetPassword } from './texts/reset-password.ts'
import { resetPasswordByAdmin } from './texts/reset-password-by-admin.ts'
import { roleChanged } from './texts/role-changed.ts'
import { totpAdded } from './texts/totp-added.ts'
import { totpRemoved } from './texts/totp-removed.ts'
import { verifyEmail } from './texts/verify-email.ts'
import { verifyEmailByAdmin } from './texts/verify-email-by-admin.ts'

/** What a mail is, beside its words. */
export interface Kind {
  write: (about: About) => MailText
  /** What the token in its link is for; null where the link leads to a page. */
  purpose: Purpose | null
  /** The page of ours that does what it speaks of, where it brings no token. */
  page?: string
  /** Whether there is a code beside the link, for who has asked for the mail. */
  hasCode: boolean
  /** Whether its reader has asked for it, or is to think so: it says when, from where and with what. */
  isAsked: boolean
  /** Whether somebody asks for it, and is counted (mail/limits.ts). Else it is a notice of what has happened. */
  isCounted: boolean
  /** Whether it goes to somebody who is deleted, too. */
  reachesDeleted?: boolean
}

const ASKED = { isAsked: true, isCounted: true } as const
const SENT_FOR_OTHERS = { hasCode: false, isAsked: false, isCounted: true } as const
const NOTICE = { hasCode: false, isAsked: false, isCounted: false } as const

/** Every mail there is. */
export const TEXTS = {
  reauthenticate: { write: reauthenticate, purpose: 'reauthenticate', hasCode: true, ...ASKED },
  enrol_factor: { write: enrolFactor, purpose: 'enrol_factor', hasCode: true, ...ASKED },
  totp_added: { write: totpAdded, purpose: 'disown_factor', ...NOTICE, isAsked: true },
  totp_removed: { write: totpRemoved, purpose: 'disown_factor', ...NOTICE, isAsked: true },
  passkey_added: { write: passkeyAdded, purpose: 'disown_factor', ...NOTICE, isAsked: true },
  passkey_removed: { write: passkeyRemoved, purpose: 'disown_factor', ...NOTICE, isAsked: true },
  new_device: { write: newDevice, purpose: 'disown_session', ...NOTICE, isAsked: true },
  factor_locked: { write: factorLocked, purpose: null, page: '/forgot', ...NOTICE },
  factors_reset: { write: factorsReset, purpose: null, page: '/account/security', ...NOTICE },
  recovery_codes_low: {
    write: recoveryCodesLow,
    purpose: null,
    page: '/account/security',
    ...NOTICE,
    isAsked: true,
  },
  recovery_codes_renewed: {
    write: recoveryCodesRenewed,
    purpose: null,
    page: '/account/security',
    ...NOTICE,
    isAsked: true,
  },
  verify_email: { write: verifyEmail, purpose: 'verify_email', hasCode: true, ...ASKED },
  verify_email_by_admin: { write: verifyEmailByAdmin, purpose: 'verify_email', ...SENT_FOR_OTHERS },
  account_made: { write: accountMade, purpose: 'verify_email', ...SENT_FOR_OTHERS },
  already_registered: {
    write: alreadyRegistered,
    purpose: null,
    page: '/signin',
    hasCode: false,
    ...ASKED,
  },
  reset_password: { write: resetPassword, purpose: 'reset_password', hasCode: true, ...ASKED },
  reset_password_by_admin: { write: resetPasswordByAdmin, purpose: 'reset_password', ...SENT_FOR_OTHERS },
  password_changed: { write: passwordChanged, purpose: null, page: '/forgot', ...NOTICE, isAsked: true },
  confirm_email_change: { write: confirmEmailChange, purpose: 'change_email', hasCode: true, ...ASKED },
  approve_email_change: {
    write: approveEmailChange,
    purpose: 'approve_email_change',
    hasCode: false,
    ...ASKED,
  },
  email_change_requested: {
    write: emailChangeRequested,
    purpose: 'undo_email_change',
    ...NOTICE,
    isAsked: true,
  },
  address_changed: { write: addressChanged, purpose: 'undo_email_change', ...NOTICE },
  address_replaced: { write: addressReplaced, purpose: null, ...NOTICE },
  address_replaced_by_admin: {
    write: addressReplacedByAdmin,
    purpose: null,
    page: '/admin/activity',
    ...NOTICE,
  },
  role_changed: { write: roleChanged, purpose: null, page: '/account', ...NOTICE },
  account_disabled: { write: accountDisabled, purpose: null, ...NOTICE },
  account_deleted: { write: accountDeleted, purpose: null, ...NOTICE, reachesDeleted: true },
  account_enabled: { write: accountEnabled, purpose: null, page: '/forgot', ...NOTICE },
  account_restored: { write: accountRestored, purpose: null, page: '/forgot', ...NOTICE },
  account_closed: { write: accountClosed, purpose: 'reopen_account', ...NOTICE, isAsked: true },
  account_locked: { write: accountLocked, purpose: 'unlock_account', ...NOTICE },
  invitation: { write: invitation, purpose: 'accept_invitation', ...SENT_FOR_OTHERS },
} as const satisfies Record<string, Kind>

export type MailKind = keyof typeof TEXTS

export interface Rendered {
  subject: string
  text: string
  html: string
}

const CODE_INTRO = `Or type this code, good for ${inWords(CODE_LIFETIME_MS)}:`
const CODE_ALONE = `The code, good for ${inWords(CODE_LIFETIME_MS)}:`

/** What a mail gives its reader to use; `lifetimeMs` is that of a link which is good once. */
interface Access {
  link?: string
  lifetimeMs?: number
  code?: string | undefined
}

/** Both forms of a mail. Everything that people have typed is escaped, and kept to one line. */
export function render(mail: MailText, access?: Access, asked?: Asked): Rendered {
  const oneLine = (value: string) => value.replace(/\s+/g, ' ').trim()
  const paragraphs = mail.paragraphs.map(oneLine)
  const lifetime = access?.lifetimeMs && `The link is good once, for ${inWords(access.lifetimeMs)}.`
  const small = [lifetime, asked && sentenceOf(asked, mail.happened)].filter((line) => line !== undefined)
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
