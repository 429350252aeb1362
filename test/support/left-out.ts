import { afterAll, afterEach, beforeAll, beforeEach, inject } from 'vitest'
import { Asked, type Verdict } from './asked.ts'

/**
 * What `npm run test:mutations` may leave out and a test file has reached, by their place in `names`: `src/a.ts 3`, and
 * `src/a.ts 3!` if leaving it out would have changed something.
 */
export interface Reached {
  names: string[]
  /** By the id of a test. */
  tests: Record<string, number[]>
  /** How long each test took. */
  seconds?: Record<string, number>
}

/** What a run of the tests is to leave out. */
export interface Plan {
  /** By the id of a test: what it is to notice, one after another. */
  tests?: Record<string, string[]>
  /** From the beginning to the end: what is evaluated once, and kept. */
  always?: string
}

declare module 'vitest' {
  interface TaskMeta {
    reached?: Reached
    verdicts?: Record<string, Verdict>
  }
  interface ProvidedContext {
    plan: Plan
  }
}
declare global {
  /** Asked by every place in `src` where something can be left out: see mutation.ts. */
  var mutants__:
    | {
        isLeftOut(name: string): boolean
        /** Leaving it out would change something. */
        matters(name: string): void
        /** A value, and what it would be. */
        compare(name: string, value: unknown, mutated: () => unknown): void
      }
    | undefined
}

const plan = inject('plan')
const places = new Map<string, number>()
const reachedNow = new Set<number>()
let leftOut = plan.always

function reach(name: string): void {
  const place = places.get(name) ?? places.size
  places.set(name, place)
  reachedNow.add(place)
}

const isSame = (one: unknown, other: unknown) =>
  Object.is(one, other) ||
  (!one && !other) ||
  (one === true && Boolean(other)) ||
  (Boolean(one) && other === true)

globalThis.mutants__ = {
  isLeftOut(name) {
    reach(name)
    return name === leftOut
  },
  matters: (name) => reach(`${name}!`),
  compare(name, value, mutated) {
    // Once a test is to notice something, it is known what would change.
    if (plan.tests || plan.always) return
    try {
      if (isSame(value, mutated())) return
    } catch {}
    reach(`${name}!`)
  },
}

/** A test or a suite: Vitest lets a hook write what its types call read-only. */
type Task = { id: string; repeats?: number; concurrent?: boolean; tasks?: Task[] }

/** For each that a test is to notice, it runs up to three times: see `Verdict`. */
function repeat(task: Task): void {
  const names = plan.tests?.[task.id]
  if (names) task.repeats = 3 * names.length
  // What is left out, and what was reached, is one test's at a time.
  task.concurrent = false
  task.tasks?.forEach(repeat)
}

const asked = new Map<string, Asked>()
const tests: Reached['tests'] = {}

// biome-ignore lint/correctness/noEmptyPattern: Vitest asks for a pattern.
beforeAll(({}, suite) => repeat(suite as Task))

beforeEach(({ task, skip }) => {
  // What was reached while the file was read, or between its tests, is no test's.
  reachedNow.clear()
  const names = plan.tests?.[task.id]
  if (!names) return
  const run = asked.get(task.id)
  if (run) run.tell(task.result?.attempts?.at(-1)?.state === 'pass')
  else asked.set(task.id, new Asked(names))
  const { name, verdicts } = asked.get(task.id)!
  task.meta.verdicts = verdicts
  if (name === undefined) skip()
  leftOut = name ?? undefined
})
afterEach(({ task }) => {
  leftOut = plan.always
  tests[task.id] = [...reachedNow]
})
// biome-ignore lint/correctness/noEmptyPattern: Vitest asks for a pattern.
afterAll(({}, { meta }) => {
  meta.reached = { names: [...places.keys()], tests }
})
