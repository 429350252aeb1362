import { type SQL, sql } from 'drizzle-orm'
import type { Resources } from '../context.ts'
import { type IdempotentRequest, keptAnswer, openIdempotency, recallOf } from '../idempotency/service.ts'
import { ACCEPTED } from '../links/schemas.ts'
import { makeSignupToken } from '../links/signup-tokens.ts'
import { type MailRequested, openMailRequest } from '../mail/limits.ts'
import { enqueueAsked, sendAfterwards } from '../mail/outbox.ts'
import { assertHuman } from '../throttle/bot-challenge.ts'
import { assertMaySignUp, insertUser, makeUserRow, signupIsBlocked } from '../users/create.ts'
import { emailTaken, signupBlocked } from '../users/errors.ts'
import { emailIsTaken, userIsActive, users } from '../users/models.ts'
import { toUser } from '../users/schemas.ts'
import { normalizeEmail } from '../values/email.ts'
import { signupClosed } from './errors.ts'
import type { SignedUp, SignUp, SignupAccepted } from './schemas.ts'

/** What sign-up answers: 202 where it must not reveal whether the address was taken. */
export type SignupAnswer = { status: 201; body: SignedUp } | { status: 202; body: SignupAccepted }

/**
 * Signs somebody up: account, history, idempotency key and the mail that confirms the address, in one batch.
 *
 * Where addresses have to be verified, the answer is the same whether or not the address is taken. If it is
 * taken, the owner of a verified address is told by mail, and an unverified one gets the mail that verifies
 * it; nothing else changes.
 *
 * @returns besides the answer, the token with which the code of that mail works, whoever has the account.
 * @throws 409 `email_taken`, where verification is optional; 403 `signup_closed`, `signup_domain_refused`,
 *   `signup_blocked`, `challenge_failed`; 422; 429 `too_many_attempts`; 503 `challenge_unavailable`.
 */
export async function signUp(
  resources: Resources,
  input: SignUp,
  request: IdempotentRequest | undefined,
): Promise<SignupAnswer & { requestToken: string }> {
  const { config, send } = resources
  if (config.SIGNUP === 'closed') throw signupClosed()
  assertMaySignUp(resources, input.email)
  const { mayBeTaken } = await assertMayAsk(resources, input, request)
  await assertHuman(resources, input)
  if (mayBeTaken) await refuseTaken(resources, input)

  const row = await makeUserRow(resources, { ...input, role: 'user' })
  const { email_normalized: emailNormalized } = row
  const isSecret = config.EMAIL_VERIFICATION === 'required'
  const answer = isSecret ? ACCEPTED : toUser({ ...row, state: row.status })
  const asked = openMailRequest(resources, { kind: 'verify_email', emailNormalized })
  // A sign-up counts as a request for a mail, whoever owns the address. Without a mailer, sign-ups are
  // counted all the same.
  const { mayAsk } = asked
  const isTaken = emailIsTaken(emailNormalized)
  // Checked again: a lagging replica may have missed a block, and hashing takes time.
  const blocked = signupIsBlocked(resources, input.email)
  const isLet = sql`${mayAsk} AND NOT ${blocked}`
  const mayClaim = isSecret ? isLet : sql`${isLet} AND NOT ${isTaken}`
  const once = openIdempotency(resources, request, row.id, answer, mayClaim, isSecret ? 202 : 201)
  const creation = insertUser(resources, row, sql`${once.isFirst} AND NOT ${isTaken}`, {
    action: 'user.signed_up',
    actorId: row.id,
  })
  // Skips a condition that is already decided: each check for a block reads a row for every entry that could
  // match.
  const isAnswered = isSecret
    ? sql`CASE WHEN ${creation.isDone} THEN 1 ELSE ${once.isFirst} END`
    : creation.isDone
  const mails = mailsToOwner(resources, asked, emailNormalized, isAnswered)
  const results = await resources.db.writeBatch(
    {
      count: asked.count,
      claim: once.claim,
      ...creation.statements,
      mails: isSecret ? mails.statements : mails.verification,
      mailing: asked.verdict,
      countMade: send ? mails.ids.map(asked.countMade) : [],
      verdict: sql<Record<'is_done' | 'is_blocked', 0 | 1>>`SELECT ${creation.isDone} AS is_done,
        CASE WHEN ${creation.isDone} THEN 0 ELSE ${blocked} END AS is_blocked`,
      ...once.recall,
    },
    creation.isDone,
  )
  sendAfterwards(resources, ...mails.ids)
  const kept = keptAnswer(request, results)
  if (!kept) {
    if (results.verdict[0]!.is_blocked) throw signupBlocked()
    asked.assertAllowed(results.mailing)
    if (!isSecret && !results.verdict[0]!.is_done) throw emailTaken()
  }
  const {
    status,
    subjectId,
    answer: body,
  } = kept ?? { status: isSecret ? 202 : 201, subjectId: row.id, answer }
  const signup_token = makeSignupToken(config, { userId: subjectId, emailNormalized })
  const answered = { status, body: { ...(body as object), signup_token } } as SignupAnswer
  return { ...answered, requestToken: mails.requestToken }
}

/**
 * Refuses a blocked address, or one with no mail left, before the hash. Otherwise a neighbour could use up
 * the hashes of the network and of the isolate with such requests alone.
 *
 * @returns whether a replica says that the address is taken, where the answer may tell it.
 */
async function assertMayAsk(
  resources: Resources,
  { email }: SignUp,
  request: IdempotentRequest | undefined,
): Promise<{ mayBeTaken: boolean }> {
  const emailNormalized = normalizeEmail(email)
  const asked = openMailRequest(resources, { kind: 'verify_email', emailNormalized })
  const isSecret = resources.config.EMAIL_VERIFICATION === 'required'
  const read = await resources.db.read({
    spent: asked.spent,
    blocked: sql<{ is: 0 | 1 }>`SELECT ${signupIsBlocked(resources, email)} AS "is"`,
    taken: isSecret ? [] : sql<{ is: 0 | 1 }>`SELECT ${emailIsTaken(emailNormalized)} AS "is"`,
    ...recallOf(request),
  })
  // A request that was answered before gets the same answer.
  if (keptAnswer(request, read)) return { mayBeTaken: false }
  if (read.blocked[0]!.is) throw signupBlocked()
  asked.assertMayAsk(read.spent)
  return { mayBeTaken: read.taken?.[0]?.is === 1 }
}

/**
 * Refuses a taken address before the hash, and counts the try like any other sign-up. Throws 409 `email_taken`, 429
 * `too_many_attempts`, unless only a lagging replica says that the address is taken.
 */
async function refuseTaken(resources: Resources, { email }: SignUp): Promise<void> {
  const emailNormalized = normalizeEmail(email)
  const isTaken = emailIsTaken(emailNormalized)
  const asked = openMailRequest(resources, { kind: 'verify_email', emailNormalized, isAsked: isTaken })
  const { mailing, taken } = await resources.db.writeBatch({
    count: asked.count,
    mailing: asked.verdict,
    taken: sql<{ is: 0 | 1 }>`SELECT ${isTaken} AS "is"`,
  })
  if (!taken[0]!.is) return
  asked.assertAllowed(mailing)
  throw emailTaken()
}

/**
 * The mail to the owner of the address, who may be the account that this batch makes: the mail that verifies
 * an unverified address, otherwise a notice that somebody tried to sign up with it.
 */
function mailsToOwner(resources: Resources, asked: MailRequested, emailNormalized: string, condition: SQL) {
  const owner = sql`FROM ${users} WHERE email_normalized = ${emailNormalized} AND deleted_at IS NULL
    AND ${userIsActive(resources.now)}`
  const isVerified = (is: boolean) =>
    sql`EXISTS (SELECT 1 ${owner} AND email_verified_at IS ${is ? sql`NOT NULL` : sql`NULL`}) AND ${condition}`
  const to = { subjectId: sql`(SELECT id ${owner})`, email: sql`(SELECT email ${owner})`, emailNormalized }
  const verification = enqueueAsked(resources, asked, { kind: 'verify_email', ...to }, isVerified(false))
  const notice = enqueueAsked(resources, asked, { kind: 'already_registered', ...to }, isVerified(true))
  return {
    ids: [verification.mailId, notice.mailId],
    requestToken: verification.requestToken,
    verification: verification.statements,
    statements: [...verification.statements, ...notice.statements],
  }
}
