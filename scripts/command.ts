import { existsSync } from 'node:fs'
import { setTimeout } from 'node:timers/promises'
import { type ParseArgsConfig, parseArgs } from 'node:util'
import { WHAT_TO_WRITE } from '../src/config/env.ts'
import type { Database } from '../src/database/main.ts'
import { openKept } from './setup/kept.ts'

type Options = NonNullable<ParseArgsConfig['options']>

interface Command<Known extends Options> {
  /** What `--help` prints. */
  usage: string
  options: Known
  /** The highest number of positional arguments; none by default. */
  words?: number
  /** Whether it acts on a deployment: its settings come from `--settings FILE`, or from the environment. */
  ofDeployment?: boolean
}

const COMMON = { help: { type: 'boolean', short: 'h' }, 'dry-run': { type: 'boolean' } } as const

const OF_DEPLOYMENT = { settings: { type: 'string' } } as const
const WHERE_SETTINGS_ARE = `The Worker's settings come from the environment, or from an env file such as npm run setup keeps:
--settings FILE.`

/**
 * The arguments of a script. Each script accepts `--help` and `--dry-run`, and rejects unknown options: somebody
 * could rely on an option that is ignored.
 */
export function readArguments<const Known extends Options>({
  usage: said,
  options,
  words = 0,
  ofDeployment = false,
}: Command<Known>) {
  const usage = ofDeployment ? `${said}\n\n${WHERE_SETTINGS_ARE}` : said
  const known = { ...COMMON, ...(ofDeployment && OF_DEPLOYMENT), ...options }
  const read = () => parseArgs({ options: known, allowPositionals: words > 0 })
  let parsed: ReturnType<typeof read>
  try {
    parsed = read()
  } catch (error) {
    throw new Error(`${(error as Error).message.split('. ')[0]}.\n\n${usage}`)
  }
  const given = parsed.values as { help?: boolean; 'dry-run'?: boolean; settings?: string }
  const { help, 'dry-run': dryRun } = given
  if (help) {
    console.log(usage)
    process.exit(0)
  }
  if (parsed.positionals.length > words)
    throw new Error(`${parsed.positionals[words]} is one word too many.\n\n${usage}`)
  if (ofDeployment && given.settings !== undefined) useSettings(given.settings)
  return { values: parsed.values, words: parsed.positionals, isDryRun: dryRun === true }
}

/** Uses only the settings in the file: those in the environment may belong to another deployment. */
function useSettings(path: string) {
  if (!existsSync(path)) throw new Error(`There is no file ${path}. npm run setup keeps one.`)
  for (const name of Object.keys(WHAT_TO_WRITE)) delete process.env[name]
  Object.assign(process.env, openKept(path).settings())
}

/** Runs a script: prints an error as a sentence, without a stack, and sets exit code 1. */
export function runCommand(main: () => Promise<void> | void): void {
  Promise.resolve()
    .then(main)
    .catch((error: Error) => {
      console.error(error.message)
      process.exitCode = 1
    })
}

const PAUSES_MS = [1000, 2000, 4000]

/** Whether the error is a problem with this code. */
export const hasCode = (error: unknown, code: string) => (error as { code?: unknown }).code === code

/** Retries for longer than a request could: after a failure with this code, or after any failure if no code is given. */
export async function withPauses<T>(ask: () => Promise<T>, code?: string): Promise<T> {
  for (let tried = 0; ; tried++) {
    try {
      return await ask()
    } catch (error) {
      const pauseMs = PAUSES_MS[tried]
      if (pauseMs === undefined || (code !== undefined && !hasCode(error, code))) throw error
      await setTimeout(pauseMs)
    }
  }
}

/** The timeout of one call, much longer than a Worker's. */
export const SCRIPT_WAITS_MS = 30_000

/** The database with a script's patience: it waits for slow answers, and retries reads that got none. */
export const patiently = <R extends { db: Database }>(resources: R): R => {
  const { db } = resources
  const patient: Database = Object.assign(Object.create(db), {
    readPrimary: (batch) => withPauses(() => db.readPrimary(batch, SCRIPT_WAITS_MS), 'database_unavailable'),
    writeBatch: (batch, marker) => db.writeBatch(batch, marker, SCRIPT_WAITS_MS),
  } satisfies Pick<Database, 'readPrimary' | 'writeBatch'>)
  return { ...resources, db: patient }
}
