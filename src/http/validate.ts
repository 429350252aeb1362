import type * as z from 'zod'
import { pointerTo } from './fields.ts'
import { type InputError, invalidInput } from './problem.ts'

/** The parsed input, or what is wrong with it. */
export function check<S extends z.ZodType>(
  schema: S,
  input: unknown,
): { data: z.output<S>; errors?: undefined } | { data?: undefined; errors: InputError[] } {
  const result = schema.safeParse(input, { error: sentenceFor })
  return result.success ? { data: result.data } : { errors: result.error.issues.flatMap(toInputErrors) }
}

/** The parsed input. Throws 422 `invalid_input`. */
export function validate<S extends z.ZodType>(schema: S, input: unknown): z.output<S> {
  const { data, errors } = check(schema, input)
  if (errors) throw invalidInput(errors)
  return data as z.output<S>
}

function toInputErrors(issue: z.core.$ZodIssue): InputError[] {
  const pointer = pointerTo(issue.path)
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => ({
      pointer: pointer + pointerTo([key]),
      code: 'unknown_member',
      detail: 'Is not known here.',
    }))
  }
  if (issue.code === 'invalid_union') {
    // Of several alternatives, the one with the fewest errors is what was meant.
    const [closest = []] = issue.errors.toSorted((one, other) => one.length - other.length)
    const whole = closest.map((part) => ({ ...part, path: [...issue.path, ...part.path] }))
    if (whole.length > 0) return whole.flatMap(toInputErrors)
  }
  const code =
    issue.code === 'custom' ? ((issue.params?.code as string | undefined) ?? 'invalid') : issue.code
  return [{ pointer, code, detail: issue.message }]
}

const TYPES: Record<string, string> = {
  array: 'a list',
  boolean: 'true or false',
  int: 'a whole number',
  null: 'null',
  number: 'a number',
  object: 'an object',
  record: 'an object',
  string: 'a string',
}

const FORMATS: Record<string, string> = {
  datetime: 'Is not a time such as 2026-11-24T09:30:00Z.',
  url: 'Is not a URL.',
  uuid: 'Is not an id.',
}

/** Our own sentence for an error, where the schema has none. */
function sentenceFor(issue: z.core.$ZodRawIssue): string {
  switch (issue.code) {
    case 'invalid_type':
      return issue.input === undefined
        ? 'Is missing.'
        : `Has to be ${TYPES[issue.expected] ?? issue.expected}.`
    case 'invalid_value':
      return `Has to be ${issue.values.length > 1 ? 'one of ' : ''}${issue.values.map((value) => JSON.stringify(value)).join(', ')}.`
    case 'too_small':
      return `Has to be at least ${issue.minimum}${unitOf(issue)}.`
    case 'too_big':
      return `Has to be at most ${issue.maximum}${unitOf(issue)}.`
    case 'invalid_format':
      return FORMATS[issue.format] ?? 'Has the wrong format.'
    default:
      return 'Is not right.'
  }
}

const UNITS: Record<string, string> = { array: ' items long', string: ' characters long' }
const unitOf = ({ origin }: { origin: string }) => UNITS[origin] ?? ''
