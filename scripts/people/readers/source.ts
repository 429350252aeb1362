import { readFileSync } from 'node:fs'
import { flawOfRow, parseCsv } from '../../../src/bulk/import/csv.ts'

/** A user as the import accepts them; undefined members are left out. */
export type Imported = Record<string, unknown>

/** What may be given besides the file of users. */
interface Extras {
  /** A second file: hashes, or the parameters they were made with. */
  with?: string | undefined
  /** In that system, users' own attributes are mixed with those written by others. If set, users may change them here. */
  ownAttributes?: boolean | undefined
}

export type Row = Record<string, unknown>

/** A value from a file, and its place: the line it begins on, or its number in a JSON list, from 1. */
export interface At<Value> {
  line: number
  value: Value
}

/** Turns another system's users into ours, in the order of the file. */
export type Reader = (file: string, extras: Extras) => At<Imported>[]

/** Maps each value, and keeps its place. */
export const each = <From, To>(all: readonly At<From>[], turn: (value: From) => To): At<To>[] =>
  all.map(({ line, value }) => ({ line, value: turn(value) }))

const numbered = (list: readonly Row[]): At<Row>[] => list.map((value, index) => ({ line: index + 1, value }))

/** The text of a file. Throws if it is not UTF-8, as its letters could only be guessed. */
export function load(file: string): string {
  const bytes = readFileSync(file)
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: false }).decode(bytes)
  } catch (cause) {
    throw new Error(`${file} is not in UTF-8. Spreadsheets call it "CSV UTF-8" when they save a file.`, {
      cause,
    })
  }
}

export const readJson = <T>(file: string): T => {
  try {
    return JSON.parse(load(file)) as T
  } catch (cause) {
    throw new Error(`${file} is not JSON: ${(cause as Error).message}`, { cause })
  }
}

/** The list with this name in a JSON file. Throws if there is none, as then it is another kind of file. */
export function listIn(file: string, name: string): At<Row>[] {
  const list = readJson<Record<string, unknown> | null>(file)?.[name]
  if (!Array.isArray(list)) throw new Error(`${file} has no list called ${name}.`)
  return numbered(list)
}

/** The rows of a table: CSV with a header, NDJSON, or a JSON list, with values as databases write them. */
export function readTable(file: string): At<Row>[] {
  const text = load(file)
  if (text.trimStart().startsWith('[')) return numbered(readJson(file))
  if (text.trimStart().startsWith('{')) return readNdjson(file)
  const all = parseCsv(text)
  const [head, ...rows] = all
  const names = head?.cells ?? []
  // A surplus cell means that the cells of that line are in the wrong columns.
  for (const row of all) {
    const detail = flawOfRow(row, names)
    if (detail) throw new Error(`Line ${row.line} of ${file}: ${detail}`)
  }
  return rows.map(({ line, cells }) => ({
    line,
    value: Object.fromEntries(names.map((name, at) => [name, cells[at] || undefined])),
  }))
}

export function readNdjson(file: string): At<Row>[] {
  const lines = load(file).split('\n')
  return lines.flatMap((text, at) => {
    if (text.trim() === '') return []
    try {
      return { line: at + 1, value: JSON.parse(text) as Row }
    } catch (cause) {
      throw new Error(`Line ${at + 1} of ${file} is not JSON.`, { cause })
    }
  })
}

/** Also as databases write it: `t`, `1`, `true`, or a boolean. */
export const isTrue = (value: unknown): boolean => /^(t|true|1|yes)$/i.test(String(value ?? ''))

export const textOf = (value: unknown): string | undefined =>
  value === undefined || value === null || value === '' ? undefined : String(value)

/** A time as databases write it (`2024-05-06 07:08:09.1+00`; UTC without a zone), or as milliseconds. */
export function timeOf(value: unknown): string | undefined {
  const text = textOf(value)
  if (text === undefined) return undefined
  if (/^\d{11,14}$/.test(text)) return new Date(Number(text)).toISOString()
  const written = text
    .trim()
    .replace(' ', 'T')
    .replace(/(T.*[+-]\d\d)$/, '$1:00')
  const zoned = /(Z|[+-]\d\d:?\d\d)$/.test(written) || !written.includes('T') ? written : `${written}Z`
  const time = new Date(zoned)
  // Anything else is left as it is: the report will say so for that line.
  return Number.isNaN(time.getTime()) ? text : time.toISOString()
}

/** Whether a time is still to come. A missing or invalid time counts as never over. */
export const isAhead = (value: unknown): boolean => !(Date.parse(timeOf(value) ?? '') <= Date.now())

/** An object, also as the text of a cell; undefined if it is empty. */
export function objectOf(value: unknown): Row | undefined {
  const object = typeof value === 'string' ? (JSON.parse(value || '{}') as Row) : (value as Row | undefined)
  return object && Object.keys(object).length > 0 ? object : undefined
}

/** Without what is undefined or false; undefined if nothing is left. */
export const compact = (row: Row): Row | undefined =>
  objectOf(
    Object.fromEntries(Object.entries(row).filter(([, value]) => value !== undefined && value !== false)),
  )

export const fullName = (...parts: unknown[]) =>
  textOf(parts.flatMap((part) => textOf(part)?.trim() ?? []).join(' '))
