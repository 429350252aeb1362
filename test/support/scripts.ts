import { join } from 'node:path'

/** What Node takes before a script that a test starts, so that the start is quick: see quick-start.mjs. */
export const QUICKLY = ['--import', join(import.meta.dirname, 'quick-start.mjs')]

/** Where Node keeps what it has made of each file for the next start: a script imports half the project. */
export const KEPT = {
  NODE_COMPILE_CACHE: join(import.meta.dirname, '../../node_modules/.cache/test-scripts'),
}
