import { appendFileSync, existsSync, readFileSync, truncateSync } from 'node:fs'
import { readArguments, runCommand } from './command.ts'
import { openDeployment } from './people/client.ts'
import { tokenFrom } from './people/tokens.ts'

const USAGE = `npm run people:export -- people.ndjson --url https://roster.your-domain

Writes everybody who is not deleted into a file, a JSON object a line, oldest first. Started again, it goes on behind what
the file has. docs/import.md says what stands in it.

  --url       the deployment: its ISSUER

It signs in by the device flow, unless ROSTER_TOKEN has an access token.`

interface ExportOptions {
  url: string
  file: string
  token(): Promise<string>
  fetch?: typeof globalThis.fetch
}

interface Exported {
  id: string
  created_at: string
}

/** How often a file that breaks off is asked for once more without a line that is new. */
const TRIES = 5

/** Writes the file to its end, and answers how many lines it has. */
export async function exportPeople({ url, file, token, fetch }: ExportOptions): Promise<number> {
  const call = openDeployment({ url, token }, fetch)
  let { last, count } = whatIsThere(file)
  for (let tried = 0; tried < TRIES; tried++) {
    const from = last ? `&created_from=${encodeURIComponent(last.created_at)}` : ''
    const answer = await call(
      `/v1/users/export?format=ndjson&end=true&sort=created_at${from}`,
      {},
      { isLong: true },
    )
    try {
      for await (const line of linesOf(answer)) {
        const row = JSON.parse(line) as Exported & { end?: true }
        if (row.end) return count
        // Those of the same moment come once more; ids are in order.
        if (last && row.id <= last.id) continue
        appendFileSync(file, `${line}\n`)
        last = row
        count += 1
        tried = 0
      }
    } catch {
      // It broke off: what is there stays, and the rest is asked for.
    }
  }
  throw new Error(`The file breaks off again and again, behind ${count} lines. Start this again to go on.`)
}

/** What is in the file, whose last line may have been cut off. */
function whatIsThere(file: string): { last: Exported | undefined; count: number } {
  if (!existsSync(file)) return { last: undefined, count: 0 }
  const text = readFileSync(file, 'utf8')
  const whole = text.slice(0, text.lastIndexOf('\n') + 1)
  truncateSync(file, Buffer.byteLength(whole))
  const lines = whole.split('\n').slice(0, -1)
  return { last: lines.length > 0 ? (JSON.parse(lines.at(-1)!) as Exported) : undefined, count: lines.length }
}

async function* linesOf(answer: Response): AsyncGenerator<string> {
  let rest = ''
  for await (const piece of answer.body!.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + piece).split('\n')
    rest = lines.pop()!
    yield* lines
  }
}

async function main() {
  const { values, words } = readArguments({ usage: USAGE, options: { url: { type: 'string' } }, words: 1 })
  const [file] = words
  if (file === undefined || values.url === undefined) throw new Error(USAGE)
  const token = tokenFrom(process.env, values.url, ['users:export'])
  console.log(`${await exportPeople({ url: values.url, file, token })} people in ${file}`)
}

if (import.meta.main) runCommand(main)
