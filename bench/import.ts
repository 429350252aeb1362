import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { cpus, loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { importPeople } from '../scripts/people-import.ts'
import { buildBundle } from './bundle.ts'
import { quantile } from './load.ts'
import { openStage } from './stage.ts'
import { startWorker } from './workerd.ts'

/**
 * Measures how long the import script takes, and how long writes by others wait meanwhile: `npm run bench:import`, or
 * with fewer people: `-- --people 5000`. It fails if the import takes longer than promised.
 */
const { values: options } = parseArgs({ options: { people: { type: 'string', default: '100000' } } })
const people = Number(options.people)
if (!Number.isInteger(people) || people < 1) throw new Error('--people is a number of them.')

const MAX_SECONDS = 180 * (people / 100_000)
const LONGEST_WRITE_MS = 1000
/** How often somebody else changes something. */
const WRITE_EVERY_MS = 100
/** bcrypt, which most systems use: each hash is parsed and encrypted. */
const HASH = '$2b$12$Kbg4DoSEoso7KHpD.z3N2.3b7kf8BqxmAIOQiG//JgpdtD9ZlCS1.'
const ADMIN = 7
const OTHER = 20

const home = mkdtempSync(join(tmpdir(), 'roster-import-'))
const stage = await openStage('by-size')
await stage.grow(1_000, 0)
const worker = await startWorker({ modules: buildBundle().modules, bindings: stage.bindings })
try {
  const file = join(home, 'people.ndjson')
  const lines = Array.from({ length: people }, (_, at) =>
    JSON.stringify({
      email: `person-${at}@import.test`,
      name: `Person ${at} of many`,
      email_verified: at % 2 === 0,
      external_id: `old-${at}`,
      created_at: new Date(1_400_000_000_000 + at * 1000).toISOString(),
      password_hash: HASH,
      metadata: { at },
    }),
  )
  writeFileSync(file, lines.join('\n'))
  const others = writeBeside()
  const startedAt = performance.now()
  const { created } = await importPeople({
    url: worker.url,
    file,
    token: () => stage.tokens.accessOf(ADMIN, 'admin'),
  })
  const seconds = (performance.now() - startedAt) / 1000
  const writes = await others.end()
  const longestMs = Math.max(...writes)
  console.log(
    [
      `${cpus().length} cores, load ${loadavg()[0]!.toFixed(1)}`,
      `${created} people in ${seconds.toFixed(1)} s: ${Math.round(created / seconds)} a second, where ${MAX_SECONDS.toFixed(1)} s are promised`,
      `${writes.length} writes of others meanwhile: ${Math.round(quantile(writes, 0.5))} ms in the middle, ${Math.round(quantile(writes, 0.99))} at p99, ${Math.round(longestMs)} at most`,
    ].join('\n'),
  )
  if (created !== people || seconds > MAX_SECONDS || longestMs > LONGEST_WRITE_MS) process.exitCode = 1
} finally {
  await worker.close()
  await stage.close()
  rmSync(home, { recursive: true })
}

/** Somebody changes their name again and again. Returns how long each change took. */
function writeBeside() {
  const writes: number[] = []
  let isOver = false
  const work = (async () => {
    for (let at = 0; !isOver; at++) {
      const authorization = `Bearer ${await stage.tokens.accessOf(OTHER)}`
      const askedAt = performance.now()
      const answer = await fetch(`${worker.url}/v1/users/me`, {
        method: 'PATCH',
        headers: { authorization, 'content-type': 'application/json' },
        body: JSON.stringify({ name: `Somebody ${at}` }),
      })
      const text = await answer.text()
      if (!answer.ok) throw new Error(`A change of somebody else answered ${answer.status}: ${text}`)
      writes.push(performance.now() - askedAt)
      await new Promise((resolve) => setTimeout(resolve, WRITE_EVERY_MS))
    }
  })()
  work.catch(() => {}) // `end` throws it.
  return {
    async end() {
      isOver = true
      await work
      return writes
    },
  }
}
