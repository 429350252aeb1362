import { createHash } from 'node:crypto'
import { existsSync, globSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { createClient } from '@libsql/client/http'
import { createVitest, type TestModule, type TestSpecification, type Vitest } from 'vitest/node'
import type { Plan, Reached, Verdict } from '../test/support/left-out.ts'
import { readArguments, runCommand } from './command.ts'
import { findMutants, isTellable, type Mutant } from './mutants.ts'

const USAGE = `npm run test:mutations -- --folder src/recovery

Leaves out each guard and each condition of a write, one at a time, runs the tests of test:fast that reach it, and lists
what none of them noticed. What may go unnoticed is listed in scripts/mutations.json, with its reason. First it runs them
all, to learn what each reaches; that is kept until the source or a test changes.

  --folder <path>   a folder or a file below src; may be repeated
  --tests <count>   ask only so many tests about each, those that are most about its file; by default all
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

type Named = Mutant & { name: string }

/** A test that is to notice a mutant. */
interface Question {
  mutant: Named
  test: TestSpecification
  id: string
}

/** Starts the upstreams and Vitest once: a switch in the source tells what is left out (left-out.ts). */
async function startTests() {
  process.env.FAST = '1'
  process.env.MUTATIONS = '1'
  let onModule: (module: TestModule) => void = () => {}
  const vitest: Vitest = await createVitest({
    watch: false,
    reporters: [{ onTestModuleEnd: (module) => onModule(module) }],
  })
  const specifications = await vitest.globTestSpecifications()

  async function run(tests: TestSpecification[], plan: Plan, told: typeof onModule): Promise<void> {
    onModule = told
    vitest.provide('plan', plan)
    await forget(vitest)
    await vitest.runTestSpecifications(tests)
  }
  /** What each of these reaches: `src/a.ts 3` is the fourth mutant of that file. It takes as long as they do. */
  async function whatTheyReach(tests: TestSpecification[]): Promise<Map<string, Reached>> {
    const reached = new Map<string, Reached>()
    await run(tests, {}, (module) => {
      // A file that fails anyway can notice nothing.
      const { reached: told } = module.meta()
      if (module.ok() && told) reached.set(nameOf(module), told)
      console.log(`${module.ok() ? 'read' : 'FAILS with nothing left out:'} ${nameOf(module)}`)
    })
    return reached
  }
  /** Asks each test, in one run for all. */
  async function ask(
    questions: Question[],
    tell: (question: Question, verdict: Verdict) => void,
  ): Promise<void> {
    const byId = Map.groupBy(questions, ({ id }) => id)
    const byFile = Map.groupBy(questions, ({ test }) => test)
    const tests = [...byFile].map(([{ project, moduleId }, its]) =>
      project.createSpecification(moduleId, { testIds: [...new Set(its.map(({ id }) => id))] }),
    )
    const plan = [...byId].map(([id, its]) => [id, its.map(({ mutant }) => mutant.name)] as const)
    await run(tests, { tests: Object.fromEntries(plan) }, (module) => {
      for (const test of module.children.allTests())
        for (const [name, verdict] of Object.entries(test.meta().verdicts ?? {}))
          tell(byId.get(test.id)!.find(({ mutant }) => mutant.name === name)!, verdict)
    })
  }
  /** Whether some of these tests fail without it from beginning to end, each of which passes with it. */
  async function notices(test: TestSpecification, testIds: string[], { name }: Named): Promise<boolean> {
    const only = (ids: string[]) => [test.project.createSpecification(test.moduleId, { testIds: ids })]
    let failed: string[] = []
    let isOk = true
    const told = (module: TestModule) => {
      failed = [...module.children.allTests('failed')].map(({ id }) => id)
      isOk = module.ok()
    }
    await run(only(testIds), { always: name }, told)
    if (isOk) return false
    // Without a test that failed, the file did.
    await run(only(failed.length > 0 ? failed.slice(0, 1) : testIds), {}, told)
    return isOk
  }
  return { specifications, whatTheyReach, ask, notices, close: () => vitest.close() }
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

/** What replaces a condition of a statement: one that is prepared is evaluated once, and used by all tests of a file. */
const IN_STATEMENTS = ['1', 'sql`1`', 'undefined']

/** How `names` calls it where leaving it out may change something. */
const nameIn = (mutant: Named) => (isTellable(mutant) ? `${mutant.name}!` : mutant.name)

/** The tests of a file that could notice a mutant: none, if it is evaluated once and kept. */
function idsOf({ names, tests }: Reached, mutant: Named): string[] {
  const { replacement } = mutant
  const place = names.indexOf(nameIn(mutant))
  const ids = Object.keys(tests).filter((id) => tests[id]!.includes(place))
  return ids.length === 1 && IN_STATEMENTS.includes(replacement) ? [] : ids
}

/** How many tests are asked about each mutant that nobody has noticed, from round to round. */
const ROUNDS = [3, 6, 12, 24, 48, 96]
/** How many test files are asked about what is evaluated once and kept, and about what tests were not sure of. */
const FILES_ALONE = 8

/** Finds out who notices what. */
async function findNoticers(
  tests: Awaited<ReturnType<typeof startTests>>,
  reach: Map<TestSpecification, Reached>,
  mutants: Named[],
  atMost: number,
): Promise<Set<Named>> {
  const noticed = new Set<Named>()
  /** By test: for how many mutants of each file it was not in vain. */
  const worth = new Map<string, Map<string, number>>()
  const unfit = new Set<string>()
  const tell = (mutant: Named, by: string) => {
    if (noticed.has(mutant)) return
    noticed.add(mutant)
    console.log(`noticed by ${by}  ${toLine(mutant)}`)
  }
  /** How much of what a test reaches is in a file, by test. */
  const shares = new Map<string, Map<string, number>>()
  for (const { names, tests: reached } of reach.values())
    for (const [id, places] of Object.entries(reached)) {
      const byFile = new Map<string, number>()
      for (const place of places) {
        const [file] = names[place]!.split(' ') as [string]
        byFile.set(file, (byFile.get(file) ?? 0) + 1 / Math.sqrt(places.length))
      }
      shares.set(id, byFile)
    }
  const questionsOf = new Map(
    mutants.map((mutant) => [
      mutant,
      [...reach].flatMap(([test, reached]) => idsOf(reached, mutant).map((id) => ({ mutant, test, id }))),
    ]),
  )
  const asked = new Map<Named, Set<string>>(mutants.map((mutant) => [mutant, new Set()]))
  const unsure: Question[] = []
  for (const count of ROUNDS) {
    const waiting = new Map<string, number>()
    const questions = mutants
      .filter((mutant) => !noticed.has(mutant))
      .flatMap((mutant) => {
        const score = ({ id }: Question) =>
          ((shares.get(id)?.get(mutant.file) ?? 0) * (1 + (worth.get(id)?.get(mutant.file) ?? 0))) /
          (8 + (waiting.get(id) ?? 0))
        const before = asked.get(mutant)!
        const chosen = questionsOf
          .get(mutant)!
          .filter(({ id }) => !before.has(id) && !unfit.has(id))
          .map((question) => ({ question, score: score(question) }))
          .sort((a, b) => b.score - a.score)
          .slice(0, Math.min(count, atMost - before.size))
          .map(({ question }) => question)
        for (const { id } of chosen) {
          before.add(id)
          waiting.set(id, (waiting.get(id) ?? 0) + 1)
        }
        return chosen
      })
    if (questions.length === 0) break
    console.log(`${new Date().toISOString()} ${questions.length} questions`)
    await tests.ask(questions, (question, verdict) => {
      const { mutant, test, id } = question
      if (verdict === 'unsure') {
        unfit.add(id)
        unsure.push(question)
      }
      if (verdict !== 'noticed') return
      const its = worth.get(id) ?? new Map<string, number>()
      worth.set(id, its.set(mutant.file, (its.get(mutant.file) ?? 0) + 1))
      tell(mutant, nameOf(test))
    })
  }
  for (const mutant of mutants) {
    const alone = new Map<TestSpecification, string[]>()
    for (const { mutant: its, test, id } of unsure)
      if (its === mutant) alone.set(test, [...(alone.get(test) ?? []), id])
    for (const [test, reached] of reach)
      if (reached.names.includes(nameIn(mutant)) && idsOf(reached, mutant).length === 0)
        alone.set(test, Object.keys(reached.tests))
    const shareOf = ([test]: [TestSpecification, string[]]) =>
      reach.get(test)!.names.filter((name) => name.startsWith(`${mutant.file} `)).length
    const files = [...alone].sort((a, b) => shareOf(b) - shareOf(a)).slice(0, FILES_ALONE)
    for (const [test, ids] of files)
      if (!noticed.has(mutant) && (await tests.notices(test, ids, mutant))) tell(mutant, nameOf(test))
    if (!noticed.has(mutant))
      console.log(
        `SURVIVED ${asked.get(mutant)!.size} of ${questionsOf.get(mutant)!.length} tests, ${files.length} of ${alone.size} files  ${toLine(mutant)}`,
      )
  }
  return noticed
}

runCommand(async () => {
  const options = {
    folder: { type: 'string', multiple: true },
    tests: { type: 'string' },
  } as const
  const { values, isDryRun } = readArguments({ usage: USAGE, options })
  const folders = (values.folder ?? ['src']).map((folder) => folder.replace(/\/$/, ''))
  const atMost = Number(values.tests ?? Number.POSITIVE_INFINITY)
  if (!(atMost >= 1)) throw new Error('--tests takes a number of at least 1.')
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
    const noticed = await findNoticers(tests, await reachOf(tests), mutants, atMost)
    const survivors = mutants.filter((mutant) => !noticed.has(mutant))
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
