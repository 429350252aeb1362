import { and, eq, isNotNull, isNull, sql } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import { activityLogs } from '../activity/models.ts'
import { record } from '../activity/service.ts'
import type { Resources } from '../context.ts'
import { build, databaseNow, rowExists } from '../database/statements.ts'
import { invalidInput, Refusal } from '../http/problem.ts'
import { invalidLink } from '../links/errors.ts'
import { type OneTimeToken, oneTimeTokens } from '../links/models.ts'
import type { Proof } from '../links/schemas.ts'
import { LIFETIME_MS, linkIsLive, noteFollowed, requireToken } from '../links/service.ts'
import { mailNotConfigured } from '../mail/errors.ts'
import { openMailRequest, openNotices } from '../mail/limits.ts'
import { enqueueAsked, enqueueNotice, mailAsked, sendAfterwards } from '../mail/outbox.ts'
import type { OwnPassword } from '../passwords/service.ts'
import type { Claims } from '../sessions/access-tokens.ts'
import { invalidToken } from '../sessions/errors.ts'
import { tokenIsLive } from '../sessions/revocation.ts'
import { isBlocked } from '../signup-blocks/models.ts'
import { applyChange, byToken, isSamePerson } from '../users/change.ts'
import type { Change } from '../users/consequences.ts'
import { assertAddressIsLet } from '../users/create.ts'
import { restoringEarlierEmail } from '../users/earlier-email.ts'
import { addressNotVerified, signupBlocked } from '../users/errors.ts'
import { TYPED, type User } from '../users/models.ts'
import { withOwnProof } from '../users/own-proof.ts'
import { entriesOf } from '../values/blocked.ts'
import { normalizeEmail } from '../values/email.ts'
import { proofNeeded } from './errors.ts'
import { requireUserByToken, selectSubject } from './mail-link.ts'
import type { ChangeEmail } from './schemas.ts'

/**
 * Asks for another address: the account keeps the old one until the new one confirms. The old one is told,
 * with a link that undoes the change. Only somebody who reads the new address's mail learns whether it
 * belongs to another user.
 *
 * @throws 403 `signup_domain_refused`, `signup_blocked`, `wrong_password`, `reauthentication_required`
 *   (without a password); 409 `address_not_verified` where a manager typed the password and nobody has
 *   verified the address; 429 `too_many_attempts`; 422 when it is the account's own address.
 */
export async function requestEmailChange(
  resources: Resources,
  actor: Claims,
  input: ChangeEmail,
): Promise<void> {
  if (!resources.send) throw mailNotConfigured()
  assertAddressIsLet(resources.config, input.new_email)
  await withOwnProof(resources, actor, ['current_password', input.current_password], (own) =>
    askForEmailChange(resources, actor, input, own),
  )
}

async function askForEmailChange(
  resources: Resources,
  actor: Claims,
  input: ChangeEmail,
  { row, clearAttempts }: OwnPassword,
): Promise<void> {
  const { db, now } = resources
  const emailNormalized = normalizeEmail(input.new_email)
  if (emailNormalized === row.email_normalized) {
    await db.writeBatch({ clear: clearAttempts })
    const detail = 'This is already the address.'
    throw invalidInput([{ pointer: '/new_email', code: 'unchanged', detail }])
  }
  // Confirming the new address would verify the account while whoever typed the password could still sign in.
  if (row.email_verified_at === null && row.password_is_given === TYPED) throw addressNotVerified()
  const blocked = isBlocked(entriesOf(emailNormalized))
  const holds = sql`${tokenIsLive(actor, now)} AND NOT ${blocked}`
  const request = openMailRequest(resources, {
    kind: 'confirm_email_change',
    emailNormalized,
    actor: { as: 'self', id: actor.sub },
    isAsked: holds,
  })
  const event = {
    id: uuidv7(),
    action: 'email.change_requested',
    userId: row.id,
    actorId: actor.sub,
  } as const
  const isDone = rowExists(activityLogs, event.id)
  const confirmation = enqueueAsked(
    resources,
    request,
    {
      kind: 'confirm_email_change',
      subjectId: row.id,
      email: input.new_email,
      emailNormalized,
      sessionId: actor.sid,
    },
    isDone,
  )
  // Its link undoes the change, which an unverified address cannot do.
  const notice = enqueueNotice(resources, 'email_change_requested', row, isDone, {
    newEmail: input.new_email,
    // Counted by address: each one is told, whatever the one before was.
    told: openNotices(resources, 'email_change_requested', actor.sid, row.email_normalized),
  })
  const { verdict, mails } = await db.writeBatch(
    {
      count: request.count,
      history: record(resources, event, sql`${holds} AND ${request.mayAsk}`),
      confirmation: confirmation.statements,
      notice: notice.statements,
      attempts: clearAttempts,
      mails: request.verdict,
      countMade: [request.countMade(confirmation.mailId)],
      verdict: sql<
        Record<'is_done' | 'is_blocked', 0 | 1>
      >`SELECT ${isDone} AS is_done, CASE WHEN ${isDone} THEN 0 ELSE ${blocked} END AS is_blocked`,
    },
    isDone,
  )
  const { is_done, is_blocked } = verdict[0]!
  if (!is_done) {
    if (is_blocked) throw signupBlocked()
    request.assertAllowed(mails)
    throw invalidToken(new Refusal('meanwhile'))
  }
  sendAfterwards(resources, confirmation.mailId, notice.mailId)
}

/**
 * The new address confirms. If the session that asked does so, the account has it from now on. Anybody else
 * may have been mailed by mistake, so the old address is asked as well.
 *
 * @returns whether the address is changed; otherwise the old one has been mailed.
 * @throws 403 `signup_domain_refused`, `signup_blocked`, as they may be newer than the request; 409
 *   `email_taken`; 422 `proof_needed` if the old address was never verified; 429 `too_many_attempts`.
 */
export async function confirmEmailChange(
  resources: Resources,
  proof: Proof,
  actor: Claims | undefined,
): Promise<'changed' | 'asked'> {
  const { now } = resources
  const { token, user } = await requireUserByToken(resources, 'change_email', proof, actor)
  assertAddressIsLet(resources.config, token.email)
  const isAsker = actor?.sub === user.id && actor.sid === token.session_id
  if (!isAsker) {
    await askOldAddress(resources, token, user)
    return 'asked'
  }
  const byMail = byToken(token, now)
  const by = { ...byMail, holds: sql`${byMail.holds} AND ${tokenIsLive(actor, now)}` }
  await applyChange(resources, by, user, changeTo(token, user, now))
  return 'changed'
}

/** Records that the new address has confirmed, and mails the old one for its approval. */
async function askOldAddress(resources: Resources, token: OneTimeToken, user: User): Promise<void> {
  if (user.email_verified_at === null) throw proofNeeded('the session that asked')
  const { email, email_normalized: emailNormalized } = user
  const kind = 'approve_email_change'
  const unless = unlessBlocked(token)
  // Whoever holds the link is told when the account's mailbox has reached its limit. They may be a stranger, so
  // what the owner may ask for is not counted.
  const request = openMailRequest(resources, {
    kind,
    emailNormalized,
    actor: { as: 'link', id: token.id },
    isAsked: sql`${linkIsLive(token.id)} AND NOT ${unless.is}`,
  })
  const mail = { kind, subjectId: user.id, email, emailNormalized, newEmail: token.email } as const
  await mailAsked(resources, request, mail, linkIsLive(token.id), {
    alsoWrite: (isMade) => [noteFollowed(resources, token, isMade)],
    unless,
  })
}

/** The old address approves the new one, which has already confirmed. Throws 403 and 409 like that. */
export async function approveEmailChange(resources: Resources, link: Proof): Promise<void> {
  const { db, now } = resources
  const { token, user } = await requireUserByToken(resources, 'approve_email_change', link)
  if (token.email_normalized !== user.email_normalized) throw invalidLink(new Refusal('other_address'))
  const {
    confirmed: [confirmed],
  } = await db.readPrimary({
    confirmed: build
      .select()
      .from(oneTimeTokens)
      .where(
        and(
          eq(oneTimeTokens.subject_id, user.id),
          eq(oneTimeTokens.purpose, 'change_email'),
          isNull(oneTimeTokens.spent_at),
          isNotNull(oneTimeTokens.clicked_at),
        ),
      ),
  })
  if (!confirmed) throw invalidLink(new Refusal('superseded'))
  assertAddressIsLet(resources.config, confirmed.email)
  const byMail = byToken(token, now)
  // It has confirmed in time: how long the old address has to answer is up to the link that was mailed to it.
  const isUnspent = sql`EXISTS (SELECT 1 FROM ${oneTimeTokens} WHERE id = ${confirmed.id} AND spent_at IS NULL)`
  const by = { ...byMail, holds: sql`${byMail.holds} AND ${isUnspent}` }
  await applyChange(resources, by, user, changeTo(confirmed, user, now))
}

/** The address may have been blocked since it was asked for. */
const unlessBlocked = (token: OneTimeToken) => ({
  is: isBlocked(entriesOf(token.email_normalized)),
  refused: signupBlocked,
})

const changeTo = (token: OneTimeToken, user: User, now: number): Change => ({
  action: 'email.changed',
  reliesOn: isSamePerson(user),
  unless: { blocked: unlessBlocked(token) },
  set: { email: token.email, email_normalized: token.email_normalized, email_verified_at: now },
  details: { email: { from: user.email, to: token.email } },
  // The seven days of the undo begin when there is something to undo.
  alsoWrite: (isDone) => [
    build
      .update(oneTimeTokens)
      .set({ expires_at: sql`${databaseNow} + ${LIFETIME_MS.undo_email_change}` })
      .where(
        sql`subject_id = ${user.id} AND purpose = 'undo_email_change' AND spent_at IS NULL
          AND email_normalized = ${user.email_normalized} AND expires_at > ${databaseNow} AND ${isDone}`,
      ),
  ],
})

/**
 * The old address takes the change back, whether or not it was made: it is the account's (again). A thief may
 * have closed the account, so a deleted one comes back. Throws 409 `email_taken` if somebody else has signed
 * up with the address meanwhile.
 */
export async function undoEmailChange(resources: Resources, proof: Proof): Promise<void> {
  const { token, subject: user } = await requireToken(resources, 'undo_email_change', proof, selectSubject)
  await applyChange(resources, byToken(token, resources.now), user, {
    ...restoringEarlierEmail(resources, user, token),
    action: 'email.change_undone',
    reliesOn: isSamePerson(user),
    details: {
      email: { from: user.email, to: token.email },
      ...(user.deleted_at !== null && { restored: true }),
    },
  })
}
