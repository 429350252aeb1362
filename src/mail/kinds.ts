import type { Purpose } from '../links/models.ts'

/** What a mail is, apart from its words (texts/). */
export interface Kind {
  /** The purpose of its link's token; null if the link only leads to a page. */
  purpose: Purpose | null
  /** Our page that its link leads to, if the link has no token. */
  page?: string
  /** Whether there is a code beside the link, for whoever asked for the mail. */
  hasCode: boolean
  /**
   * Whether its reader asked for it, or is meant to think so: the mail says when, from where and with what.
   */
  isAsked: boolean
  /** Whether it is asked for and counted (mail/limits.ts). Otherwise it is a notice of what has happened. */
  isCounted: boolean
  /** Whether deleted users get it too. */
  reachesDeleted?: boolean
}

const ASKED = { isAsked: true, isCounted: true } as const
const SENT_FOR_OTHERS = { hasCode: false, isAsked: false, isCounted: true } as const
const NOTICE = { hasCode: false, isAsked: false, isCounted: false } as const

/** All kinds of mail. */
export const KINDS = {
  reauthenticate: { purpose: 'reauthenticate', hasCode: true, ...ASKED },
  sign_in_code: { purpose: 'sign_in', hasCode: true, ...ASKED },
  enrol_factor: { purpose: 'enrol_factor', hasCode: true, ...ASKED },
  totp_added: { purpose: 'disown_factor', ...NOTICE, isAsked: true },
  totp_removed: { purpose: 'disown_factor', ...NOTICE, isAsked: true },
  passkey_added: { purpose: 'disown_factor', ...NOTICE, isAsked: true },
  passkey_removed: { purpose: 'disown_factor', ...NOTICE, isAsked: true },
  api_key_added: { purpose: null, page: '/account/apps', ...NOTICE, isAsked: true },
  api_key_rotated: { purpose: null, page: '/account/apps', ...NOTICE, isAsked: true },
  identity_added: { purpose: 'disown_factor', ...NOTICE, isAsked: true },
  identity_removed: { purpose: null, page: '/account/security', ...NOTICE, isAsked: true },
  new_device: { purpose: 'disown_session', ...NOTICE, isAsked: true },
  factor_locked: { purpose: null, page: '/forgot', ...NOTICE },
  factors_reset: { purpose: null, page: '/account/security', ...NOTICE },
  recovery_codes_low: {
    purpose: null,
    page: '/account/security',
    ...NOTICE,
    isAsked: true,
  },
  recovery_codes_renewed: {
    purpose: null,
    page: '/account/security',
    ...NOTICE,
    isAsked: true,
  },
  verify_email: { purpose: 'verify_email', hasCode: true, ...ASKED },
  verify_email_by_admin: { purpose: 'verify_email', ...SENT_FOR_OTHERS },
  account_made: { purpose: 'verify_email', ...SENT_FOR_OTHERS },
  already_registered: {
    purpose: null,
    page: '/signin',
    hasCode: false,
    ...ASKED,
  },
  reset_password: { purpose: 'reset_password', hasCode: true, ...ASKED },
  reset_password_by_admin: { purpose: 'reset_password', ...SENT_FOR_OTHERS },
  password_changed: { purpose: null, page: '/forgot', ...NOTICE, isAsked: true },
  confirm_email_change: { purpose: 'change_email', hasCode: true, ...ASKED },
  approve_email_change: {
    purpose: 'approve_email_change',
    hasCode: false,
    ...ASKED,
  },
  email_change_requested: {
    purpose: 'undo_email_change',
    ...NOTICE,
    isAsked: true,
  },
  address_changed: { purpose: 'undo_email_change', ...NOTICE },
  address_replaced: { purpose: null, ...NOTICE },
  address_replaced_by_admin: {
    purpose: null,
    page: '/admin/activity',
    ...NOTICE,
  },
  role_changed: { purpose: null, page: '/account', ...NOTICE },
  account_disabled: { purpose: null, ...NOTICE },
  account_deleted: { purpose: null, ...NOTICE, reachesDeleted: true },
  account_enabled: { purpose: null, page: '/forgot', ...NOTICE },
  account_restored: { purpose: null, page: '/forgot', ...NOTICE },
  account_closed: { purpose: 'reopen_account', ...NOTICE, isAsked: true },
  account_locked: { purpose: 'unlock_account', ...NOTICE },
  service_changed: { purpose: null, page: '/admin/apps', ...NOTICE },
  webhook_added: { purpose: null, page: '/admin/webhooks', ...NOTICE },
  webhook_changed: { purpose: null, page: '/admin/webhooks', ...NOTICE },
  webhook_removed: { purpose: null, page: '/admin/webhooks', ...NOTICE },
  webhook_tried: { purpose: null, page: '/admin/webhooks', ...NOTICE },
  webhook_rested: { purpose: null, page: '/admin/webhooks', ...NOTICE },
  database_restored: { purpose: null, page: '/admin', ...NOTICE },
  invitation: { purpose: 'accept_invitation', ...SENT_FOR_OTHERS },
} as const satisfies Record<string, Kind>

export type MailKind = keyof typeof KINDS
