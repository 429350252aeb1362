import { createHash } from 'node:crypto'
import { existsSync, globSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { createClient } from '@libsql/client/http'
import { createVitest, type TestModule, type TestSpecification, type Vitest } from 'vitest/node'
import type { Verdict } from '../../test/support/asked.ts'
import type { Plan, Reached } from '../../test/support/left-out.ts'
import type { Mutant } from './mutants.ts'

const ROOT = resolve(import.meta.dirname, '../..')

export type Named = Mutant & { name: string }

/** A test that is to notice a mutant. */
export interface Question {
  mutant: Named
  test: TestSpecification
  id: string
}

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

/** Starts the upstreams and Vitest once: a switch in the source tells what is left out (left-out.ts). */
export async function startTests() {
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
      const { reached: told } = module.meta()
      // What fails anyway can notice nothing.
      const failed = [...module.children.allTests('failed')].map(({ id }) => id)
      for (const id of failed) delete told?.tests[id]
      const took = [...module.children.allTests()].map((test) => [test.id, test.diagnostic()?.duration ?? 0])
      const seconds = Object.fromEntries(took.map(([id, ms]) => [id, Number(ms) / 1000]))
      if (told) reached.set(nameOf(module), { ...told, seconds })
      console.log(
        module.ok() ? `read ${nameOf(module)}` : `FAILS with nothing left out: ${nameOf(module)} ${failed}`,
      )
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
      // None for what comes after a test that has failed with everything in place.
      for (const test of module.children.allTests())
        for (const question of byId.get(test.id) ?? [])
          tell(question, test.meta().verdicts?.[question.mutant.name] ?? 'unsure')
    })
  }
  /** Whether one of these tests fails without it from beginning to end, passes with it, and fails again. */
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
    const failing = only(failed.length > 0 ? failed.slice(0, 1) : testIds)
    await run(failing, {}, told)
    if (!isOk) return false
    await run(failing, { always: name }, told)
    return !isOk
  }
  return { specifications, whatTheyReach, ask, notices, close: () => vitest.close() }
}

export type Tests = Awaited<ReturnType<typeof startTests>>

export const nameOf = ({ moduleId }: { moduleId: string }) => relative(ROOT, moduleId)

/** What test files reach, kept until the source or the file changes. */
export async function reachOf({ specifications, whatTheyReach }: Tests) {
  const digestOf = (...patterns: string[]) => {
    const digest = createHash('sha256')
    for (const file of globSync(patterns, { cwd: ROOT }).sort()) digest.update(readFileSync(join(ROOT, file)))
    return digest.digest('hex')
  }
  const source = digestOf('src/**/*.{ts,tsx}', 'test/support/*.ts', 'scripts/mutations/mutants.ts')
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
