import {
  appendFileSync,
  createReadStream,
  existsSync,
  readFileSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { readArguments, runCommand } from './command.ts'
import { openDeployment } from './people/client.ts'
import { tokenFrom } from './people/tokens.ts'

const USAGE = `npm run people:export -- people.ndjson --url https://roster.your-domain

Writes everybody who is not deleted to a file, one JSON object a line, oldest first. Run it again to continue a file;
which deployment it is of is in <file>.origin. docs/import.md says what is in it.

  --url       the deployment: its ISSUER
  --hashes    with the password hashes: guard such a file like the passwords themselves
  --dry-run   says what would be written, and does nothing

It signs in by the device flow, unless ROSTER_TOKEN has an access token.`

interface ExportOptions {
  url: string
  file: string
  hashes?: boolean | undefined
  token(): Promise<string>
  fetch?: typeof globalThis.fetch
}

interface Exported {
  id: string
  created_at: string
  /** With `--hashes`; null if there is no password. */
  password_hash?: string | null
}

/** How often in a row a download may break off without bringing a new line. */
const TRIES = 5

/** Downloads the whole file, and returns how many lines it has. */
export async function exportPeople({
  url,
  file,
  hashes = false,
  token,
  fetch,
}: ExportOptions): Promise<number> {
  const call = openDeployment({ url, token }, fetch)
  let { last, count, bytes } = await whatIsThere(file)
  // Makes sure that the file can be written before anybody is asked to sign in.
  appendFileSync(file, '', { mode: 0o600 })
  if (last && 'password_hash' in last !== hashes)
    throw new Error(
      `${file} was started ${hashes ? 'without' : 'with'} --hashes. Go on the same way, or take another file.`,
    )
  keepOrigin(file, new URL(url).origin, last !== undefined)
  truncateSync(file, bytes)
  for (let tried = 0; tried < TRIES; tried++) {
    const from = last ? `&created_from=${encodeURIComponent(last.created_at)}` : ''
    const answer = await call(
      `/v1/users/export?format=ndjson&end=true&sort=created_at${hashes ? '&hashes=true' : ''}${from}`,
      {},
      { isLong: true },
    )
    for await (const { line, row } of rowsOf(answer.body!)) {
      if (row.end) return count
      // Rows with the same time as the last one come again; ids are in order.
      if (last && row.id <= last.id) continue
      appendFileSync(file, `${line}\n`)
      last = row
      count += 1
      tried = 0
    }
  }
  throw new Error(`The file keeps breaking off, after ${count} lines. Start this again to go on.`)
}

/** The rows of an answer. If it breaks off they end: what has come is kept, and the rest is asked for. */
async function* rowsOf(
  body: ReadableStream<Uint8Array<ArrayBuffer>>,
): AsyncGenerator<{ line: string; row: Exported & { end?: true } }> {
  try {
    for await (const line of linesOf(body.pipeThrough(new TextDecoderStream())))
      yield { line, row: JSON.parse(line) }
  } catch {}
}

/** Beside the file, as its lines do not say where they are from: two deployments in one file would pass for one. */
function keepOrigin(file: string, origin: string, goesOn: boolean) {
  const path = `${file}.origin`
  if (!goesOn) return writeFileSync(path, `${origin}\n`, { mode: 0o600 })
  if (!existsSync(path))
    throw new Error(`${file} does not say of which deployment it is: ${path} is missing. Take another file.`)
  const before = readFileSync(path, 'utf8').trim()
  if (before !== origin)
    throw new Error(`${file} is an export of ${before}. Take another file for ${origin}.`)
}

/**
 * What is in the file; its last line may be cut off, and `bytes` is the length of the others. Read line by line, as it
 * may be longer than the longest string.
 */
async function whatIsThere(
  file: string,
): Promise<{ last: Exported | undefined; count: number; bytes: number }> {
  if (!existsSync(file)) return { last: undefined, count: 0, bytes: 0 }
  let [text, count, bytes] = ['', 0, 0]
  for await (const line of linesOf(createReadStream(file, 'utf8'))) {
    text = line
    count += 1
    bytes += Buffer.byteLength(line) + 1
  }
  const last = exportedOf(text)
  // Nothing is cut off a file that is not ours.
  if (count === 0 ? statSync(file).size > 0 : !last)
    throw new Error(`${file} exists, and is not an export from Roster. Take another file.`)
  return { last, count, bytes }
}

function exportedOf(line: string): Exported | undefined {
  try {
    const row = JSON.parse(line) as Partial<Exported> | null
    return typeof row?.id === 'string' && typeof row.created_at === 'string' ? (row as Exported) : undefined
  } catch {
    return undefined
  }
}

/** Complete lines, one at a time. */
export async function* linesOf(pieces: AsyncIterable<string>): AsyncGenerator<string> {
  let rest = ''
  for await (const piece of pieces) {
    const lines = (rest + piece).split('\n')
    rest = lines.pop()!
    yield* lines
  }
}

/** The key of SECRET_KEYS that one of our hashes was made with. */
const KEY = /^\$scrypt\$ln=\d+,r=\d+,p=\d+,k=([0-9a-f]{8})\$/

/** What to know about the hashes in a file, as sentences. */
export async function aboutHashes(file: string): Promise<string> {
  const keys = new Set<string>()
  let [ours, others] = [0, 0]
  for await (const line of linesOf(createReadStream(file, 'utf8'))) {
    const { password_hash } = JSON.parse(line) as Exported
    const key = KEY.exec(password_hash ?? '')?.[1]
    if (key === undefined) others += password_hash ? 1 : 0
    else {
      ours += 1
      keys.add(key)
    }
  }
  return [
    `${ours + others} have a password: ${ours} by a hash of Roster's, ${others} by one of other software.`,
    ...(ours > 0
      ? [
          `Roster's are scrypt under a pepper, by the key ${[...keys].sort().join(', ')} of SECRET_KEYS. A deployment that has the key`,
          'verifies them; anywhere else they are worth nothing, and an import there asks their users for a new password.',
        ]
      : []),
    ...(others > 0
      ? ['Those of other software have no pepper: whoever has this file can guess at them.']
      : []),
  ].join('\n')
}

async function main() {
  const options = { url: { type: 'string' }, hashes: { type: 'boolean' } } as const
  const { values, words, isDryRun } = readArguments({ usage: USAGE, options, words: 1 })
  const [file] = words
  if (file === undefined || values.url === undefined) throw new Error(USAGE)
  if (isDryRun) {
    const what = values.hashes ? 'everybody, with their password hashes,' : 'everybody'
    console.log(`would write ${what} at ${values.url} to ${file}`)
    return
  }
  const token = tokenFrom(process.env, values.url, ['users:export'])
  console.log(
    `${await exportPeople({ url: values.url, file, hashes: values.hashes, token })} people in ${file}`,
  )
  if (values.hashes) console.log(await aboutHashes(file))
}

if (import.meta.main) runCommand(main)
