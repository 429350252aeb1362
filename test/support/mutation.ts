import { relative, resolve } from 'node:path'
import type { Plugin } from 'vitest/config'
import type {} from 'vitest/node'
import { findMutants, withSwitches } from '../../scripts/mutants.ts'

const ROOT = resolve(import.meta.dirname, '../..')

/** Whether this run belongs to `npm run test:mutations`. */
export const isMutating = process.env.MUTATIONS === '1'

const toSwitched = (code: string, file: string) => `import { sql as sql__ } from 'drizzle-orm'
${withSwitches(code, findMutants(file, code))}
function leftOut__(index) { return globalThis.isLeftOut__?.(${JSON.stringify(file)} + ' ' + index) ?? false }`

/** Puts a switch wherever something can be left out, when a file is read: what it is, left-out.ts decides. */
export function mutation(): Plugin {
  const fileOf = (id: string) => relative(ROOT, id.split('?')[0]!)
  const isSource = (file: string) => /^src\/.*\.tsx?$/.test(file)
  return {
    name: 'roster-mutation',
    enforce: 'pre',
    configureVitest({ defineCacheKeyGenerator }) {
      // Vitest's cache holds the files as they are.
      defineCacheKeyGenerator(({ id }) => (isSource(fileOf(id)) ? false : undefined))
    },
    transform(code, id) {
      const file = fileOf(id)
      return isSource(file) ? { code: toSwitched(code, file), map: null } : undefined
    },
  }
}
