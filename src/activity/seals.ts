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
 * The history is sealed: clean-up takes rows that are older than two minutes, a batch at a time, and writes a seal that
 * fits them alone, chained to the one before and signed with a key that the database does not have. So whoever can write
 * in the database cannot alter, add, remove or cut off what was sealed without `npm run history:verify` finding it.
 *
 * What erasing hides is committed to with salts, which go with it (a trigger): the seal goes on fitting, and nobody can
 * try out what stood there. History ages by whole seals of one kind: each seal says which have aged, and only rows of
 * those are removed.
 */

/** Writes that were held up have arrived by then. */
const SETTLED_MS = 2 * MINUTE_MS
/** What comes later still, by a clock that is slow, goes into the next seal. */
export const LATE_MS = 15 * MINUTE_MS
const ROWS_PER_BATCH = 500
/** More than are made beside them, so what is left over is worked off; a bound for what is read. */
const AGED_PER_BATCH = 100
const HEAD_KEPT_MS = 3650 * DAY_MS
/** In Redis: the newest seal, which whoever writes in the database alone cannot set back. */
export const HEAD_KEY = 'history_head'

/**
 * Members of details that erasing leaves, so they are committed to in the open. Seals are verified by this list for as
 * long as they stand: it only ever stays as it is.
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

/** What a seal says of one row. It stays the same when the row is erased of what is personal. */
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

/** Of leaves in the order of their rows' ids. */
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
/** Until where the history was looked through. */
const lookedThrough = sql`coalesce((SELECT until FROM ${activitySeals} WHERE number = ${newest}), '')`
const isUnsealed = sql`NOT EXISTS (SELECT 1 FROM ${activityProofs} WHERE ${activityProofs.id} = ${activityLogs.id})`

/** What erasing takes out of a row. */
const ERASABLE = ['details', 'ip', 'user_agent', 'country'] as const
const KINDS = ['noise', 'security'] as const
type Kind = (typeof KINDS)[number]
const agedIn = (kind: Kind) =>
  sql`(SELECT ${sql.identifier(`aged_${kind}`)} FROM ${activitySeals} WHERE number = ${newest})`

/**
 * A condition on rows of history: that they have aged with their seal. Where nothing is sealed, all may go. The kind is
 * the seal's: another version, which runs beside this one, may take a row's action for the other kind.
 */
export const hasAged = ({ config }: Resources): SQL =>
  config.HISTORY_KEY.length === 0
    ? sql`1`
    : sql`EXISTS (SELECT 1 FROM ${activityProofs} AS proof JOIN ${activitySeals} AS own ON own.number = proof.seal
        WHERE proof.id = ${activityLogs.id}
          AND own.number <= CASE own.kind WHEN 'noise' THEN ${agedIn('noise')} ELSE ${agedIn('security')} END)`

/** For clean-up: what there is to seal, and the next batch of it, on the condition `fence`. */
export function sealing(resources: Resources) {
  const { config, db } = resources
  if (config.HISTORY_KEY.length === 0) return { isDue: sql`0`, steps: () => [] }
  const keys = historyKeys(config.HISTORY_KEY)
  // What is late is looked for once a run: it is read again for it.
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
 * For each kind the newest seal up to which all of that kind have had their time. It may be of the other kind itself: else
 * many of that one in a row would stand before it for ever.
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

/** A seal for the rows of each kind, if all of them are as they were read: one that was erased meanwhile is read again. */
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
  // By their bytes: what is stored as bytes is never equal to a text.
  const isAsRead = ERASABLE.map((name, at) => {
    const column = sql.identifier(name)
    return sql`iif(${column} IS NULL, NULL, hex(${column})) IS given.value ->> ${sql.raw(`${at + 1}`)}`
  })
  const areAsRead = sql`(SELECT count(*) FROM json_each(${given}) AS given JOIN ${activityLogs} AS row ON row.id = given.value ->> 0
    WHERE ${sql.join(isAsRead, sql` AND `)}) = ${rows.length}`
  const isNext = sql`coalesce(${newest}, 0) = ${last?.number ?? 0} AND ${areAsRead} AND ${fence}`
  // Sent twice, the second finds its own seals, and changes nothing.
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
 * After a restore: where Redis knows a seal that the database has lost, a seal without rows names it, and the chain goes on
 * from there. Answers the head that was lost; undefined where none was.
 *
 * @throws where Redis is away, or the Worker sealed meanwhile: done again it goes on.
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
  if (kept.some((seal) => isKnownAs(seal, known))) return undefined
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
  // Behind it a live Worker may have sealed by now; in its place as well, and then this has to be done once more.
  const { head, noted } = await db.readPrimary({
    head: selectNewestSeal,
    noted: sql`SELECT number FROM ${activitySeals} WHERE note = ${known}`,
  })
  if (noted.length === 0)
    throw new Error('The history was sealed meanwhile, so a new chain of seals is not begun. Run this again.')
  if (!(await keepHead({ redis }, `${head[0]!.number}.${head[0]!.head}`)))
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
 * Says the newest seal where the database's writers cannot unsay it: in the log and in Redis. Where the one that Redis
 * knows is gone from the database, what comes after must not cover that up: Redis keeps it.
 */
export async function tellHead({ db, redis, config, origin }: Resources): Promise<void> {
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
  const isCutOff = known != null && !isKnownAs(kept[0], known)
  if (isCutOff) log('error', { code: 'history_cut_off', known, request_id })
  if (!last[0]) return
  const { number, head } = last[0]
  log('info', { code: 'history_sealed', number, head, request_id })
  // What could not be asked for may be another.
  if (replies && !isCutOff) await keepHead({ redis }, `${number}.${head}`)
}

/** Whether a seal is the one that somebody outside of the database knows, by `<number>.<head>`. */
export const isKnownAs = (seal: Pick<Seal, 'head'> | undefined, known: string) =>
  seal !== undefined && known.split('.')[1] === seal.head

export const keepHead = ({ redis }: Pick<Resources, 'redis'>, head: string) =>
  redis.put(HEAD_KEY, head, HEAD_KEPT_MS, 'marks')
