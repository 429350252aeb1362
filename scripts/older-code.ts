import { execFileSync, spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { readArguments, runCommand } from './command.ts'

const USAGE = `npm run test:older-code [-- --commit <commit>] [-- test/users.test.ts …]

While a migration is applied, and until the next deployment, the version before it runs. This takes the code and the
tests of that version, gives them the migrations of today, and runs them, with the packages that are here.

  --commit <commit>   another version than the last that did not have the newest migration
  --dry-run           says which that is`

const ROOT = resolve(import.meta.dirname, '..')
/** What is compared with the schema, and says of any later one that it is another; the rest is what a version does. */
const OF_THE_SCHEMA = ['test/erasure.test.ts', 'test/export-tables.test.ts']
/** The migrations, and what applies them. */
const OF_TODAY = ['drizzle', 'scripts/migrate.ts', 'scripts/migrations.ts', 'scripts/moves.ts']

const git = (...args: string[]) => execFileSync('git', args, { cwd: ROOT, maxBuffer: 2 ** 28 })

/** The parent of the commit that brought the newest migration. */
function findVersionBefore(): string {
  const newest = String(git('log', '-1', '--diff-filter=A', '--format=%H', '--', 'drizzle/*.sql')).trim()
  try {
    return String(git('rev-parse', '--short', `${newest}^`)).trim()
  } catch {
    throw new Error('There is no history here to take the version before from: git fetch --unshallow')
  }
}

runCommand(() => {
  const options = { commit: { type: 'string' } } as const
  const { values, words, isDryRun } = readArguments({ usage: USAGE, options, words: 100 })
  const commit = values.commit ?? findVersionBefore()
  console.log(`The code and the tests of ${String(git('log', '-1', '--format=%h (%s)', commit)).trim()}`)
  if (isDryRun) return

  // Below the packages, so that it finds them.
  mkdirSync(join(ROOT, 'dist'), { recursive: true })
  const dir = mkdtempSync(join(ROOT, 'dist/older-'))
  try {
    execFileSync('tar', ['-x', '-C', dir], { input: git('archive', commit) })
    for (const path of OF_TODAY) {
      rmSync(join(dir, path), { recursive: true, force: true })
      cpSync(join(ROOT, path), join(dir, path), { recursive: true })
    }
    const leftOut = OF_THE_SCHEMA.map((file) => `--exclude=${file}`)
    const { status, error } = spawnSync('vitest', ['run', '--project=worker', ...leftOut, ...words], {
      cwd: dir,
      stdio: 'inherit',
    })
    if (error) throw error
    if (status !== 0) throw new Error(`That version does not do on the schema of today what its tests say.`)
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
})
