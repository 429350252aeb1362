import { globSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { readArguments, runCommand } from './command.ts'
import { findMutants, type Mutant, toLine } from './mutations/mutants.ts'
import { findNoticers } from './mutations/noticers.ts'
import { reachOf, startTests } from './mutations/tests.ts'

const USAGE = `npm run test:mutations -- --folder src/recovery

Leaves out each guard and each condition of a write, one at a time, runs the tests of test:fast that reach it, and lists
what none of them noticed. What may go unnoticed is listed in scripts/mutations.json, with its reason. First it runs them
all, to learn what each reaches; that is kept until the source or a test changes.

  --folder <path>   a folder or a file below src; may be repeated
  --tests <count>   ask only so many tests about each, those that are most about its file; by default all
  --dry-run         lists what would be left out`

const ROOT = resolve(import.meta.dirname, '..')

interface Reason {
  file: string
  text: string
  reason: string
}

const allowed: Reason[] = JSON.parse(readFileSync(join(import.meta.dirname, 'mutations.json'), 'utf8'))
const isAllowed = ({ file, text }: Mutant) => allowed.some((one) => one.file === file && one.text === text)

runCommand(async () => {
  const options = {
    folder: { type: 'string', multiple: true },
    tests: { type: 'string' },
  } as const
  const { values, isDryRun } = readArguments({ usage: USAGE, options })
  const folders = (values.folder ?? ['src']).map((folder) => folder.replace(/\/$/, ''))
  const atMost = Number(values.tests ?? Number.POSITIVE_INFINITY)
  if (!(atMost >= 1)) throw new Error('--tests takes a number of at least 1.')
  const files = globSync('src/**/*.{ts,tsx}', { cwd: ROOT })
    .filter((file) => folders.some((folder) => file === folder || file.startsWith(`${folder}/`)))
    .filter((file) => !file.includes('/texts/'))
    .sort()
  const mutants = files.flatMap((file) =>
    findMutants(file, readFileSync(join(ROOT, file), 'utf8')).map((mutant, index) => ({
      ...mutant,
      name: `${file} ${index}`,
    })),
  )
  if (mutants.length === 0) throw new Error(`There is nothing to leave out in ${folders.join(', ')}.`)
  if (isDryRun) return mutants.forEach((mutant) => void console.log(toLine(mutant)))

  const tests = await startTests()
  try {
    const noticed = await findNoticers(tests, await reachOf(tests), mutants, atMost)
    const survivors = mutants.filter((mutant) => !noticed.has(mutant))
    const unexplained = survivors.filter((mutant) => !isAllowed(mutant))
    console.log(
      `\n${mutants.length} left out, ${survivors.length} unnoticed, ${unexplained.length} without a reason`,
    )
    for (const mutant of unexplained) console.log(toLine(mutant))
    process.exitCode = unexplained.length > 0 ? 1 : 0
  } finally {
    await tests.close()
  }
})
