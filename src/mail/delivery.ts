import { and, asc, eq, gt, inArray, isNull, lt, lte, or, sql } from 'drizzle-orm'
import type { Resources } from '../context.ts'
import { build, databaseNow } from '../database/statements.ts'
import { log } from '../http/log.ts'
import { oneTimeTokens, TAKES_BACK } from '../links/models.ts'
import { LIFETIME_MS, makeCode, makeLinkToken } from '../links/service.ts'
import { LAST_REFUSAL, systemState } from '../system/models.ts'
import { users } from '../users/models.ts'
import { MINUTE_MS } from '../values/durations.ts'
import { mailboxOf } from '../values/email.ts'
import { timeOfId } from '../values/ids.ts'
import { KINDS, type Kind, type MailKind } from './kinds.ts'
import { type OutboxMail, outbox } from './models.ts'
import { render } from './render.ts'
import { repeatable } from './text.ts'
import { mailTextsIn } from './texts/index.ts'
import { MailRefused, type Send } from './transports.ts'

/** A Worker has six connections, and needs one for the database. */
export const AT_A_TIME = 5
const MAILS_PER_RUN = 200
const RUN_MS = 40_000
/** After the first failure; doubled after each. */
const FIRST_PAUSE_MS = MINUTE_MS
const LONGEST_PAUSE_MS = 6 * 60 * MINUTE_MS
const NO_ANSWER = 'no_answer'

/** What a claim moves on from, so that of two who claim a mail at once one has it. */
type Due = Pick<OutboxMail, 'id' | 'attempts' | 'next_attempt_at'>

/** Sends mails that have just been enqueued, at most AT_A_TIME. */
export async function deliverNew(resources: Resources, ids: string[]): Promise<void> {
  const { send } = resources
  if (!send) return
  const due = ids.map((id) => ({ id, attempts: 0, next_attempt_at: timeOfId(id) }))
  const { mails } = await claim(resources, send, due)
  await Promise.all(mails.map((mail) => deliver(resources, send, mail)))
}

/** The cron trigger's part: sends what is due, five at a time, and gives up what has no use any more. */
export async function deliverDue(resources: Resources): Promise<{ due: number; dead: number }> {
  const { send } = resources
  const counts = { due: 0, dead: 0 }
  if (!send) return counts
  const startedAt = Date.now()
  const claimed: OutboxMail[] = []
  let taken = 0
  let claiming: Promise<void> | undefined

  async function claimMore(send: Send): Promise<void> {
    const due = taken < MAILS_PER_RUN && Date.now() - startedAt < RUN_MS ? await readDue(resources) : []
    taken = due.length === 0 ? MAILS_PER_RUN : taken + due.length
    const { mails, dead } = await claim(resources, send, due)
    counts.due += due.length
    counts.dead += dead
    claimed.push(...mails)
  }

  async function sendOneByOne(send: Send): Promise<void> {
    for (;;) {
      while (claimed.length === 0 && taken < MAILS_PER_RUN) {
        claiming ??= claimMore(send).finally(() => {
          claiming = undefined
        })
        await claiming
      }
      const mail = claimed.shift()
      if (!mail) return
      await deliver(resources, send, mail)
    }
  }
  const ended = await Promise.allSettled(Array.from({ length: AT_A_TIME }, () => sendOneByOne(send)))
  const failed = ended.find((end) => end.status === 'rejected')
  if (failed) throw failed.reason
  return counts
}

const isWaiting = and(isNull(outbox.sent_at), isNull(outbox.dead_at))!

async function readDue({ db }: Resources): Promise<Due[]> {
  const { due } = await db.read({
    due: build
      .select({ id: outbox.id, attempts: outbox.attempts, next_attempt_at: outbox.next_attempt_at })
      .from(outbox)
      .where(and(isWaiting, lte(outbox.next_attempt_at, Date.now())))
      .orderBy(asc(outbox.next_attempt_at))
      .limit(AT_A_TIME),
  })
  return due
}

/** Mails that go to the deleted as well: of links that work for them, and what tells them that they are. */
const REACH_DELETED = (Object.keys(KINDS) as MailKind[]).filter((kind) => {
  const { purpose, reachesDeleted }: Kind = KINDS[kind]
  return reachesDeleted || (purpose !== null && TAKES_BACK.includes(purpose))
})

/** A condition: that the link of a mail still leads somewhere, and its user is there. */
const stillStands = sql`(${outbox.token_id} IS NULL OR EXISTS (SELECT 1 FROM ${oneTimeTokens}
    WHERE ${oneTimeTokens.id} = ${outbox.token_id} AND ${oneTimeTokens.spent_at} IS NULL
      AND ${oneTimeTokens.expires_at} > ${databaseNow}))
  AND (${outbox.user_id} IS NULL OR EXISTS (SELECT 1 FROM ${users} WHERE ${users.id} = ${outbox.user_id}
    AND (${users.deleted_at} IS NULL OR ${inArray(outbox.kind, REACH_DELETED)})))`

/**
 * Takes mails before they are sent, so that two who try at once send each once. A claim moves the time of the next
 * attempt, and is read back by it. Of a service that does not know a repeat, a mail counts as sent from here on.
 */
async function claim(
  { db, origin: { requestId: request_id } }: Resources,
  { knowsRepeats }: Send,
  due: Due[],
): Promise<{ mails: OutboxMail[]; dead: number }> {
  if (due.length === 0) return { mails: [], dead: 0 }
  const now = Date.now()
  const isAsRead = (mail: Due) =>
    and(eq(outbox.id, mail.id), eq(outbox.next_attempt_at, mail.next_attempt_at), isWaiting)
  const claims = due.map((mail) => ({ ...mail, next: now + pauseAfter(mail.attempts) }))
  const ids = due.map(({ id }) => id)
  const { dead, mails } = await db.writeBatch({
    dead: build
      .update(outbox)
      .set({ dead_at: now, refusal: sql`iif(${outbox.expires_at} <= ${now}, 'expired', 'void')` })
      .where(
        and(
          inArray(outbox.id, ids),
          isWaiting,
          sql`(${lte(outbox.expires_at, now)} OR NOT (${stillStands}))`,
        ),
      )
      .returning({ id: outbox.id, kind: outbox.kind, refusal: outbox.refusal }),
    claims: claims.map((mail) =>
      build
        .update(outbox)
        .set({
          attempts: mail.attempts + 1,
          next_attempt_at: mail.next,
          ...(!knowsRepeats && { sent_at: now }),
        })
        .where(and(isAsRead(mail), gt(outbox.expires_at, now))),
    ),
    mails: build
      .select()
      .from(outbox)
      .where(
        or(
          ...claims.map(({ id, next }) =>
            and(eq(outbox.id, id), eq(outbox.next_attempt_at, next), isNull(outbox.dead_at)),
          ),
        ),
      ),
  })
  for (const { id, kind, refusal } of dead)
    if (refusal === 'expired') log('error', { code: 'mail_dead', request_id, id, kind, refusal })
  return { mails, dead: dead.length }
}

const pauseAfter = (attempts: number) =>
  Math.round(
    Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(attempts, 20)) * (0.8 + Math.random() * 0.4),
  )

/** One attempt at one mail that was claimed. It stands alone: whatever happens to it is nothing to others. */
async function deliver(resources: Resources, send: Send, mail: OutboxMail): Promise<void> {
  const { id, kind, attempts } = mail
  // Of the request that sends it, or the run of the cron job.
  const line = { request_id: resources.origin.requestId, id, kind, attempts }
  try {
    const refusal = await attempt(resources, send, mail)
    if (!refusal) {
      if (resources.config.LOG === 'all') log('info', { code: 'mail_sent', ...line })
      return await noteSent(resources, mail)
    }
    const { isFinal, reason } = refusal
    const code = isFinal ? 'mail_dead' : 'mail_not_sent'
    log(isFinal ? 'error' : 'warn', { code, ...line, refusal: reason })
    const set = { refusal: reason, sent_at: null, ...(isFinal && { dead_at: Date.now() }) }
    await resources.db.writeBatch({
      refused: build.update(outbox).set(set).where(isThisAttempt(mail)),
      service: reason === NO_ANSWER ? [] : [noteRefusal(reason)],
    })
  } catch (error) {
    // It is claimed, so it is tried again when its pause is over.
    log('warn', { code: 'mail_not_noted', ...line, cause: error })
  }
}

/** What kept a mail from being sent; undefined when it has gone, or may have and must not go twice. */
async function attempt(
  resources: Resources,
  send: Send,
  mail: OutboxMail,
): Promise<{ reason: string; isFinal: boolean } | undefined> {
  try {
    await send({ ...write(resources, mail), to: mailboxOf(mail.recipient), id: mail.id })
    return undefined
  } catch (error) {
    if (error instanceof MailRefused) return error
    return send.knowsRepeats ? { reason: NO_ANSWER, isFinal: false } : undefined
  }
}

/** For /ready. What is no status of HTTP has none. */
const noteRefusal = (reason: string) =>
  sql`INSERT INTO ${systemState} (name, at, status) VALUES (${LAST_REFUSAL}, ${databaseNow}, ${Number(reason) || null})
    ON CONFLICT (name) DO UPDATE SET at = excluded.at, status = excluded.status`

/** A condition: nobody has claimed the mail since. */
const isThisAttempt = ({ id, next_attempt_at }: OutboxMail) =>
  and(eq(outbox.id, id), eq(outbox.next_attempt_at, next_attempt_at))

/** A mail that goes so soon after its code was made is not worth a row. */
const AT_ONCE_MS = 2000

/** A code lives from now on, however long its mail has waited. */
async function noteSent({ db }: Resources, mail: OutboxMail): Promise<void> {
  const now = Date.now()
  await db.writeBatch({
    mail: build.update(outbox).set({ sent_at: now, refusal: null }).where(isThisAttempt(mail)),
    service: build.delete(systemState).where(eq(systemState.name, LAST_REFUSAL)),
    token: mail.token_id
      ? [
          build
            .update(oneTimeTokens)
            .set({ mailed_after: sql`max(0, ${databaseNow} - ${oneTimeTokens.created_at})` })
            .where(
              and(
                eq(oneTimeTokens.id, mail.token_id),
                isNull(oneTimeTokens.mailed_after),
                lt(oneTimeTokens.created_at, sql`${databaseNow} - ${AT_ONCE_MS}`),
              ),
            ),
        ]
      : [],
  })
}

function write({ config }: Resources, mail: OutboxMail) {
  const { purpose, page, hasCode, isAsked }: Kind = KINDS[mail.kind]
  const texts = mailTextsIn(mail.language)
  const text = texts.mails[mail.kind]({
    organisation: config.ORGANISATION,
    newEmail: repeatable(mail.new_email ?? '') ?? texts.frame.anotherAddress,
  })
  const asked = isAsked ? { at: mail.created_at, country: mail.country, device: mail.device } : undefined
  // Only where our own pages are there is a page for it.
  if (page) return render(texts, text, { link: new URL(page, config.ISSUER).href }, asked)
  if (!purpose || !mail.token_id) return render(texts, text, undefined, asked)
  const code = hasCode ? makeCode(config, purpose, mail.token_id) : undefined
  if (!('button' in text)) return render(texts, text, { code }, asked)
  const link = new URL(`/links/${purpose}`, config.LINK_ORIGIN ?? config.ISSUER)
  link.searchParams.set('token', makeLinkToken(config, purpose, mail.token_id))
  return render(texts, text, { link: link.href, lifetimeMs: LIFETIME_MS[purpose], code }, asked)
}
