import { createHash } from 'node:crypto'
import { appendFileSync, existsSync, readFileSync, truncateSync, writeFileSync } from 'node:fs'
import type { LineResult } from '../../src/bulk/import/schemas.ts'

/**
 * The result of each line, as NDJSON; the first line says what the report is about. An import that is started again
 * appends to it.
 *
 * @param of everything that decides the results: the file, how it is read, and the deployment it goes to.
 */
export function openReport(path: string, of: readonly (string | Buffer)[]) {
  const hash = createHash('sha256')
  for (const part of of) hash.update(createHash('sha256').update(part).digest())
  const digest = hash.digest('base64url')
  const known = existsSync(path) ? readReport(path) : undefined
  if (known && known.digest !== digest)
    throw new Error(
      `${path} is the report of another file, an earlier state of this one, another deployment or other options. Move it away to start afresh.`,
    )
  if (known) truncateSync(path, known.bytes)
  else writeFileSync(path, `${JSON.stringify({ sha256: digest })}\n`)
  return {
    /** By line. The last result of a line counts. */
    results: known?.results ?? new Map<number, LineResult>(),
    add: (results: readonly LineResult[]) =>
      appendFileSync(path, results.map((result) => `${JSON.stringify(result)}\n`).join('')),
  }
}

/** A line that was being written when the script stopped does not count. `bytes`: the length of all complete lines. */
function readReport(path: string) {
  const text = readFileSync(path, 'utf8')
  const whole = text.slice(0, text.lastIndexOf('\n') + 1)
  try {
    const [head, ...lines] = whole.split('\n').filter(Boolean).map(parse)
    if (typeof head?.sha256 === 'string')
      return {
        digest: head.sha256,
        results: new Map(lines.map((result) => [result.line, result])),
        bytes: Buffer.byteLength(whole),
      }
  } catch {}
  throw new Error(`${path} exists, and is not the report of an import. Take another file.`)
}

const parse = (line: string) => JSON.parse(line) as { sha256?: string } & LineResult

const isRefusedBy =
  (...codes: readonly string[]) =>
  ({ errors = [] }: LineResult) =>
    errors.some(({ code }) => codes.includes(code))

/** Whether a refused line may succeed with a newer login. */
export const waitsForLogin = isRefusedBy('reauthentication_required')

/** Whether a refused line may succeed if it is sent again: with a newer login, or once nobody is in its way. */
export const mayComeNow = isRefusedBy('reauthentication_required', 'try_again')

export function countsOf(results: Iterable<LineResult>) {
  const counts = { created: 0, exists: 0, invalid: 0 }
  for (const { status } of results) counts[status] += 1
  return counts
}
