import { mailNotConfigured } from '../mail/errors.ts'
import { enqueueLink } from '../mail/outbox.ts'
import type { Acting, Decision } from './change.ts'
import { enqueueVerification } from './create.ts'
import { managingLiving } from './manage.ts'
import { owed } from './notices.ts'

/** Mails the user, at the address of the account, the link that sets a new password. Throws 503 without mail. */
export const sendingReset = (acting: Acting): Decision =>
  sending(acting, ({ id: subjectId, email, email_normalized: emailNormalized }) => ({
    action: 'password.reset_requested',
    set: {},
    leavesUser: true,
    mails: owed([
      (isDone) => enqueueLink(acting, { kind: 'reset_password', subjectId, email, emailNormalized }, isDone),
    ]),
  }))

/** Mails the user the link that confirms the address, unless it is confirmed. Throws 503 without mail. */
export const sendingVerification = (acting: Acting): Decision =>
  sending(acting, (row) =>
    row.email_verified_at !== null
      ? undefined
      : {
          action: 'email.verification_requested',
          set: {},
          leavesUser: true,
          mails: owed([(isDone) => enqueueVerification(acting, row, isDone)]),
        },
  )

function sending(acting: Acting, decide: Decision): Decision {
  if (!acting.send) throw mailNotConfigured()
  return managingLiving(acting, decide)
}
