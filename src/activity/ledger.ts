import { createHmac } from 'node:crypto'
import { type SQL, sql } from 'drizzle-orm'
import type { Config } from '../config/main.ts'
import type { Resources } from '../context.ts'
import type { Statement } from '../database/statements.ts'
import { log } from '../http/log.ts'
import { unavailable } from '../http/problem.ts'
import { isRaise, ledgerOwed, type Role, type User } from '../users/models.ts'
import { DAY_MS, HOUR_MS, MINUTE_MS } from '../values/durations.ts'
import { firstIdAt, timeOfId } from '../values/ids.ts'
import { detailsAsBytes, detailsIn, membersOf } from './details.ts'
import { type Action, activityLogs, HAS_TIME, isId } from './models.ts'

/**
 * What restoring a backup of the database must not undo. It is kept outside the database for as long as
 * backups are: in Redis, and in the log. For an erasure it holds digests of the user's id, address and
 * external id; for a change that makes an account safer, the user's id and the time. A restore reads it
 * (scripts/db-restored.ts); an import reads the erasures.
 *
 * It contains only what was committed, so nobody is erased by it who was not. An erasure writes a row in its
 * own batch and tells the ledger once the batch is done, before the answer. The cron job tells it whatever
 * did not arrive, and then deletes the row. All other changes it finds in the history, every minute, from
 * where it stopped; a second, later read finds rows that were written late. test/faults/ledger-model.test.ts
 * goes through all orders of events.
 */

export const LEDGER_KEY = 'ledger'
/** How far the first and the second read of the history have got: two ids. */
const PLACE_KEY = 'ledger_place'
export const ERASED_PREFIX = 'erased:'
const erasedKey = (digest: string) => ERASED_PREFIX + digest

/** Most rows of history are written within this time of their id, so the next read starts this far back. */
const SOON_MS = 2 * MINUTE_MS
/** No row is written later than this, so rows of this age are read a second time. */
const LATE_MS = 15 * MINUTE_MS
const ROWS_PER_CALL = 500
/** Per run; the next run goes on from there. */
const CALLS_PER_RUN = 20
const ENTRIES_PER_CALL = 1000

/** Changes that make an account safer, or give it another address. */
const ACTIONS: readonly Action[] = [
  'password.changed',
  'password.reset',
  'user.role_changed',
  'user.disabled',
  'user.deleted',
  'factor.added',
  'factor.removed',
  'factors.reset',
  'identity.unlinked',
  'email.changed',
  'email.change_undone',
  'consent.withdrawn',
  'user.purged',
]

/**
 * What identifies an erased user. Clean-up omits an address that was not proved: it may be somebody else's.
 */
export type Erased = Pick<User, 'id' | 'external_id'> & Partial<Pick<User, 'email_normalized'>>

export const entryLifetimeOf = ({ BACKUPS_KEPT_DAYS }: Config) => BACKUPS_KEPT_DAYS * DAY_MS

/** The digests of what identifies an erased user, under each of these keys. */
function digestsOf(keys: readonly Uint8Array[], person: Partial<Erased>): string[] {
  const digest = (key: Uint8Array, text: string) =>
    createHmac('sha256', key).update(text).digest('base64url').slice(0, 22)
  return Object.entries(person).flatMap(([name, value]) =>
    value ? keys.map((key) => digest(key, `${name} ${value}`)) : [],
  )
}

const ownDigests = ({ keys }: Config, { id, email_normalized = '', external_id }: Erased) =>
  digestsOf(keys.ledger.slice(0, 1), { id, email_normalized, external_id })

const marksOf = (config: Config, digests: readonly string[]) =>
  new Map(digests.map((digest) => [erasedKey(digest), entryLifetimeOf(config)]))

/** For the batch of an erasure: records that the ledger has to be told. */
export const enqueueErasure = (config: Config, person: Erased, isDone: SQL): Statement[] =>
  config.BACKUPS_KEPT_DAYS === 0
    ? []
    : [
        sql`INSERT INTO ${ledgerOwed} (digest)
          SELECT value FROM json_each(${JSON.stringify(ownDigests(config, person))}) WHERE ${isDone} ON CONFLICT DO NOTHING`,
      ]

/** After the batch of an erasure: what to tell Redis in the call that is made anyway. */
export function erasureForLedger(
  { config, origin }: Resources,
  person: Erased,
): Map<string, number> | undefined {
  if (config.BACKUPS_KEPT_DAYS === 0) return undefined
  const digests = ownDigests(config, person)
  log('info', { code: 'ledger', erased: digests, request_id: origin.requestId })
  return marksOf(config, digests)
}

/** What happened to a user. The id is that of its row of history, and contains the time. */
export interface Entry {
  id: string
  userId: string
  action: Action
  /** The kind of the factor that was added or removed. */
  kind: string
  /** The id of that factor, or of the app to which consent was given. */
  about: string
}
type Found = { id: string; user_id: string; action: Action; details: ArrayBuffer | null }
const membersIn = ({ details }: Found) => membersOf({ details: detailsIn(details) }) ?? {}

const ID = /^[\da-f-]{36}$/
const FORMS = {
  kind: /^[a-z_]{1,20}$/,
  /** An app may be identified by a URL. */
  about: /^(?:[\da-f-]{36}|https?:\/\/[!-~]{1,2000})$/,
}
/** Details that we did not write are left out, like empty ones. */
const fitting = (form: RegExp, value: unknown) => (typeof value === 'string' && form.test(value) ? value : '')

function lineOf(row: Found): string {
  const { kind, id, client_id } = membersIn(row)
  const about = fitting(FORMS.about, id ?? client_id)
  return [row.id, row.user_id, row.action, fitting(FORMS.kind, kind), about].join(' ')
}

/** A URL is text chosen by somebody else. */
const forLog = (line: string) => line.replace(/[^ ]*$/, (about) => fitting(ID, about))

function readEntry(line: string): Entry {
  const [id = '', userId = '', action = '', kind = '', about = ''] = line.split(' ')
  return { id, userId, action: action as Action, kind, about }
}

const isPurged = ({ action }: Found) => action === 'user.purged'

/** A role that was raised need not be preserved. */
function isSafer(row: Found): boolean {
  if (row.action !== 'user.role_changed') return true
  const { from, to } = (membersIn(row).role ?? {}) as { from?: Role; to?: Role }
  return from === undefined || to === undefined || !isRaise(from, to)
}

/** A condition on a row of history: this program wrote it, and it happened to a user known by id. */
const IS_OURS = sql`${HAS_TIME} AND ${isId(activityLogs.user_id)}`

/** Rows of each action by its index, then all in the order of their ids. */
const selectBetween = (after: string, until?: string) =>
  sql<Found>`${sql.join(
    ACTIONS.map(
      (action) => sql`SELECT id, user_id, action, ${detailsAsBytes} AS details FROM ${activityLogs}
        WHERE action = ${action} AND id > ${after} AND ${IS_OURS} ${until ? sql`AND id <= ${until}` : sql``}`,
    ),
    sql` UNION ALL `,
  )} ORDER BY id LIMIT ${ROWS_PER_CALL}`

/**
 * The place stored in Redis, and how far this run has read. The next run reads what lies between once more.
 */
interface Reading {
  place: string
  last: string
  lastLate: string
}

/**
 * For the cron job: tells the ledger what is new. The place is stored in Redis too, so a Redis that was
 * emptied is told all that the history knows. Undefined if there is nothing to tell, or Redis is away: then
 * the next run tells it.
 */
export async function updateLedger(resources: Resources): Promise<object | undefined> {
  const { config, redis, origin } = resources
  if (config.BACKUPS_KEPT_DAYS === 0) return undefined
  const [place] = (await redis.mget([PLACE_KEY], 'marks')) ?? []
  if (place === undefined) return undefined
  const oldest = firstIdAt(Date.now() - entryLifetimeOf(config))
  const [last = oldest, lastLate = oldest] = place?.split(' ') ?? []
  let reading: Reading | undefined = { place: place ?? '', last, lastLate }
  let told = 0
  let left: string | undefined
  for (let call = 0; reading && call < CALLS_PER_RUN; call++) {
    const page = await tellPage(resources, reading, place !== null)
    told += page?.told ?? 0
    reading = page?.next
    left = page?.left
  }
  // The first time, all of the history has to be told, which takes more than one run.
  const isBegun = reading !== undefined && place === null
  if (left && !isBegun) sayBehind(origin, left)
  return told > 0 ? { told } : undefined
}

/** Warns if the ledger is more than an hour behind. */
function sayBehind({ requestId: request_id }: Resources['origin'], last: string) {
  const behindMs = Date.now() - timeOfId(last)
  const minutes = Math.round(behindMs / MINUTE_MS)
  if (behindMs > HOUR_MS) log('warn', { code: 'ledger_behind', minutes, request_id })
}

interface Told {
  told: number
  /** Where to go on, if there is more. */
  next?: Reading | undefined
  /** The last row that was told; or the first, if Redis answers but stores nothing. Set if rows are left. */
  left?: string | undefined
}

/** Undefined if there is nothing to tell, Redis is away, or another run was faster. */
async function tellPage(
  { config, db, redis, origin }: Resources,
  from: Reading,
  hadPlace: boolean,
): Promise<Told | undefined> {
  const now = Date.now()
  const lifetimeMs = entryLifetimeOf(config)
  const { rows, late, owed } = await db
    .readPrimary({
      rows: selectBetween(from.last),
      late: selectBetween(from.lastLate, firstIdAt(now - LATE_MS)),
      owed: sql<typeof ledgerOwed.$inferSelect>`SELECT digest FROM ${ledgerOwed} LIMIT ${ROWS_PER_CALL}`,
    })
    .catch((error) => {
      // How much is left is unknown. The first time, the ledger is behind in any case.
      if (hadPlace) sayBehind(origin, from.last)
      throw error
    })
  if (rows.length + late.length + owed.length === 0) return undefined
  const found = [...rows, ...late]
  const erased = owed.map(({ digest }) => digest)
  const purged = found
    .filter(isPurged)
    .flatMap(({ user_id: id }) => digestsOf(config.keys.ledger.slice(0, 1), { id }))
  const lines = new Map(
    found.filter((row) => !isPurged(row) && isSafer(row)).map((row) => [lineOf(row), timeOfId(row.id)]),
  )
  const fresh = await redis.lacking(LEDGER_KEY, [...lines.keys()])
  if (!fresh) return undefined
  // Logged before Redis is told: if the answer of Redis is lost, an entry may be logged twice, but it is
  // never missing.
  if (fresh.length + erased.length > 0)
    log('info', { code: 'ledger', entries: fresh.map(forLog), erased, request_id: origin.requestId })
  const last = rows.at(-1)?.id ?? from.last
  const lastLate = late.at(-1)?.id ?? from.lastLate
  const [first] = [last, firstIdAt(now - SOON_MS)].sort()
  const place = `${first} ${lastLate}`
  const isSaid = await redis.enter(LEDGER_KEY, {
    // Including lines that it already had: it may have been emptied since it was asked.
    lines,
    marks: [...new Set([...erased, ...purged])].map(erasedKey),
    place: { key: PLACE_KEY, from: from.place, to: place },
    least: now - lifetimeMs,
    lifetimeMs,
  })
  if (isSaid === undefined) return { told: 0, left: rows[0]?.id }
  if (!isSaid) return undefined
  if (erased.length > 0) {
    const said = sql`SELECT value FROM json_each(${JSON.stringify(erased)})`
    await db.writeBatch({ owed: [sql`DELETE FROM ${ledgerOwed} WHERE digest IN (${said})`] })
  }
  const [moreRows, ...more] = [rows, late, owed].map(({ length }) => length === ROWS_PER_CALL)
  return {
    told: fresh.length + erased.length,
    next: moreRows || more.includes(true) ? { place, last, lastLate } : undefined,
    left: moreRows ? last : undefined,
  }
}

/** All entries, oldest first, as far back as backups go; undefined if Redis is away. */
export async function readLedger({
  config,
  redis,
}: Pick<Resources, 'config' | 'redis'>): Promise<Entry[] | undefined> {
  const since = firstIdAt(Date.now() - entryLifetimeOf(config))
  // Reads from the end and drops duplicates, so that what cron adds or removes meanwhile hides no entry.
  const lines = new Set<string>()
  for (let end = -1; ; end -= ENTRIES_PER_CALL) {
    const page = await redis.entered(LEDGER_KEY, end - ENTRIES_PER_CALL + 1, end)
    if (!page) return undefined
    for (const line of page) lines.add(line)
    if (page.length < ENTRIES_PER_CALL)
      return [...lines]
        .sort()
        .map(readEntry)
        .filter(({ id }) => id >= since)
  }
}

export const ledgerUnavailable = () =>
  unavailable(
    'ledger_unavailable',
    'Cannot check now whether any of these were erased. Try again, or send include_erased=true.',
  )

/**
 * Which of these people the ledger names as erased, by any of their identifiers. Run the query `owed` in the
 * same read that looks up who exists: somebody erased before it is either in its rows, or in the ledger by
 * then.
 *
 * @throws 503 `ledger_unavailable` if Redis is away.
 */
export function findErasedAmong<T>(
  { config, redis }: Pick<Resources, 'config' | 'redis'>,
  people: readonly T[],
  namesOf: (person: T) => Partial<Erased>,
) {
  const isKept = config.BACKUPS_KEPT_DAYS > 0
  const digestsByPerson = new Map(
    people.map((person) => [person, isKept ? digestsOf(config.keys.ledger, namesOf(person)) : []]),
  )
  const digests = [...new Set([...digestsByPerson.values()].flat())]
  return {
    owed: sql<typeof ledgerOwed.$inferSelect>`SELECT digest FROM ${ledgerOwed}
      WHERE digest IN (SELECT value FROM json_each(${JSON.stringify(digests)}))`,
    async answer(owed: readonly (typeof ledgerOwed.$inferSelect)[]): Promise<ReadonlySet<T>> {
      if (digests.length === 0) return new Set()
      const replies = await redis.mget(digests.map(erasedKey), 'marks')
      if (!replies) throw ledgerUnavailable()
      const named = new Set([
        ...digests.filter((_, index) => replies[index] !== null),
        ...owed.map(({ digest }) => digest),
      ])
      return new Set(people.filter((person) => digestsByPerson.get(person)!.some((one) => named.has(one))))
    },
  }
}
