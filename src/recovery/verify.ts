import { isNull, sql } from 'drizzle-orm'
import type { Resources } from '../context.ts'
import { Refusal } from '../http/problem.ts'
import { invalidLink } from '../links/errors.ts'
import type { OneTimeToken } from '../links/models.ts'
import type { MailRequested } from '../links/schemas.ts'
import { isSignupTokenOf, openSignupToken } from '../links/signup-tokens.ts'
import type { Claims } from '../sessions/access-tokens.ts'
import { tokenIsLive } from '../sessions/revocation.ts'
import { type Authority, applyChange, byToken, isSameForProof } from '../users/change.ts'
import type { Change } from '../users/consequences.ts'
import { TYPED, type User, users } from '../users/models.ts'
import { proofNeeded } from './errors.ts'
import { hasPasswordStill, requirePasswordOf } from './link-password.ts'
import { mailLink, requireUserByToken } from './mail-link.ts'
import { replacePassword } from './reset.ts'
import type { AskForMail, VerifyEmail } from './schemas.ts'

/** Mails the link that confirms an unverified address. The answer does not reveal whether there is one. */
export const resendVerification = (resources: Resources, input: AskForMail): Promise<MailRequested> =>
  mailLink(resources, input, { kind: 'verify_email', accounts: isNull(users.email_verified_at) })

/**
 * Confirms the address that the mail went to, if it still is the account's. Anybody can sign up with
 * anybody's address, so the mail's reader may not be who made the account. So it also needs a proof that they
 * did, or a new password, which voids everything that opened the account so far. Once the address is proved,
 * no such mail is valid: the mailbox alone must not set a password that counts as its owner's.
 *
 * @throws 400 `invalid_link`; 422 `proof_needed`, and the link stays valid; 403 `wrong_password`.
 */
export async function verifyEmail(
  resources: Resources,
  input: VerifyEmail,
  actor: Claims | undefined,
): Promise<void> {
  const { token, user } = await requireUserByToken(resources, 'verify_email', input, actor)
  if (token.email_normalized !== user.email_normalized) throw invalidLink(new Refusal('other_address'))
  if (user.email_verified_at !== null) throw invalidLink(new Refusal('used'))
  const byMail = byToken(token, resources.now)
  if (input.new_password !== undefined) {
    const change = await replacePassword(resources, user, input.new_password)
    await applyChange(resources, byMail, user, { ...change, action: 'email.verified' })
    return
  }
  const by = await requireProof(resources, input, actor, { token, user, byMail })
  const change: Change = {
    action: 'email.verified',
    reliesOn: isSameForProof(user),
    set: { email_verified_at: resources.now },
  }
  await applyChange(resources, by, user, change)
}

/** The authority to confirm: the mail's reader, who has shown that the account is theirs. */
async function requireProof(
  resources: Resources,
  { signup_token, password }: VerifyEmail,
  actor: Claims | undefined,
  { token, user, byMail }: { token: OneTimeToken; user: User; byMail: Authority },
): Promise<Authority> {
  // Somebody who typed an account's password for another can sign in to it, whoever its user is.
  if (user.password_is_given === TYPED) throw proofNeeded('a new password')
  if (isMakerOf(resources, user, signup_token)) return byMail
  if (actor?.sub === user.id)
    return { ...byMail, holds: sql`${byMail.holds} AND ${tokenIsLive(actor, resources.now)}` }
  if (password === undefined) throw proofNeeded()
  await requirePasswordOf(resources, token, user, password)
  return { ...byMail, holds: sql`${byMail.holds} AND ${hasPasswordStill(user)}` }
}

/** Whether a token shows that its holder made this account, with its present address. */
export const isMakerOf = (
  { config, now }: Pick<Resources, 'config' | 'now'>,
  { id, email_normalized }: User,
  signupToken: string | undefined,
): boolean =>
  openSignupToken(config, signupToken, now)?.userId === id &&
  isSignupTokenOf(config, email_normalized, signupToken, now)
