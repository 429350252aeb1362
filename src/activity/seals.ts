import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import { type SQL, sql } from 'drizzle-orm'
import type { Resources } from '../context.ts'
import { keyIdOf } from '../crypto/encryption.ts'
import { type Keyring, keyring } from '../crypto/keyring.ts'
import type { Statement } from '../database/statements.ts'
import { log } from '../http/log.ts'
import { DAY_MS, MINUTE_MS } from '../values/durations.ts'
import { firstIdAt } from '../values/ids.ts'
import {
  ACTIONS,
  activityLogs,
  activityProofs,
  activitySeals,
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

function openMembers(details: string | null): unknown[] {
  const members = details === null ? {} : (JSON.parse(details) as Record<string, unknown>)
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
      openMembers(row.details),
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

/** A condition on rows of history of one kind: that they have aged with their seal. Where nothing is sealed, all may go. */
export const hasAged = ({ config }: Resources, kind: Kind): SQL =>
  config.HISTORY_KEY.length === 0
    ? sql`1`
    : sql`EXISTS (SELECT 1 FROM ${activityProofs} WHERE ${activityProofs.id} = ${activityLogs.id}
        AND seal <= (SELECT ${sql.identifier(`aged_${kind}`)} FROM ${activitySeals} WHERE number = ${newest}))`

type Kind = 'noise' | 'security'
const KINDS: readonly Kind[] = ['noise', 'security']

/** For clean-up: what there is to seal, and the next batch of it, on the condition `fence`. */
export function sealing(resources: Resources) {
  const { config, db } = resources
  if (config.HISTORY_KEY.length === 0) return { isDue: sql`0`, steps: () => [] }
  const keys = historyKeys(config.HISTORY_KEY)
  // What is late is looked for once a run: it is read again for it.
  let lateMs = LATE_MS
  const before = () => firstIdAt(Math.max(resources.now, Date.now()) - SETTLED_MS)
  return {
    isDue: sql`EXISTS (SELECT 1 FROM ${activityLogs} WHERE id > ${lookedThrough} AND id < ${before()})`,
    steps: async (fence: SQL): Promise<(readonly [Statement, ...Statement[]])[]> => {
      const end = before()
      const { last } = await db.read({ last: selectNewestSeal })
      const until = last[0]?.until ?? ''
      const from = until && firstIdAt(timeOfPlace(until) - lateMs)
      const { rows, aged } = await db.read({
        rows: sql<Row>`SELECT * FROM ${activityLogs} WHERE id > ${from} AND id < ${end} AND ${isUnsealed}
          ORDER BY id LIMIT ${ROWS_PER_BATCH}`,
        aged: selectAged(resources, last[0]),
      })
      if (rows.length === 0) return []
      if (rows.length < ROWS_PER_BATCH) lateMs = 0
      return [sealRows(keys, last[0], rows, aged[0]!, fence)]
    },
  }
}

const timeOfPlace = (id: string) => Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16)

/** The newest seals of each kind whose rows have all had their time. */
function selectAged({ config, now }: Resources, last: Seal | undefined) {
  const days = { noise: config.ACTIVITY_NOISE_DAYS, security: config.ACTIVITY_DAYS }
  const [noise, security] = KINDS.map((kind) => {
    const known = last?.[`aged_${kind}`] ?? 0
    return sql`coalesce((SELECT max(number) FROM (SELECT number, kind FROM ${activitySeals} WHERE number > ${known}
      AND until < ${firstIdAt(now - days[kind] * DAY_MS)} ORDER BY number LIMIT 1000) WHERE kind = ${kind}), ${known})`
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
    rows.map(({ id, details, ip, user_agent, country }) => ({ id, details, ip, user_agent, country })),
  )
  const areAsRead = sql`(SELECT count(*) FROM json_each(${given}) AS given JOIN ${activityLogs} AS row ON row.id = given.value ->> 'id'
    WHERE row.details IS given.value ->> 'details' AND row.ip IS given.value ->> 'ip'
      AND row.user_agent IS given.value ->> 'user_agent' AND row.country IS given.value ->> 'country') = ${rows.length}`
  const isNext = sql`coalesce(${newest}, 0) = ${last?.number ?? 0} AND ${areAsRead} AND ${fence}`
  // Sent twice, the second finds its own seals, and changes nothing.
  const areSealed = sql`EXISTS (SELECT 1 FROM ${activitySeals} WHERE number = ${seals.at(-1)!.number} AND mac = ${seals.at(-1)!.mac})`
  return [
    sql`INSERT INTO ${activitySeals} (number, kind, until, rows, root, aged_noise, aged_security, sealed_at, note, head, key_id, mac)
      SELECT value ->> 'number', value ->> 'kind', value ->> 'until', value ->> 'rows', value ->> 'root', value ->> 'aged_noise',
        value ->> 'aged_security', value ->> 'sealed_at', value ->> 'note', value ->> 'head', value ->> 'key_id', value ->> 'mac'
      FROM json_each(${JSON.stringify(seals)}) WHERE ${isNext}`,
    sql`INSERT INTO ${activityProofs} (id, seal, details_salt, details_hash, origin_salt, origin_hash)
      SELECT value ->> 'id', value ->> 'seal', value ->> 'details_salt', value ->> 'details_hash', value ->> 'origin_salt',
        value ->> 'origin_hash'
      FROM json_each(${JSON.stringify(proofs)}) WHERE ${areSealed} ON CONFLICT DO NOTHING`,
  ]
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

/** Says the newest seal where the database's writers cannot unsay it: in the log and in Redis. */
export async function tellHead({ db, redis, config, origin }: Resources): Promise<void> {
  if (config.HISTORY_KEY.length === 0) return
  const { last } = await db.read({ last: selectNewestSeal })
  if (!last[0]) return
  const { number, head } = last[0]
  log('info', { code: 'history_sealed', number, head, request_id: origin.requestId })
  await redis.put(HEAD_KEY, `${number}.${head}`, HEAD_KEPT_MS)
}
