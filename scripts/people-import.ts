import { readFileSync } from 'node:fs'
import { readArguments, runCommand } from './command.ts'
import { inBatches, type Line, openDeployment, sendBatch } from './people/client.ts'
import { openProgress } from './people/progress.ts'
import { READERS } from './people/readers/index.ts'
import { countsOf, openReport, waitsForLogin } from './people/report.ts'
import { tokenFrom } from './people/tokens.ts'

const USAGE = `npm run people:import -- people.ndjson --url https://roster.your-domain [--from django] [--dry-run]

Takes people over from somewhere else, 500 at a time; docs/import.md says how a line looks. It can be stopped and started
again, and the same file be sent again: an account that is there is never changed. What became of each line stands in a
report beside the file.

  --url            the deployment: its ISSUER
  --from           what wrote the file: ${Object.keys(READERS).join(', ')} (the first, if you do not say)
  --with FILE      what comes beside it: of firebase the hash parameters, of auth0 the hashes
  --verified       where the file does not say, addresses count as proved: your word for it
  --staff ROLE     who was staff there gets this role: manager or admin (superusers admin); with --verified
  --report FILE    the report; <file>.report.ndjson, if you do not say
  --dry-run        says what would become of each line, and changes nothing

It signs in by the device flow, unless ROSTER_TOKEN has an access token.`

export interface ImportOptions {
  url: string
  file: string
  from?: string | undefined
  with?: string | undefined
  verified?: boolean | undefined
  staff?: string | undefined
  report?: string | undefined
  isDryRun?: boolean
  /** Answers a new token. */
  token(): Promise<string>
  fetch?: typeof globalThis.fetch
}

/** Sends a file, and answers how many lines were created, exist and are invalid. */
export async function importPeople(options: ImportOptions) {
  const { file, from = 'roster', isDryRun = false } = options
  const reader = READERS[from]
  if (!reader) throw new Error(`--from is one of ${Object.keys(READERS).join(', ')}.`)
  const people = reader(file, { with: options.with }).map((person) => asToldOf(person, options))
  const lines = people.map((person, at): Line => ({ line: at + 1, json: JSON.stringify(person) }))
  const path = options.report ?? `${file}.${isDryRun ? 'dry-run' : 'report'}.ndjson`
  const report = openReport(path, readFileSync(file))
  const call = openDeployment(options, options.fetch)
  const show = openProgress(lines.length)
  const told = () => {
    const { created, exists, invalid } = countsOf(report.results.values())
    show(report.results.size, `${created} created, ${exists} there already, ${invalid} invalid`)
  }
  const send = async (which: readonly Line[]) => {
    for (const batch of inBatches(which)) {
      const results = await sendBatch(call, batch, { isDryRun })
      report.add(results)
      for (const result of results) report.results.set(result.line, result)
      told()
    }
  }
  const isLeft = ({ line }: Line) => {
    const result = report.results.get(line)
    return result === undefined || waitsForLogin(result)
  }
  await send(lines.filter(isLeft))
  const waiting = lines.filter(isLeft)
  if (waiting.length > 0) {
    call.forget()
    await send(waiting)
  }
  return { ...countsOf(report.results.values()), report: path }
}

/** What whoever runs the script says of people beside what the file says. */
function asToldOf(person: Record<string, unknown>, { verified, staff }: ImportOptions) {
  const isProved = person.email_verified ?? verified ?? false
  const { superuser, staff: isStaff } = (person.admin_metadata ?? {}) as Record<string, unknown>
  const role = staff && isProved ? (superuser ? 'admin' : isStaff ? staff : undefined) : undefined
  return { ...person, email_verified: isProved, ...(role !== undefined && { role }) }
}

async function main() {
  const options = {
    url: { type: 'string' },
    from: { type: 'string' },
    with: { type: 'string' },
    verified: { type: 'boolean' },
    staff: { type: 'string' },
    report: { type: 'string' },
  } as const
  const { values, words, isDryRun } = readArguments({ usage: USAGE, options, words: 1 })
  const [file] = words
  if (file === undefined || values.url === undefined) throw new Error(USAGE)
  const { url } = values
  const token = tokenFrom(process.env, url, ['users:import'])
  const { created, exists, invalid, report } = await importPeople({ ...values, url, file, isDryRun, token })
  console.log(
    `${created} ${isDryRun ? 'would be ' : ''}created, ${exists} there already, ${invalid} invalid. Line by line: ${report}`,
  )
  if (invalid > 0) process.exitCode = 1
}

if (import.meta.main) runCommand(main)
