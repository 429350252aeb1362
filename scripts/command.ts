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
  /** How many words may stand there that are no options; none when absent. */
  words?: number
  /** Whether it acts on a deployment: its settings come from `--settings FILE`, or from the environment. */
  ofDeployment?: boolean
}

const COMMON = { help: { type: 'boolean', short: 'h' }, 'dry-run': { type: 'boolean' } } as const

const OF_DEPLOYMENT = { settings: { type: 'string' } } as const
const WHERE_SETTINGS_ARE = `The Worker's settings come from the environment, or from an env file such as npm run setup keeps:
--settings FILE.`

/**
 * The arguments of a script. Each takes `--help` and `--dry-run`, and refuses what it does not know: an option that
 * is ignored is one that somebody relied on.
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

/** The settings are those of the file and no others: the environment may be of another deployment. */
function useSettings(path: string) {
  if (!existsSync(path)) throw new Error(`There is no file ${path}. npm run setup keeps one.`)
  for (const name of Object.keys(WHAT_TO_WRITE)) delete process.env[name]
  Object.assign(process.env, openKept(path).settings())
}

/** Runs a script: what stops it is said in a sentence, without a stack, and makes its exit code 1. */
export function runCommand(main: () => Promise<void> | void): void {
  Promise.resolve()
    .then(main)
    .catch((error: Error) => {
      console.error(error.message)
      process.exitCode = 1
    })
}

const PAUSES_MS = [1000, 2000, 4000]

/** Whether an error is the problem of this code. */
export const hasCode = (error: unknown, code: string) => (error as { code?: unknown }).code === code

/** Nobody waits for a script as for a request: what failed by this code, or by any where none is given, is asked again. */
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

/** For one call, in which a Worker would have been given up long ago. */
export const SCRIPT_WAITS_MS = 30_000

/** The database as a script asks it: a slow answer is waited for, and a read without one is asked again. */
export const patiently = <R extends { db: Database }>(resources: R): R => {
  const { db } = resources
  const patient: Database = Object.assign(Object.create(db), {
    readPrimary: (batch) => withPauses(() => db.readPrimary(batch, SCRIPT_WAITS_MS), 'database_unavailable'),
    writeBatch: (batch, marker) => db.writeBatch(batch, marker, SCRIPT_WAITS_MS),
  } satisfies Pick<Database, 'readPrimary' | 'writeBatch'>)
  return { ...resources, db: patient }
}
