import { createHash } from 'node:crypto'
import { appendFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import type { LineResult } from '../../src/bulk/import/schemas.ts'

/** What has become of each line, as NDJSON: the first says of which file. An import that is begun again goes on behind it. */
export function openReport(path: string, source: string | Buffer) {
  const digest = createHash('sha256').update(source).digest('base64url')
  const known = existsSync(path) ? readReport(path) : undefined
  if (known && known.digest !== digest)
    throw new Error(
      `${path} is the report of another file, or of what this one was. Move it away to begin anew.`,
    )
  if (!known) writeFileSync(path, `${JSON.stringify({ sha256: digest })}\n`)
  return {
    /** By line. The last word on a line counts. */
    results: known?.results ?? new Map<number, LineResult>(),
    add: (results: readonly LineResult[]) =>
      appendFileSync(path, results.map((result) => `${JSON.stringify(result)}\n`).join('')),
  }
}

function readReport(path: string) {
  // What was being written as the script was stopped is no line.
  const whole = readFileSync(path, 'utf8').split('\n').slice(0, -1)
  const [head, ...lines] = whole.map((line) => JSON.parse(line) as { sha256?: string } & LineResult)
  writeFileSync(path, whole.map((line) => `${line}\n`).join(''))
  return { digest: head?.sha256, results: new Map(lines.map((result) => [result.line, result])) }
}

/** Whether a line that was refused may come with a newer login. */
export const waitsForLogin = ({ errors = [] }: LineResult) =>
  errors.some(({ code }) => code === 'reauthentication_required')

export function countsOf(results: Iterable<LineResult>) {
  const counts = { created: 0, exists: 0, invalid: 0 }
  for (const { status } of results) counts[status] += 1
  return counts
}
