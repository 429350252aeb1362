import { afterAll, afterEach, beforeEach } from 'vitest'

/** What `npm run test:mutations` may leave out and a test file has reached: `src/a.ts 3`, by their place in `names`. */
export interface Reached {
  names: string[]
  /** While the file was read and prepared, and between its tests. */
  file: number[]
  /** By the id of a test. */
  tests: Record<string, number[]>
}

declare module 'vitest' {
  interface TaskMeta {
    reached?: Reached
  }
}
declare global {
  var reached__: Set<string> | undefined
}

const places = new Map<string, number>()
const file = new Set<number>()
const tests: Reached['tests'] = {}

/** What was reached since the last call. */
function take(): number[] {
  const names = [...(globalThis.reached__ ?? [])]
  globalThis.reached__?.clear()
  for (const name of names) if (!places.has(name)) places.set(name, places.size)
  return names.map((name) => places.get(name)!)
}

beforeEach(() => {
  for (const place of take()) file.add(place)
})
afterEach(({ task }) => {
  tests[task.id] = take()
})
// biome-ignore lint/correctness/noEmptyPattern: Vitest asks for a pattern.
afterAll(({}, { meta }) => {
  meta.reached = { names: [...places.keys()], file: [...file, ...take()], tests }
})
