import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import { type SQL, sql } from 'drizzle-orm'
import type { Resources } from '../context.ts'
import { keyIdOf } from '../crypto/encryption.ts'
import { type Keyring, keyring } from '../crypto/keyring.ts'
import type { Statement } from '../database/statements.ts'
import { log } from '../http/log.ts'
import { DAY_MS, MINUTE_MS } from '../values/durations.ts'
import { firstIdAt, timeOfId } from '../values/ids.ts'
import { hexOf, membersOf, textsAsBytes, withTexts } from './details.ts'
import {
  ACTIONS,
  activityLogs,
  activityProofs,
  activitySeals,
  HAS_TIME,
  type Proof,
  type ActivityLog as Row,
  type Seal,
} from './models.ts'

/**
 * The history is sealed. Clean-up takes rows that are older than two minutes, a batch at a time, and writes a
 * seal that matches only them, chained to the one before and signed with a key that the database does not
 * have. So nobody with write access to the database can alter, add, remove or cut off sealed rows without
 * `npm run history:verify` finding it.
 *
 * Personal data is committed to by salted hashes. Erasure removes the salts too (a trigger): the seal still
 * matches, and nobody can guess at what was there. History expires by whole seals of one kind: each seal says
 * which have expired, and only rows of those are removed.
 */

/** Delayed writes have arrived by then. */
const SETTLED_MS = 2 * MINUTE_MS
/** Rows that arrive even later, from a slow clock, go into the next seal. */
export const LATE_MS = 15 * MINUTE_MS
const ROWS_PER_BATCH = 500
/** More than are made in the same time, so a backlog shrinks; it also bounds what is read. */
const AGED_PER_BATCH = 100
const HEAD_KEPT_MS = 3650 * DAY_MS
/** In Redis: the newest seal, which write access to the database alone cannot set back. */
export const HEAD_KEY = 'history_head'

/**
 * Members of details that erasure leaves, so they are committed to without a salt. Seals are verified with
 * this list for as long as they exist, so it must never change.
 */
export const OPEN_MEMBERS: readonly string[] =
  'client_id code count invitation_id key_id permissions role scopes session_id terms_version until'.split(
    ' ',
  )

const digest = (text: string) => createHash('sha256').update(text).digest('base64url')

export const hashOfDetails = (salt: string, { details }: Pick<Row, 'details'>) =>
  digest(JSON.stringify([salt, details]))
export const hashOfOrigin = (salt: string, { ip, user_agent, country }: Row) =>
  digest(JSON.stringify([salt, ip, user_agent, country]))

function openMembers(row: Row): unknown[] {
  const members = membersOf(row) ?? {}
  return OPEN_MEMBERS.flatMap((name) => (name in members ? [name, members[name]] : []))
}

/** What a seal says of one row. Erasing the personal data of the row does not change it. */
export const leafOf = (row: Row, { details_hash, origin_hash }: Proof) =>
  digest(
    JSON.stringify([
      row.id,
      row.user_id,
      row.actor_id,
      row.action,
      row.request_id,
      openMembers(row),
      details_hash,
      origin_hash,
    ]),
  )

/** The leaves must be in the order of their rows' ids. */
export const rootOf = (leaves: string[]) => digest(leaves.join(' '))

export const headOf = (before: string, seal: Omit<Seal, 'head' | 'key_id' | 'mac'>) =>
  digest(
    JSON.stringify([
      before,
      seal.number,
      seal.kind,
      seal.until,
      seal.rows,
      seal.root,
      seal.aged_noise,
      seal.aged_security,
      seal.sealed_at,
      seal.note,
    ]),
  )

export const historyKeys = (secrets: string[]) => keyring(secrets, 'history_seal')
const macOf = (key: Uint8Array, head: string) => createHmac('sha256', key).update(head).digest('base64url')

export function isSigned(keys: Keyring, { head, key_id, mac }: Seal): boolean {
  const key = keys.find((one) => keyIdOf(one) === key_id)
  const expected = Buffer.from(key ? macOf(key, head) : '')
  const given = Buffer.from(mac)
  return expected.length === given.length && timingSafeEqual(expected, given)
}

/** The next seal in the chain. */
function makeSeal(
  keys: Keyring,
  before: Pick<Seal, 'number' | 'head'> | undefined,
  seal: Omit<Seal, 'number' | 'head' | 'key_id' | 'mac'>,
): Seal {
  const numbered = { ...seal, number: (before?.number ?? 0) + 1 }
  const head = headOf(before?.head ?? '', numbered)
  return { ...numbered, head, key_id: keyIdOf(keys[0]), mac: macOf(keys[0], head) }
}

const newest = sql`(SELECT max(number) FROM ${activitySeals})`
const selectNewestSeal = sql<Seal>`SELECT * FROM ${activitySeals} WHERE number = ${newest}`
/** The greatest id up to which the history has been examined. */
const lookedThrough = sql`coalesce((SELECT until FROM ${activitySeals} WHERE number = ${newest}), '')`
const isUnsealed = sql`NOT EXISTS (SELECT 1 FROM ${activityProofs} WHERE ${activityProofs.id} = ${activityLogs.id})`

/** The columns that erasure empties. */
const ERASABLE = ['details', 'ip', 'user_agent', 'country'] as const
const KINDS = ['noise', 'security'] as const
type Kind = (typeof KINDS)[number]
const agedIn = (kind: Kind) =>
  sql`(SELECT ${sql.identifier(`aged_${kind}`)} FROM ${activitySeals} WHERE number = ${newest})`

/**
 * A condition on rows of history: that they have expired with their seal. If nothing is sealed, all may go. The kind
 * is that of the seal: another version of the program that runs alongside may count an action as the other kind.
 */
export const hasExpiredWithSeal = ({ config }: Resources): SQL =>
  config.HISTORY_KEY.length === 0
    ? sql`1`
    : sql`EXISTS (SELECT 1 FROM ${activityProofs} AS proof JOIN ${activitySeals} AS own ON own.number = proof.seal
        WHERE proof.id = ${activityLogs.id}
          AND own.number <= CASE own.kind WHEN 'noise' THEN ${agedIn('noise')} ELSE ${agedIn('security')} END)`

/** For clean-up: whether there is something to seal, and the next batch of it, conditional on `fence`. */
export function sealing(resources: Resources) {
  const { config, db } = resources
  if (config.HISTORY_KEY.length === 0) return { isDue: sql`0`, steps: () => [] }
  const keys = historyKeys(config.HISTORY_KEY)
  // Late rows are looked for once a run, as this reads rows again.
  let lateMs = LATE_MS
  const before = () => firstIdAt(Math.max(resources.now, Date.now()) - SETTLED_MS)
  return {
    isDue: sql`EXISTS (SELECT 1 FROM ${activityLogs} WHERE id > ${lookedThrough} AND id < ${before()} AND ${HAS_TIME})`,
    steps: async (fence: SQL): Promise<(readonly [Statement, ...Statement[]])[]> => {
      const end = before()
      const { last } = await db.read({ last: selectNewestSeal })
      const until = last[0]?.until ?? ''
      const from = until && firstIdAt(timeOfId(until) - lateMs)
      const { rows: read, aged } = await db.read({
        rows: sql<Row>`SELECT id, ${textsAsBytes} FROM ${activityLogs} WHERE id > ${from} AND id < ${end} AND ${HAS_TIME} AND ${isUnsealed}
          ORDER BY id LIMIT ${ROWS_PER_BATCH}`,
        aged: selectAged(resources, last[0]),
      })
      const rows = read.map(withTexts)
      if (rows.length === 0) return []
      if (rows.length < ROWS_PER_BATCH) lateMs = 0
      return [sealRows(keys, last[0], rows, aged[0]!, fence)]
    },
  }
}

/**
 * For each kind, the newest seal up to which all rows of that kind have expired. That seal may be of the
 * other kind: otherwise a long row of those would block it for ever.
 */
function selectAged({ config, now }: Resources, last: Seal | undefined) {
  const days = { noise: config.ACTIVITY_NOISE_DAYS, security: config.ACTIVITY_DAYS }
  const [noise, security] = KINDS.map((kind) => {
    const known = last?.[`aged_${kind}`] ?? 0
    return sql`coalesce((SELECT max(number) FROM ${activitySeals} WHERE number > ${known}
      AND number <= ${known + AGED_PER_BATCH} AND until < ${firstIdAt(now - days[kind] * DAY_MS)}), ${known})`
  })
  return sql<{ noise: number; security: number }>`SELECT ${noise} AS noise, ${security} AS security`
}

/**
 * A seal for the rows of each kind, if all are still as they were read; if one was erased meanwhile, they are
 * read again.
 */
function sealRows(
  keys: Keyring,
  last: Seal | undefined,
  rows: Row[],
  aged: { noise: number; security: number },
  fence: SQL,
): readonly [Statement, ...Statement[]] {
  const until = [last?.until ?? '', rows.at(-1)!.id].sort().at(-1)!
  const seals: Seal[] = []
  const proofs: Proof[] = []
  for (const kind of KINDS) {
    const number = (seals.at(-1) ?? last)?.number ?? 0
    const ofKind = rows.filter(({ action }) => (ACTIONS[action] ?? 'security') === kind)
    if (ofKind.length === 0) continue
    const proved = ofKind.map((row) => proofOf(row, number + 1))
    const root = rootOf(ofKind.map((row, index) => leafOf(row, proved[index]!)))
    const seal = {
      kind,
      until,
      rows: ofKind.length,
      root,
      aged_noise: aged.noise,
      aged_security: aged.security,
      sealed_at: Date.now(),
      note: null,
    }
    seals.push(makeSeal(keys, seals.at(-1) ?? last, seal))
    proofs.push(...proved)
  }
  const given = JSON.stringify(
    rows.map((row) => [row.id, ...ERASABLE.map((name) => (row[name] === null ? null : hexOf(row[name])))]),
  )
  // Compares bytes: a stored BLOB never equals a text.
  const isAsRead = ERASABLE.map((name, at) => {
    const column = sql.identifier(name)
    return sql`iif(${column} IS NULL, NULL, hex(${column})) IS given.value ->> ${sql.raw(`${at + 1}`)}`
  })
  const areAsRead = sql`(SELECT count(*) FROM json_each(${given}) AS given JOIN ${activityLogs} AS row ON row.id = given.value ->> 0
    WHERE ${sql.join(isAsRead, sql` AND `)}) = ${rows.length}`
  const isNext = sql`coalesce(${newest}, 0) = ${last?.number ?? 0} AND ${areAsRead} AND ${fence}`
  // If the batch is sent twice, the second finds its own seals and changes nothing.
  const areSealed = sql`EXISTS (SELECT 1 FROM ${activitySeals} WHERE number = ${seals.at(-1)!.number} AND mac = ${seals.at(-1)!.mac})`
  return [
    insertSeals(seals, isNext),
    sql`INSERT INTO ${activityProofs} (id, seal, details_salt, details_hash, origin_salt, origin_hash)
      SELECT value ->> 'id', value ->> 'seal', value ->> 'details_salt', value ->> 'details_hash', value ->> 'origin_salt',
        value ->> 'origin_hash'
      FROM json_each(${JSON.stringify(proofs)}) WHERE ${areSealed} ON CONFLICT DO NOTHING`,
  ]
}

const insertSeals = (seals: Seal[], condition: SQL) =>
  sql`INSERT INTO ${activitySeals} (number, kind, until, rows, root, aged_noise, aged_security, sealed_at, note, head, key_id, mac)
    SELECT value ->> 'number', value ->> 'kind', value ->> 'until', value ->> 'rows', value ->> 'root', value ->> 'aged_noise',
      value ->> 'aged_security', value ->> 'sealed_at', value ->> 'note', value ->> 'head', value ->> 'key_id', value ->> 'mac'
    FROM json_each(${JSON.stringify(seals)}) WHERE ${condition}`

/**
 * After a restore: if Redis knows a seal that the database has lost, writes a seal without rows that names
 * it, and the chain goes on from there. Returns the head that was lost; undefined if none was.
 *
 * @throws if Redis is away, or the Worker sealed meanwhile: run it again.
 */
export async function sealRestore({ config, db, redis }: Resources): Promise<string | undefined> {
  if (config.HISTORY_KEY.length === 0) return undefined
  const replies = await redis.mget([HEAD_KEY], 'marks')
  if (!replies) throw new Error('Redis does not answer, so the newest seal is not known. Run this again.')
  const [known] = replies
  if (known == null) return undefined
  const { last, kept } = await db.readPrimary({
    last: selectNewestSeal,
    kept: sql<Seal>`SELECT * FROM ${activitySeals} WHERE number = ${Number.parseInt(known, 10) || 0} OR note = ${known}`,
  })
  if (kept.some((seal) => matchesPublishedHead(seal, known))) return undefined
  if (!kept.some(({ note }) => note === known)) {
    const seal = makeSeal(historyKeys(config.HISTORY_KEY), last[0], {
      kind: 'restored',
      until: last[0]?.until ?? '',
      rows: 0,
      root: rootOf([]),
      aged_noise: last[0]?.aged_noise ?? 0,
      aged_security: last[0]?.aged_security ?? 0,
      sealed_at: Date.now(),
      note: known,
    })
    const isNext = sql`coalesce(${newest}, 0) = ${last[0]?.number ?? 0}`
    await db.writeBatch({ seal: [insertSeals([seal], isNext)] })
  }
  // A live Worker may have added a seal after it by now; or one in its place, and then this has to be run
  // again.
  const { head, noted } = await db.readPrimary({
    head: selectNewestSeal,
    noted: sql`SELECT number FROM ${activitySeals} WHERE note = ${known}`,
  })
  if (noted.length === 0)
    throw new Error('The history was sealed meanwhile, so no new chain of seals was started. Run this again.')
  if (!(await storeHead({ redis }, `${head[0]!.number}.${head[0]!.head}`)))
    throw new Error('Redis did not take the newest seal, and would miss the lost one. Run this again.')
  return known
}

function proofOf(row: Row, seal: number): Proof {
  const [details_salt, origin_salt] = [newSalt(), newSalt()]
  const details_hash = hashOfDetails(details_salt, row)
  return {
    id: row.id,
    seal,
    details_salt,
    details_hash,
    origin_salt,
    origin_hash: hashOfOrigin(origin_salt, row),
  }
}

const newSalt = () => randomBytes(16).toString('base64url')

/**
 * Publishes the newest seal where write access to the database cannot undo it: in the log and in Redis. If
 * the one in Redis is missing from the database, Redis keeps it, so that newer seals do not hide the loss.
 */
export async function publishHead({ db, redis, config, origin }: Resources): Promise<void> {
  if (config.HISTORY_KEY.length === 0) return
  const replies = await redis.mget([HEAD_KEY], 'marks')
  const known = replies?.[0]
  const { last, kept } = await db.readPrimary({
    last: selectNewestSeal,
    kept: sql<
      Pick<Seal, 'head'>
    >`SELECT head FROM ${activitySeals} WHERE number = ${Number.parseInt(known ?? '', 10) || 0}`,
  })
  const request_id = origin.requestId
  const isCutOff = known != null && !matchesPublishedHead(kept[0], known)
  if (isCutOff) log('error', { code: 'history_cut_off', known, request_id })
  if (!last[0]) return
  const { number, head } = last[0]
  log('info', { code: 'history_sealed', number, head, request_id })
  // If Redis did not answer, it may hold a seal that was not checked.
  if (replies && !isCutOff) await storeHead({ redis }, `${number}.${head}`)
}

/** Whether a seal is the one that is known outside the database as `<number>.<head>`. */
export const matchesPublishedHead = (seal: Pick<Seal, 'head'> | undefined, known: string) =>
  seal !== undefined && known.split('.')[1] === seal.head

export const storeHead = ({ redis }: Pick<Resources, 'redis'>, head: string) =>
  redis.put(HEAD_KEY, head, HEAD_KEPT_MS, 'marks')
