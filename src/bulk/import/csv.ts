/** A row of a CSV file (RFC 4180), and the line on which it begins, from 1 on. */
export interface CsvRow {
  line: number
  cells: string[]
  /** One of its quotes is never closed, so the row contains the rest of the file. */
  isUnclosed?: boolean
}

/**
 * The rows of a CSV file, without blank lines. A quote inside a cell is taken literally, as spreadsheets do;
 * an unclosed one takes the rest of the file. The separator is determined from the first line: a comma, or
 * the semicolon or tab that spreadsheets write where the comma is the decimal separator.
 */
export function parseCsv(text: string): CsvRow[] {
  const rows: CsvRow[] = []
  let line = 1
  let at = text.startsWith('\ufeff') ? 1 : 0
  const separator = separatorOf(text)
  while (at < text.length) {
    const row: CsvRow = { line, cells: [] }
    let isOver = false
    while (!isOver) {
      const cell = text[at] === '"' ? quotedCell(text, at, separator) : plainCell(text, at, separator)
      row.cells.push(cell.value)
      if (cell.isUnclosed) row.isUnclosed = true
      line += cell.breaks
      at = cell.end
      isOver = text[at] !== separator
      at += 1
    }
    if (text[at - 1] === '\r' && text[at] === '\n') at += 1
    line += 1
    if (row.cells.length > 1 || row.cells[0] !== '') rows.push(row)
  }
  return rows
}

/** Why a row cannot be read, in a sentence. */
export function flawOfRow({ cells, isUnclosed }: CsvRow, names: readonly string[]): string | undefined {
  if (isUnclosed) return 'Has a quote that is never closed.'
  return cells.length > names.length ? 'Has more cells than the first line has names.' : undefined
}

interface Cell {
  value: string
  /** The position of the separator or of the end of the line. */
  end: number
  /** The number of line breaks in it. */
  breaks: number
  isUnclosed?: boolean
}

const ENDS_OF_CELL = { ',': /[,\r\n]/g, ';': /[;\r\n]/g, '\t': /[\t\r\n]/g }
type Separator = keyof typeof ENDS_OF_CELL

/** The first separator in the first line. The cells of that line are names, which contain none. */
const separatorOf = (text: string) =>
  (/^\ufeff?[\r\n]*[^,;\t\r\n]*([;\t])/.exec(text)?.[1] ?? ',') as Separator

function plainCell(text: string, start: number, separator: Separator): Cell {
  const ends = ENDS_OF_CELL[separator]
  ends.lastIndex = start
  const end = ends.exec(text)?.index ?? text.length
  return { value: text.slice(start, end), end, breaks: 0 }
}

function quotedCell(text: string, start: number, separator: Separator): Cell {
  let close = text.indexOf('"', start + 1)
  while (close >= 0 && text[close + 1] === '"') close = text.indexOf('"', close + 2)
  const inside = text.slice(start + 1, close < 0 ? text.length : close)
  const rest = plainCell(text, close < 0 ? text.length : close + 1, separator)
  const breaks = inside.split(/\r\n|\r|\n/).length - 1
  return { ...rest, value: inside.replaceAll('""', '"') + rest.value, breaks, isUnclosed: close < 0 }
}
