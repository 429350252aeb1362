import { relative, resolve } from 'node:path'
import type { Plugin } from 'vitest/config'
import type {} from 'vitest/node'
import { findMutants, withSwitches } from '../../scripts/mutations/mutants.ts'

const ROOT = resolve(import.meta.dirname, '../..')

/** Whether this run belongs to `npm run test:mutations`. */
export const isMutating = process.env.MUTATIONS === '1'

const toSwitched = (code: string, file: string) => `import { sql as sql__ } from 'drizzle-orm'
${withSwitches(code, findMutants(file, code))}
function name__(index) { return ${JSON.stringify(file)} + ' ' + index }
function leftOut__(index) { return globalThis.mutants__?.isLeftOut(name__(index)) ?? false }
function matters__(index, value, when) {
  if (Boolean(value) === when) globalThis.mutants__?.matters(name__(index))
  return value
}
function differs__(index, value, mutated) {
  globalThis.mutants__?.compare(name__(index), value, mutated)
  return value
}
function guards__(index, guard) {
  return Object.assign((c, next) => leftOut__(index) ? next() : guard(c, next), guard)
}`

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
