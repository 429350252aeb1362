import { type SQL, sql } from 'drizzle-orm'
import { membersOf, textsAsBytes, withTexts } from '../src/activity/details.ts'
import {
  type ActivityLog,
  activityLogs,
  activityProofs,
  activitySeals,
  type Proof,
  type Seal,
} from '../src/activity/models.ts'
import {
  HEAD_KEY,
  hashOfDetails,
  hashOfOrigin,
  headOf,
  historyKeys,
  isSigned,
  LATE_MS,
  leafOf,
  matchesPublishedHead,
  rootOf,
  storeHead,
} from '../src/activity/seals.ts'
import type { Resources } from '../src/context.ts'
import { IMPERSONAL } from '../src/users/erasure.ts'
import { HOUR_MS } from '../src/values/durations.ts'
import { firstIdAt, timeOfId, toTime } from '../src/values/ids.ts'
import { readArguments, runCommand, SCRIPT_WAITS_MS, withPauses } from './command.ts'
import { withResources } from './create-admin.ts'

const USAGE = `npm run history:verify [-- --head <number>.<head>] [--without-redis]

Reads the whole history, and says whether it is as it was sealed: nothing altered, added, removed or cut off.
HISTORY_KEY has to have every key that seals were made with.

  --head           the newest seal that you know of, from the log (code history_sealed); may be given several times. Redis is
                   asked for it as well: the database alone cannot tell what was cut off its end
  --without-redis  does not ask Redis. Without this it fails where Redis does not answer
  --restored       you have restored the database from a backup: Redis takes its newest seal for the newest, and what was
                   lost is said once more. The log still has it

What is younger than the newest seal (a quarter of an hour, as a rule) is counted, and cannot be verified.`

const ROWS_PER_PAGE = 500
/** `<number>.<head>`, as in the log. */
const HEAD = /^[1-9]\d*\.[\w-]{43}$/
/** Clean-up runs four times within it. */
const SEALED_WITHIN_MS = HOUR_MS
/** Per kind; the rest is only counted. */
const MAX_FINDINGS = 20

export interface Verdict {
  seals: number
  /** Rows that match their seals. */
  sealed: number
  /** Rows that are too young to be sealed. */
  waiting: number
  /** `<number>.<head>` of the newest seal. */
  head: string | undefined
  /** Sentences; empty if the history is as it was sealed. */
  findings: string[]
  warnings: string[]
}

/** The id is read as bytes too, so that it can be read whatever it contains. */
type Read = Omit<SealedRow, 'id'> & { id: ArrayBuffer }
type SealedRow = ActivityLog & { [K in Exclude<keyof Proof, 'id'>]: Proof[K] | null }

/** Compares the history with its seals. `known` are heads kept outside the database, each `<number>.<head>`. */
export async function verifyHistory(resources: Resources, known: readonly string[]): Promise<Verdict> {
  const { config } = resources
  const before = await readSeals(resources)
  const rows = await readRows(resources, before)
  // Clean-up may have run meanwhile: rows of newer seals were not read, and other rows have aged.
  const seals = [...before, ...(await readSeals(resources, before.at(-1)?.number))]
  const last = seals.at(-1)
  const findings = [
    ...faultsOfChain(config.HISTORY_KEY, seals),
    ...faultsOfHeads(seals, known),
    ...rows.findings,
  ]
  const warnings = [...rows.warnings]
  if (known.length === 0)
    warnings.push('No head from outside the database: what was cut off its end goes unseen.')
  const aged = {
    noise: last?.aged_noise ?? 0,
    security: last?.aged_security ?? 0,
    restored: Number.POSITIVE_INFINITY,
  }
  let sealed = 0
  for (const seal of before) {
    const leaves = rows.leaves.get(seal.number) ?? []
    const isAged = seal.number <= aged[seal.kind]
    if (isAged && leaves.length <= seal.rows) continue
    if (leaves.length === seal.rows && rootOf(leaves) === seal.root) sealed += leaves.length
    else
      findings.push(
        `Seal ${seal.number} of ${toTime(seal.sealed_at)} does not fit its rows: ${differenceOf(leaves.length, seal.rows)}.`,
      )
  }
  const head = last && `${last.number}.${last.head}`
  return { seals: seals.length, sealed, waiting: rows.waiting, head, findings, warnings }
}

/** Seals after a number, page by page: there may be many, as they are never deleted. */
async function readSeals(resources: Resources, after = 0): Promise<Seal[]> {
  const seals: Seal[] = []
  for (;;) {
    const page = await readPage(
      resources,
      sql<Seal>`SELECT * FROM ${activitySeals} WHERE number > ${seals.at(-1)?.number ?? after}
        ORDER BY number LIMIT ${ROWS_PER_PAGE}`,
    )
    seals.push(...page)
    if (page.length < ROWS_PER_PAGE) return seals
  }
}

const readPage = <T>({ db }: Resources, page: SQL<T>): Promise<T[]> =>
  withPauses(async () => (await db.readOnce({ page }, SCRIPT_WAITS_MS)).page, 'database_unavailable')

const differenceOf = (there: number, sealed: number) =>
  there < sealed
    ? `${sealed - there} of ${sealed} were removed`
    : there > sealed
      ? `${there - sealed} were added to ${sealed}`
      : 'some were altered'

/** What is wrong with the seals themselves. */
function faultsOfChain(secrets: string[], seals: Seal[]): string[] {
  if (seals.length === 0) return []
  if (secrets.length === 0)
    return ['There are seals, and HISTORY_KEY, which they were signed with, is missing.']
  const keys = historyKeys(secrets)
  return seals.flatMap((seal, index) => {
    const before = seals[index - 1]
    const faults: string[] = []
    const number = (before?.number ?? 0) + 1
    if (seal.number !== number) faults.push(`Seals ${number} to ${seal.number - 1} are missing.`)
    if (!isSigned(keys, seal)) faults.push(`Seal ${seal.number} is not signed by a key of HISTORY_KEY.`)
    else if (headOf(before?.head ?? '', seal) !== seal.head)
      faults.push(`Seal ${seal.number} does not follow from what it says and from the one before.`)
    return faults
  })
}

/** Whether the seals that are known outside the database are among these. */
function faultsOfHeads(seals: Seal[], known: readonly string[]): string[] {
  const lost = new Set(seals.flatMap(({ kind, note }) => (kind === 'restored' && note ? [note] : [])))
  return known.flatMap((head) => {
    const [number] = head.split('.')
    const seal = seals.find((one) => String(one.number) === number)
    if (matchesPublishedHead(seal, head) || lost.has(head)) return []
    return seal
      ? [`Seal ${number} is not the one known outside the database: the chain was made anew.`]
      : [`Seal ${number} is known outside the database, and is not there: the history was cut off.`]
  })
}

/** Goes through the history by id. Returns the leaves of each seal, in order, and what is wrong with single rows. */
async function readRows(resources: Resources, seals: Seal[]) {
  const byNumber = new Map(seals.map((seal) => [seal.number, seal]))
  const { number: newest = 0, until } = seals.at(-1) ?? {}
  const settled = until ? firstIdAt(timeOfId(until) - LATE_MS) : ''
  const leaves = new Map<number, string[]>()
  const erased = new Set<string | null>()
  const hidden: SealedRow[] = []
  const added: string[] = []
  const altered: string[] = []
  const waiting: string[] = []
  for (let after = new Uint8Array(); ; ) {
    const page = await readPage(
      resources,
      sql<Read>`SELECT CAST(row.id AS BLOB) AS id, ${textsAsBytes}, seal, details_salt, details_hash, origin_salt, origin_hash FROM ${activityLogs} AS row
        LEFT JOIN ${activityProofs} AS proof ON proof.id = row.id WHERE typeof(row.id) = 'text' AND row.id > CAST(${after} AS TEXT)
        ORDER BY row.id LIMIT ${ROWS_PER_PAGE}`,
    )
    for (const row of page.map((read) => withTexts(read) as SealedRow)) {
      if (row.action === 'user.purged') erased.add(row.user_id)
      const seal = byNumber.get(row.seal ?? 0)
      // A seal has no row younger than its `until`. This holds for aged rows too, which are not counted.
      if (!seal || row.id > seal.until) {
        const isSealedSince = (row.seal ?? newest + 1) > newest
        if (!seal && isSealedSince && row.id.isWellFormed() && row.id > settled) waiting.push(row.id)
        else added.push(row.id)
        continue
      }
      const proof = row as ActivityLog & Proof
      leaves.set(seal.number, [...(leaves.get(seal.number) ?? []), leafOf(row, proof)])
      const isDetails =
        proof.details_salt === null || hashOfDetails(proof.details_salt, row) === proof.details_hash
      const isOrigin =
        proof.origin_salt === null || hashOfOrigin(proof.origin_salt, row) === proof.origin_hash
      if (!isDetails || !isOrigin || !isBare(row)) altered.push(row.id)
      else if (proof.details_salt === null || proof.origin_salt === null) hidden.push(row)
    }
    const last = page.at(-1)
    if (!last || page.length < ROWS_PER_PAGE) break
    after = new Uint8Array(last.id)
  }
  // An id that is a blob sorts after all texts. We never write one.
  const bytes = await readPage(
    resources,
    sql<{ id: string }>`SELECT hex(id) AS id FROM ${activityLogs} WHERE id >= x''`,
  )
  added.push(...bytes.map(({ id }) => `x'${id}'`))
  // Erasing somebody hides their personal data, and their address in the reason for which somebody else was disabled.
  const isErased = ({ user_id, actor_id, action }: SealedRow) =>
    erased.has(user_id) || erased.has(actor_id) || (erased.size > 0 && action === 'user.disabled')
  const unexplained = hidden.filter((row) => !isErased(row)).map(({ id }) => id)
  const [oldest] = waiting
  const isLate = oldest !== undefined && timeOfId(oldest) < Date.now() - SEALED_WITHIN_MS
  return {
    leaves,
    waiting: waiting.length,
    warnings: isLate
      ? [`Rows wait for a seal since ${toTime(timeOfId(oldest))}: clean-up fails, or has no HISTORY_KEY.`]
      : [],
    findings: [
      ...sentences(altered, (id) => `Row ${id} was altered.`),
      ...sentences(added, (id) => `Row ${id} was added: it is under no seal of its time.`),
      ...sentences(unexplained, (id) => `Row ${id} was emptied, and nobody in it was erased.`),
    ],
  }
}

/**
 * Whether a row has only what erasing leaves: without its salt, the data it covered must be gone, and nothing else
 * may take its place.
 */
function isBare(row: SealedRow): boolean {
  const { details_salt, origin_salt, action, ip, user_agent, country } = row
  const members = membersOf(row)
  const isImpersonal = (name: string) =>
    IMPERSONAL.includes(name) && !(name === 'reason' && action === 'user.disabled')
  const areDetails =
    details_salt !== null || (members !== undefined && Object.keys(members).every(isImpersonal))
  return areDetails && (origin_salt !== null || [ip, user_agent, country].every((value) => value === null))
}

function sentences(ids: string[], sentence: (id: string) => string): string[] {
  const more = ids.length - MAX_FINDINGS
  return [
    ...ids.slice(0, MAX_FINDINGS).map((id) => sentence(id.toWellFormed())),
    ...(more > 0 ? [`The same of ${more} more.`] : []),
  ]
}

/** The newest seal that Redis knows. Without an answer nobody can tell whether the history was cut off. */
async function askHead({ redis }: Resources): Promise<string | null | undefined> {
  const replies = await redis.mget([HEAD_KEY], 'marks')
  if (!replies)
    throw new Error(
      'Redis does not answer, and the newest seal is there: whether the history was cut off cannot be said. Run this again, or with --without-redis.',
    )
  return replies[0]
}

async function main() {
  const options = {
    head: { type: 'string', multiple: true },
    restored: { type: 'boolean' },
    'without-redis': { type: 'boolean' },
  } as const
  const { values, isDryRun } = readArguments({ usage: USAGE, options, ofDeployment: true })
  for (const head of values.head ?? [])
    if (!HEAD.test(head))
      throw new Error(
        `--head ${head} is not one: it is <number>.<head>, as the log has them (code history_sealed).`,
      )
  const isAlone = values['without-redis'] === true
  if (isAlone && values.restored)
    throw new Error('--restored tells Redis: it cannot be combined with --without-redis.')
  const verdict = await withResources({ EMAIL: 'perhaps', ...process.env }, async (resources) => {
    const head = isAlone ? undefined : await withPauses(() => askHead(resources))
    const said = await verifyHistory(resources, [...(values.head ?? []), ...(head ? [head] : [])])
    if (values.restored && said.head && !isDryRun && !(await storeHead(resources, said.head)))
      throw new Error('Redis did not take the newest seal: nothing was changed. Run this again.')
    return said
  })
  for (const warning of verdict.warnings) console.log(warning)
  for (const finding of verdict.findings) console.log(finding)
  const { seals, sealed, waiting, head } = verdict
  console.log(
    `${sealed} rows fit, under ${seals} seals; ${waiting} wait for one. Newest seal: ${head ?? 'none'}`,
  )
  if (verdict.findings.length > 0) throw new Error('The history is not as it was sealed.')
}

if (import.meta.main) runCommand(main)
