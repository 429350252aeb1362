import { pointerTo } from '../../http/fields.ts'
import { parseJson } from '../../http/json.ts'
import { type InputError, invalidInput, MAX_ERRORS_NAMED } from '../../http/problem.ts'
import { check } from '../../http/validate.ts'
import { type ReadHash, readForeignHash } from '../../passwords/foreign/reading.ts'
import { parseHash } from '../../passwords/hashing.ts'
import { type CsvRow, flawOfRow, parseCsv } from './csv.ts'
import { ImportedTotp, ImportedUser, MAX_ROWS, type Type } from './schemas.ts'

/**
 * What is done with the hash of a line. `ours` was made by a Roster, perhaps under another deployment's key.
 */
export type Hash = 'ours' | 'verified' | 'needs_reset' | 'none'

const HASH = {
  unknown: 'Is not a hash of a kind known here.',
  too_costly: 'Costs more than any software asks for.',
}

/** A parsed line: a user, or what is wrong with it. */
export type Line = { line: number } & (
  | {
      user: ImportedUser
      seed: Uint8Array | undefined
      hash: Hash
      warnings: InputError[]
      errors?: undefined
    }
  | { errors: InputError[]; user?: undefined }
)

/** The lines of a body. Throws 422 `invalid_input` if it has none, too many, or unknown names. */
export function readLines(type: Type, text: string): Line[] {
  const rows = type === 'text/csv' ? rowsOfCsv(text) : rowsOfNdjson(text)
  if (rows.length === 0) throw invalidInput([flaw('', 'too_small', 'Has no rows.')])
  if (rows.length > MAX_ROWS) throw invalidInput([flaw('', 'too_big', `Has more than ${MAX_ROWS} rows.`)])
  return rows.map(({ line, read }) => {
    const { value, errors } = read()
    return errors ? { line, errors } : readUser(line, value)
  })
}

export const flaw = (pointer: string, code: string, detail: string): InputError => ({ pointer, code, detail })

interface Row {
  line: number
  read(): { value: unknown; errors?: undefined } | { errors: InputError[]; value?: undefined }
}

function rowsOfNdjson(text: string): Row[] {
  return text
    .replace(/^\ufeff/, '')
    .split('\n')
    .map((json, index) => ({ line: index + 1, json: json.trim() }))
    .filter(({ json }) => json !== '')
    .map(({ line, json }) => ({ line, read: () => readJson('', json) }))
}

function readJson(pointer: string, json: string): ReturnType<Row['read']> {
  try {
    return { value: parseJson(json) }
  } catch {
    return { errors: [flaw(pointer, 'invalid_json', 'Is not JSON.')] }
  }
}

/** How each column is parsed; empty cells count as absent. */
const CELLS: Record<string, (pointer: string, cell: string) => ReturnType<Row['read']>> = {
  email_verified: (_, cell) => ({ value: toBoolean(cell) }),
  disabled: (_, cell) => ({ value: toBoolean(cell) }),
  metadata: readJson,
  admin_metadata: readJson,
  factors: readJson,
}
/** As spreadsheets write them, German ones in German. */
const BOOLEANS: Record<string, boolean> = { true: true, false: false, wahr: true, falsch: false }
const toBoolean = (cell: string) => BOOLEANS[cell.toLowerCase()] ?? cell

/** A megabyte can hold a million names; only a few are reported, each once. */
const someOf = (names: readonly string[]) => [...new Set(names)].slice(0, MAX_ERRORS_NAMED)

function rowsOfCsv(text: string): Row[] {
  const [head, ...rows] = parseCsv(text)
  const names = (head?.cells ?? []).map((name) => name.trim())
  const unknown = someOf(names.filter((name) => !Object.hasOwn(ImportedUser().shape, name)))
  if (unknown.length > 0)
    throw invalidInput(unknown.map((name) => flaw(pointerTo([name]), 'unknown_member', 'Is not known here.')))
  const seen = new Set<string>()
  const twice = someOf(names.filter((name) => seen.size === seen.add(name).size))
  if (twice.length > 0)
    throw invalidInput(twice.map((name) => flaw(pointerTo([name]), 'repeated', 'Is given twice.')))
  return rows.map((row) => ({ line: row.line, read: () => readCells(names, row) }))
}

/** Guesses the type of a body that has none. */
export const typeOf = (text: string): Type =>
  /^\ufeff?\s*\{/.test(text) ? 'application/x-ndjson' : 'text/csv'

/** The rows that begin on these lines, verbatim, with the header of a CSV. */
export function rowsAt(type: Type, text: string, wanted: ReadonlySet<number>): string {
  const all = text.split(/\r\n|\r|\n/)
  if (type !== 'text/csv') return all.filter((_, index) => wanted.has(index + 1)).join('\n')
  const [head, ...rows] = parseCsv(text)
  const kept = rows.flatMap(({ line }, index) =>
    wanted.has(line) ? all.slice(line - 1, (rows[index + 1]?.line ?? all.length + 1) - 1) : [],
  )
  const names = all.slice((head?.line ?? 1) - 1, (rows[0]?.line ?? all.length + 1) - 1)
  return kept.length > 0 ? [...names, ...kept].filter((line) => line !== '').join('\n') : ''
}

/** The rows of a CSV as the objects that NDJSON lines would hold. Throws the first error, in a sentence. */
export const readCsv = (text: string): { line: number; value: Record<string, unknown> }[] =>
  rowsOfCsv(text).map(({ line, read }) => {
    const { value, errors } = read()
    if (errors) throw new Error(`Line ${line}: ${errors[0]!.pointer} ${errors[0]!.detail}`)
    return { line, value: value as Record<string, unknown> }
  })

function readCells(names: readonly string[], row: CsvRow): ReturnType<Row['read']> {
  const detail = flawOfRow(row, names)
  if (detail) return { errors: [flaw('', 'invalid_row', detail)] }
  const value: Record<string, unknown> = {}
  for (const [index, cell] of row.cells.entries()) {
    if (cell === '') continue
    const name = names[index]!
    const read = CELLS[name]?.(pointerTo([name]), cell) ?? { value: cell }
    if (read.errors) return read
    value[name] = read.value
  }
  return { value }
}

const readHash = (text: string): ReadHash | { verdict: 'ours' } =>
  parseHash(text) ? { verdict: 'ours' } : readForeignHash(text)

function readUser(line: number, value: unknown): Line {
  const { data, errors } = check(ImportedUser(), value)
  if (errors) return { line, errors: errors.slice(0, MAX_ERRORS_NAMED) }
  const hash = readHash(data.password_hash ?? '')
  if (hash.verdict === 'invalid')
    return { line, errors: [flaw('/password_hash', hash.reason, HASH[hash.reason])] }
  const { totp, ...others } = data.factors ?? {}
  const warnings = someOf(Object.keys(others)).map((name) =>
    flaw(pointerTo(['factors', name]), 'factor_left_out', 'Only an authenticator app is imported.'),
  )
  const isThere = totp !== undefined && totp !== null
  const seed = isThere ? check(ImportedTotp(), totp).data?.secret : undefined
  if (isThere && !seed)
    warnings.push(flaw('/factors/totp', 'factor_left_out', 'Is not a standard authenticator app.'))
  return { line, user: data, seed, hash: hash.verdict, warnings }
}
