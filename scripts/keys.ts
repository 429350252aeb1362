import { randomBytes } from 'node:crypto'
import { parseArgs } from 'node:util'
import { calculateJwkThumbprint, exportJWK, generateKeyPair, type JWK } from 'jose'
import { weaknessOfSecret } from '../src/config/checks.ts'

/**
 * The two secrets that are lists. In both the first entry signs and every entry verifies, so both rotate the same
 * way, in three deployments that nobody notices:
 *
 * - `publish` adds a new entry last: every location knows it before anything is signed with it;
 * - `sign` moves the last entry to the front;
 * - `retire` keeps only the first.
 */
export const STEPS = ['publish', 'sign', 'retire'] as const
export type Step = (typeof STEPS)[number]

const WHAT_NEXT: Record<Step, string> = {
  publish:
    'New entries added last: they verify, and sign nothing yet. Deploy, wait 10 minutes, then: --step sign',
  sign: 'The newest entries are first and sign. Deploy, then, when nothing signed before is in use: --step retire',
  retire: 'Only the first entries are left: what any other signed is void once this is deployed.',
}
const WHEN_TO_RETIRE = `
JWT_KEYS: 10 minutes after "sign", the life of an access token.
SECRET_KEYS: it signs refresh tokens (they live up to 30 days) and peppers passwords. A password is peppered anew when
its owner logs in; whoever has not logged in since "sign" needs a new password after "retire". Keep the old one for long.
To retire only one of the two, leave the other out of the environment.`

/** Chance may make one that looks like words, once in a million. */
export function newSecret(): string {
  const secret = randomBytes(32).toString('base64url')
  return weaknessOfSecret(secret) ? newSecret() : secret
}

export async function newJwk(): Promise<JWK> {
  const { privateKey } = await generateKeyPair('ES256', { extractable: true })
  const jwk = await exportJWK(privateKey)
  return { ...jwk, kid: await calculateJwkThumbprint(jwk), alg: 'ES256', use: 'sig' }
}

export async function generate() {
  return { JWT_KEYS: JSON.stringify({ keys: [await newJwk()] }), SECRET_KEYS: newSecret() }
}

export async function rotate<T>(entries: T[], step: Step, fresh: () => T | Promise<T>): Promise<T[]> {
  if (step === 'publish') return [...entries, await fresh()]
  if (step === 'sign' && entries.length < 2)
    throw new Error('There is no second entry to sign with: --step publish is first.')
  return step === 'sign' ? [...entries.slice(-1), ...entries.slice(0, -1)] : entries.slice(0, 1)
}

export async function rotateJwtKeys(current: string, step: Step) {
  const { keys }: { keys: JWK[] } = JSON.parse(current)
  return JSON.stringify({ keys: await rotate(keys, step, newJwk) })
}

export async function rotateSecretKeys(current: string, step: Step) {
  return (
    await rotate(
      current.split(',').map((key) => key.trim()),
      step,
      newSecret,
    )
  ).join(',')
}

/** Values go to standard output, as lines of an env file; advice goes to standard error. */
function print(values: Record<string, string>, advice: string) {
  const names = Object.keys(values)
  for (const name of names) console.log(`${name}='${values[name]}'`)
  console.error(`\n${advice}\n\n${names.map((name) => `  npx wrangler secret put ${name}`).join('\n')}`)
  console.error(
    '\nEach asks for its value: what stands between the quotes. Keep a copy where you keep secrets.',
  )
}

async function main() {
  const { positionals, values } = parseArgs({ allowPositionals: true, options: { step: { type: 'string' } } })
  if (positionals[0] === 'generate') return print(await generate(), 'Fresh secrets, for a first deployment.')

  const step = STEPS.find((name) => name === values.step)
  if (positionals[0] !== 'rotate' || !step)
    throw new Error(`Say "generate", or "rotate --step ${STEPS.join('|')}".`)
  const { JWT_KEYS, SECRET_KEYS } = process.env
  if (!JWT_KEYS && !SECRET_KEYS)
    throw new Error('Put the current JWT_KEYS, SECRET_KEYS or both into the environment.')
  const rotated = {
    ...(JWT_KEYS && { JWT_KEYS: await rotateJwtKeys(JWT_KEYS, step) }),
    ...(SECRET_KEYS && { SECRET_KEYS: await rotateSecretKeys(SECRET_KEYS, step) }),
  }
  print(rotated, step === 'sign' ? WHAT_NEXT.sign + WHEN_TO_RETIRE : WHAT_NEXT[step])
}

if (import.meta.main) {
  main().catch((error: Error) => {
    console.error(error.message)
    process.exitCode = 1
  })
}
