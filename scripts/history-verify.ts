import { sql } from 'drizzle-orm'
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
  rootOf,
} from '../src/activity/seals.ts'
import type { Resources } from '../src/context.ts'
import { firstIdAt, timeOfId, toTime } from '../src/values/ids.ts'
import { readArguments, runCommand } from './command.ts'
import { withResources } from './create-admin.ts'

const USAGE = `npm run history:verify [-- --head <number>.<head>]

Reads the whole history, and says whether it is as it was sealed: nothing altered, added, removed or cut off. The
Worker's settings come from the environment, HISTORY_KEY with every key that seals were made with.

  --head     the newest seal that you know of, from the log (code history_sealed); may be given several times. Redis is
             asked for it as well: the database alone cannot tell what was cut off its end

What is younger than the newest seal (a quarter of an hour, as a rule) is counted, and cannot be verified.`

const ROWS_PER_PAGE = 2000
/** Of one kind; what more there are is counted. */
const MOST_FINDINGS = 20

export interface Verdict {
  seals: number
  /** Rows that their seals fit. */
  sealed: number
  /** Rows that are too young to be sealed. */
  waiting: number
  /** `<number>.<head>` of the newest seal. */
  head: string | undefined
  /** A sentence each; empty for a history that is as it was sealed. */
  findings: string[]
  warnings: string[]
}

type SealedRow = ActivityLog & { [K in Exclude<keyof Proof, 'id'>]: Proof[K] | null }

/** Compares the history with its seals. `known` are heads from outside of the database, each `<number>.<head>`. */
export async function verifyHistory(resources: Resources, known: readonly string[]): Promise<Verdict> {
  const { db, config } = resources
  const { seals } = await db.read({ seals: sql<Seal>`SELECT * FROM ${activitySeals} ORDER BY number` })
  const last = seals.at(-1)
  const findings = [...faultsOfChain(config.HISTORY_KEY, seals), ...faultsOfHeads(seals, known)]
  const warnings =
    known.length === 0 ? ['No head from outside of the database: what was cut off its end is not seen.'] : []
  const rows = await readRows(resources, seals)
  findings.push(...rows.findings)
  const aged = {
    noise: last?.aged_noise ?? 0,
    security: last?.aged_security ?? 0,
    restored: Number.POSITIVE_INFINITY,
  }
  let sealed = 0
  for (const seal of seals) {
    if (seal.number <= aged[seal.kind]) continue
    const leaves = rows.leaves.get(seal.number) ?? []
    if (leaves.length === seal.rows && rootOf(leaves) === seal.root) sealed += leaves.length
    else
      findings.push(
        `Seal ${seal.number} of ${toTime(seal.sealed_at)} does not fit its rows: ${differenceOf(leaves.length, seal.rows)}.`,
      )
  }
  const head = last && `${last.number}.${last.head}`
  return { seals: seals.length, sealed, waiting: rows.waiting, head, findings, warnings }
}

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

/** Whether the seals that somebody outside of the database knows of are among these. */
function faultsOfHeads(seals: Seal[], known: readonly string[]): string[] {
  const lost = new Set(seals.flatMap(({ kind, note }) => (kind === 'restored' && note ? [note] : [])))
  return known.flatMap((head) => {
    const [number, digest] = head.split('.')
    const seal = seals.find((one) => String(one.number) === number)
    if (seal?.head === digest || lost.has(head)) return []
    return seal
      ? [`Seal ${number} is another one than is known outside of the database: the chain was made anew.`]
      : [`Seal ${number} is known outside of the database, and is not there: the history was cut off.`]
  })
}

/** Goes through the history by id. Answers the leaves of each seal, in order, and what is wrong with single rows. */
async function readRows({ db }: Resources, seals: Seal[]) {
  const numbers = new Set(seals.map(({ number }) => number))
  const until = seals.at(-1)?.until
  const settled = until ? firstIdAt(timeOfId(until) - LATE_MS) : ''
  const leaves = new Map<number, string[]>()
  const erased = new Set<string | null>()
  const hidden: SealedRow[] = []
  const added: string[] = []
  const altered: string[] = []
  let waiting = 0
  for (let after = ''; ; ) {
    const { page } = await db.read({
      page: sql<SealedRow>`SELECT row.*, seal, details_salt, details_hash, origin_salt, origin_hash FROM ${activityLogs} AS row
        LEFT JOIN ${activityProofs} AS proof ON proof.id = row.id WHERE row.id > ${after} ORDER BY row.id LIMIT ${ROWS_PER_PAGE}`,
    })
    for (const row of page) {
      if (row.action === 'user.purged') erased.add(row.user_id)
      if (row.seal === null || !numbers.has(row.seal)) {
        if (row.seal === null && row.id > settled) waiting += 1
        else added.push(row.id)
        continue
      }
      const proof = row as ActivityLog & Proof
      leaves.set(row.seal, [...(leaves.get(row.seal) ?? []), leafOf(row, proof)])
      const isDetails =
        proof.details_salt === null || hashOfDetails(proof.details_salt, row) === proof.details_hash
      const isOrigin =
        proof.origin_salt === null || hashOfOrigin(proof.origin_salt, row) === proof.origin_hash
      if (!isDetails || !isOrigin) altered.push(row.id)
      else if (proof.details_salt === null || proof.origin_salt === null) hidden.push(row)
    }
    const last = page.at(-1)
    if (!last || page.length < ROWS_PER_PAGE) break
    after = last.id
  }
  // Erasing somebody hides what is personal of them; and their address in somebody else's reason.
  const isErased = ({ user_id, actor_id, action }: SealedRow) =>
    erased.has(user_id) || erased.has(actor_id) || (erased.size > 0 && action === 'user.disabled')
  const unexplained = hidden.filter((row) => !isErased(row)).map(({ id }) => id)
  return {
    leaves,
    waiting,
    findings: [
      ...sentences(altered, (id) => `Row ${id} was altered.`),
      ...sentences(added, (id) => `Row ${id} was added: it is under no seal, and older than the newest.`),
      ...sentences(unexplained, (id) => `Row ${id} was emptied, and nobody in it was erased.`),
    ],
  }
}

function sentences(ids: string[], sentence: (id: string) => string): string[] {
  const more = ids.length - MOST_FINDINGS
  return [...ids.slice(0, MOST_FINDINGS).map(sentence), ...(more > 0 ? [`The same of ${more} more.`] : [])]
}

async function main() {
  const { values } = readArguments({ usage: USAGE, options: { head: { type: 'string', multiple: true } } })
  const verdict = await withResources({ EMAIL: 'perhaps', ...process.env }, async (resources) => {
    const [head] = (await resources.redis.mget([HEAD_KEY])) ?? []
    return verifyHistory(resources, [...(values.head ?? []), ...(head ? [head] : [])])
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
