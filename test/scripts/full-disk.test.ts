import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sql } from 'drizzle-orm'
import { afterAll, expect, test, vi } from 'vitest'
import { generate, newSecret } from '../../scripts/keys.ts'
import { startSqld } from '../../scripts/local/sqld.ts'
import { migrate } from '../../scripts/migrate.ts'
import { signUp } from '../../src/auth/signup.ts'
import { openResources } from '../../src/context.ts'
import { openMeter } from '../../src/database/meter.ts'
import { AppError } from '../../src/http/problem.ts'
import { lookAtChecks } from '../../src/system/checks.ts'
import { PER_MINUTE } from '../../src/throttle/limits.ts'

/** A file system of a few megabytes, if we may mount one. */
function mountSmall(): string | undefined {
  const dir = mkdtempSync(join(tmpdir(), 'roster-full-'))
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=16m', 'tmpfs', dir], { stdio: 'ignore' })
    return dir
  } catch {
    rmSync(dir, { recursive: true })
    return undefined
  }
}
const dir = mountSmall()
const closers: (() => Promise<unknown>)[] = []
afterAll(async () => {
  for (const close of closers) await close()
  if (dir) execFileSync('umount', ['-l', dir])
})

const LIMITS = Object.fromEntries(
  Object.keys(PER_MINUTE).map((name) => [name, { limit: async () => ({ success: true }) }]),
)

test.skipIf(dir === undefined)(
  'Fault 4, HX17: a disk that is really full is a 503 of half a minute, and nothing is lost or half done (skipped where no file system may be mounted)',
  async () => {
    const sqld = await startSqld({ dir: join(dir!, 'database') })
    closers.push(sqld.close)
    await migrate(sqld.url)
    const env = {
      ...(await generate()),
      TURSO_DATABASE_URL: sqld.url,
      TURSO_AUTH_TOKEN: 'local',
      UPSTASH_REDIS_REST_URL: 'http://127.0.0.1:1',
      UPSTASH_REDIS_REST_TOKEN: newSecret(),
      ISSUER: 'https://roster.test',
      ...LIMITS,
    }
    vi.spyOn(console, 'error').mockImplementation(() => {})
    vi.spyOn(console, 'warn').mockImplementation(() => {})
    const open = () => {
      const origin = {
        requestId: crypto.randomUUID(),
        ip: '192.0.2.1',
        userAgent: null,
        country: null,
        language: 'en' as const,
      }
      return openResources(env, openMeter(), origin, () => {})
    }
    const signUpAs = (name: string) =>
      signUp(
        open(),
        { email: `${name}@people.test`, name, password: 'seven brown foxes read' },
        undefined,
      ).then(
        ({ status }) => status,
        (error) =>
          error instanceof AppError ? [error.status, error.code, error.headers['retry-after']] : error,
      )
    expect(await signUpAs('before')).toBe(201)

    const ballast = join(dir!, 'ballast')
    for (let size = 1 << 20; size >= 512; size >>= 1) fill(ballast, size)
    const refused = []
    for (let i = 0; i < 5; i++) refused.push(await signUpAs(`during-${i}`))
    expect(refused).toEqual(Array(5).fill([503, 'database_unavailable', '30']))
    const { checks } = await lookAtChecks(open(), env as never)
    expect(checks).toContainEqual({ name: 'disk', status: 'failed' })

    rmSync(ballast)
    expect(await signUpAs('after')).toBe(201)
    const { people } = await open().db.read({
      people: sql<{ email: string }>`SELECT email FROM users ORDER BY id`,
    })
    expect(people.map(({ email }) => email)).toEqual(['before@people.test', 'after@people.test'])
  },
)

/** Writes until fewer than this many bytes are free. */
function fill(file: string, bytes: number): void {
  for (;;) {
    try {
      writeFileSync(file, Buffer.alloc(bytes, 'x'), { flag: 'a' })
    } catch {
      return
    }
  }
}
