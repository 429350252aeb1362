import { execFileSync, spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { parseEnv } from 'node:util'
import { createLocalJWKSet, importJWK, type JWK, jwtVerify, SignJWT } from 'jose'
import { describe, expect, test } from 'vitest'
import { generate, rotateJwtKeys, rotateSecretKeys, STEPS, type Step } from '../../scripts/keys.ts'

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
      return [keysOf(env.JWT_KEYS ?? '').length, env.SECRET_KEYS?.split(',').length]
    })
    expect(counts).toEqual([
      [2, 2],
      [2, 2],
      [1, 1],
    ])
  })

  test.each([[[]], [['rotate']], [['rotate', '--step', 'jump']], [['rotate', '--step', 'publish']]])(
    'says what it wants when given %j and no keys',
    (args) => {
      const { status, stderr } = spawnSync(process.execPath, [script, ...args], { env: {}, encoding: 'utf8' })
      expect(status).toBe(1)
      expect(stderr).not.toMatch(/\n {4}at /)
    },
  )
})
