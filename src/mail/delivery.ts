import { and, eq, getTableColumns, gt, inArray, isNull, lt, lte, or, type SQL, sql } from 'drizzle-orm'
import { detailsAsBytes, detailsIn, membersOf } from '../activity/details.ts'
import { activityLogs } from '../activity/models.ts'
import type { Resources } from '../context.ts'
import { claiming, type Due, deliverAllDue, isAttempt, selectDue } from '../database/deliveries.ts'
import { build, databaseNow } from '../database/statements.ts'
import { log } from '../http/log.ts'
import { oneTimeTokens, TAKES_BACK } from '../links/models.ts'
import { CODE_LIFETIME_MS, LIFETIME_MS, makeCode, makeLinkToken } from '../links/service.ts'
import { LAST_REFUSAL, systemState } from '../system/models.ts'
import { users } from '../users/models.ts'
import { MINUTE_MS } from '../values/durations.ts'
import { mailboxOf } from '../values/email.ts'
import { timeOfId } from '../values/ids.ts'
import { KINDS, type Kind, type MailKind } from './kinds.ts'
import { type OutboxMail, outbox, UNKNOWN } from './models.ts'
import { momentOf, render } from './render.ts'
import { MailRefused, NO_ANSWER, type Send } from './sending.ts'
import { repeatable, repeatableHost } from './text.ts'
import { mailTextsIn } from './texts/index.ts'

/** Sends mails that have just been enqueued, at most MAX_CONCURRENT. */
export async function deliverNew(resources: Resources, ids: string[]): Promise<void> {
  const { send } = resources
  if (!send || send.isLeftToCron) return
  const due = ids.map((id) => ({ id, attempts: 0, next_attempt_at: timeOfId(id) }))
  const { mails } = await claim(resources, send, due)
  await Promise.all(mails.map((mail) => deliver(resources, send, mail)))
}

/** A mail that is about to be sent, with the names in its text as they are now. */
type OwedMail = OutboxMail & { action: string | null; details: ArrayBuffer | null }

const ofEvent = (what: SQL) => sql`(SELECT ${what} FROM ${activityLogs} WHERE id = ${outbox.event_id})`
/** Events that share a kind of mail. */
const TOLD_APART = [
  'webhook.secret_rotated',
  'webhook.retried',
  'client.created',
  'client.secret_rotated',
] as const
const named = {
  // Only these actions: a row that was written past us may hold something that is not text.
  action: sql<
    string | null
  >`${ofEvent(sql`iif(${inArray(activityLogs.action, TOLD_APART)}, action, NULL)`)}`.as('action'),
  details: sql<ArrayBuffer | null>`${ofEvent(detailsAsBytes)}`.as('details'),
}

const isWaiting = and(isNull(outbox.sent_at), isNull(outbox.dead_at))!

/** For the cron trigger: sends what is due, five at a time, and gives up what is no longer of use. */
export async function deliverDue(resources: Resources): Promise<{ due: number; dead: number }> {
  const { send, db } = resources
  if (!send) return { due: 0, dead: 0 }
  return deliverAllDue({
    readDue: async () => (await db.read({ due: selectDue(outbox, Date.now(), isWaiting) })).due as Due[],
    claim: async (due) => {
      const { mails: claimed, dead } = await claim(resources, send, due)
      return { claimed, dead }
    },
    deliver: (mail: OwedMail) => deliver(resources, send, mail),
  })
}

/** Mails that deleted users get too: those whose links work for them, and those about the deletion. */
const REACH_DELETED = (Object.keys(KINDS) as MailKind[]).filter((kind) => {
  const { purpose, reachesDeleted }: Kind = KINDS[kind]
  return reachesDeleted || (purpose !== null && TAKES_BACK.includes(purpose))
})

/** A condition: that the link of a mail is still valid, and its user exists. */
const stillStands = sql`(${outbox.token_id} IS NULL OR EXISTS (SELECT 1 FROM ${oneTimeTokens}
    WHERE ${oneTimeTokens.id} = ${outbox.token_id} AND ${oneTimeTokens.spent_at} IS NULL
      AND ${oneTimeTokens.expires_at} > ${databaseNow}))
  AND (${outbox.user_id} IS NULL OR EXISTS (SELECT 1 FROM ${users} WHERE ${users.id} = ${outbox.user_id}
    AND (${users.deleted_at} IS NULL OR ${inArray(outbox.kind, REACH_DELETED)})))`

interface Claimed {
  mails: OwedMail[]
  /** How many were given up. */
  dead: number
}

/**
 * Claims mails all at once or, if that fails, one by one: an unreadable one must not keep back the others.
 */
async function claim(resources: Resources, send: Send, due: Due[]): Promise<Claimed> {
  const [first] = due
  if (!first) return { mails: [], dead: 0 }
  try {
    return await claimAtOnce(resources, send, due)
  } catch (error) {
    if (due.length === 1) return await putOff(resources, first, error)
    const claimed: Claimed = { mails: [], dead: 0 }
    for (const one of due) {
      try {
        const { mails, dead } = await claim(resources, send, [one])
        claimed.mails.push(...mails)
        claimed.dead += dead
      } catch (cause) {
        // The database is not available. What was claimed by then is sent all the same.
        if (claimed.mails.length === 0) throw cause
        break
      }
    }
    return claimed
  }
}

/**
 * A mail that cannot be claimed waits as after a try: otherwise it would be first in line for good. If it was claimed
 * after all, and only the answer was lost, this changes nothing.
 */
async function putOff({ db, origin }: Resources, { id, ...due }: Due, cause: unknown): Promise<Claimed> {
  const [moved] = claiming(outbox, [{ id, ...due }], Date.now(), isWaiting)
  await db.writeBatch({ moved: moved!.claim })
  log('warn', { code: 'mail_not_claimed', request_id: origin.requestId, id, cause })
  return { mails: [], dead: 0 }
}

/**
 * How long a claimed mail may be on its way: until those before it have gone, and it has gone itself, each in at most
 * the time of an SMTP conversation (CALLS in http/outbound.ts).
 */
const ON_ITS_WAY_MS = MINUTE_MS

/**
 * Claims mails before they are sent, so that of two runs at once only one sends each. A claim moves the time
 * of the next attempt, and is read back by it. If the service cannot recognise a repeat, nobody may try again by
 * themselves from here on: unless its end is noted, the mail is given up as one that may have been sent.
 */
async function claimAtOnce(
  { db, origin: { requestId: request_id } }: Resources,
  { knowsRepeats }: Send,
  due: Due[],
): Promise<Claimed> {
  const now = Date.now()
  const mayBe = and(isWaiting, gt(outbox.expires_at, now))!
  const also = knowsRepeats ? {} : { dead_at: now + ON_ITS_WAY_MS, refusal: UNKNOWN }
  const claims = claiming(outbox, due, now, mayBe, { also })
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
    claims: claims.map(({ claim }) => claim),
    mails: build
      .select({ ...getTableColumns(outbox), ...named })
      .from(outbox)
      .where(or(...claims.map(({ isClaimed }) => isClaimed))),
  })
  for (const { id, kind, refusal } of dead)
    if (refusal === 'expired') log('error', { code: 'mail_dead', request_id, id, kind, refusal })
  return { mails, dead: dead.length }
}

/** One attempt at one claimed mail. A failure does not affect the others. */
async function deliver(resources: Resources, send: Send, mail: OwedMail): Promise<void> {
  const { id, kind, attempts } = mail
  // The id of the request that sends it, or of the cron run.
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
    const set = { refusal: reason, dead_at: isFinal ? Date.now() : null }
    await resources.db.writeBatch({
      refused: build.update(outbox).set(set).where(isAttempt(outbox, mail)),
      service: reason === NO_ANSWER || reason === UNKNOWN ? [] : [noteRefusal(reason)],
    })
  } catch (error) {
    // It is claimed, so it is retried when its pause is over, or listed as one that may have been sent.
    log('warn', { code: 'mail_not_noted', ...line, cause: error })
  }
}

/**
 * Why a mail was not sent; undefined if it was. If it may have been sent, and the service cannot recognise a
 * repeat, it is given up.
 */
async function attempt(
  resources: Resources,
  send: Send,
  mail: OwedMail,
): Promise<{ reason: string; isFinal: boolean } | undefined> {
  // A newer version wrote it, and its Workers send it.
  if (!(mail.kind in KINDS)) return { reason: NO_ANSWER, isFinal: false }
  try {
    await send({ ...write(resources, mail), to: mailboxOf(mail.recipient), id: mail.id })
    return undefined
  } catch (error) {
    if (error instanceof MailRefused) return error
    return send.knowsRepeats ? { reason: NO_ANSWER, isFinal: false } : { reason: UNKNOWN, isFinal: true }
  }
}

/** For /ready. The status is null unless the reason is one of HTTP. */
const noteRefusal = (reason: string) =>
  sql`INSERT INTO ${systemState} (name, at, status) VALUES (${LAST_REFUSAL}, ${databaseNow}, ${Number(reason) || null})
    ON CONFLICT (name) DO UPDATE SET at = excluded.at, status = excluded.status`

/** If the mail goes this soon after its code was made, the delay is not worth a write. */
const AT_ONCE_MS = 2000

/** The life of a code begins now, however long its mail has waited; and its token lives as long. */
async function noteSent({ db }: Resources, mail: OutboxMail): Promise<void> {
  const now = Date.now()
  await db.writeBatch({
    mail: build
      .update(outbox)
      .set({ sent_at: now, dead_at: null, refusal: null })
      .where(isAttempt(outbox, mail)),
    service: build.delete(systemState).where(eq(systemState.name, LAST_REFUSAL)),
    token: mail.token_id
      ? [
          build
            .update(oneTimeTokens)
            .set({
              mailed_after: sql`max(0, ${databaseNow} - ${oneTimeTokens.created_at})`,
              expires_at: sql`max(${oneTimeTokens.expires_at}, ${databaseNow} + ${CODE_LIFETIME_MS})`,
            })
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

function write({ config }: Resources, mail: OwedMail) {
  const { purpose, page, hasCode, isAsked }: Kind = KINDS[mail.kind]
  const texts = mailTextsIn(mail.language)
  const members = membersOf({ details: detailsIn(mail.details) })
  const address = repeatable(mail.new_email ?? '')
  const until = Date.parse(String(members?.until))
  const text = texts.mails[mail.kind]({
    organisation: config.ORGANISATION,
    newEmail: address ?? texts.frame.anotherAddress,
    actor: (mail.event_id !== null && address) || null,
    host: repeatableHost(members?.host) ?? null,
    what: members?.reason === 'resumed' ? members.reason : mail.action,
    until: Number.isNaN(until) ? null : momentOf(texts, until),
  })
  const asked = isAsked ? { at: mail.created_at, country: mail.country, device: mail.device } : undefined
  // There is a page for it only on our own host.
  if (page) return render(texts, text, { link: new URL(page, config.ISSUER).href }, asked)
  if (!purpose || !mail.token_id) return render(texts, text, undefined, asked)
  const code = hasCode ? makeCode(config, purpose, mail.token_id) : undefined
  if (!('button' in text)) return render(texts, text, { code }, asked)
  const link = new URL(`/links/${purpose}`, config.LINK_ORIGIN ?? config.ISSUER)
  link.searchParams.set('token', makeLinkToken(config, purpose, mail.token_id))
  return render(texts, text, { link: link.href, lifetimeMs: LIFETIME_MS[purpose], code }, asked)
}
