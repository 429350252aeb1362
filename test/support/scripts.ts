import { join } from 'node:path'

/** Node's arguments for scripts that a test starts, to make the start quick: see quick-start.mjs. */
export const QUICKLY = ['--import', join(import.meta.dirname, 'quick-start.mjs')]

/** Keeps Node's compile cache for the next start: a script imports half the project. */
export const KEPT = {
  NODE_COMPILE_CACHE: join(import.meta.dirname, '../../node_modules/.cache/test-scripts'),
}
