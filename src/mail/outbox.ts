import { and, asc, eq, gt, isNull, lte, type SQL, sql } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import type { Resources } from '../context.ts'
import { build, insertWhere, type Statement } from '../database/statements.ts'
import { issueToken, makeCode, makeLinkToken } from '../links/service.ts'
import { mailboxOf } from '../values/email.ts'
import { firstIdAt } from '../values/ids.ts'
import { type OutboxMail, outbox } from './models.ts'
import { type MailKind, render, TEXTS } from './texts.ts'

const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS
const NOTICE_LIFETIME_MS = 48 * HOUR_MS
/** One address gets so many mails of a kind an hour that anybody can ask for. */
const MAILS_PER_HOUR = 3
const MAILS_PER_RUN = 50
/** After the first failure; doubled after each. */
const FIRST_PAUSE_MS = MINUTE_MS
const LONGEST_PAUSE_MS = 6 * HOUR_MS

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
  { now, send }: Resources,
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
    created_at: now,
    expires_at: mail.token?.expiresAt ?? now + NOTICE_LIFETIME_MS,
    attempts: 0,
    next_attempt_at: now,
    sent_at: null,
    dead_at: null,
  } satisfies Record<keyof OutboxMail, unknown>
  // Without a transport there is nobody to send it, now or later.
  return { id, when: (condition) => insertWhere(outbox, row, send ? condition : sql`0`) }
}

export interface QueuedLink {
  kind: { [Kind in MailKind]: (typeof TEXTS)[Kind]['purpose'] extends null ? never : Kind }[MailKind]
  /** A person's or an invitation's id, or the query that finds it. */
  subjectId: string | SQL
  /** The person, if there is one; `subjectId` when absent. */
  userId?: null
  email: string | SQL
  emailNormalized: string
  newEmail?: string
}

/**
 * A mail with a link, and the token for it, if `condition` holds: `statements` are for the change's batch, and
 * `isMade` is the condition for what else depends on them.
 */
export function enqueueLink(resources: Resources, link: QueuedLink, condition: SQL) {
  const { kind, subjectId, userId = subjectId, email, emailNormalized, newEmail } = link
  const token = issueToken(
    resources,
    { purpose: TEXTS[kind].purpose, subjectId, email, emailNormalized },
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
  return { mailId: mail.id, isMade: token.isMade, statements }
}

/** A condition: that an address has not had its share of mails of a kind in the last hour. */
export const mayBeMailed = ({ now }: Resources, kind: MailKind, emailNormalized: string): SQL =>
  sql`(SELECT count(*) FROM (SELECT 1 FROM ${outbox} WHERE recipient_normalized = ${emailNormalized} AND kind = ${kind}
    AND id > ${firstIdAt(now - HOUR_MS)} LIMIT ${MAILS_PER_HOUR})) < ${MAILS_PER_HOUR}`

/** Sends right after the answer what a request owes. Whatever goes wrong, the cron trigger tries again. */
export function sendAfterwards(resources: Resources, ...ids: string[]): void {
  resources.afterwards(Promise.all(ids.map((id) => deliver(resources, id).catch(() => {}))))
}

/** The cron trigger's part: sends what is due, and gives up what has expired. */
export async function deliverDue(resources: Resources): Promise<{ due: number; dead: number }> {
  const { db } = resources
  const now = Date.now()
  const next = build
    .select({ id: outbox.id })
    .from(outbox)
    .where(and(isWaiting, lte(outbox.next_attempt_at, now)))
    .orderBy(asc(outbox.next_attempt_at))
    .limit(MAILS_PER_RUN)
  const { dead, due } = await db.writeBatch({
    // Of those whose turn it is: however many wait, a run reads so many and no more.
    dead: build
      .update(outbox)
      .set({ dead_at: now })
      .where(and(sql`${outbox.id} IN (${next})`, lte(outbox.expires_at, now)))
      .returning({ id: outbox.id, kind: outbox.kind }),
    due: next,
  })
  for (const { id, kind } of dead) log('error', 'mail_dead', { id, kind })
  for (const { id } of due) await deliver(resources, id)
  return { due: due.length, dead: dead.length }
}

const isWaiting = and(isNull(outbox.sent_at), isNull(outbox.dead_at))!

/** One attempt at one mail. Claimed before it is sent, so that two who try at once send it once. */
async function deliver(resources: Resources, id: string): Promise<void> {
  const { db, send } = resources
  if (!send) return
  const now = Date.now()
  const isDue = and(
    eq(outbox.id, id),
    isWaiting,
    lte(outbox.next_attempt_at, now),
    gt(outbox.expires_at, now),
  )
  const pause = sql`min(${LONGEST_PAUSE_MS}, ${FIRST_PAUSE_MS} << min(${outbox.attempts}, 20))
    * ${0.8 + Math.random() * 0.4}`
  const {
    claimed: [mail],
  } = await db.writeBatch({
    claimed: build
      .update(outbox)
      .set({
        attempts: sql`${outbox.attempts} + 1`,
        next_attempt_at: sql`${now} + CAST(${pause} AS INTEGER)`,
      })
      .where(isDue)
      .returning(),
  })
  if (!mail) return
  try {
    await send({ ...write(resources, mail), to: mailboxOf(mail.recipient), idempotencyKey: mail.id })
  } catch (error) {
    log('warn', 'mail_not_sent', {
      id,
      kind: mail.kind,
      attempts: mail.attempts,
      cause: (error as Error).name,
    })
    return
  }
  await db.writeBatch({ sent: build.update(outbox).set({ sent_at: Date.now() }).where(eq(outbox.id, id)) })
}

function write({ config }: Resources, mail: OutboxMail) {
  const { write, purpose } = TEXTS[mail.kind]
  const text = write({ organisation: config.ORGANISATION, newEmail: mail.new_email })
  if (!purpose || !mail.token_id) return render(text)
  const link = new URL(`/links/${purpose}`, config.LINK_ORIGIN ?? config.ISSUER)
  link.searchParams.set('token', makeLinkToken(config, purpose, mail.token_id))
  // Nobody asked for that mail, so nobody waits for a code on another device.
  if (purpose === 'unlock_account') return render(text, { link: link.href })
  return render(text, { link: link.href, code: makeCode(config, purpose, mail.token_id) })
}

/** How many mails wait and how many were given up, up to 100 of each: more would be read for no reason. */
export const countMails = () => sql<{ waiting: number; dead: number }>`SELECT
  (SELECT count(*) FROM (SELECT 1 FROM ${outbox} WHERE sent_at IS NULL AND dead_at IS NULL LIMIT 100)) AS waiting,
  (SELECT count(*) FROM (SELECT 1 FROM ${outbox} WHERE dead_at IS NOT NULL LIMIT 100)) AS dead`

const log = (level: 'warn' | 'error', code: string, about: object) =>
  console[level](JSON.stringify({ level, code, ...about }))
