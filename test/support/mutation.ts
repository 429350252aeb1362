import { join, resolve } from 'node:path'
import type { Plugin } from 'vitest/config'
import type {} from 'vitest/node'
import type { Mutant } from '../../scripts/mutants.ts'

const ROOT = resolve(import.meta.dirname, '../..')
const IMPORT = "import { sql as sql__ } from 'drizzle-orm'\n"

/** What `npm run test:mutations` leaves out of the source in this run; undefined in other runs. */
export const mutant: Mutant | undefined = process.env.MUTANT && JSON.parse(process.env.MUTANT)

/** Leaves it out when the file is read, so no file is changed. Vitest's cache is not used for that file. */
export function mutation({ file, start, end, replacement }: Mutant): Plugin {
  const isMutated = (id: string) => id.split('?')[0] === join(ROOT, file)
  return {
    name: 'roster-mutation',
    enforce: 'pre',
    configureVitest({ defineCacheKeyGenerator }) {
      defineCacheKeyGenerator(({ id }) => (isMutated(id) ? false : undefined))
    },
    transform(code, id) {
      if (!isMutated(id)) return undefined
      const mutated = code.slice(0, start) + replacement.replace('sql`', 'sql__`') + code.slice(end)
      return { code: replacement.startsWith('sql`') ? IMPORT + mutated : mutated, map: null }
    },
  }
}
