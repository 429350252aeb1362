import type { Resources } from '../context.ts'
import { Refusal } from '../http/problem.ts'
import { invalidLink } from '../links/errors.ts'
import type { MailRequested } from '../links/schemas.ts'
import { enqueueNotice } from '../mail/outbox.ts'
import { hashNewPassword } from '../passwords/service.ts'
import { forgetAttempts } from '../throttle/service.ts'
import { applyChange, byToken, isSameForProof } from '../users/change.ts'
import type { Change } from '../users/consequences.ts'
import type { User } from '../users/models.ts'
import { mailLink, requireUserByToken } from './mail-link.ts'
import type { AskForMail, ResetPassword } from './schemas.ts'

/** Mails the link that sets a new password, if there is an account. The answer does not reveal whether. */
export const forgotPassword = (resources: Resources, input: AskForMail): Promise<MailRequested> =>
  mailLink(resources, input, { kind: 'reset_password', action: 'password.reset_requested' })

/**
 * Sets a new password for whoever reads the account's mail: every session ends, other links become void, a
 * locked account takes the new password, and the owner is told. It does not log in.
 *
 * @throws 400 `invalid_link`; 422 for a weak password, or the same again.
 */
export async function resetPassword(resources: Resources, input: ResetPassword): Promise<void> {
  const { token, user } = await requireUserByToken(resources, 'reset_password', input)
  if (token.email_normalized !== user.email_normalized) throw invalidLink(new Refusal('other_address'))
  const change = await replacePassword(resources, user, input.new_password)
  await applyChange(resources, byToken(token, resources.now), user, {
    ...change,
    action: 'password.reset',
  })
}

/**
 * The change when the reader of an account's mail chooses a password: the address is verified, and nothing
 * that opened the account before still does. The owner is told. Throws 422 for a weak password, or the same
 * again.
 */
export async function replacePassword(resources: Resources, user: User, newPassword: string) {
  // A user who has signed up and verified nothing yet may choose the same password again.
  const isOwn = user.email_verified_at === null && !user.password_is_given
  const passwordHash = await hashNewPassword(resources, newPassword, user, {
    pointer: '/new_password',
    former: isOwn ? null : user.password_hash,
  })
  return {
    set: {
      password_hash: passwordHash,
      password_is_given: 0,
      failed_logins: 0,
      email_verified_at: user.email_verified_at ?? resources.now,
    },
    reliesOn: isSameForProof(user),
    endsTokens: true,
    endsSessions: { reason: 'password_changed' },
    endsKeys: true,
    // The first proof of an address: somebody else may have made the account.
    voidsWaysIn: user.email_verified_at === null,
    mails: (isDone) => [enqueueNotice(resources, 'password_changed', user, isDone)],
    alsoWrite: (isDone) => [forgetAttempts(resources, user.email_normalized, isDone)],
  } satisfies Omit<Change, 'action'>
}
