import { sql } from 'drizzle-orm'
import type { Resources } from '../context.ts'
import { build } from '../database/statements.ts'
import { Refusal } from '../http/problem.ts'
import { invalidLink } from '../links/errors.ts'
import type { OneTimeToken } from '../links/models.ts'
import type { MailRequested, Proof } from '../links/schemas.ts'
import { requireToken } from '../links/service.ts'
import { mailNotConfigured } from '../mail/errors.ts'
import { openMailRequest } from '../mail/limits.ts'
import { mailAsked } from '../mail/outbox.ts'
import type { Claims } from '../sessions/access-tokens.ts'
import { invalidToken } from '../sessions/errors.ts'
import { tokenIsLive } from '../sessions/revocation.ts'
import { addressNotVerified } from '../users/errors.ts'
import { type User, users } from '../users/models.ts'

/** Codes that are mailed to a signed-in user, and are valid only in the session that asked. */
type OwnCode = 'enrol_factor' | 'reauthenticate'

/**
 * Mails such a code.
 *
 * @param findUser reads the user, and throws if they may not ask.
 * @throws 409 `address_not_verified`; 429 `too_many_attempts`; 503 `mail_not_configured`.
 */
export async function mailOwnCode(
  resources: Resources,
  actor: Claims,
  kind: OwnCode,
  findUser: () => Promise<User>,
): Promise<MailRequested> {
  if (!resources.send) throw mailNotConfigured()
  const { id, email, email_normalized: emailNormalized, email_verified_at } = await findUser()
  if (email_verified_at === null) throw addressNotVerified()
  const isLive = tokenIsLive(actor, resources.now)
  const request = openMailRequest(resources, {
    kind,
    emailNormalized,
    ownSession: actor.sid,
    isAsked: isLive,
  })
  const mail = { kind, subjectId: id, email, emailNormalized, sessionId: actor.sid }
  return mailAsked(resources, request, mail, sql`1`, {
    unless: { is: sql`NOT ${isLive}`, refused: () => invalidToken(new Refusal('meanwhile')) },
  })
}

/** Checks such a code, with five tries each. Throws 400 `invalid_link`. */
export async function requireOwnCode(
  resources: Resources,
  actor: Claims,
  kind: OwnCode,
  proof: Proof,
): Promise<OneTimeToken> {
  const { token } = await requireToken(
    resources,
    kind,
    proof,
    (id) => build.select({ id: users.id }).from(users).where(sql`${users.id} = ${id}`),
    { ...actor, isLive: tokenIsLive(actor, resources.now) },
  )
  if (token.subject_id !== actor.sub || token.session_id !== actor.sid)
    throw invalidLink(new Refusal('unknown'))
  return token
}
