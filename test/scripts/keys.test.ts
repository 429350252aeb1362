import { execFileSync, spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { parseEnv } from 'node:util'
import { createLocalJWKSet, importJWK, type JWK, jwtVerify, SignJWT } from 'jose'
import { describe, expect, test } from 'vitest'
import { generate, newSecret, rotateJwtKeys, rotateSecretKeys, STEPS, type Step } from '../../scripts/keys.ts'
import { configOf } from '../../src/config/main.ts'

const keysOf = (set: string): JWK[] => JSON.parse(set).keys
const sign = async (set: string) => {
  const [first] = keysOf(set)
  if (!first) throw new Error('an empty key set')
  return new SignJWT({})
    .setProtectedHeader({ alg: 'ES256', kid: first.kid ?? '' })
    .sign(await importJWK(first))
}
const verify = (token: string, set: string) => {
  const keys = keysOf(set).map(({ d, ...publicHalf }) => publicHalf)
  return jwtVerify(token, createLocalJWKSet({ keys }))
}

describe('keys', () => {
  test('generates a P-256 signing key and 32 random bytes', async () => {
    const { JWT_KEYS, SECRET_KEYS } = await generate()
    expect(keysOf(JWT_KEYS)).toEqual([
      expect.objectContaining({
        kty: 'EC',
        crv: 'P-256',
        alg: 'ES256',
        use: 'sig',
        kid: expect.any(String),
        d: expect.any(String),
      }),
    ])
    expect(Buffer.from(SECRET_KEYS, 'base64url')).toHaveLength(32)
  })

  test('rotates JWT_KEYS so that each deployment verifies what the one before it signed, and the reverse', async () => {
    const start = (await generate()).JWT_KEYS
    const published = await rotateJwtKeys(start, 'publish')
    const signing = await rotateJwtKeys(published, 'sign')
    const retired = await rotateJwtKeys(signing, 'retire')

    // Two neighbours run side by side while a deployment spreads.
    for (const [older, newer] of [
      [start, published],
      [published, signing],
      [signing, retired],
    ] as const) {
      await verify(await sign(newer), older)
    }
    for (const [older, newer] of [
      [start, published],
      [published, signing],
    ] as const) {
      await verify(await sign(older), newer)
    }
    expect(keysOf(published)[0]).toEqual(keysOf(start)[0])
    expect(keysOf(retired)).toEqual([keysOf(published)[1]])
    await expect(verify(await sign(start), retired)).rejects.toThrow()
  })

  test('rotates SECRET_KEYS in the same steps', async () => {
    const old = (await generate()).SECRET_KEYS
    const published = await rotateSecretKeys(old, 'publish')
    const [, fresh = ''] = published.split(',')
    expect(published).toBe(`${old},${fresh}`)
    expect(await rotateSecretKeys(published, 'sign')).toBe(`${fresh},${old}`)
    expect(await rotateSecretKeys(`${fresh},${old}`, 'retire')).toBe(fresh)
  })

  test('refuses to sign with a key that was never published', async () => {
    const { JWT_KEYS } = await generate()
    await expect(rotateJwtKeys(JWT_KEYS, 'sign')).rejects.toThrow('publish')
  })
})

describe('a step that is out of order', () => {
  const rotations = {
    JWT_KEYS: { turn: rotateJwtKeys, count: (value: string) => keysOf(value).length },
    SECRET_KEYS: { turn: rotateSecretKeys, count: (value: string) => value.split(',').length },
  }
  const names = ['JWT_KEYS', 'SECRET_KEYS'] as const

  test.each(names)(
    'CK2: %s: signing twice, or retiring what was not replaced, keeps no old key in secret',
    async (name) => {
      const { turn } = rotations[name]
      const start = (await generate())[name]
      const published = await turn(start, 'publish')
      await expect(turn(published, 'publish')).rejects.toThrow(/published already.*--step sign/)
      await expect(turn(published, 'retire')).rejects.toThrow(/signs nothing yet.*--step sign/)
      const signing = await turn(published, 'sign')
      await expect(turn(signing, 'sign')).rejects.toThrow('--step publish')
      const retired = await turn(signing, 'retire')
      await expect(turn(retired, 'retire')).rejects.toThrow('nothing to retire')
      expect(start).not.toContain(retired)
    },
  )

  test.each(names)('CK2: %s: a state is recognised wherever its entries are', async (name) => {
    const { turn, count } = rotations[name]
    let value = (await generate())[name]
    for (let round = 0; round < 4; round++)
      for (const step of ['publish', 'sign'] as const) value = await turn(value, step)
    expect(count(value)).toBe(5)
    expect(count(await turn(value, 'retire'))).toBe(1)
  })

  test('CK2: one entry without a date can be replaced; of two, nobody can tell which is newer', async () => {
    const [one, other] = [newSecret(), newSecret()]
    const published = await rotateSecretKeys(one, 'publish')
    expect(await rotateSecretKeys(await rotateSecretKeys(published, 'sign'), 'retire')).not.toContain(one)
    for (const step of ['sign', 'retire'] as const)
      await expect(rotateSecretKeys(`${one},${other}`, step)).rejects.toThrow('--step publish')
    const three = await rotateSecretKeys(`${one},${other}`, 'publish')
    expect(await rotateSecretKeys(await rotateSecretKeys(three, 'sign'), 'retire')).toBe(three.split(',')[2])
  })

  test('SC1: nine keys, an empty set and a value with its quotes are refused', async () => {
    let full = (await generate()).SECRET_KEYS
    for (let round = 1; round < 8; round++)
      full = await rotateSecretKeys(await rotateSecretKeys(full, 'publish'), 'sign')
    await expect(rotateSecretKeys(full, 'publish')).rejects.toThrow('--step retire')
    await expect(rotateSecretKeys(' , ', 'publish')).rejects.toThrow('There is no entry')
    await expect(rotateJwtKeys('{"keys":[]}', 'publish')).rejects.toThrow('There is no entry')
    for (const turn of [rotateJwtKeys, rotateSecretKeys])
      await expect(turn(`'${full}'`, 'publish')).rejects.toThrow('quotes')
    const settings = {
      ...(await generate()),
      TURSO_DATABASE_URL: 'http://127.0.0.1',
      TURSO_AUTH_TOKEN: newSecret(),
      UPSTASH_REDIS_REST_URL: 'http://127.0.0.1',
      UPSTASH_REDIS_REST_TOKEN: newSecret(),
      ISSUER: 'http://127.0.0.1',
    }
    expect(configOf({ ...settings, SECRET_KEYS: full }).SECRET_KEYS).toHaveLength(8)
    for (const SECRET_KEYS of [`${full},${newSecret()}`, `'${newSecret()}'`, ''])
      expect(() => configOf({ ...settings, SECRET_KEYS })).toThrow('SECRET_KEYS')
    for (const JWT_KEYS of ['{"keys":[]}', `'${settings.JWT_KEYS}'`])
      expect(() => configOf({ ...settings, JWT_KEYS })).toThrow('JWT_KEYS')
  })
})

describe('the command', () => {
  const script = join(import.meta.dirname, '../../scripts/keys.ts')
  const run = (args: string[], env: Record<string, string> = {}) =>
    parseEnv(
      execFileSync(process.execPath, [script, ...args], {
        env,
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'ignore'],
      }),
    )

  test('prints an env file that the next step can read', () => {
    let env = run(['generate']) as Record<string, string>
    const counts = STEPS.map((step: Step) => {
      env = run(['rotate', '--step', step], env) as Record<string, string>
      const algorithms = keysOf(env.OPENID_KEYS ?? '').map(({ alg }) => alg)
      return [keysOf(env.JWT_KEYS ?? '').length, env.SECRET_KEYS?.split(',').length, algorithms.join(' ')]
    })
    expect(counts).toEqual([
      [2, 2, 'RS256 RS256 ES256 ES256'],
      [2, 2, 'RS256 RS256 ES256 ES256'],
      [1, 1, 'RS256 ES256'],
    ])
  })

  const ask = (args: string[], env: Record<string, string> = {}) =>
    spawnSync(process.execPath, [script, ...args], { env, encoding: 'utf8' })

  test('CK2: says by date what is removed and becomes void; a dry run prints no key; what the Worker would refuse is not printed', async () => {
    const start = await generate()
    const published = run(['rotate', '--step', 'publish'], start) as Record<string, string>
    const signing = run(['rotate', '--step', 'sign'], published) as Record<string, string>
    const dry = ask(['rotate', '--step', 'retire', '--dry-run'], signing)
    expect([dry.status, dry.stdout]).toEqual([0, ''])
    for (const name of ['JWT_KEYS', 'OPENID_KEYS'])
      expect(dry.stderr).toMatch(
        new RegExp(`^${name}: the entry of \\d{4}-\\S+Z stays; the entry of \\d{4}-\\S+Z goes\\.$`, 'm'),
      )
    expect(dry.stderr).toMatch(
      /Void with what goes: sessions, mailed links, passwords and authenticator apps/,
    )
    expect(dry.stderr).toContain('whom the ledger knows as erased under it')
    expect(ask(['rotate', '--step', 'sign'], published).stderr).toContain('BACKUPS_KEPT_DAYS')
    expect(dry.stderr).toContain('put TURSO_DATABASE_URL into the environment')
    expect(dry.stderr).not.toContain(start.SECRET_KEYS.split('=')[0])

    const unreachable = { ...signing, TURSO_DATABASE_URL: 'http://127.0.0.1:1' }
    const refused = ask(['rotate', '--step', 'retire'], unreachable)
    expect([refused.status, refused.stdout]).toEqual([1, ''])
    expect(refused.stderr).toMatch(/so nothing is retired .* leave TURSO_DATABASE_URL out/)

    const early = ask(['rotate', '--step', 'sign', '--dry-run'], published)
    expect(early.stderr).toMatch(/TOO EARLY: .* Do not deploy this before \d{4}-\S+Z/)
    const stamp = /\d{8}T\d{6}Z/g
    const aged = JSON.parse(JSON.stringify(published).replace(stamp, (one) => `2020${one.slice(4)}`))
    expect(ask(['rotate', '--step', 'sign', '--dry-run'], aged).stderr).not.toContain('TOO EARLY')

    const late = ask(['rotate', '--step', 'sign'], signing)
    expect([late.status, late.stdout, late.stderr]).toEqual([
      1,
      '',
      expect.stringMatching(/^JWT_KEYS: No entry is newer/),
    ])
    const weak = ask(['rotate', '--step', 'publish'], { SECRET_KEYS: 'a'.repeat(64) })
    expect([weak.status, weak.stdout, weak.stderr]).toEqual([1, '', expect.stringContaining('SECRET_KEYS')])
    expect(ask(['generate', '--setp', 'sign']).status).toBe(1)
    expect(ask(['--help'])).toMatchObject({ status: 0, stdout: expect.stringContaining('--step') })
  })

  test.each([[[]], [['rotate']], [['rotate', '--step', 'jump']], [['rotate', '--step', 'publish']]])(
    'says what it needs when given %j and no keys',
    (args) => {
      const { status, stderr } = spawnSync(process.execPath, [script, ...args], { env: {}, encoding: 'utf8' })
      expect(status).toBe(1)
      expect(stderr).not.toMatch(/\n {4}at /)
    },
  )
})
