import type { Context } from 'hono'

/** The formats in which a list is written as a file. */
export const FORMATS = { csv: 'text/csv; charset=utf-8', ndjson: 'application/x-ndjson' } as const
export type Format = keyof typeof FORMATS

type Row = Record<string, unknown>

/**
 * Rows as text: CSV (RFC 4180) with a header, or a JSON object a line. `columns` are those of the CSV. With
 * `end`, a last line gives the number of rows: a file that has it is complete.
 */
export async function* writeRows(
  pages: AsyncGenerator<Row[]>,
  { format, end = false }: { format: Format; end?: boolean },
  columns: readonly string[],
): AsyncGenerator<string> {
  let rows = 0
  if (format === 'csv') yield lineOf(columns)
  for await (const page of pages) {
    rows += page.length
    const lines = page.map((row) =>
      format === 'csv' ? lineOf(columns.map((name) => row[name])) : `${JSON.stringify(row)}\n`,
    )
    if (lines.length > 0) yield lines.join('')
  }
  if (!end) return
  yield format === 'csv'
    ? lineOf(['end', rows, ...columns.slice(2).map(() => null)])
    : `${JSON.stringify({ end: true, rows })}\n`
}

const lineOf = (values: readonly unknown[]) => `${values.map(cellOf).join(',')}\r\n`

/**
 * A spreadsheet runs a cell that begins with one of `= + - @` as a formula; an apostrophe makes it text.
 * Users choose their own names, so they could inject one.
 */
function cellOf(value: unknown): string {
  const text =
    value === null || value === undefined
      ? ''
      : typeof value === 'object'
        ? JSON.stringify(value)
        : String(value)
  const harmless = /^[=+\-@\t\r\n]/.test(text) ? `'${text}` : text
  return /[",\r\n]/.test(harmless) ? `"${harmless.replaceAll('"', '""')}"` : harmless
}

/** Sends a list as a file. */
export const file = (c: Context, name: string, format: Format, rows: ReadableStream) =>
  c.body(rows, 200, {
    'content-type': FORMATS[format],
    'content-disposition': `attachment; filename="roster-${name}.${format}"`,
  })
