import type { Context } from 'hono'
import { reauthenticationRequired } from '../access/errors.ts'
import { limitHashing, optionalToken, signedInHere } from '../access/guards.ts'
import type { AppEnv } from '../context.ts'
import { Hono } from '../http/hono.ts'
import { body, operation } from '../http/operation.ts'
import { acceptInvitation } from '../invitations/accept.ts'
import { AcceptInvitation } from '../invitations/schemas.ts'
import { invalidLink } from '../links/errors.ts'
import { ACCEPTED, Accepted, MailedLink, MailRequested } from '../links/schemas.ts'
import { mailNotConfigured } from '../mail/errors.ts'
import { wrongPassword } from '../passwords/errors.ts'
import { hashingBusy } from '../passwords/turns.ts'
import { knownDevice } from '../sessions/cookie.ts'
import { tooManyAttempts as tooManyAttemptsProblem } from '../throttle/errors.ts'
import {
  addressNotVerified,
  emailTaken,
  signupBlocked,
  signupDomainRefused,
  writeConflict,
} from '../users/errors.ts'
import { User } from '../users/schemas.ts'
import { disownFactor, disownSession } from './disown.ts'
import {
  approveEmailChange,
  confirmEmailChange,
  requestEmailChange,
  undoEmailChange,
} from './email-change.ts'
import { proofNeeded } from './errors.ts'
import { reopenAccount } from './reopen.ts'
import { forgotPassword, resetPassword } from './reset.ts'
import {
  AskForMail,
  ChangeEmail,
  ConfirmEmailChange,
  DisownFactor,
  FactorDisowned,
  ResetPassword,
  VerifyEmail,
} from './schemas.ts'
import { unlockAccount } from './unlock.ts'
import { resendVerification, verifyEmail } from './verify.ts'

const tag = 'mail'
const tooManyAttempts = () => tooManyAttemptsProblem(60)
const byMail = [mailNotConfigured, tooManyAttempts]
const byProof = [invalidLink, writeConflict]

/** Recovery by the mail of an account: asking for a link, and using its token or the code beside it. */
export const mailRoutes = new Hono<AppEnv>()
  .post(
    '/verify_email',
    operation({
      id: 'verifyEmail',
      tag,
      summary: 'Confirm an address',
      description:
        'Besides the mail, it takes one of `signup_token`, `password`, `new_password`, or the access token of a session of the account; where somebody else chose the password, only `new_password`.',
      responses: { 204: null },
      problems: [...byProof, proofNeeded, wrongPassword, hashingBusy],
    }),
    optionalToken,
    body(VerifyEmail),
    async (c) => done(c, verifyEmail(c.var, c.var.body, c.var.actor)),
  )
  .post(
    '/resend_verification',
    operation({
      id: 'resendVerification',
      tag,
      summary: 'Ask for the mail that confirms an address',
      description: 'The answer does not tell whether one was sent. A confirmed address gets none.',
      responses: { 202: MailRequested },
      problems: byMail,
    }),
    body(AskForMail),
    async (c) => c.json(await resendVerification(c.var, { ...knownDevice(c), ...c.var.body }), 202),
  )
  .post(
    '/forgot_password',
    operation({
      id: 'forgotPassword',
      tag,
      summary: 'Ask for the mail that sets a new password',
      description: 'The answer does not tell whether one was sent. The password stays until it is used.',
      responses: { 202: MailRequested },
      problems: byMail,
    }),
    body(AskForMail),
    async (c) => c.json(await forgotPassword(c.var, { ...knownDevice(c), ...c.var.body }), 202),
  )
  .post(
    '/reset_password',
    operation({
      id: 'resetPassword',
      tag,
      summary: 'Set a new password',
      description:
        'Confirms the address, and ends every session and key. You are told by mail. Does not log in.',
      responses: { 204: null },
      problems: byProof,
    }),
    body(ResetPassword),
    limitHashing,
    async (c) => done(c, resetPassword(c.var, c.var.body)),
  )
  .post(
    '/unlock_account',
    operation({
      id: 'unlockAccount',
      tag,
      summary: 'Let the password of a locked account be tried again',
      description: 'By the mail that told of the lock. Password and sessions stay.',
      responses: { 204: null },
      problems: byProof,
    }),
    body(MailedLink),
    async (c) => done(c, unlockAccount(c.var, c.var.body)),
  )
  .post(
    '/change_email',
    operation({
      id: 'changeEmail',
      tag,
      summary: 'Ask for another address',
      description:
        'Takes the password, if there is one. A confirmed old address is told. It stays until the change is confirmed, or approved from there.',
      responses: { 202: Accepted },
      problems: [
        wrongPassword,
        reauthenticationRequired,
        addressNotVerified,
        signupDomainRefused,
        signupBlocked,
        ...byMail,
      ],
    }),
    signedInHere,
    body(ChangeEmail),
    limitHashing,
    async (c) => accepted(c, requestEmailChange(c.var, c.var.actor, c.var.body)),
  )
  .post(
    '/confirm_email_change',
    operation({
      id: 'confirmEmailChange',
      tag,
      summary: 'Confirm the new address',
      description:
        'With the session that asked, the address is changed: 204. Without it, the old address is mailed a link that approves it: 202.',
      responses: { 202: Accepted, 204: null },
      problems: [...byProof, proofNeeded, signupDomainRefused, signupBlocked, emailTaken, tooManyAttempts],
    }),
    optionalToken,
    body(ConfirmEmailChange),
    async (c) => {
      const outcome = await confirmEmailChange(c.var, c.var.body, c.var.actor)
      return outcome === 'changed' ? c.body(null, 204) : c.json(ACCEPTED, 202)
    },
  )
  .post(
    '/approve_email_change',
    operation({
      id: 'approveEmailChange',
      tag,
      summary: 'Approve a new address, from the old one',
      description: 'Only where it was confirmed without the session that asked.',
      responses: { 204: null },
      problems: [...byProof, signupDomainRefused, signupBlocked, emailTaken],
    }),
    body(MailedLink),
    async (c) => done(c, approveEmailChange(c.var, c.var.body)),
  )
  .post(
    '/undo_email_change',
    operation({
      id: 'undoEmailChange',
      tag,
      summary: 'Undo a change of address, from the old one',
      description: 'Ends every session and the password. Reopens a closed account.',
      responses: { 204: null },
      problems: [...byProof, emailTaken],
    }),
    body(MailedLink),
    async (c) => done(c, undoEmailChange(c.var, c.var.body)),
  )
  .post(
    '/reopen_account',
    operation({
      id: 'reopenAccount',
      tag,
      summary: 'Reopen an account that its user has closed',
      description: 'Its password becomes void, and no session comes back.',
      responses: { 204: null },
      problems: [...byProof, emailTaken],
    }),
    body(MailedLink),
    async (c) => done(c, reopenAccount(c.var, c.var.body)),
  )
  .post(
    '/disown_session',
    operation({
      id: 'disownSession',
      tag,
      summary: 'End the session that a mail about a new device told of',
      description: 'Its apps and keys too. Devices become unknown.',
      responses: { 204: null },
      problems: byProof,
    }),
    body(MailedLink),
    async (c) => done(c, disownSession(c.var, c.var.body)),
  )
  .post(
    '/disown_factor',
    operation({
      id: 'disownFactor',
      tag,
      summary: 'End every session, by the mail that told of a factor that was added or removed',
      description:
        'API keys end too, and an identity that was added is removed. An added factor is removed where another stays, or with a device token or a password from before it that no reset has set: the mailbox alone removes no factor. Where it is kept, the link stays valid.',
      responses: { 200: FactorDisowned },
      problems: [...byProof, wrongPassword, hashingBusy],
    }),
    body(DisownFactor),
    limitHashing,
    async (c) => c.json(await disownFactor(c.var, { ...knownDevice(c), ...c.var.body })),
  )
  .post(
    '/accept_invitation',
    operation({
      id: 'acceptInvitation',
      tag,
      summary: 'Make the account that an invitation is for',
      description: 'Confirms the address. Does not log in.',
      responses: { 201: User },
      responseHeaders: { 201: { Location: 'Where the user is.', ETag: 'The version of the user.' } },
      problems: [invalidLink, emailTaken],
    }),
    body(AcceptInvitation),
    limitHashing,
    async (c) => {
      const user = await acceptInvitation(c.var, c.var.body)
      return c.json(user, 201, { location: `/v1/users/${user.id}`, etag: `"${user.version}"` })
    },
  )

async function done(c: Context, work: Promise<void>) {
  await work
  return c.body(null, 204)
}

async function accepted(c: Context, work: Promise<void>) {
  await work
  return c.json(ACCEPTED, 202)
}
