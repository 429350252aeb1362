import { sql } from 'drizzle-orm'
import type { Resources } from '../context.ts'
import { type IdempotentRequest, openIdempotency, recalled } from '../idempotency/service.ts'
import { enqueue, mayBeMailed, sendAfterwards } from '../mail/outbox.ts'
import { assertDomainMaySignUp, enqueueVerification, insertUser, makeUserRow } from '../users/create.ts'
import { emailTaken } from '../users/errors.ts'
import { emailIsTaken, users } from '../users/models.ts'
import type { User } from '../users/schemas.ts'
import { toUser } from '../users/schemas.ts'
import { signupClosed } from './errors.ts'
import { ACCEPTED, type SignUp } from './schemas.ts'

/**
 * Signs somebody up: account, history, idempotency key and the mail that confirms the address, in one batch.
 *
 * Where addresses have to be verified, the answer is the same whether or not the address is taken: `null`. The
 * owner of a taken one is told by mail; nothing else changes.
 *
 * @throws 409 `email_taken`, where verification is optional; 403 `signup_closed`, `signup_domain_refused`; 422.
 */
export async function signUp(
  resources: Resources,
  input: SignUp,
  request: IdempotentRequest | undefined,
): Promise<User | null> {
  const { config } = resources
  if (config.SIGNUP === 'closed') throw signupClosed()
  assertDomainMaySignUp(config, input.email)

  const row = await makeUserRow(resources, { ...input, role: 'user' })
  const isSecret = config.EMAIL_VERIFICATION === 'required'
  const answer = isSecret ? ACCEPTED : toUser({ ...row, state: row.status })
  const owner = sql`FROM ${users} WHERE email_normalized = ${row.email_normalized} AND deleted_at IS NULL`
  const isTaken = emailIsTaken(row.email_normalized)
  const once = openIdempotency(resources, request, row.id, answer, isSecret ? sql`1` : sql`NOT ${isTaken}`)
  const creation = insertUser(resources, row, sql`${once.isFirst} AND NOT ${isTaken}`, {
    action: 'user.signed_up',
    actorId: row.id,
  })
  const verification = enqueueVerification(resources, row, creation.isDone)
  const notice = enqueue(resources, {
    kind: 'already_registered',
    userId: sql`(SELECT id ${owner})`,
    to: sql`(SELECT email ${owner})`,
    toNormalized: row.email_normalized,
  })
  const mayTell = mayBeMailed(resources, 'already_registered', row.email_normalized)
  const results = await resources.db.writeBatch(
    {
      claim: once.claim,
      ...creation.statements,
      verification: verification.statements,
      notice: isSecret ? [notice.when(sql`${once.isFirst} AND NOT ${creation.isDone} AND ${mayTell}`)] : [],
      verdict: sql<{ is_done: 0 | 1 }>`SELECT ${creation.isDone} AS is_done`,
      ...once.recall,
    },
    creation.isDone,
  )
  sendAfterwards(resources, verification.mailId, ...(isSecret ? [notice.id] : []))
  const kept = recalled(request, results, answer)
  if (isSecret) return null
  if (kept === answer && !results.verdict[0]!.is_done) throw emailTaken()
  return kept as User
}
