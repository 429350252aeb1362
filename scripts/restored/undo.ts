import { type SQL, sql } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import { detailsAsBytes, detailsIn, membersOf } from '../../src/activity/details.ts'
import { type Entry, findErasedAmong, ledgerUnavailable, readLedger } from '../../src/activity/ledger.ts'
import { activityLogs } from '../../src/activity/models.ts'
import { record, recordEach } from '../../src/activity/service.ts'
import { purgeOne } from '../../src/cleanup/tasks.ts'
import type { Resources } from '../../src/context.ts'
import { rowExists, type Statement } from '../../src/database/statements.ts'
import { factors, recoveryCodes } from '../../src/factors/models.ts'
import { identities } from '../../src/identities/models.ts'
import { oneTimeTokens } from '../../src/links/models.ts'
import { oauthClients, oauthGrants } from '../../src/oauth/models.ts'
import { passkeys } from '../../src/passkeys/models.ts'
import { sessions } from '../../src/sessions/models.ts'
import { publishDoubts } from '../../src/sessions/near.ts'
import { eraseTraces } from '../../src/users/erasure.ts'
import { selectUsers, type User, users } from '../../src/users/models.ts'
import { timeOfId } from '../../src/values/ids.ts'
import { hasCode, withPauses } from '../command.ts'

/** By the ledger, finds and undoes again what a restored database has brought back of single users. */

const ENTRIES_PER_STATEMENT = 1000
const USERS_PER_PAGE = 200
/** Each may name a hundred entries. */
const ANSWERS_PER_PAGE = 500
/** A row of history names them, and the event that webhooks are sent has room for this many. */
const ANSWERS_PER_ROW = 100
const REASON = 'backup_restored'
const AWAY = 'ledger_unavailable'

type Consent = { id: string; user_id: string; client_id: string; name: string | null }

export interface Lost {
  /** Whether the database has everything that the ledger has. */
  isSilent: boolean
  erased: User[]
  /** Entries that the history does not know, by user. */
  changes: Map<string, Entry[]>
  consents: Consent[]
}

/** The former address may be somebody else's by now, and the new one may be a thief's. */
const isMove = ({ action }: Entry) => action === 'email.changed' || action === 'email.change_undone'
const isEnd = ({ action }: Entry) => action === 'user.disabled' || action === 'user.deleted'

export const countMoved = ({ changes }: Lost) =>
  [...changes.values()].filter((entries) => entries.some(isMove)).length

/** Throws if Redis is unavailable: without the ledger nothing is done. */
export async function findLost(resources: Resources): Promise<Lost> {
  const entries = await askLedger(() => readLedger(resources))
  const erased = await findErased(resources)
  const gone = new Set(erased.map(({ id }) => id))
  const unknown = await findUnknown(resources, entries)
  const left = unknown.filter(({ userId }) => !gone.has(userId))
  const isConsent = ({ action }: Entry) => action === 'consent.withdrawn'
  return {
    isSilent: unknown.length + erased.length === 0,
    erased,
    changes: await changesLost(
      resources,
      left.filter((entry) => !isConsent(entry)),
    ),
    consents: await consentsLost(resources, left.filter(isConsent)),
  }
}

export async function undoAgain(resources: Resources, { erased, changes, consents }: Lost): Promise<void> {
  for (const user of erased) await eraseAgain(resources, user)
  for (const [id, entries] of changes)
    for (let at = 0; at < entries.length; at += ANSWERS_PER_ROW)
      await setBack(resources, id, entries.slice(at, at + ANSWERS_PER_ROW))
  for (const consent of consents) await takeBack(resources, consent)
}

/** A request gives Redis little time to answer, as somebody waits. A script retries. */
async function askLedger<T>(ask: () => Promise<T | undefined>): Promise<T> {
  const answer = async () => {
    const said = await ask()
    if (said === undefined) throw ledgerUnavailable()
    return said
  }
  return withPauses(answer, AWAY).catch((error) => {
    if (!hasCode(error, AWAY)) throw error
    throw new Error('Redis does not answer, and the ledger is there. Nothing was done. Run this again.')
  })
}

/** All existing users that the ledger names as erased. By id: an address may be somebody else's by now. */
async function findErased(resources: Resources): Promise<User[]> {
  const erased: User[] = []
  for (let after = ''; ; ) {
    const { page } = await resources.db.readPrimary({
      page: selectUsers().where(sql`id > ${after}`).orderBy(sql`id`).limit(USERS_PER_PAGE),
    })
    const last = page.at(-1)
    if (!last) return erased
    const named = await askLedger(() => findErasedAmong(resources, page, ({ id }) => ({ id })).answer([]))
    erased.push(...named)
    after = last.id
  }
}

/** Queries the database about entries, which the query finds in `entry`. */
async function askOf<T>({ db }: Resources, entries: readonly Entry[], ask: (entry: SQL) => SQL<T>) {
  const answers: T[] = []
  for (let at = 0; at < entries.length; at += ENTRIES_PER_STATEMENT) {
    const page = entries.slice(at, at + ENTRIES_PER_STATEMENT)
    const given = JSON.stringify(
      page.map(({ id, userId, about }) => ({ id, user_id: userId, about, at: timeOfId(id) })),
    )
    const entry = sql`(SELECT value ->> 'id' AS id, value ->> 'user_id' AS user_id, value ->> 'about' AS about,
      value ->> 'at' AS at FROM json_each(${given})) AS entry`
    const { found } = await db.readPrimary({ found: ask(entry) })
    answers.push(...found)
  }
  return answers
}

async function only(resources: Resources, entries: readonly Entry[], condition: SQL): Promise<Entry[]> {
  const found = await askOf(
    resources,
    entries,
    (entry) => sql<{ id: string }>`SELECT entry.id FROM ${entry} WHERE ${condition}`,
  )
  const ids = new Set(found.map(({ id }) => id))
  return entries.filter(({ id }) => ids.has(id))
}

/** Entries that the history does not have. */
const findUnknown = (resources: Resources, entries: readonly Entry[]) =>
  only(resources, entries, sql`entry.id NOT IN (SELECT id FROM ${activityLogs})`)

/**
 * Entries about existing users that no run has handled yet. By the entries' ids, whatever their times: the ledger may
 * hear of an older entry later, and what an administrator has decided since only holds against entries that were
 * handled.
 */
async function changesLost(resources: Resources, entries: readonly Entry[]): Promise<Map<string, Entry[]>> {
  const ofThose = await only(resources, entries, sql`entry.user_id IN (SELECT id FROM ${users})`)
  const answers = await readAnswers(resources, [...new Set(ofThose.map(({ userId }) => userId))])
  const isOpen = ({ id, userId }: Entry) => answers.get(userId)?.has(id) !== true
  return Map.groupBy(ofThose.filter(isOpen), ({ userId }) => userId)
}

const isAnswer = sql`action = 'password.changed' AND actor_id IS NULL`

/** For each user, the ids of the entries that they were set back for. */
async function readAnswers({ db }: Resources, userIds: readonly string[]): Promise<Map<string, Set<string>>> {
  const answers = new Map<string, Set<string>>()
  for (let at = 0; at < userIds.length; at += USERS_PER_PAGE) {
    const ids = JSON.stringify(userIds.slice(at, at + USERS_PER_PAGE))
    for (let after = ''; ; ) {
      const { page } = await db.readPrimary({
        page: sql<{ id: string; user_id: string; details: ArrayBuffer | null }>`
          SELECT id, user_id, ${detailsAsBytes} AS details FROM ${activityLogs}
          WHERE user_id IN (SELECT value FROM json_each(${ids})) AND ${isAnswer} AND id > ${after}
          ORDER BY id LIMIT ${ANSWERS_PER_PAGE}`,
      })
      const last = page.at(-1)
      if (!last) break
      for (const { user_id, details } of page) {
        const known = answers.get(user_id) ?? new Set()
        const said = membersOf({ details: detailsIn(details) })?.answers
        for (const id of Array.isArray(said) ? said : []) known.add(id)
        answers.set(user_id, known)
      }
      after = last.id
    }
  }
  return answers
}

/** Consents that were withdrawn after they were last given. What was given later is left alone. */
async function consentsLost(resources: Resources, entries: readonly Entry[]): Promise<Consent[]> {
  const found = await askOf(
    resources,
    entries,
    (entry) => sql<Consent>`SELECT consent.id, consent.user_id, consent.client_id,
        coalesce(consent.document ->> 'name', app.name) AS name
      FROM ${entry} JOIN ${oauthGrants} AS consent
        ON consent.user_id = entry.user_id AND consent.client_id = entry.about AND consent.updated_at < entry.at
      LEFT JOIN ${oauthClients} AS app ON app.id = consent.client_id`,
  )
  return [...new Map(found.map((consent) => [consent.id, consent])).values()]
}

async function eraseAgain(resources: Resources, user: User): Promise<void> {
  const event = { id: uuidv7(), details: { reason: REASON } }
  await resources.db.writeBatch(
    { erasure: [...purgeOne(resources, user, event, sql`1`), ...eraseTraces(resources, user.id)] },
    rowExists(activityLogs, event.id),
  )
}

/**
 * Repeats what has made an account safer since the backup: what was removed is removed again, and the rest is left
 * for an administrator to decide.
 */
async function setBack(resources: Resources, userId: string, changes: readonly Entry[]): Promise<void> {
  const { db, now } = resources
  const answers = changes.map(({ id }) => id)
  const event = {
    id: uuidv7(),
    action: 'password.changed',
    userId,
    actorId: null,
    details: { reason: REASON, answers },
  } as const
  // Another run may have been faster.
  const isLeft = sql`EXISTS (SELECT 1 FROM json_each(${JSON.stringify(answers)}) WHERE value NOT IN (SELECT told.value
    FROM ${activityLogs}, json_each(iif(json_valid(details), details, NULL), '$.answers') AS told
    WHERE user_id = ${userId} AND ${isAnswer} AND told.type = 'text'))`
  const isDone = rowExists(activityLogs, event.id)
  const tell = (action: 'user.role_changed' | 'user.disabled', details: SQL, condition: SQL) =>
    recordEach(resources, action, {
      now,
      userId: sql`id`,
      details,
      from: sql`${users} WHERE id = ${userId} AND ${condition} AND ${isDone}`,
    })
  const isMoved = changes.some(isMove)
  const disables = isMoved || changes.some(isEnd)
  const reason = isMoved ? `${REASON}: the address was changed since` : REASON
  const isOpen = sql`deleted_at IS NULL AND (status = 'active' OR disabled_until IS NOT NULL)`
  await db.writeBatch(
    {
      history: record(
        resources,
        event,
        sql`EXISTS (SELECT 1 FROM ${users} WHERE id = ${userId}) AND ${isLeft}`,
      ),
      also: [
        tell(
          'user.role_changed',
          sql`json_object('role', json_object('from', role, 'to', 'user'))`,
          sql`role <> 'user'`,
        ),
        ...(disables ? [tell('user.disabled', sql`json_object('reason', ${reason})`, isOpen)] : []),
      ],
      change: [
        ...(disables
          ? [
              sql`UPDATE ${users} SET status = 'disabled', disabled_reason = ${reason}, disabled_until = NULL
                WHERE id = ${userId} AND ${isOpen} AND ${isDone}`,
            ]
          : []),
        sql`UPDATE ${users} SET role = 'user', password_hash = NULL, updated_at = ${now}, version = version + 1,
          token_epoch = token_epoch + 1, device_epoch = device_epoch + 1 WHERE id = ${userId} AND ${isDone}`,
        // After the other: a trigger takes a change of the password for a reset.
        sql`UPDATE ${users} SET needs_reset = 1 WHERE id = ${userId} AND ${isDone}`,
      ],
      ended: [
        sql`DELETE FROM ${sessions} WHERE user_id = ${userId} AND ${isDone}`,
        sql`DELETE FROM ${oneTimeTokens} WHERE subject_id = ${userId} AND ${isDone}`,
      ],
      removed: changes.flatMap((change) => removals(change, isDone)),
    },
    isDone,
  )
  await publishDoubts(resources, { users: [userId] })
}

/**
 * Removes again what was removed since the backup. If the ledger does not know which one, all of that kind that
 * existed then are removed. What was set up later is left alone.
 */
function removals({ id, userId, action, kind, about }: Entry, isDone: SQL): Statement[] {
  const which = about ? sql`AND id = ${about}` : sql``
  const from = (
    table: typeof passkeys | typeof identities | typeof factors | typeof recoveryCodes,
    those = sql``,
  ) =>
    sql`DELETE FROM ${table} WHERE user_id = ${userId} AND created_at < ${timeOfId(id)} ${those} AND ${isDone}`
  if (action === 'factors.reset') return [from(factors), from(recoveryCodes), from(passkeys)]
  if (action === 'identity.unlinked') return [from(identities, which)]
  if (action !== 'factor.removed') return []
  return [kind === 'passkey' ? from(passkeys, which) : from(factors)]
}

/** Withdraws all of it, even if a part was kept: the ledger does not know which part. The app asks again. */
async function takeBack(resources: Resources, { id, user_id, client_id, name }: Consent): Promise<void> {
  const event = {
    id: uuidv7(),
    action: 'consent.withdrawn',
    userId: user_id,
    actorId: null,
    details: { client_id, ...(name !== null && { name }), scopes: [] },
  } as const
  const isDone = rowExists(activityLogs, event.id)
  await resources.db.writeBatch(
    {
      history: record(resources, event, sql`EXISTS (SELECT 1 FROM ${oauthGrants} WHERE id = ${id})`),
      consent: [sql`DELETE FROM ${oauthGrants} WHERE id = ${id} AND ${isDone}`],
      ended: [
        sql`DELETE FROM ${sessions} WHERE user_id = ${user_id} AND client_id = ${client_id} AND ${isDone}`,
      ],
    },
    isDone,
  )
  await publishDoubts(resources, { users: [user_id] })
}
