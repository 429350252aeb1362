import { globSync, readFileSync } from 'node:fs'
import { join, relative, resolve } from 'node:path'
import { createClient } from '@libsql/client/http'
import { createVitest, type TestSpecification, type Vitest } from 'vitest/node'
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

/** Empties the database and Redis: most tests count on nobody but themselves, and have run before. */
async function forget(vitest: Vitest): Promise<void> {
  const { bindings } = vitest.projects[0]!.getProvidedContext()
  // Before the first run there is nothing yet.
  if (!bindings) return
  const redis = await fetch(bindings.UPSTASH_REDIS_REST_URL!, {
    method: 'POST',
    headers: { authorization: `Bearer ${bindings.UPSTASH_REDIS_REST_TOKEN}` },
    body: '["FLUSHALL"]',
  })
  if (!redis.ok) throw new Error(`Redis answered ${redis.status}.`)
  const client = createClient({ url: bindings.TURSO_DATABASE_URL! })
  // What migrations have filled stays, and so does the history, which a trigger keeps.
  const { rows } = await client.execute(
    `SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '%fts%' AND name NOT LIKE 'sqlite%'
      AND name NOT LIKE '\\_%' ESCAPE '\\' AND name NOT IN ('user_totals', 'system_state')
      AND name NOT GLOB '*activity*'`,
  )
  await client.batch(
    ['PRAGMA defer_foreign_keys = ON', ...rows.map(({ name }) => `DELETE FROM ${name}`)],
    'write',
  )
  client.close()
}

/** Starts the upstreams and Vitest once: what is left out changes from run to run, and only its file is read again. */
async function startTests() {
  process.env.FAST = '1'
  process.env.MUTANT = ''
  const failed: string[] = []
  let errors: readonly unknown[] = []
  const vitest = await createVitest({
    watch: false,
    bail: 1,
    reporters: [
      {
        onTestModuleEnd: (module) => void (module.ok() || failed.push(module.moduleId)),
        onTestRunEnd: (_modules, unhandled) => {
          errors = unhandled
        },
      },
    ],
  })
  const specifications = await vitest.globTestSpecifications()

  /** The test file that fails first with this left out; without a mutant, the one that fails at all. */
  async function firstToFail(tests: TestSpecification[], mutant?: Mutant): Promise<string | undefined> {
    if (tests.length === 0) return undefined
    failed.length = 0
    process.env.MUTANT = mutant ? JSON.stringify(mutant) : ''
    if (mutant) vitest.invalidateFile(join(ROOT, mutant.file))
    await forget(vitest)
    await vitest.runTestSpecifications(tests)
    if (mutant) vitest.invalidateFile(join(ROOT, mutant.file))
    return failed[0] ?? (errors.length > 0 ? tests[0]!.moduleId : undefined)
  }
  return { specifications, firstToFail, close: () => vitest.close() }
}

const nearOf = (file: string) => {
  const places = Object.keys(NEAR).filter((place) => file.startsWith(`src/${place}`))
  // The most specific one.
  return NEAR[places.sort((a, b) => b.length - a.length)[0] ?? ''] ?? []
}
const toLine = ({ file, line, text }: Mutant) => `${file}:${line}  ${text}`

runCommand(async () => {
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

  const { specifications, firstToFail, close } = await startTests()
  const nearTests = (file: string) => {
    const near = nearOf(file)
    return specifications.filter(({ moduleId }) => near.some((part) => moduleId.includes(`/test/${part}`)))
  }
  try {
    const broken = await firstToFail([...new Set(files.flatMap(nearTests))])
    if (broken) throw new Error(`${relative(ROOT, broken)} fails with nothing left out.`)

    /** By file of the source: the tests that have noticed something there, the latest first. They are tried first. */
    const noticedBy = new Map<string, TestSpecification[]>()
    const survivors: Mutant[] = []
    for (const [at, mutant] of mutants.entries()) {
      const latest = noticedBy.get(mutant.file) ?? []
      const near = nearTests(mutant.file)
      const groups = [
        latest.slice(0, 2),
        latest.slice(2, 6),
        near.filter((test) => !latest.slice(0, 6).includes(test)),
        values.near && near.length > 0 ? [] : specifications.filter((test) => !near.includes(test)),
      ]
      let noticer: string | undefined
      for (const group of groups) noticer ??= await firstToFail(group, mutant)
      const by = specifications.find(({ moduleId }) => moduleId === noticer)
      if (by) noticedBy.set(mutant.file, [by, ...latest.filter((test) => test !== by)])
      else survivors.push(mutant)
      const verdict = by ? `noticed by ${relative(join(ROOT, 'test'), by.moduleId)} ` : 'SURVIVED'
      console.log(`${at + 1}/${mutants.length} ${verdict}  ${toLine(mutant)}`)
    }
    const unexplained = survivors.filter((mutant) => !isAllowed(mutant))
    console.log(
      `\n${mutants.length} left out, ${survivors.length} unnoticed, ${unexplained.length} without a reason`,
    )
    for (const mutant of unexplained) console.log(toLine(mutant))
    process.exitCode = unexplained.length > 0 ? 1 : 0
  } finally {
    await close()
  }
})
