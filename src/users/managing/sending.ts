import { mailNotConfigured } from '../../mail/errors.ts'
import { type Acting, type Decision, isSamePerson } from '../change.ts'
import { managingLiving } from './manage.ts'
import { mailOnRequest } from './notices.ts'

/** Mails the link to set a new password to the account's address. Throws 503 without mail; 429. */
export const sendingReset = (acting: Acting): Decision =>
  sending(acting, (row) => ({
    action: 'password.reset_requested',
    set: {},
    leavesUser: true,
    reliesOn: isSamePerson(row),
    asksFor: mailOnRequest(acting, 'reset_password_by_admin', row),
  }))

/** Mails the link to confirm the address, unless it is confirmed. Throws 503 without mail; 429. */
export const sendingVerification = (acting: Acting): Decision =>
  sending(acting, (row) =>
    row.email_verified_at !== null
      ? undefined
      : {
          action: 'email.verification_requested',
          set: {},
          leavesUser: true,
          reliesOn: isSamePerson(row),
          asksFor: mailOnRequest(acting, 'verify_email_by_admin', row),
        },
  )

function sending(acting: Acting, decide: Decision): Decision {
  if (!acting.send) throw mailNotConfigured()
  return managingLiving(acting, decide)
}
