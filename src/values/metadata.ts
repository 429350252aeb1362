import * as z from 'zod'
import { lazy } from './lazy.ts'

/** Of each of a user's two objects, as JSON in UTF-8. */
const MAX_METADATA_BYTES = 4096
export const AnyMetadata = lazy(() => z.record(z.string(), z.unknown()))
/** Half a character, as `JSON.stringify` escapes it. It writes nothing else like this. */
const HALF_A_CHARACTER = /(?<!\\)(?:\\\\)*\\ud[89a-f]/

interface Flaw {
  path: string[]
  code: string
  message: string
}

/**
 * Finds, at any depth, what would be stored as something else: `1e400` is parsed as infinity, which is written as
 * null, and zod drops `__proto__`.
 */
function findUnstorable(value: unknown): Flaw | undefined {
  if (typeof value === 'number' && !Number.isFinite(value))
    return { path: [], code: 'too_big', message: 'Is too large a number.' }
  if (typeof value !== 'object' || value === null) return undefined
  for (const [name, part] of Object.entries(value)) {
    if (name === '__proto__')
      return { path: [name], code: 'reserved_name', message: 'Has a name that JavaScript reserves.' }
    const flaw = findUnstorable(part)
    if (flaw) return { ...flaw, path: [name, ...flaw.path] }
  }
  return undefined
}

/** An object as a caller may send it, and as it is stored: JSON, or null if it is empty. */
export const MetadataInput = lazy(() =>
  z
    .preprocess((value, context) => {
      const flaw = findUnstorable(value)
      if (flaw) context.addIssue({ ...flaw, code: 'custom', params: { code: flaw.code } })
      return value
    }, AnyMetadata())
    .transform((value) => JSON.stringify(value))
    .refine((json) => new TextEncoder().encode(json).byteLength <= MAX_METADATA_BYTES, {
      message: `Is over ${MAX_METADATA_BYTES} bytes of JSON.`,
      params: { code: 'too_big' },
    })
    .refine((json) => !HALF_A_CHARACTER.test(json), {
      message: 'Has a lone surrogate.',
      params: { code: 'half_a_character' },
    })
    .transform((json) => (json === '{}' ? null : json))
    .meta({
      description: 'What is given replaces the whole object.',
      example: { plan: 'team' },
    }),
)

export const toMetadata = (json: string | null) =>
  json === null ? {} : (JSON.parse(json) as Record<string, unknown>)
