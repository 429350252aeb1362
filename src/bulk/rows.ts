import type { Context } from 'hono'

/** How the rows of a list are written as a file. */
export const FORMATS = { csv: 'text/csv; charset=utf-8', ndjson: 'application/x-ndjson' } as const
export type Format = keyof typeof FORMATS

type Row = Record<string, unknown>

/** Rows as text: CSV (RFC 4180) with a line of names, or a JSON object a line. `columns` are those of the CSV. */
export async function* writeRows(
  pages: AsyncGenerator<Row[]>,
  format: Format,
  columns: readonly string[],
): AsyncGenerator<string> {
  if (format === 'csv') yield lineOf(columns)
  for await (const page of pages) {
    const lines = page.map((row) =>
      format === 'csv' ? lineOf(columns.map((name) => row[name])) : `${JSON.stringify(row)}\n`,
    )
    if (lines.length > 0) yield lines.join('')
  }
}

const lineOf = (values: readonly unknown[]) => `${values.map(cellOf).join(',')}\r\n`

/**
 * A spreadsheet takes a cell that begins with one of `= + - @` for a formula and would run it: an apostrophe makes it
 * text. Users choose their own names.
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

/** Answers with a list as a file. */
export const file = (c: Context, name: string, format: Format, rows: ReadableStream) =>
  c.body(rows, 200, {
    'content-type': FORMATS[format],
    'content-disposition': `attachment; filename="roster-${name}.${format}"`,
  })
