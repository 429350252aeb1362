import { and, eq, type SQL, sql } from 'drizzle-orm'
import { type Erased, enqueueErasure } from '../activity/ledger.ts'
import { activityLogs, IS_OF_OTHERS } from '../activity/models.ts'
import { recordEach } from '../activity/service.ts'
import { apiKeys } from '../api-keys/models.ts'
import type { Resources } from '../context.ts'
import { build, type Statement } from '../database/statements.ts'
import { factors, recoveryCodes } from '../factors/models.ts'
import { ANSWERED_EMAIL, idempotencyKeys } from '../idempotency/models.ts'
import { identities } from '../identities/models.ts'
import { invitations } from '../invitations/models.ts'
import { oneTimeTokens } from '../links/models.ts'
import { NEW_EMAIL, outbox } from '../mail/models.ts'
import { oauthGrants } from '../oauth/models.ts'
import { passkeys } from '../passkeys/models.ts'
import { sessions } from '../sessions/models.ts'
import { DAY_MS, MINUTE_MS } from '../values/durations.ts'
import { normalizeEmail } from '../values/email.ts'
import { eraseReasonsFromDeliveries } from '../webhooks/models.ts'
import { addressIsUnproved, erasures, users } from './models.ts'

/**
 * Erasing a user. Their row goes at once, and a row of `erasures` takes its place: a job. Each call of `eraseTraces` takes
 * it a step further, and a step changes at most 500 rows a statement: a million rows of history are many short steps. A
 * user with few traces is done after the first.
 *
 * Only personal data of the erased user goes. The history stays, under an id that identifies nobody, with roles, times and
 * counts; who did something to them, and from where, belongs to that actor. Whatever has one of their addresses goes too,
 * unless another account has that address, or it was written after their end. An address that they typed, but nobody proved
 * or gave them, is not theirs. Each step depends on the job's row alone, which only moves on, so sending a step twice is safe.
 */

const ROWS_PER_STATEMENT = 500
/** Writes that read the user before the erasure have arrived by then, or never will. */
const LATE_WRITES_MS = MINUTE_MS

/** Members of details that identify nobody. All others are removed. */
export const IMPERSONAL =
  'role until reason session_id invitation_id client_id key_id import_id scopes permissions count code terms_version'.split(
    ' ',
  )

/** What is searched, in this order; the history first, as it tells what to look for. */
const STAGES = [
  'history_of_them',
  'history_by_them',
  'spellings',
  'sessions',
  'pending_changes',
  'invitations',
  'mails',
  'links',
  'kept_answers',
  'answers_by_address',
  'reasons',
  'end',
] as const
type Stage = (typeof STAGES)[number]

/** A run of clean-up can outlast the accuracy of its `now`. */
const timeOf = ({ now }: Resources) => Math.max(now, Date.now())

/** Deletes a user's row, and leaves a job to erase the rest. `isDone`: the row of history was written. */
export function eraseUser(resources: Resources, person: Erased, isDone: SQL): Statement[] {
  const { config } = resources
  const { id } = person
  const now = timeOf(resources)
  const hadRank = sql`role <> 'user' OR EXISTS (SELECT 1 FROM ${activityLogs}
    WHERE user_id = ${id} AND action = 'user.role_changed')`
  const all = sql`json_array(email_normalized, lower(email))`
  const isTheirs = sql`email_verified_at IS NOT NULL OR NOT ${addressIsUnproved(id)}`
  const sought = sql`json_object('addresses', ${all}, 'theirs', CASE WHEN ${isTheirs} THEN ${all} ELSE json_array() END)`
  return [
    sql`INSERT INTO ${erasures} (user_id, ended_at, began_at, sought, stage, cursor, origin_until, due_at)
      SELECT id, coalesce(deleted_at, ${now}), ${now}, ${sought}, ${STAGES[0]}, '',
        CASE WHEN ${hadRank} THEN ${now + config.ACTIVITY_NOISE_DAYS * DAY_MS} END, ${now}
      FROM ${users} WHERE id = ${id} AND ${isDone} ON CONFLICT DO NOTHING`,
    // A trigger reduces what webhooks are owed about them to the id.
    build.delete(users).where(and(eq(users.id, id), isDone)),
    ...enqueueErasure(config, person, isDone),
    ...[factors, recoveryCodes, passkeys, identities, oauthGrants, apiKeys].map(
      (table) => sql`DELETE FROM ${table} WHERE user_id = ${id} AND ${isDone}`,
    ),
  ]
}

/** One step of a job, on a condition: goes on from its stage as far as one page of each table (`rows` rows) allows. */
export function eraseTraces(
  resources: Resources,
  userId: string,
  condition: SQL = sql`1`,
  rows = ROWS_PER_STATEMENT,
): Statement[] {
  const job: Job = { resources, userId, condition, rows, now: timeOf(resources) }
  return [
    ...historyOfThem(job),
    ...historyByThem(job),
    ...spellings(job),
    ...ofSessions(job),
    ...pendingChanges(job),
    ...ofInvitations(job),
    ...ofMails(job),
    ...ofLinks(job),
    ...keptAnswers(job),
    ...answersByAddress(job),
    ...inReasons(job),
    ...theEnd(job),
  ]
}

interface Job {
  resources: Resources
  userId: string
  condition: SQL
  rows: number
  /** Epoch ms. */
  now: number
}

const read = ({ userId }: Job, column: string) =>
  sql`(SELECT ${sql.identifier(column)} FROM ${erasures} WHERE ${erasures.user_id} = ${userId})`
const isAt = (job: Job, stage: Stage) => sql`${read(job, 'stage')} = ${stage} AND ${job.condition}`
/** The row of the job, while it is at a stage. */
const jobAt = (job: Job, stage: Stage) => sql`user_id = ${job.userId} AND ${isAt(job, stage)}`
const isBeforeTheirEnd = (job: Job) => sql`created_at < ${read(job, 'ended_at')}`
/** The subset `theirs` was proved by them, or given to them. */
const addresses = (job: Job, which: 'addresses' | 'theirs' = 'addresses') =>
  sql`(SELECT value FROM json_each(${read(job, 'sought')}, ${`$.${which}`}))`
const theirs = (job: Job) => addresses(job, 'theirs')

/** That some account has this address. */
const isHeld = (email: SQL) =>
  sql`EXISTS (SELECT 1 FROM ${users} WHERE ${users.email_normalized} = ${email} AND ${users.deleted_at} IS NULL)`
/** That this account has it. */
const isHeldBy = (userId: SQL, email: SQL) =>
  sql`EXISTS (SELECT 1 FROM ${users} WHERE ${users.id} = ${userId} AND ${users.email_normalized} = ${email})`

const after = (stage: Stage): Stage => STAGES[STAGES.indexOf(stage) + 1]!

/** Advances past a page: to the next one or, if it was the last, to the next stage. */
function advance(job: Job, stage: Stage, page: SQL, key: SQL): Statement {
  const isLast = sql`(SELECT count(*) FROM (${page})) < ${job.rows}`
  return sql`UPDATE ${erasures} SET
      cursor = CASE WHEN ${isLast} THEN '' ELSE (SELECT max(${key}) FROM (${page})) END,
      stage = CASE WHEN ${isLast} THEN ${after(stage)} ELSE stage END
    WHERE ${jobAt(job, stage)}`
}

/** Advances to the next stage once a page is empty, as its rows have been removed. */
const advanceWhenEmpty = (job: Job, stage: Stage, page: SQL): Statement =>
  sql`UPDATE ${erasures} SET stage = ${after(stage)} WHERE ${jobAt(job, stage)} AND NOT EXISTS (${page})`

const historyPage = (job: Job, stage: Stage, which: SQL) =>
  sql`SELECT id FROM ${activityLogs} WHERE ${which} AND id > ${read(job, 'cursor')} AND ${isAt(job, stage)}
    ORDER BY id LIMIT ${job.rows}`

const withoutOrigin = (isTheirs: SQL) =>
  sql.join(
    ['ip', 'user_agent', 'country'].map((name) => {
      const column = sql.identifier(name)
      return sql`${column} = CASE WHEN ${isTheirs} THEN NULL ELSE ${column} END`
    }),
    sql`, `,
  )

/** Invalid JSON was not written by this program, and is removed as a whole. */
const members = sql`iif(json_valid(details), details, '{}')`

/** What happened to them: details keep what identifies nobody. Another actor's origin belongs to that actor. */
function historyOfThem(job: Job): Statement[] {
  const page = historyPage(job, 'history_of_them', sql`user_id = ${job.userId}`)
  const isTheirs = sql`coalesce(actor_id, user_id) = user_id AND ${read(job, 'origin_until')} IS NULL`
  const kept = sql`(SELECT json_group_object(key, details -> fullkey) FROM json_each(${members})
    WHERE key IN ${IMPERSONAL} AND NOT (key = 'reason' AND action = 'user.disabled'))`
  const found = (
    member: string,
  ) => sql`SELECT lower(value) AS value FROM ${activityLogs} AS had, json_tree(${members})
    WHERE had.id IN (${page}) AND json_tree.type = 'text' AND fullkey LIKE ${`$.${member}%`}`
  const all = sql`SELECT value FROM ${addresses(job)} UNION ALL ${found('email')} UNION ALL ${found('new_email')}`
  const wereTheirs = sql`SELECT value FROM ${theirs(job)} UNION ALL ${found('email')}
    AND (fullkey <> '$.email.from' OR NOT ${addressIsUnproved(job.userId, sql`had.id`)})`
  const list = (values: SQL) => sql`json((SELECT json_group_array(value) FROM (${values})))`
  return [
    sql`UPDATE ${erasures} SET sought = json_object('addresses', ${list(all)}, 'theirs', ${list(wereTheirs)}) WHERE user_id = ${job.userId} AND EXISTS (${page})`,
    sql`UPDATE ${activityLogs} SET details = nullif(${kept}, '{}'), ${withoutOrigin(isTheirs)} WHERE id IN (${page})`,
    advance(job, 'history_of_them', page, sql`id`),
  ]
}

/** What they did to others stays in the others' history; their origin is removed. */
function historyByThem(job: Job): Statement[] {
  const page = historyPage(job, 'history_by_them', sql`actor_id = ${job.userId} AND ${IS_OF_OTHERS}`)
  const isTheirs = sql`${read(job, 'origin_until')} IS NULL`
  return [
    sql`UPDATE ${activityLogs} SET ${withoutOrigin(isTheirs)} WHERE id IN (${page})`,
    advance(job, 'history_by_them', page, sql`id`),
  ]
}

/** The history has addresses as they were typed. ASCII ones are found as they are; others wait for `respell`. */
function spellings(job: Job): Statement[] {
  const isAscii = sql`coalesce(json_extract(sought, '$.addresses'), '') NOT GLOB '*[^ -~]*'`
  return [
    sql`UPDATE ${erasures} SET stage = ${after('spellings')} WHERE ${jobAt(job, 'spellings')} AND ${isAscii}`,
  ]
}

/** For other addresses: the reader of the job adds their normalised forms. */
export function respell(userId: string, soughtJson: string, condition: SQL): Statement {
  const { addresses, theirs = [] } = JSON.parse(soughtJson) as Record<'addresses' | 'theirs', string[]>
  const spelt = (given: string[]) => [...new Set([...given, ...given.map(normalizeEmail)])]
  const all = JSON.stringify({ addresses: spelt(addresses), theirs: spelt(theirs) })
  return sql`UPDATE ${erasures} SET sought = ${all}, stage = ${after('spellings')}
    WHERE user_id = ${userId} AND stage = 'spellings' AND ${condition}`
}

/** Ended sessions stay for a day, so that a token of theirs is still answered as ended. */
function ofSessions(job: Job): Statement[] {
  const page = sql`SELECT id FROM ${sessions} WHERE user_id = ${job.userId} AND ${isAt(job, 'sessions')}
    AND (ip IS NOT NULL OR user_agent IS NOT NULL OR country IS NOT NULL) LIMIT ${job.rows}`
  return [
    sql`UPDATE ${sessions} SET ip = NULL, user_agent = NULL, country = NULL WHERE id IN (${page})`,
    advanceWhenEmpty(job, 'sessions', page),
  ]
}

/** Pending changes by others to an address of theirs. They are removed, and the others' history says so. */
function pendingChanges(job: Job): Statement[] {
  const page = sql`SELECT id FROM ${oneTimeTokens} WHERE email_normalized IN ${theirs(job)} AND purpose = 'change_email'
    AND subject_id <> ${job.userId} AND ${isBeforeTheirEnd(job)} AND ${isAt(job, 'pending_changes')}
    AND NOT ${isHeldBy(sql`${oneTimeTokens.subject_id}`, sql`${oneTimeTokens.email_normalized}`)} LIMIT ${job.rows}`
  return [
    recordEach(job.resources, 'email.change_withdrawn', {
      now: job.now,
      userId: sql`subject_id`,
      details: sql`json_object('reason', 'address_erased')`,
      from: sql`${oneTimeTokens} WHERE id IN (${page}) AND spent_at IS NULL AND expires_at > ${job.now}`,
    }),
    sql`DELETE FROM ${oneTimeTokens} WHERE id IN (${page})`,
    advanceWhenEmpty(job, 'pending_changes', page),
  ]
}

/** Their invitation, those to an address of theirs, and those that they sent and nobody has accepted. */
function ofInvitations(job: Job): Statement[] {
  // By address, not by who accepted: that is NULL for all open invitations. Hence the plus.
  const page = sql`SELECT id FROM ${invitations} WHERE ${isAt(job, 'invitations')} AND (
      ${invitations.user_id} = ${job.userId}
      OR (invited_by = ${job.userId} AND accepted_at IS NULL)
      OR (email_normalized IN ${theirs(job)} AND +${invitations.user_id} IS NULL AND ${isBeforeTheirEnd(job)}
        AND NOT ${isHeld(sql`${invitations.email_normalized}`)})
    ) LIMIT ${job.rows}`
  const links = sql`SELECT id FROM ${oneTimeTokens} WHERE subject_id IN (${page})`
  const recipients = sql`SELECT email_normalized FROM ${invitations} WHERE id IN (${page})`
  return [
    recordEach(job.resources, 'invitation.withdrawn', {
      now: job.now,
      userId: sql`NULL`,
      details: sql`json_object('invitation_id', id, 'role', role, 'reason', 'user_erased')`,
      from: sql`${invitations} WHERE id IN (${page}) AND accepted_at IS NULL AND withdrawn_at IS NULL AND expires_at > ${job.now}`,
    }),
    sql`DELETE FROM ${outbox} WHERE recipient_normalized IN (${recipients}) AND kind = 'invitation' AND token_id IN (${links})`,
    sql`DELETE FROM ${oneTimeTokens} WHERE subject_id IN (${page})`,
    forget(sql`subject_id IN (${page})`),
    sql`DELETE FROM ${invitations} WHERE id IN (${page})`,
    advanceWhenEmpty(job, 'invitations', page),
  ]
}

/** Mails to them, and about an address of theirs that no other account has. Mails about what they did lose it. */
function ofMails(job: Job): Statement[] {
  const page = sql`SELECT id FROM ${outbox} WHERE ${isAt(job, 'mails')} AND (
      ${outbox.user_id} = ${job.userId}
      OR (recipient_normalized IN ${theirs(job)} AND kind IN ('invitation', 'confirm_email_change')
        AND ${isBeforeTheirEnd(job)} AND NOT ${isHeld(sql`${outbox.recipient_normalized}`)})
      OR (${NEW_EMAIL} IN ${theirs(job)} AND new_email IS NOT NULL AND ${isBeforeTheirEnd(job)}
        AND NOT ${isHeldBy(sql`${outbox.user_id}`, NEW_EMAIL)})
    ) LIMIT ${job.rows}`
  return [
    sql`UPDATE ${outbox} SET new_email = NULL, new_email_normalized = NULL WHERE id IN (${page}) AND event_id IS NOT NULL`,
    // By now the page may include rows that were not emptied: those are left to the next step.
    sql`DELETE FROM ${outbox} WHERE id IN (${page}) AND (event_id IS NULL OR new_email IS NULL)`,
    advanceWhenEmpty(job, 'mails', page),
  ]
}

function ofLinks(job: Job): Statement[] {
  const page = sql`SELECT id FROM ${oneTimeTokens} WHERE subject_id = ${job.userId} AND ${isAt(job, 'links')} LIMIT ${job.rows}`
  return [sql`DELETE FROM ${oneTimeTokens} WHERE id IN (${page})`, advanceWhenEmpty(job, 'links', page)]
}

/** An answer that was removed. Its key stays taken, so that a repeated request does not create the user again. */
const GONE = 410
const forget = (which: SQL): Statement =>
  sql`UPDATE ${idempotencyKeys} SET status = ${GONE}, response = '{}', body_hash = '', email_normalized = NULL
    WHERE ${which} AND status <> ${GONE}`

/** Answers about them are emptied; answers to them are deleted. */
function keptAnswers(job: Job): Statement[] {
  const toThem = sql`SELECT rowid FROM ${idempotencyKeys} WHERE principal = ${job.userId} AND ${isAt(job, 'kept_answers')}
    LIMIT ${job.rows}`
  return [
    forget(sql`subject_id = ${job.userId} AND ${isAt(job, 'kept_answers')}`),
    sql`DELETE FROM ${idempotencyKeys} WHERE rowid IN (${toThem})`,
    advanceWhenEmpty(job, 'kept_answers', toThem),
  ]
}

/** Answers to others that repeat an address of theirs. */
function answersByAddress(job: Job): Statement[] {
  const isOfAnAccount = sql`EXISTS (SELECT 1 FROM ${users} WHERE ${users.id} = subject_id)`
  const page = sql`SELECT rowid FROM ${idempotencyKeys} WHERE ${ANSWERED_EMAIL} IN ${theirs(job)}
    AND ${ANSWERED_EMAIL} IS NOT NULL AND ${isAt(job, 'answers_by_address')} AND ${isBeforeTheirEnd(job)}
    AND NOT ${isOfAnAccount} LIMIT ${job.rows}`
  return [forget(sql`rowid IN (${page})`), advanceWhenEmpty(job, 'answers_by_address', page)]
}

/**
 * An address of theirs in the reason for which somebody else was disabled: full-text search finds its words, in any case,
 * and the part before its "@" has to be there too. Their name is not searched for: a user called "Chargeback fraud" would
 * remove it from everybody's reasons. The job's row keeps the page, as each statement takes rows out of the index.
 */
function inReasons(job: Job): Statement[] {
  const page = sql`SELECT reasons_fts.rowid AS id FROM ${theirs(job)} AS sought CROSS JOIN reasons_fts
    WHERE reasons_fts MATCH 'reason : "' || replace(sought.value, '"', '""') || '"' AND ${isAt(job, 'reasons')}
      AND instr(lower(reason), substr(sought.value, 1, instr(sought.value, '@'))) > 0
      AND NOT ${isHeld(sql`sought.value`)} LIMIT ${job.rows}`
  const ids = sql`(SELECT value FROM json_each(CASE WHEN ${isAt(job, 'reasons')} THEN ${read(job, 'cursor')} ELSE '[]' END))`
  const about = sql`SELECT about FROM reasons_fts WHERE rowid IN ${ids}`
  return [
    sql`UPDATE ${erasures} SET cursor = (SELECT json_group_array(id) FROM (${page})) WHERE ${jobAt(job, 'reasons')}`,
    eraseReasonsFromDeliveries(about),
    sql`UPDATE ${users} SET disabled_reason = NULL WHERE id IN (${about})`,
    sql`UPDATE ${activityLogs} SET details = json_remove(details, '$.reason') WHERE id IN (${about})`,
    // Triggers should have done this; a row that they missed would be found for ever.
    sql`DELETE FROM reasons_fts WHERE rowid IN ${ids}`,
    sql`UPDATE ${erasures} SET cursor = '', stage = iif(json_array_length(cursor) < ${job.rows}, ${after('reasons')}, stage)
      WHERE ${jobAt(job, 'reasons')}`,
  ]
}

/** The last stage. Data that is kept for a while has its own time, and late writes are looked for once more. */
function theEnd(job: Job): Statement[] {
  const isHere = jobAt(job, 'end')
  return [
    sql`DELETE FROM ${erasures} WHERE ${isHere} AND origin_until IS NULL AND began_at <= ${job.now - LATE_WRITES_MS}`,
    sql`UPDATE ${erasures} SET sought = NULL, stage = ${STAGES[0]}, cursor = '', origin_until = NULL,
      due_at = coalesce(origin_until, began_at + ${LATE_WRITES_MS}) WHERE ${isHere}`,
  ]
}
