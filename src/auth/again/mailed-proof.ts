import { and, eq, type SQL, sql } from 'drizzle-orm'
import type { Resources } from '../../context.ts'
import { build } from '../../database/statements.ts'
import { Refusal } from '../../http/problem.ts'
import { invalidLink } from '../../links/errors.ts'
import { oneTimeTokens } from '../../links/models.ts'
import { ACCEPTED, type MailRequested } from '../../links/schemas.ts'
import { linkIsLive, requireToken, voidTokens } from '../../links/service.ts'
import { mailNotConfigured } from '../../mail/errors.ts'
import { MAILS_OF_ACTOR, openMailRequest } from '../../mail/limits.ts'
import { enqueueAsked, sendAfterwards } from '../../mail/outbox.ts'
import { selectUsablePasskeys } from '../../passkeys/ceremonies.ts'
import type { Claims } from '../../sessions/access-tokens.ts'
import { invalidToken } from '../../sessions/errors.ts'
import { sessions } from '../../sessions/models.ts'
import { tokenIsLive } from '../../sessions/revocation.ts'
import { addressNotVerified } from '../../users/errors.ts'
import { selectUsers, type User, users } from '../../users/models.ts'
import { otherProofNeeded } from '../errors.ts'
import type { Used } from '../start-session.ts'

/** Who proves again who they are by mail, where they have neither password nor passkey. */
async function readWithoutOther(
  { db, config }: Resources,
  actor: Claims,
): Promise<{ user: User; turn: number }> {
  const {
    user: [user],
    known,
    session: [session],
  } = await db.read({
    user: selectUsers().where(eq(users.id, actor.sub)),
    known: selectUsablePasskeys(config, actor.sub),
    session: build.select({ turn: sessions.turn }).from(sessions).where(eq(sessions.id, actor.sid)),
  })
  if (!user || !session) throw invalidToken(new Refusal('unknown'))
  // A mailbox is no way around what an account has.
  if (user.password_hash !== null || known.length > 0) throw otherProofNeeded()
  return { user, turn: session.turn }
}

/**
 * Mails a code to whoever has neither a password nor a passkey to prove again who they are.
 *
 * @throws 409 `other_proof_needed`, `address_not_verified`; 429 `too_many_attempts`; 503 `mail_not_configured`.
 */
export async function requestMailedProof(resources: Resources, actor: Claims): Promise<MailRequested> {
  if (!resources.send) throw mailNotConfigured()
  const { user } = await readWithoutOther(resources, actor)
  if (user.email_verified_at === null) throw addressNotVerified()
  const { id, email, email_normalized: emailNormalized } = user
  const kind = 'reauthenticate'
  const by = { id: actor.sub, mailsPerHour: MAILS_OF_ACTOR }
  const request = openMailRequest(resources, { kind, emailNormalized, actor: by })
  const mail = enqueueAsked(
    resources,
    request,
    { kind, subjectId: id, email, emailNormalized, sessionId: actor.sid },
    tokenIsLive(actor, resources.now),
  )
  const { verdict } = await resources.db.writeBatch({
    count: request.count,
    mail: mail.statements,
    verdict: request.verdict,
    countMade: [request.countMade(mail.mailId)],
  })
  request.assertAllowed(verdict)
  sendAfterwards(resources, mail.mailId)
  return { ...ACCEPTED, request_token: mail.requestToken }
}

/**
 * What the mailed code shows: it is the session's that asked, and good once. Five tries.
 *
 * @throws 400 `invalid_link`; 409 `other_proof_needed`.
 */
export async function proveByMailedCode(
  resources: Resources,
  actor: Claims,
  given: { mail_code: string; request_token: string },
): Promise<{ user: User; turn: number; used: Used }> {
  const { token } = await requireToken(
    resources,
    'reauthenticate',
    { code: given.mail_code, request_token: given.request_token },
    (id) => build.select({ id: users.id }).from(users).where(sql`${users.id} = ${id}`),
  )
  if (token.subject_id !== actor.sub || token.session_id !== actor.sid)
    throw invalidLink(new Refusal('unknown'))
  const { user, turn } = await readWithoutOther(resources, actor)
  if (user.email_normalized !== token.email_normalized) throw invalidLink(new Refusal('other_address'))
  const spend = (isDone: SQL) => [
    voidTokens(resources.now, ['reauthenticate'], and(eq(oneTimeTokens.id, token.id), isDone)),
  ]
  return { user, turn, used: { isGood: linkIsLive(token.id), spend } }
}
