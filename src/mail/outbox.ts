import { type SQL, sql } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import type { Resources } from '../context.ts'
import { insertWhere, type Statement } from '../database/statements.ts'
import { makeRequestToken } from '../links/askers.ts'
import { issueToken } from '../links/service.ts'
import { type User, users } from '../users/models.ts'
import { normalizeEmail } from '../values/email.ts'
import { timeOfId } from '../values/ids.ts'
import { deliverNew } from './delivery.ts'
import { type OutboxMail, outbox } from './models.ts'
import { deviceOf } from './text.ts'
import { type MailKind, TEXTS } from './texts.ts'

const NOTICE_LIFETIME_MS = 48 * 3_600_000

export interface QueuedMail {
  kind: MailKind
  /** A person's id, or the query that finds it; null for somebody who has no account. */
  userId: string | SQL | null
  to: string | SQL
  toNormalized: string | SQL
  /** The token whose link and code the mail brings. */
  token?: { id: string; expiresAt: number }
  newEmail?: string
}

/** A mail that a change owes: `when` is the statement for the change's batch. Nothing is sent from here. */
export function enqueue(
  { now, send, origin }: Resources,
  mail: QueuedMail,
): { id: string; when(condition: SQL): SQL } {
  const id = uuidv7()
  const row = {
    id,
    kind: mail.kind,
    user_id: mail.userId,
    recipient: mail.to,
    recipient_normalized: mail.toNormalized,
    token_id: mail.token?.id ?? null,
    new_email: mail.newEmail ?? null,
    new_email_normalized: mail.newEmail === undefined ? null : normalizeEmail(mail.newEmail),
    created_at: now,
    expires_at: mail.token?.expiresAt ?? now + NOTICE_LIFETIME_MS,
    attempts: 0,
    next_attempt_at: timeOfId(id),
    sent_at: null,
    dead_at: null,
    country: TEXTS[mail.kind].isAsked ? origin.country : null,
    device: TEXTS[mail.kind].isAsked ? deviceOf(origin.userAgent) : null,
    refusal: null,
  } satisfies Record<keyof OutboxMail, unknown>
  // Without a transport there is nobody to send it, now or later.
  return { id, when: (condition) => insertWhere(outbox, row, send ? condition : sql`0`) }
}

export interface QueuedLink {
  kind: { [Kind in MailKind]: (typeof TEXTS)[Kind]['purpose'] extends null ? never : Kind }[MailKind]
  /** A user's or an invitation's id, or the query that finds it. */
  subjectId: string | SQL
  /** The user, if there is one; `subjectId` when absent. */
  userId?: null
  /** The session that asks, where only that one may use it. */
  sessionId?: string
  email: string | SQL
  emailNormalized: string
  newEmail?: string
}

/**
 * A mail with a link, and the token for it, if `condition` holds: `statements` are for the change's batch, and
 * `isMade` is the condition for what else depends on them.
 */
export function enqueueLink(resources: Resources, link: QueuedLink, condition: SQL) {
  const { kind, subjectId, userId = subjectId, email, emailNormalized, newEmail, sessionId } = link
  const token = issueToken(
    resources,
    { purpose: TEXTS[kind].purpose, subjectId, email, emailNormalized, sessionId },
    condition,
  )
  const mail = enqueue(resources, {
    kind,
    userId,
    to: email,
    toNormalized: emailNormalized,
    token,
    ...(newEmail && { newEmail }),
  })
  const statements: Statement[] = [...token.statements, mail.when(token.isMade)]
  return {
    mailId: mail.id,
    isMade: token.isMade,
    statements,
    /** For who asked: with it, and with nothing else, the code in the mail works. */
    requestToken: makeRequestToken(resources.config, token.id),
  }
}

/**
 * Tells a user of a change that was made to their account. It goes to a verified address, whatever else was mailed
 * there; an address that nobody has proved gets nothing but what proves it.
 */
export function enqueueNotice(
  resources: Resources,
  kind: MailKind,
  user: Pick<User, 'id' | 'email' | 'email_normalized'>,
) {
  const mail = enqueue(resources, {
    kind,
    userId: user.id,
    to: user.email,
    toNormalized: user.email_normalized,
  })
  const isVerified = sql`EXISTS (SELECT 1 FROM ${users} WHERE id = ${user.id} AND email_verified_at IS NOT NULL)`
  return { id: mail.id, when: (condition: SQL) => mail.when(sql`${condition} AND ${isVerified}`) }
}

/**
 * Sends what a request owes, after its batch has been written and its answer given. Whatever goes wrong, the cron
 * trigger tries again.
 */
export function sendAfterwards(resources: Resources, ...ids: string[]): void {
  if (ids.length > 0) resources.afterwards(deliverNew(resources, ids).catch(() => {}))
}

/** How many mails wait and how many were given up, up to 100 of each: more would be read for no reason. */
export const countMails = () => sql<{ waiting: number; dead: number }>`SELECT
  (SELECT count(*) FROM (SELECT 1 FROM ${outbox} WHERE sent_at IS NULL AND dead_at IS NULL LIMIT 100)) AS waiting,
  (SELECT count(*) FROM (SELECT 1 FROM ${outbox} WHERE dead_at IS NOT NULL AND refusal IS NOT 'void'
    LIMIT 100)) AS dead`
