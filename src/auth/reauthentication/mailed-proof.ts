import { and, eq, type SQL } from 'drizzle-orm'
import type { Resources } from '../../context.ts'
import { build } from '../../database/statements.ts'
import { mailOwnCode, requireOwnCode } from '../../factors/own-code.ts'
import { Refusal } from '../../http/problem.ts'
import { invalidLink } from '../../links/errors.ts'
import { oneTimeTokens } from '../../links/models.ts'
import type { MailRequested } from '../../links/schemas.ts'
import { linkIsLive, voidTokens } from '../../links/service.ts'
import { selectUsablePasskeys } from '../../passkeys/ceremonies.ts'
import type { Claims } from '../../sessions/access-tokens.ts'
import { invalidToken } from '../../sessions/errors.ts'
import { sessions } from '../../sessions/models.ts'
import { selectUsers, type User, users } from '../../users/models.ts'
import { otherProofNeeded } from '../errors.ts'
import type { Used } from '../start-session.ts'

/**
 * Reads a user who may prove again who they are by mail or a provider: one with neither password nor passkey.
 */
export async function readUserWithoutOtherProof(
  { db, config }: Resources,
  actor: Claims,
): Promise<{ user: User; turn: number }> {
  const {
    user: [user],
    known,
    session: [session],
  } = await db.readPrimary({
    user: selectUsers().where(eq(users.id, actor.sub)),
    known: selectUsablePasskeys(config, actor.sub),
    session: build.select({ turn: sessions.turn }).from(sessions).where(eq(sessions.id, actor.sid)),
  })
  if (!user || !session) throw invalidToken(new Refusal('unknown'))
  // A mailbox is no way around the password or passkeys of an account.
  if (user.password_hash !== null || known.length > 0) throw otherProofNeeded()
  return { user, turn: session.turn }
}

/**
 * Mails a code to a user with neither password nor passkey, to prove again who they are.
 *
 * @throws 409 `other_proof_needed`, `address_not_verified`; 429 `too_many_attempts`; 503
 *   `mail_not_configured`.
 */
export const requestMailedProof = (resources: Resources, actor: Claims): Promise<MailRequested> =>
  mailOwnCode(
    resources,
    actor,
    'reauthenticate',
    async () => (await readUserWithoutOtherProof(resources, actor)).user,
  )

/**
 * Checks the mailed code of a user who has no other proof. It is valid once, for the session that asked for
 * it, with five tries.
 *
 * @throws 400 `invalid_link`.
 */
export async function proveByMailedCode(
  resources: Resources,
  actor: Claims,
  user: User,
  { mail_code: code, request_token }: { mail_code: string; request_token: string },
): Promise<Used> {
  const token = await requireOwnCode(resources, actor, 'reauthenticate', { code, request_token })
  if (user.email_normalized !== token.email_normalized) throw invalidLink(new Refusal('other_address'))
  const spend = (isDone: SQL) => [
    voidTokens(resources.now, ['reauthenticate'], and(eq(oneTimeTokens.id, token.id), isDone)),
  ]
  return { isGood: linkIsLive(token.id), spend }
}
