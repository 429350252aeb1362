import { type SQL, sql } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import type { Resources } from '../context.ts'
import { MAX_CONCURRENT } from '../database/deliveries.ts'
import { insertWhere, rowExists, type Statement } from '../database/statements.ts'
import type { AppError } from '../http/problem.ts'
import { makeRequestToken } from '../links/askers.ts'
import { ACCEPTED, type MailRequested as MailPromised } from '../links/schemas.ts'
import { issueToken } from '../links/service.ts'
import { type User, users } from '../users/models.ts'
import { HOUR_MS } from '../values/durations.ts'
import { normalizeEmail } from '../values/email.ts'
import { timeOfId } from '../values/ids.ts'
import { describeUserAgent } from '../values/user-agent.ts'
import { deliverNew } from './delivery.ts'
import { KINDS, type MailKind } from './kinds.ts'
import type { MailRequested, Notices } from './limits.ts'
import { isDead, type OutboxMail, outbox } from './models.ts'

const NOTICE_LIFETIME_MS = 48 * HOUR_MS

/** A mail to queue; ids and addresses may be subqueries. */
interface QueuedMail {
  kind: MailKind
  userId: string | SQL | null
  email: string | SQL
  emailNormalized: string | SQL
  /** The token of the mail's link and code. */
  token?: { id: string; expiresAt: number }
  newEmail?: string | undefined
  event?: Event | undefined
}

/** The row of history that a mail reports, and its actor. */
export interface Event {
  id: string
  actorId: string | null
}

/** The actor's verified address, stored with the mail so that every try names the same. */
const ofActor = ({ actorId }: Event, column: 'email' | 'email_normalized') =>
  sql`(SELECT ${users[column]} FROM ${users} WHERE id = ${actorId} AND email_verified_at IS NOT NULL)`

/** Sends nothing itself: `when` gives the statement for the batch of the change. */
function enqueue({ now, origin }: Resources, mail: QueuedMail): { id: string; when(condition: SQL): SQL } {
  const id = uuidv7()
  const { isAsked } = KINDS[mail.kind]
  const { newEmail, event } = mail
  const named = newEmail === undefined ? [null, null] : [newEmail, normalizeEmail(newEmail)]
  const [new_email, new_email_normalized] = event?.actorId
    ? [ofActor(event, 'email'), ofActor(event, 'email_normalized')]
    : named
  const row = {
    id,
    kind: mail.kind,
    user_id: mail.userId,
    recipient: mail.email,
    recipient_normalized: mail.emailNormalized,
    token_id: mail.token?.id ?? null,
    new_email,
    new_email_normalized,
    created_at: now,
    expires_at: mail.token?.expiresAt ?? now + NOTICE_LIFETIME_MS,
    attempts: 0,
    next_attempt_at: timeOfId(id),
    sent_at: null,
    dead_at: null,
    country: isAsked ? origin.country : null,
    device: isAsked ? describeUserAgent(origin.userAgent) : null,
    refusal: null,
    event_id: event?.id ?? null,
    // The reader's language or, if they have chosen none, that of the request that caused the mail.
    language: sql`coalesce((SELECT locale FROM ${users} WHERE id = ${mail.userId}), ${origin.language})`,
  } satisfies Record<keyof OutboxMail, unknown>
  return { id, when: (condition) => insertWhere(outbox, row, condition) }
}

/** A mail with the link and the token of its kind, if it has them. */
function enqueueWithLink(
  resources: Resources,
  mail: Omit<QueuedMail, 'token'> & {
    subjectId: string | SQL
    sessionId?: string | undefined
    about?: string | SQL | undefined
  },
  condition: SQL,
) {
  const { purpose } = KINDS[mail.kind]
  const token = purpose && issueToken(resources, { ...mail, purpose }, condition)
  const queued = enqueue(resources, { ...mail, ...(token && { token }) })
  return {
    mailId: queued.id,
    tokenId: token?.id ?? '',
    /** The condition for whatever depends on it. */
    isMade: token?.isMade ?? rowExists(outbox, queued.id),
    /** For the batch of the change. Without a transport nothing could send it, and nobody would have its link. */
    statements: (resources.send
      ? [...(token?.statements ?? []), queued.when(token?.isMade ?? condition)]
      : []) as Statement[],
  }
}

type KindWhere<Is> = {
  [Kind in MailKind]: (typeof KINDS)[Kind] extends Is ? Kind : never
}[MailKind]

export interface AskedMail {
  kind: KindWhere<{ isCounted: true }>
  /** A user's or an invitation's id, or a subquery. */
  subjectId: string | SQL
  /** The user, if there is one, or a subquery; `subjectId` when absent. */
  userId?: SQL | null
  /** The session that asks, if only that one may use it. */
  sessionId?: string
  email: string | SQL
  emailNormalized: string
  newEmail?: string
}

/**
 * A mail that somebody asks for, if `condition` holds and the limits of the request allow it: no such mail
 * can be made uncounted.
 */
export function enqueueAsked(
  resources: Resources,
  request: Pick<MailRequested, 'isAllowed'>,
  mail: AskedMail,
  condition: SQL,
) {
  const { tokenId, ...queued } = enqueueWithLink(
    resources,
    { ...mail, userId: mail.userId === undefined ? mail.subjectId : mail.userId },
    sql`${condition} AND ${request.isAllowed}`,
  )
  /** For the caller: the code in the mail only works with it. */
  return { ...queued, requestToken: makeRequestToken(resources.config, tokenId) }
}

/**
 * Enqueues and sends one, for a request that does nothing else.
 *
 * @param condition without which nobody is mailed: the answer and its cost are the same.
 * @param more.alsoWrite written together with the mail.
 * @param more.unless an error to throw if `is` holds at the time of the write.
 * @throws 429 `too_many_attempts`.
 */
export async function mailAsked(
  resources: Resources,
  request: MailRequested,
  mail: AskedMail,
  condition: SQL,
  {
    alsoWrite,
    unless,
  }: {
    alsoWrite?: (isMade: SQL) => readonly Statement[]
    unless?: { is: SQL; refused: () => AppError }
  } = {},
): Promise<MailPromised> {
  const mayBeMade = unless ? sql`${condition} AND NOT ${unless.is}` : condition
  const { mailId, statements, isMade, requestToken } = enqueueAsked(resources, request, mail, mayBeMade)
  const { verdict, forbidden } = await resources.db.writeBatch({
    count: request.count,
    mail: statements,
    also: alsoWrite?.(isMade) ?? [],
    verdict: request.verdict,
    ...(unless && { forbidden: sql<{ is: 0 | 1 }>`SELECT ${unless.is} AS "is"` }),
    countMade: [request.countMade(mailId)],
  })
  if (unless && forbidden?.[0]?.is) throw unless.refused()
  request.assertAllowed(verdict)
  sendAfterwards(resources, mailId)
  return { ...ACCEPTED, request_token: requestToken }
}

/** The recipient of a notice. */
export type Recipient = Pick<User, 'id' | 'email' | 'email_normalized' | 'email_verified_at'>

/**
 * Tells a user of a change to their account. It goes to a verified address, however many other mails went
 * there; an unverified address only gets the mail that verifies it.
 *
 * @param more.about what its link undoes.
 * @param more.event who did what.
 * @param more.told counts it, so that the same is not reported without end.
 */
export function enqueueNotice(
  resources: Resources,
  kind: KindWhere<{ isCounted: false }>,
  user: Recipient,
  condition: SQL,
  {
    newEmail,
    about,
    event,
    told,
  }: { newEmail?: string; about?: string | SQL; event?: Event; told?: Notices } = {},
) {
  const { id, email, email_normalized: emailNormalized } = user
  // As read, because the change may be of the address; or after the change, which may be what verifies it.
  const isVerified =
    user.email_verified_at !== null
      ? sql`1`
      : sql`EXISTS (SELECT 1 FROM ${users} WHERE id = ${id} AND email_verified_at IS NOT NULL)`
  const mail = { kind, subjectId: id, userId: id, email, emailNormalized, newEmail, about, event }
  const isTold = told ? sql`${isVerified} AND ${told.isDue}` : isVerified
  const queued = enqueueWithLink(resources, mail, sql`${condition} AND ${isTold}`)
  return { ...queued, statements: [...(told ? [told.count(condition)] : []), ...queued.statements] }
}

/** How many mails a request sends itself; the rest is due at the next cron run. */
const MAILS_PER_REQUEST = 20
/**
 * Work after an answer is cut off after 30 seconds. Mails claimed by then, with a service that cannot
 * recognise a repeat, would be given up; so none is claimed without enough time left to send it (CALLS in
 * http/outbound.ts).
 */
const TAKES_MAILS_FOR_MS = 10_000
/** By request: the mails that are not on their way yet. */
const owedMails = new WeakMap<object, string[]>()

/**
 * Sends a request's mails after its batch is written and its answer given, a few at a time however many there
 * are. The cron trigger retries what fails, and sends what is over the limit.
 */
export function sendAfterwards(resources: Resources, ...ids: string[]): void {
  if (ids.length === 0) return
  const waiting = owedMails.get(resources.db)
  if (waiting) return void waiting.push(...ids)
  const begun = [...ids]
  owedMails.set(resources.db, begun)
  resources.afterwards(sendOwed(resources, begun))
}

async function sendOwed(resources: Resources, waiting: string[]): Promise<void> {
  const startedAt = Date.now()
  const isInTime = () => Date.now() - startedAt < TAKES_MAILS_FOR_MS
  try {
    for (let left = MAILS_PER_REQUEST; left > 0 && waiting.length > 0 && isInTime(); ) {
      const ids = waiting.splice(0, Math.min(MAX_CONCURRENT, left))
      left -= ids.length
      await deliverNew(resources, ids)
    }
  } finally {
    owedMails.delete(resources.db)
  }
}

/**
 * How many mails wait and how many were given up, up to 100 of each: a larger number would not be worth
 * reading.
 */
export const countMails = () => sql<{ waiting: number; dead: number }>`SELECT
  (SELECT count(*) FROM (SELECT 1 FROM ${outbox} WHERE sent_at IS NULL AND dead_at IS NULL LIMIT 100)) AS waiting,
  (SELECT count(*) FROM (SELECT 1 FROM ${outbox} WHERE ${isDead()} AND refusal IS NOT 'void'
    LIMIT 100)) AS dead`
