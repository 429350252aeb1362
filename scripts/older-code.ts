import { execFileSync, spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { readArguments, runCommand } from './command.ts'

const USAGE = `npm run test:older-code [-- --commit <commit>] [-- test/users.test.ts …]

While a migration is applied, and until the next deployment, the version before it runs. This takes the code and the
tests of that version, gives them the migrations of today, and runs them, with the packages that are here. What fails
is run once more on that version's own migrations: what fails there too says nothing about the schema.

  --commit <commit>   a version other than the last without the newest migration
  --dry-run           says which one it is`

const ROOT = resolve(import.meta.dirname, '..')
/** The migrations, and the scripts that apply them. */
const OF_TODAY = ['drizzle', 'scripts/migrate.ts', 'scripts/migrations.ts', 'scripts/moves.ts']
/** Tests that compare the code with the schema, table by table: so they fail with a later one. */
const OF_THE_SCHEMA = ['test/erasure.test.ts', 'test/export-tables.test.ts']
const LISTS_THE_SCHEMA = /its list of tables is what the migrations make/

const git = (...args: string[]) => execFileSync('git', args, { cwd: ROOT, maxBuffer: 2 ** 28 })

/** The parent of the commit that added the newest migration. */
function findVersionBefore(): string {
  const newest = String(git('log', '-1', '--diff-filter=A', '--format=%H', '--', 'drizzle/*.sql')).trim()
  try {
    return String(git('rev-parse', '--short', `${newest}^`)).trim()
  } catch {
    throw new Error('There is no history here to take the version before from: git fetch --unshallow')
  }
}

interface Report {
  testResults: { name: string; status: string; assertionResults: { fullName: string; status: string }[] }[]
}

/** What fails in a folder, by file. A file that cannot be run at all has no test names. */
function failuresOf(dir: string, tests: readonly string[]): Map<string, string[]> {
  const report = join(dir, 'report.json')
  rmSync(report, { force: true })
  const { error } = spawnSync(
    'vitest',
    ['run', '--project=worker', '--reporter=default', '--reporter=json', `--outputFile.json=${report}`]
      .concat(OF_THE_SCHEMA.map((file) => `--exclude=${file}`))
      .concat(tests),
    { cwd: dir, stdio: 'inherit' },
  )
  if (error) throw error
  const { testResults }: Report = JSON.parse(readFileSync(report, 'utf8'))
  if (testResults.length === 0) throw new Error('No test was run.')
  const failed = testResults.filter(({ status }) => status === 'failed')
  return new Map(
    failed.map(({ name, assertionResults }) => [
      name.slice(dir.length + 1),
      assertionResults.filter(({ status }) => status === 'failed').map(({ fullName }) => fullName),
    ]),
  )
}

runCommand(() => {
  const options = { commit: { type: 'string' } } as const
  const { values, words, isDryRun } = readArguments({ usage: USAGE, options, words: 100 })
  const commit = values.commit ?? findVersionBefore()
  console.log(`The code and the tests of ${String(git('log', '-1', '--format=%h (%s)', commit)).trim()}`)
  if (isDryRun) return

  // Next to the packages, so that it finds them. It looks for the servers in its own folder.
  const dir = mkdtempSync(join(ROOT, '.roster-older-'))
  const unpack = (...paths: string[]) =>
    execFileSync('tar', ['-x', '-C', dir], { input: git('archive', commit, ...paths) })
  try {
    unpack()
    mkdirSync(join(dir, 'node_modules'))
    symlinkSync(join(ROOT, 'node_modules/.bin'), join(dir, 'node_modules/.bin'))
    for (const path of OF_TODAY) {
      rmSync(join(dir, path), { recursive: true, force: true })
      cpSync(join(ROOT, path), join(dir, path), { recursive: true })
    }
    const failed = failuresOf(dir, words)
    if (failed.size === 0) return

    console.log('\nOnce more, on the migrations of that version')
    for (const path of OF_TODAY) rmSync(join(dir, path), { recursive: true, force: true })
    unpack(...OF_TODAY)
    const itsOwn = failuresOf(dir, [...failed.keys()])
    const ofTheSchema = [...failed].flatMap(([file, tests]) => {
      if (tests.length === 0) return itsOwn.has(file) ? [] : [file]
      const isNew = (test: string) => !itsOwn.get(file)?.includes(test) && !LISTS_THE_SCHEMA.test(test)
      return tests.filter(isNew).map((test) => `${file}: ${test}`)
    })
    if (ofTheSchema.length > 0)
      throw new Error(`That version fails here on the schema of today:\n${ofTheSchema.join('\n')}`)
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
})
