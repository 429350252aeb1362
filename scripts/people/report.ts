import { createHash } from 'node:crypto'
import { appendFileSync, existsSync, readFileSync, truncateSync, writeFileSync } from 'node:fs'
import type { LineResult } from '../../src/bulk/import/schemas.ts'

/**
 * What has become of each line, as NDJSON: the first says of what. An import that is begun again goes on behind it.
 *
 * @param of all that decides what becomes of a line: the file, how it is read, and to which deployment it goes.
 */
export function openReport(path: string, of: readonly (string | Buffer)[]) {
  const hash = createHash('sha256')
  for (const part of of) hash.update(createHash('sha256').update(part).digest())
  const digest = hash.digest('base64url')
  const known = existsSync(path) ? readReport(path) : undefined
  if (known && known.digest !== digest)
    throw new Error(
      `${path} is the report of another file, or of what this one was, of another deployment or other options. Move it away to begin anew.`,
    )
  if (known) truncateSync(path, known.bytes)
  else writeFileSync(path, `${JSON.stringify({ sha256: digest })}\n`)
  return {
    /** By line. The last word on a line counts. */
    results: known?.results ?? new Map<number, LineResult>(),
    add: (results: readonly LineResult[]) =>
      appendFileSync(path, results.map((result) => `${JSON.stringify(result)}\n`).join('')),
  }
}

/** What was being written as the script was stopped is no line; `bytes` is how far those that are whole reach. */
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
  throw new Error(`${path} is there, and is no report of an import. Take another file.`)
}

const parse = (line: string) => JSON.parse(line) as { sha256?: string } & LineResult

const isRefusedBy =
  (...codes: readonly string[]) =>
  ({ errors = [] }: LineResult) =>
    errors.some(({ code }) => codes.includes(code))

/** Whether a line that was refused may come with a newer login. */
export const waitsForLogin = isRefusedBy('reauthentication_required')

/** Whether a line that was refused may come, sent again: with a newer login, or as nobody is in its way any more. */
export const mayComeNow = isRefusedBy('reauthentication_required', 'try_again')

export function countsOf(results: Iterable<LineResult>) {
  const counts = { created: 0, exists: 0, invalid: 0 }
  for (const { status } of results) counts[status] += 1
  return counts
}
