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

afterAll((_context, file) => {
  file.meta.reached = [...(globalThis.reached__ ?? [])]
})
