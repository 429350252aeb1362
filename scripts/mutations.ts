import { spawnSync } from 'node:child_process'
import { globSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { readArguments, runCommand } from './command.ts'
import { findMutants, type Mutant } from './mutants.ts'

const USAGE = `npm run test:mutations -- --folder src/recovery

Leaves out each guard and each condition of a write, one at a time, runs the tests that could notice, and lists what
none of them noticed. What may go unnoticed is listed in scripts/mutations.json, with its reason.

  --folder <path>   a folder or a file below src; may be repeated
  --near            only the tests nearby, not the whole of test:fast for what they did not notice
  --dry-run         lists what would be left out`

const ROOT = resolve(import.meta.dirname, '..')

/** The tests closest to a folder or a file. They run first, as they notice most. */
const NEAR: Record<string, string[]> = {
  access: ['authorisation', 'factors/', 'auth/', 'pages/cookie-api', 'oauth/'],
  account: ['pages/', 'factors/pages', 'refusals'],
  activity: ['activity', 'visibility', 'stats', 'export'],
  'api-keys': ['oauth/keys', 'oauth/key-tokens', 'pages/keys', 'authorisation'],
  auth: ['auth/', 'factors/', 'mail/whose-account', 'codes'],
  bulk: ['bulk', 'export-tables', 'authorisation'],
  challenges: ['factors/'],
  cleanup: ['cleanup', 'erasure'],
  consent: ['openid/', 'pages/apps'],
  console: ['pages/', 'managing', 'refusals'],
  crypto: ['key-rotation', 'config', 'auth/access-tokens'],
  database: ['read-then-write', 'bulk-writes', 'faults/late-sends', 'faults/unknown-outcomes'],
  factors: ['factors/'],
  identities: ['identities/', 'refusals'],
  idempotency: ['users', 'input', 'erasure'],
  invitations: ['mail/invitations', 'authorisation', 'bulk'],
  links: ['mail/', 'pages/links', 'factors/proof-on-demand'],
  mail: ['mail/', 'system'],
  oauth: ['oauth/', 'openid/', 'authorisation'],
  passkeys: ['factors/'],
  passwords: ['auth/'],
  'recovery/email-change': ['mail/email-change', 'mail/undo'],
  'recovery/reset': ['mail/recovery', 'auth/lockout'],
  'recovery/unlock': ['auth/lockout', 'mail/recovery'],
  'recovery/verify': ['mail/verification', 'mail/whose-account'],
  recovery: ['mail/', 'auth/passwords', 'auth/lockout', 'read-then-write', 'refusals'],
  sessions: ['auth/', 'pages/', 'factors/', 'users', 'authorisation', 'oauth/', 'openid/'],
  signin: ['pages/', 'openid/', 'identities/', 'mail/pages', 'factors/pages'],
  system: ['system', 'faults/upstreams'],
  throttle: ['auth/', 'openid/device', 'pages/bot-challenge', 'mail/counted', 'mail/limits', 'factors/totp'],
  users: ['users', 'managing', 'authorisation', 'read-then-write', 'erasure', 'listing', 'export', 'mail/'],
}

interface Reason {
  file: string
  text: string
  reason: string
}

const allowed: Reason[] = JSON.parse(readFileSync(join(import.meta.dirname, 'mutations.json'), 'utf8'))
const isAllowed = ({ file, text }: Mutant) => allowed.some((one) => one.file === file && one.text === text)

/** Whether these tests fail with this left out; without a mutant, whether they fail at all. */
function isNoticed(tests: readonly string[], mutant?: Mutant): boolean {
  const { status, error } = spawnSync('vitest', ['run', '--bail=1', ...tests], {
    cwd: ROOT,
    stdio: 'ignore',
    env: { ...process.env, FAST: '1', MUTANT: mutant ? JSON.stringify(mutant) : '' },
  })
  if (error) throw error
  return status !== 0
}

const nearOf = (file: string) => {
  const places = Object.keys(NEAR).filter((place) => file.startsWith(`src/${place}`))
  // The most specific one.
  return NEAR[places.sort((a, b) => b.length - a.length)[0] ?? ''] ?? []
}
const toLine = ({ file, line, text }: Mutant) => `${file}:${line}  ${text}`

runCommand(() => {
  const options = { folder: { type: 'string', multiple: true }, near: { type: 'boolean' } } as const
  const { values, isDryRun } = readArguments({ usage: USAGE, options })
  const folders = (values.folder ?? ['src']).map((folder) => folder.replace(/\/$/, ''))
  const files = globSync('src/**/*.{ts,tsx}', { cwd: ROOT })
    .filter((file) => folders.some((folder) => file === folder || file.startsWith(`${folder}/`)))
    .filter((file) => !file.includes('/texts/'))
    .sort()
  const mutants = files.flatMap((file) => findMutants(file, readFileSync(join(ROOT, file), 'utf8')))
  if (mutants.length === 0) throw new Error(`There is nothing to leave out in ${folders.join(', ')}.`)
  if (isDryRun) return mutants.forEach((mutant) => void console.log(toLine(mutant)))

  const isBroken = [...new Set(files.map((file) => nearOf(file).join(' ')))].find(
    (tests) => tests && isNoticed(tests.split(' ')),
  )
  if (isBroken) throw new Error(`These tests fail with nothing left out: ${isBroken}`)

  const survivors = mutants.filter((mutant, at) => {
    const near = nearOf(mutant.file)
    const noticed =
      (near.length > 0 && isNoticed(near, mutant)) ||
      (!(values.near && near.length > 0) && isNoticed([], mutant))
    console.log(`${at + 1}/${mutants.length} ${noticed ? 'noticed ' : 'SURVIVED'} ${toLine(mutant)}`)
    return !noticed
  })
  const unexplained = survivors.filter((mutant) => !isAllowed(mutant))
  console.log(
    `\n${mutants.length} left out, ${survivors.length} unnoticed, ${unexplained.length} without a reason`,
  )
  for (const mutant of unexplained) console.log(toLine(mutant))
  if (unexplained.length > 0) process.exitCode = 1
})
