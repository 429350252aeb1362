import type { Context } from 'hono'
import { AppError } from '../http/problem.ts'
import { problemText } from '../pages/failing.tsx'
import { noteProblem } from '../pages/respond.ts'
import type { View } from '../pages/view.ts'
import { ROLES } from '../users/models.ts'

/** The result of `work`, or the problem that it threw. */
export function tried<T>(work: () => T): { value: T; problem?: undefined } | { problem: AppError } {
  try {
    return { value: work() }
  } catch (problem) {
    if (!(problem instanceof AppError) || problem.status >= 500) throw problem
    return { problem }
  }
}

/** The filter of a list as typed; or `usual` and the errors, by field. */
export function readFilter<T>(
  c: Context,
  read: () => T,
  usual: () => T,
): { value: T; errors?: Record<string, string> } {
  const { problem, ...given } = tried(read) as { value: T; problem?: AppError }
  if (!problem) return given
  if (!problem.errors) throw problem
  noteProblem(c, problem)
  return {
    value: usual(),
    errors: Object.fromEntries(problem.errors.map(({ pointer, detail }) => [pointer.slice(1), detail])),
  }
}

/** A sentence that says what was wrong: that of the first field, if there are several. */
export const sentenceOf = (view: View, problem: AppError) => {
  const [first] = problem.errors ?? []
  return problemText(view, first ? { code: first.code, message: first.detail } : problem)
}

/**
 * Reads what was pasted to invite people: one line per address, perhaps with a name and a role, as pasted
 * from a spreadsheet (commas, semicolons or tabs); or addresses alone with anything between them. Only the
 * first `most`.
 */
export function readInvitations(
  text: string,
  role: string,
  most: number,
): { email: string; name?: string; role: string }[] {
  return text
    .split(/\r?\n/)
    .filter((line) => line.trim() !== '')
    .slice(0, most)
    .flatMap((line) => {
      const addresses = line.split(/[\s,;]+/).filter((word) => word.includes('@'))
      if (addresses.length > 1) return addresses.map((email) => ({ email, role }))
      const fields = fieldsOf(line)
      const bracketed = inBrackets(line.trim())
      if (bracketed) return [{ ...bracketed, role }]
      const email = fields.find((field) => field.includes('@')) ?? fields[0] ?? ''
      const given = fields.find((field) => (ROLES as readonly string[]).includes(field.toLowerCase()))
      const name = fields.find((field) => field !== email && field !== given && field !== '')
      return [{ email, ...(name && { name }), role: given?.toLowerCase() ?? role }]
    })
    .slice(0, most)
}

/**
 * `Ada <ada@example.com>`. Looks for the last bracket first: trying every position in a long line would take
 * forever.
 */
function inBrackets(line: string): { email: string; name?: string } | undefined {
  const at = line.lastIndexOf('<')
  if (at < 0 || !line.endsWith('>')) return undefined
  const email = line.slice(at + 1, -1)
  const name = line.slice(0, at).trim()
  if (!/^[^<>\s@]+@[^<>\s@]+$/.test(email)) return undefined
  return { email, ...(name && { name }) }
}

/** The fields of a CSV line, without their quotes. */
const fieldsOf = (line: string) =>
  (line.match(/"(?:[^"]|"")*"|[^,;\t]+/g) ?? []).map((field) =>
    field
      .trim()
      .replace(/^"(.*)"$/s, (_, inner: string) => inner.replaceAll('""', '"'))
      .trim(),
  )
