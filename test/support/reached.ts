import { afterAll } from 'vitest'

declare module 'vitest' {
  interface TaskMeta {
    /** What `npm run test:mutations` may leave out and the file has reached: a file of the source, and an index. */
    reached?: string[]
  }
}
declare global {
  var reached__: Set<string> | undefined
}

// biome-ignore lint/correctness/noEmptyPattern: Vitest asks for a pattern.
afterAll(({}, file) => {
  file.meta.reached = [...(globalThis.reached__ ?? [])]
})
