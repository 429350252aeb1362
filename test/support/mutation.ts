import { join, resolve } from 'node:path'
import type { Plugin } from 'vitest/config'
import type {} from 'vitest/node'
import type { Mutant } from '../../scripts/mutants.ts'

const ROOT = resolve(import.meta.dirname, '../..')
const IMPORT = "import { sql as sql__ } from 'drizzle-orm'\n"

/** Whether this run belongs to `npm run test:mutations`. */
export const isMutating = process.env.MUTANT !== undefined

/** What is left out of the source now. It changes from run to run within one process: see scripts/mutations.ts. */
const current = (): Mutant | undefined => (process.env.MUTANT ? JSON.parse(process.env.MUTANT) : undefined)

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
      defineCacheKeyGenerator(({ id }) => (mutantIn(id) ? false : undefined))
    },
    transform(code, id) {
      const mutant = mutantIn(id)
      if (!mutant) return undefined
      const { start, end, replacement } = mutant
      const mutated = code.slice(0, start) + replacement.replace('sql`', 'sql__`') + code.slice(end)
      return { code: replacement.startsWith('sql`') ? IMPORT + mutated : mutated, map: null }
    },
  }
}
