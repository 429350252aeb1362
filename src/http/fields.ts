import { type InputError, invalidInput } from './problem.ts'

export const notUtf8 = (pointer = ''): InputError => ({
  pointer,
  code: 'invalid_encoding',
  detail: 'Is not percent-encoded UTF-8.',
})

/** For a file, where nothing is percent-encoded. */
export const fileNotUtf8 = (): InputError => ({ ...notUtf8(), detail: 'Is not UTF-8.' })

/**
 * The fields of a form or a query string, each at most once. Stricter than URLSearchParams, which turns all
 * invalid UTF-8 into the same character: two different passwords must not match.
 *
 * @throws 422 `invalid_input`.
 */
export function readFields(text: string): Record<string, string> {
  // Without a prototype, `__proto__` is an ordinary member, and is refused as unknown.
  const fields: Record<string, string> = Object.create(null)
  const errors: InputError[] = []
  for (const field of text.split('&')) {
    if (field === '') continue
    const equals = field.indexOf('=')
    const name = decode(equals < 0 ? field : field.slice(0, equals))
    const value = decode(equals < 0 ? '' : field.slice(equals + 1))
    if (name === undefined) errors.push(notUtf8())
    else if (value === undefined) errors.push(notUtf8(pointerTo([name])))
    else if (name in fields)
      errors.push({ pointer: pointerTo([name]), code: 'repeated', detail: 'Is given twice.' })
    else fields[name] = value
  }
  if (errors.length > 0) throw invalidInput(errors)
  return fields
}

/**
 * The fields of a form that may include files, each at most once. A file is read as its text (RFC 7578).
 *
 * @throws 422 `invalid_input`.
 */
export async function readParts(body: string, contentType: string): Promise<Record<string, string>> {
  const form = await new Response(body, { headers: { 'content-type': contentType } }).formData().catch(() => {
    throw invalidInput([{ pointer: '', code: 'invalid_form', detail: 'Is not a form.' }])
  })
  const fields: Record<string, string> = Object.create(null)
  for (const [name, value] of form) {
    if (name in fields)
      throw invalidInput([{ pointer: pointerTo([name]), code: 'repeated', detail: 'Is given twice.' }])
    fields[name] = typeof value === 'string' ? value : await value.text()
  }
  return fields
}

function decode(part: string): string | undefined {
  try {
    return decodeURIComponent(part.replaceAll('+', ' '))
  } catch {
    return undefined
  }
}

/** RFC 6901. */
export const pointerTo = (path: readonly PropertyKey[]) =>
  path.map((part) => `/${String(part).replaceAll('~', '~0').replaceAll('/', '~1')}`).join('')
