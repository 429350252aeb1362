import { type ParseArgsConfig, parseArgs } from 'node:util'

type Options = NonNullable<ParseArgsConfig['options']>

interface Command<Known extends Options> {
  /** What `--help` prints. */
  usage: string
  options: Known
  /** How many words may stand there that are no options; none when absent. */
  words?: number
}

const COMMON = { help: { type: 'boolean', short: 'h' }, 'dry-run': { type: 'boolean' } } as const

/**
 * The arguments of a script. Each takes `--help` and `--dry-run`, and refuses what it does not know: an option that
 * is ignored is one that somebody relied on.
 */
export function readArguments<const Known extends Options>({ usage, options, words = 0 }: Command<Known>) {
  const read = () => parseArgs({ options: { ...COMMON, ...options }, allowPositionals: words > 0 })
  let parsed: ReturnType<typeof read>
  try {
    parsed = read()
  } catch (error) {
    throw new Error(`${(error as Error).message.split('. ')[0]}.\n\n${usage}`)
  }
  const { help, 'dry-run': dryRun } = parsed.values as { help?: boolean; 'dry-run'?: boolean }
  if (help) {
    console.log(usage)
    process.exit(0)
  }
  if (parsed.positionals.length > words)
    throw new Error(`${parsed.positionals[words]} is one word too many.\n\n${usage}`)
  return { values: parsed.values, words: parsed.positionals, isDryRun: dryRun === true }
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
