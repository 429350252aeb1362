import { join, relative, resolve } from 'node:path'
import type { Plugin } from 'vitest/config'
import type {} from 'vitest/node'
import { findMutants, type Mutant, markReached } from '../../scripts/mutants.ts'

const ROOT = resolve(import.meta.dirname, '../..')
const IMPORT = "import { sql as sql__ } from 'drizzle-orm'\n"

/** Whether this run belongs to `npm run test:mutations`. */
export const isMutating = process.env.MUTANT !== undefined

/** Instead of a mutant: nothing is left out, and each test file tells which mutants it reached (reached.ts). */
export const REACH = 'reach'

/** What is left out of the source now. It changes from run to run within one process: see scripts/mutations.ts. */
const current = (): Mutant | undefined =>
  process.env.MUTANT && process.env.MUTANT !== REACH ? JSON.parse(process.env.MUTANT) : undefined

const toMarked = (code: string, file: string) => `${markReached(code, findMutants(file, code))}
function reached__(index) { (globalThis.reached__ ??= new Set()).add(${JSON.stringify(file)} + ' ' + index) }`

/** Leaves it out when the file is read, so no file is changed. Vitest's cache is not used for that file. */
export function mutation(): Plugin {
  const mutantIn = (id: string) => {
    const mutant = current()
    return mutant && id.split('?')[0] === join(ROOT, mutant.file) ? mutant : undefined
  }
  return {
    name: 'roster-mutation',
    enforce: 'pre',
    configureVitest({ defineCacheKeyGenerator }) {
      defineCacheKeyGenerator(({ id }) => (process.env.MUTANT === REACH || mutantIn(id) ? false : undefined))
    },
    transform(code, id) {
      const file = relative(ROOT, id.split('?')[0]!)
      if (process.env.MUTANT === REACH && /^src\/.*\.tsx?$/.test(file))
        return { code: toMarked(code, file), map: null }
      const mutant = mutantIn(id)
      if (!mutant) return undefined
      const { start, end, replacement } = mutant
      const mutated = code.slice(0, start) + replacement.replace('sql`', 'sql__`') + code.slice(end)
      return { code: replacement.startsWith('sql`') ? IMPORT + mutated : mutated, map: null }
    },
  }
}
