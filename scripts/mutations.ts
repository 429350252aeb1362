import { createHash } from 'node:crypto'
import { existsSync, globSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { createClient } from '@libsql/client/http'
import { createVitest, type TestSpecification, type Vitest } from 'vitest/node'
import { REACH } from '../test/support/mutation.ts'
import type { Reached } from '../test/support/reached.ts'
import { readArguments, runCommand } from './command.ts'
import { findMutants, type Mutant } from './mutants.ts'

const USAGE = `npm run test:mutations -- --folder src/recovery

Leaves out each guard and each condition of a write, one at a time, runs the tests of test:fast that reach it, and lists
what none of them noticed. What may go unnoticed is listed in scripts/mutations.json, with its reason. First it runs them
all, to learn what each reaches; that is kept until the source or a test changes.

  --folder <path>   a folder or a file below src; may be repeated
  --files <count>   run only so many test files for each, those that are most about it first; by default all
  --tests <part>    run only test files with this in their path; may be repeated
  --dry-run         lists what would be left out`

const ROOT = resolve(import.meta.dirname, '..')

interface Reason {
  file: string
  text: string
  reason: string
}

const allowed: Reason[] = JSON.parse(readFileSync(join(import.meta.dirname, 'mutations.json'), 'utf8'))
const isAllowed = ({ file, text }: Mutant) => allowed.some((one) => one.file === file && one.text === text)

/** Empties the database and Redis: most tests count on nobody but themselves, and have run before. */
async function forget(vitest: Vitest): Promise<void> {
  const { bindings } = vitest.projects[0]!.getProvidedContext()
  // Before the first run there is nothing yet.
  if (!bindings) return
  const redis = await fetch(bindings.UPSTASH_REDIS_REST_URL!, {
    method: 'POST',
    headers: { authorization: `Bearer ${bindings.UPSTASH_REDIS_REST_TOKEN}` },
    body: '["FLUSHALL"]',
  })
  if (!redis.ok) throw new Error(`Redis answered ${redis.status}.`)
  const client = createClient({ url: bindings.TURSO_DATABASE_URL! })
  // What migrations have filled stays, and so does the history, which a trigger keeps.
  const { rows } = await client.execute(
    `SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '%fts%' AND name NOT LIKE 'sqlite%'
      AND name NOT LIKE '\\_%' ESCAPE '\\' AND name NOT IN ('user_totals', 'system_state')
      AND name NOT GLOB '*activity*'`,
  )
  await client.batch(
    ['PRAGMA defer_foreign_keys = ON', ...rows.map(({ name }) => `DELETE FROM ${name}`)],
    'write',
  )
  client.close()
}

/** Starts the upstreams and Vitest once: what is left out changes from run to run, and only its file is read again. */
async function startTests() {
  process.env.FAST = '1'
  process.env.MUTANT = ''
  const reached = new Map<string, Reached>()
  let failed: string[] = []
  let hasFailed = false
  const isReading = () => process.env.MUTANT === REACH
  const vitest: Vitest = await createVitest({
    watch: false,
    reporters: [
      {
        onTestModuleEnd(module) {
          hasFailed ||= !module.ok()
          if (!isReading()) return
          // A file that fails anyway can notice nothing.
          const { reached: told } = module.meta()
          if (module.ok() && told) reached.set(nameOf(module), told)
          console.log(`${module.ok() ? 'read' : 'FAILS with nothing left out:'} ${nameOf(module)}`)
        },
        onTestCaseResult(test) {
          if (isReading() || test.result().state !== 'failed') return
          hasFailed = true
          failed.push(test.id)
        },
        onTestRunEnd(_modules, errors) {
          hasFailed ||= errors.length > 0
        },
      },
    ],
  })
  const specifications = await vitest.globTestSpecifications()

  /** Whether they pass. */
  async function run(tests: TestSpecification[], what: string): Promise<boolean> {
    failed = []
    hasFailed = false
    process.env.MUTANT = what
    await forget(vitest)
    await vitest.runTestSpecifications(tests)
    return !hasFailed
  }
  /** By test: whether it passes alone, with nothing left out. */
  const passes = new Map<string, boolean>()
  const only = (test: TestSpecification, testIds: string[]) =>
    test.project.createSpecification(test.moduleId, { testIds })
  /** Whether one of these tests of a file fails with this left out, and passes with nothing left out. */
  async function notices(test: TestSpecification, testIds: string[], mutant: Mutant): Promise<boolean> {
    const asked = testIds.filter((id) => passes.get(id) !== false)
    if (asked.length === 0) return false
    vitest.invalidateFile(join(ROOT, mutant.file))
    const isUnnoticed = await run([only(test, asked)], JSON.stringify(mutant))
    vitest.invalidateFile(join(ROOT, mutant.file))
    if (isUnnoticed) return false
    // Without a test that failed, the file did.
    const [failing = asked[0]!] = failed
    if (!passes.has(failing)) passes.set(failing, await run([only(test, [failing])], ''))
    if (passes.get(failing)) return true
    console.log(`FAILS with nothing left out: ${nameOf(test)} ${failing}`)
    return notices(test, asked, mutant)
  }
  /** What each of these reaches: `src/a.ts 3` is the fourth mutant of that file. It takes as long as they do. */
  async function whatTheyReach(tests: TestSpecification[]): Promise<Map<string, Reached>> {
    reached.clear()
    await run(tests, REACH)
    for (const file of globSync('src/**/*.{ts,tsx}', { cwd: ROOT })) vitest.invalidateFile(join(ROOT, file))
    return reached
  }
  return { specifications, notices, whatTheyReach, close: () => vitest.close() }
}

const nameOf = ({ moduleId }: { moduleId: string }) => relative(ROOT, moduleId)
const toLine = ({ file, line, text }: Mutant) => `${file}:${line}  ${text}`

/** What test files reach, kept until the source or the file changes. */
async function reachOf({ specifications, whatTheyReach }: Awaited<ReturnType<typeof startTests>>) {
  const digestOf = (...patterns: string[]) => {
    const digest = createHash('sha256')
    for (const file of globSync(patterns, { cwd: ROOT }).sort()) digest.update(readFileSync(join(ROOT, file)))
    return digest.digest('hex')
  }
  const source = digestOf('src/**/*.{ts,tsx}', 'test/support/*.ts', 'scripts/mutants.ts')
  const file = join(ROOT, `node_modules/.cache/roster-reach-${source}.json`)
  const kept: Record<string, { digest: string; reached: Reached }> = existsSync(file)
    ? JSON.parse(readFileSync(file, 'utf8'))
    : {}
  const isKept = (test: TestSpecification) => kept[nameOf(test)]?.digest === digestOf(nameOf(test))
  const unread = specifications.filter((test) => !isKept(test))
  if (unread.length > 0) {
    for (const [test, reached] of await whatTheyReach(unread))
      kept[test] = { digest: digestOf(test), reached }
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, JSON.stringify(kept))
  }
  return new Map(specifications.filter(isKept).map((test) => [test, kept[nameOf(test)]!.reached]))
}

/** What replaces a condition of a statement. */
const IN_STATEMENTS = ['1', 'sql`1`', 'undefined']

/** The ids of the tests of a file that reach a mutant; of all, if it was reached before them. */
function idsOf(
  { names, file, tests }: Reached,
  { name, replacement }: { name: string; replacement: string },
) {
  const place = names.indexOf(name)
  const ids = Object.keys(tests).filter((id) => file.includes(place) || tests[id]!.includes(place))
  // A statement that is prepared once is reached once, and used by all.
  return ids.length === 0 || (ids.length === 1 && IN_STATEMENTS.includes(replacement))
    ? Object.keys(tests)
    : ids
}

runCommand(async () => {
  const options = {
    folder: { type: 'string', multiple: true },
    files: { type: 'string' },
    tests: { type: 'string', multiple: true },
  } as const
  const { values, isDryRun } = readArguments({ usage: USAGE, options })
  const folders = (values.folder ?? ['src']).map((folder) => folder.replace(/\/$/, ''))
  const atMost = Number(values.files ?? Number.POSITIVE_INFINITY)
  if (!(atMost >= 1)) throw new Error('--files takes a number of at least 1.')
  const files = globSync('src/**/*.{ts,tsx}', { cwd: ROOT })
    .filter((file) => folders.some((folder) => file === folder || file.startsWith(`${folder}/`)))
    .filter((file) => !file.includes('/texts/'))
    .sort()
  const mutants = files.flatMap((file) =>
    findMutants(file, readFileSync(join(ROOT, file), 'utf8')).map((mutant, index) => ({
      ...mutant,
      name: `${file} ${index}`,
    })),
  )
  if (mutants.length === 0) throw new Error(`There is nothing to leave out in ${folders.join(', ')}.`)
  if (isDryRun) return mutants.forEach((mutant) => void console.log(toLine(mutant)))

  const tests = await startTests()
  try {
    const reach = await reachOf(tests)
    /** The test files that reach it, those that are most about its file first, then about its folder. */
    const testsThatReach = ({ file, name }: { file: string; name: string }) => {
      const countIn = (place: string) => (test: TestSpecification) =>
        reach.get(test)!.names.filter((one) => one.startsWith(place)).length
      const [inFile, inFolder] = [countIn(`${file} `), countIn(`${dirname(file)}/`)]
      return [...reach.keys()]
        .filter((test) => reach.get(test)!.names.includes(name))
        .filter((test) => values.tests?.some((part) => nameOf(test).includes(part)) ?? true)
        .sort((a, b) => inFile(b) - inFile(a) || inFolder(b) - inFolder(a))
    }
    /** By file of the source: the tests that have noticed something there, the latest first. They are tried first. */
    const noticedBy = new Map<string, TestSpecification[]>()
    const survivors: Mutant[] = []
    for (const [at, mutant] of mutants.entries()) {
      const reaching = testsThatReach(mutant)
      const latest = (noticedBy.get(mutant.file) ?? []).filter((test) => reaching.includes(test)).slice(0, 2)
      const chosen = [...latest, ...reaching.filter((test) => !latest.includes(test))].slice(0, atMost)
      let noticer: TestSpecification | undefined
      for (const test of chosen) {
        if (noticer) break
        if (await tests.notices(test, idsOf(reach.get(test)!, mutant), mutant)) noticer = test
      }
      if (noticer) noticedBy.set(mutant.file, [...new Set([noticer, ...(noticedBy.get(mutant.file) ?? [])])])
      else survivors.push(mutant)
      const unnoticed = `SURVIVED ${chosen.length} of the ${reaching.length} test files that reach it`
      const verdict = noticer ? `noticed by ${nameOf(noticer)}` : unnoticed
      console.log(`${at + 1}/${mutants.length} ${verdict}  ${toLine(mutant)}`)
    }
    const unexplained = survivors.filter((mutant) => !isAllowed(mutant))
    console.log(
      `\n${mutants.length} left out, ${survivors.length} unnoticed, ${unexplained.length} without a reason`,
    )
    for (const mutant of unexplained) console.log(toLine(mutant))
    process.exitCode = unexplained.length > 0 ? 1 : 0
  } finally {
    await tests.close()
  }
})
