/** A row of a CSV (RFC 4180), and the line of the file on which it begins, from 1 on. */
export interface CsvRow {
  line: number
  cells: string[]
}

/**
 * The rows of a CSV; blank lines are none. Quotes that stand inside a cell are taken as they are, as spreadsheets do; one
 * that is never closed takes the rest of the file.
 */
export function parseCsv(text: string): CsvRow[] {
  const rows: CsvRow[] = []
  let line = 1
  let at = text.startsWith('\ufeff') ? 1 : 0
  while (at < text.length) {
    const row: CsvRow = { line, cells: [] }
    let isOver = false
    while (!isOver) {
      const cell = text[at] === '"' ? quotedCell(text, at) : plainCell(text, at)
      row.cells.push(cell.value)
      line += cell.breaks
      at = cell.end
      isOver = text[at] !== ','
      at += 1
    }
    if (text[at - 1] === '\r' && text[at] === '\n') at += 1
    line += 1
    if (row.cells.length > 1 || row.cells[0] !== '') rows.push(row)
  }
  return rows
}

interface Cell {
  value: string
  /** Where the comma or the end of the line stands. */
  end: number
  /** Line breaks in it. */
  breaks: number
}

const END_OF_CELL = /[,\r\n]/g

function plainCell(text: string, start: number): Cell {
  END_OF_CELL.lastIndex = start
  const end = END_OF_CELL.exec(text)?.index ?? text.length
  return { value: text.slice(start, end), end, breaks: 0 }
}

function quotedCell(text: string, start: number): Cell {
  let close = text.indexOf('"', start + 1)
  while (close >= 0 && text[close + 1] === '"') close = text.indexOf('"', close + 2)
  const inside = text.slice(start + 1, close < 0 ? text.length : close)
  const rest = plainCell(text, close < 0 ? text.length : close + 1)
  const breaks = inside.split(/\r\n|\r|\n/).length - 1
  return { ...rest, value: inside.replaceAll('""', '"') + rest.value, breaks }
}
