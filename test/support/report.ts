import { createHash } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join, relative, resolve } from 'node:path'
import type { Reporter, TestCase, TestModule, Vitest } from 'vitest/node'

/** The results of each test from the last full run of its file: `scripts/checks.ts` takes its proofs from them. */
export type Report = Record<
  string,
  { digest: string; seconds: number; tests: { names: string[]; state: string }[] }
>

const ROOT = resolve(import.meta.dirname, '../..')
const FILE = join(ROOT, 'test-report.json')

/** Reports progress and the estimated remaining time while tests run, and keeps their results. */
export default class ReportWriter implements Reporter {
  #vitest!: Vitest
  #before: Report = {}
  #files: string[] = []
  #done: string[] = []
  #startedAt = 0

  onInit(vitest: Vitest) {
    this.#vitest = vitest
  }

  onTestRunStart(specifications: readonly { moduleId: string }[]) {
    this.#before = existsSync(FILE) ? JSON.parse(readFileSync(FILE, 'utf8')) : {}
    this.#files = specifications.map(({ moduleId }) => nameOf(moduleId))
    this.#done = []
    this.#startedAt = Date.now()
  }

  onTestModuleEnd({ moduleId }: TestModule) {
    this.#done.push(nameOf(moduleId))
    if (this.#done.length % 5 === 0) console.log(this.#howFar())
  }

  #howFar(): string {
    // Files run in parallel, so the estimate compares the clock with what each file took last time.
    const lastTook = (files: string[]) =>
      files.reduce((sum, file) => sum + (this.#before[file]?.seconds ?? 0), 0)
    const seconds = (Date.now() - this.#startedAt) / 1000
    const left = this.#files.filter((file) => !this.#done.includes(file))
    const rest = (seconds * lastTook(left)) / lastTook(this.#done)
    const estimate = Number.isFinite(rest) && rest > 0 ? `, about ${Math.ceil(rest)} s to go` : ''
    return ` … ${this.#done.length} of ${this.#files.length} files in ${Math.round(seconds)} s${estimate}`
  }

  onTestRunEnd(modules: readonly TestModule[], errors: readonly unknown[]) {
    console.log(totalsOf(modules, errors.length))
    // A narrowed run, or one without Redis, says nothing about the tests it left out.
    if (this.#vitest.config.testNamePattern || process.env.REDIS) return
    const now = modules.map((module) => [nameOf(module.moduleId), resultOf(module)] as const)
    writeFileSync(FILE, JSON.stringify({ ...this.#before, ...Object.fromEntries(now) }))
  }
}

/** One plain line for machines. An error outside of any test, in a file or around it, counts as a failure too. */
function totalsOf(modules: readonly TestModule[], errors: number): string {
  const states = modules.map((module) => resultOf(module).tests.map(({ state }) => state))
  const count = (state: string) => states.flat().filter((is) => is === state).length
  const [passed, skipped] = [count('passed'), count('skipped')]
  const outside = modules.filter(
    (module, at) => module.state() === 'failed' && !states[at]!.includes('failed'),
  )
  const failed = states.flat().length - passed - skipped + outside.length + errors
  return `\nTests: ${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`
}

const nameOf = (moduleId: string) => relative(ROOT, moduleId)

const resultOf = (module: TestModule) => ({
  digest: createHash('sha256').update(readFileSync(module.moduleId)).digest('hex'),
  seconds: Math.round(module.diagnostic().duration / 1000),
  tests: [...module.children.allTests()].map((test) => ({
    names: namesOf(test),
    state: test.result().state,
  })),
})

/** The title of a test, and those of the suites it is in. */
function namesOf(test: TestCase): string[] {
  const names = [test.name]
  for (let { parent } = test; parent.type === 'suite'; { parent } = parent) names.push(parent.name)
  return names
}
