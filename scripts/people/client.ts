import { setTimeout as pause } from 'node:timers/promises'
import type { ImportResult, LineResult } from '../../src/bulk/import/schemas.ts'
import { MAX_BYTES } from '../../src/bulk/import/schemas.ts'

const TRIES = 8
const LONGEST_PAUSE_MS = 60_000
const TIMEOUT_MS = 60_000
/** Half of what a request may have, so that other writes in between wait no longer than one request takes. */
const ROWS_EACH = 250

/** A deployment, and where to get a token for it. */
export interface Deployment {
  url: string
  /** Returns a new token; if there is none, asks whoever runs the script to sign in. */
  token(): Promise<string>
}

/**
 * Calls with a token until the answer is about the request itself: retries if the deployment is busy, and with a new
 * token if that is too old.
 */
export function openDeployment({ url, token }: Deployment, fetch = globalThis.fetch) {
  let present: Promise<string> | undefined
  async function call(path: string, init: RequestInit, { isLong = false } = {}): Promise<Response> {
    for (let tried = 1; ; tried++) {
      present ??= token()
      const headers = { ...(init.headers as object), authorization: `Bearer ${await present}` }
      const answer = await fetch(new URL(path, url).href, {
        ...init,
        headers,
        ...(!isLong && { signal: AbortSignal.timeout(TIMEOUT_MS) }),
      }).catch((cause: Error) => cause)
      if (answer instanceof Response && answer.ok) return answer
      if (tried === TRIES) throw await sentenceOf(answer)
      if (await isOver(answer)) present = undefined
      else if (isPassing(answer)) await pause(pauseOf(answer, tried))
      else throw await sentenceOf(answer)
    }
  }
  /** The next call asks for a new token. */
  const forget = () => {
    present = undefined
  }
  return Object.assign(call, { forget })
}

/** The token has expired, or is too old to count as a recent login. */
async function isOver(answer: Response | Error): Promise<boolean> {
  if (answer instanceof Error) return false
  if (answer.status === 401) return true
  if (answer.status !== 403) return false
  const { code } = await bodyOf<Problem>(answer.clone())
  return code === 'reauthentication_required'
}

const isPassing = (answer: Response | Error) =>
  answer instanceof Error || answer.status === 429 || answer.status >= 500

function pauseOf(answer: Response | Error, tried: number): number {
  const after = answer instanceof Error ? undefined : Number(answer.headers.get('retry-after'))
  return Math.min(after ? after * 1000 : 250 * 2 ** tried, LONGEST_PAUSE_MS)
}

interface Problem {
  detail?: string
  code?: string
  errors?: { pointer: string; detail: string }[]
}

/** Empty if it is not JSON, as a page from a proxy in between. */
const bodyOf = async <Body extends object>(answer: Response): Promise<Partial<Body>> =>
  (await answer.json().catch(() => undefined)) ?? {}

async function sentenceOf(answer: Response | Error): Promise<Error> {
  if (answer instanceof Error) return new Error(`No answer: ${answer.message}`, { cause: answer })
  const { detail = 'this is not an answer from Roster', code, errors = [] } = await bodyOf<Problem>(answer)
  const flaws = errors.map(({ pointer, detail }) => `\n${pointer} ${detail}`).join('')
  return new Error(`${answer.status}${code ? ` ${code}` : ''}: ${detail}${flaws}`)
}

/** A line number of the file, and that line's content as NDJSON. */
export interface Line {
  line: number
  json: string
}

/** As many lines as fit into one request each. */
function* inBatches(lines: Iterable<Line>): Generator<Line[]> {
  let batch: Line[] = []
  let bytes = 0
  for (const line of lines) {
    const size = Buffer.byteLength(line.json) + 1
    if (batch.length === ROWS_EACH || (batch.length > 0 && bytes + size > MAX_BYTES)) {
      yield batch
      batch = []
      bytes = 0
    }
    batch.push(line)
    bytes += size
  }
  if (batch.length > 0) yield batch
}

/** A line that is too long would be refused as a batch of its own. It must not keep other lines from being sent. */
const tooLong = (line: number): LineResult => ({
  line,
  status: 'invalid',
  errors: [{ pointer: '', code: 'too_big', detail: `Is over ${MAX_BYTES / 1024} KB.` }],
})

/**
 * Sends lines in batches, and reports the result of each by its line number in the file. Batches are sequential: of
 * two lines with the same address the first is imported, wherever they are.
 */
export async function sendLines(
  call: ReturnType<typeof openDeployment>,
  lines: Iterable<Line>,
  options: { isDryRun: boolean; includeErased?: boolean },
  tell: (results: LineResult[]) => void,
): Promise<void> {
  for (const batch of inBatches(lines)) tell(await sendBatch(call, batch, options))
}

async function sendBatch(
  call: ReturnType<typeof openDeployment>,
  batch: readonly Line[],
  { isDryRun, includeErased = false }: { isDryRun: boolean; includeErased?: boolean },
): Promise<LineResult[]> {
  const [first] = batch
  if (first && Buffer.byteLength(first.json) > MAX_BYTES) return [tooLong(first.line)]
  const asked = new URLSearchParams({
    ...(isDryRun && { dry_run: 'true' }),
    ...(includeErased && { include_erased: 'true' }),
  })
  const answer = await call(`/v1/users/import?${asked}`, {
    method: 'POST',
    headers: { 'content-type': 'application/x-ndjson' },
    body: batch.map(({ json }) => json).join('\n'),
  })
  const { data } = await bodyOf<ImportResult>(answer.clone())
  if (!data) throw await sentenceOf(answer)
  return data.map((result) => ({ ...result, line: batch[result.line - 1]!.line }))
}
