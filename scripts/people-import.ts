import { readFileSync } from 'node:fs'
import { findThere, type Known, knownBy } from '../src/bulk/import/judge.ts'
import type { LineResult } from '../src/bulk/import/schemas.ts'
import { normalizeEmail } from '../src/values/email.ts'
import { readArguments, runCommand } from './command.ts'
import { type Line, openDeployment, sendLines } from './people/client.ts'
import { openProgress } from './people/progress.ts'
import { READERS } from './people/readers/index.ts'
import { each, type Imported } from './people/readers/source.ts'
import { countsOf, mayComeNow, openReport, waitsForLogin } from './people/report.ts'
import { tokenFrom } from './people/tokens.ts'

const USAGE = `npm run people:import -- people.ndjson --url https://roster.your-domain [--from django] [--dry-run]

Imports people from somewhere else; docs/import.md says what a line looks like. It can be stopped and started
again, and the same file sent again: existing accounts are never changed. What became of each line is in a
report beside the file.

  --url            the deployment: its ISSUER
  --from           what wrote the file: ${Object.keys(READERS).join(', ')} (the first, if you do not say)
  --with FILE      what comes beside it: for firebase the hash parameters, for auth0 the hashes
  --own-attributes  for keycloak: attributes are for their users to change, so they go to metadata, not to admin_metadata
  --verified       where the file does not say, addresses count as proved: your word for it
  --staff ROLE     who was staff there gets this role: manager or admin (superusers admin); with --verified
  --report FILE    the report; <file>.report.ndjson, if you do not say
  --include-erased imports people who were erased there, too
  --dry-run        says what would become of each line, and changes nothing

It signs in by the device flow, unless ROSTER_TOKEN has an access token.`

export interface ImportOptions {
  url: string
  file: string
  from?: string | undefined
  with?: string | undefined
  ownAttributes?: boolean | undefined
  verified?: boolean | undefined
  staff?: string | undefined
  report?: string | undefined
  isDryRun?: boolean
  includeErased?: boolean | undefined
  /** Returns a new token. */
  token(): Promise<string>
  fetch?: typeof globalThis.fetch
}

/** Sends a file, and returns how many lines were created, exist and are invalid. */
export async function importPeople(options: ImportOptions) {
  const { file, from = 'roster', isDryRun = false, includeErased = false } = options
  const reader = READERS[from]
  if (!reader) throw new Error(`--from is one of ${Object.keys(READERS).join(', ')}.`)
  const people = each(reader(file, options), (person) => asToldOf(person, options))
  const lines = people.map(({ line, value }): Line => ({ line, json: JSON.stringify(value) }))
  const path = options.report ?? `${file}.${isDryRun ? 'dry-run' : 'report'}.ndjson`
  const { verified = false, staff = '', ownAttributes = false } = options
  const asked = JSON.stringify([
    // The reports of older versions number lines differently, so they belong to another import.
    'by line of the file',
    ...[new URL(options.url).origin, isDryRun, from, verified, staff],
    ...(includeErased ? ['erased'] : []),
    ...(ownAttributes ? ['own-attributes'] : []),
  ])
  const files = [file, ...(options.with === undefined ? [] : [options.with])]
  const report = openReport(path, [asked, ...files.map((one) => readFileSync(one))])
  // Earlier results are dropped: what a line would do changes from day to day.
  if (isDryRun) report.results.clear()
  const call = openDeployment(options, options.fetch)
  const show = openProgress(lines.length)
  const told = () => {
    const { created, exists, invalid } = countsOf(report.results.values())
    show(report.results.size, `${created} created, ${exists} there already, ${invalid} invalid`)
  }
  const byLine = new Map(people.map(({ line, value }) => [line, value]))
  const withEarlier = openEarlier(byLine)
  const send = (which: readonly Line[]) =>
    sendLines(call, which, { isDryRun, includeErased }, (answered) => {
      const results = answered.map((result) =>
        named(isDryRun ? withEarlier(result) : result, byLine.get(result.line)!),
      )
      report.add(results)
      for (const result of results) report.results.set(result.line, result)
      told()
    })
  const isLeft = ({ line }: Line) => {
    const result = report.results.get(line)
    return result === undefined || mayComeNow(result)
  }
  await send(lines.filter(isLeft))
  const waiting = lines.filter(isLeft)
  if (waiting.length > 0) {
    if (waiting.some(({ line }) => waitsForLogin(report.results.get(line)!))) call.forget()
    await send(waiting)
  }
  return { ...countsOf(report.results.values()), report: path }
}

/** A result with the user's id in the other system, but without their address. */
const named = ({ line, ...result }: LineResult, { external_id }: Imported) => ({
  line,
  ...(typeof external_id === 'string' && { external_id }),
  ...result,
})

/** A dry run creates nobody, so the deployment does not know whom an earlier batch would have created. This does. */
function openEarlier(people: ReadonlyMap<number, Imported>) {
  const { byAddress, byExternalId } = knownBy([])
  return (result: LineResult): LineResult => {
    if (result.status !== 'created') return result
    const person = people.get(result.line) as unknown as Parameters<typeof findThere>[0]
    const found = findThere(person, { byAddress, byExternalId })
    if (found.status !== 'new') return { ...found, id: undefined, line: result.line }
    const { email, email_verified, external_id = null } = person
    const one: Known = {
      id: String(result.line),
      email_normalized: normalizeEmail(email),
      external_id,
      deleted_at: null,
      email_verified_at: email_verified ? 1 : null,
    }
    byAddress.set(one.email_normalized, one)
    if (external_id !== null) byExternalId.set(external_id, one)
    return result
  }
}

/** Adds to a person what the options say about everybody in the file. */
function asToldOf(person: Imported, { verified, staff }: ImportOptions) {
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
    'own-attributes': { type: 'boolean' },
    verified: { type: 'boolean' },
    staff: { type: 'string' },
    report: { type: 'string' },
    'include-erased': { type: 'boolean' },
  } as const
  const { values, words, isDryRun } = readArguments({ usage: USAGE, options, words: 1 })
  const [file] = words
  if (file === undefined || values.url === undefined) throw new Error(USAGE)
  const { url } = values
  const token = tokenFrom(process.env, url, ['users:import'])
  const { created, exists, invalid, report } = await importPeople({
    ...{ ...values, url, file, isDryRun, token },
    includeErased: values['include-erased'],
    ownAttributes: values['own-attributes'],
  })
  console.log(
    `${created} ${isDryRun ? 'would be ' : ''}created, ${exists} there already, ${invalid} invalid. Line by line: ${report}`,
  )
  if (invalid > 0) process.exitCode = 1
}

if (import.meta.main) runCommand(main)
