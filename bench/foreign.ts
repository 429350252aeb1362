import { randomBytes } from 'node:crypto'
import { cpus, loadavg } from 'node:os'
import { buildBundle } from './bundle.ts'
import { openStage } from './stage.ts'
import { startWorker } from './workerd.ts'

/**
 * What a login costs in workerd when its hash comes from other software, for the table of
 * docs/foreign-hashes.md: `npm run bench:foreign`. It reports processor time, less that of a login with a
 * trivial hash, so that other work on the machine does not matter. No password matches the hashes, and a
 * mismatch takes just as long.
 */
const TIMES = 3
const ADMIN = 7

const standard = (bytes: number) => randomBytes(bytes).toString('base64')
const bare = (bytes: number) => standard(bytes).replace(/=+$/, '')
const bcrypt = (cost: number) => `$2b$${cost}$${randomBytes(26).toString('hex')}a`
const argon2 = (kib: number, passes: number, lanes: number) =>
  `$argon2id$v=19$m=${kib},t=${passes},p=${lanes}$${bare(16)}$${bare(32)}`
const scrypt = (n: number, p: number) =>
  `scrypt:${n}:8:${p}$${'s'.repeat(16)}$${randomBytes(64).toString('hex')}`
const pbkdf2 = (digest: string, rounds: number, bytes: number) =>
  `$pbkdf2-${digest}$i=${rounds}$${bare(16)}$${bare(bytes)}`

/** The others are compared with the first. */
const HASHES: [name: string, make: () => string][] = [
  ['nothing to speak of', () => pbkdf2('sha256', 1, 32)],
  ...[10, 12, 13].map((cost): [string, () => string] => [`bcrypt, cost ${cost}`, () => bcrypt(cost)]),
  ['argon2id, 19 MiB, 2 passes (OWASP)', () => argon2(19_456, 2, 1)],
  ['argon2id, 64 MiB, 3 passes (argon2-cffi, pwdlib)', () => argon2(65_536, 3, 4)],
  ['argon2id, 64 MiB, 4 passes', () => argon2(65_536, 4, 1)],
  ['scrypt, N=2^15, r=8, p=1 (Werkzeug)', () => scrypt(2 ** 15, 1)],
  ['scrypt, N=2^16, r=8, p=2', () => scrypt(2 ** 16, 2)],
  ...[600_000, 1_200_000, 1_800_000].map((rounds): [string, () => string] => [
    `PBKDF2-SHA256, ${rounds} rounds`,
    () => pbkdf2('sha256', rounds, 32),
  ]),
  ['PBKDF2-SHA512, 210,000 rounds (Keycloak)', () => pbkdf2('sha512', 210_000, 64)],
  ['PBKDF2-SHA512, 700,000 rounds', () => pbkdf2('sha512', 700_000, 64)],
  ['PBKDF2-SHA1, 100,000 rounds', () => pbkdf2('sha1', 100_000, 20)],
]

const stage = await openStage('by-size')
await stage.grow(100, 0)
const worker = await startWorker({ modules: buildBundle().modules, bindings: stage.bindings })
const post = async (path: string, body: object, headers: object = {}) => {
  const answer = await fetch(`${worker.url}${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  })
  return { status: answer.status, body: await answer.json() }
}
try {
  const authorization = `Bearer ${await stage.tokens.accessOf(ADMIN, 'admin')}`
  const took: number[] = []
  for (const [index, [name, make]] of HASHES.entries()) {
    const email = `foreign-${index}@import.test`
    const line = { email, email_verified: true, password_hash: make() }
    const made = await post('/v1/users/import', line, {
      authorization,
      'content-type': 'application/x-ndjson',
    })
    const [{ status, needs_reset }] = (made.body as { data: [{ status: string; needs_reset?: true }] }).data
    if (status !== 'created' || needs_reset) throw new Error(`${name}: ${JSON.stringify(made.body)}`)
    const all: number[] = []
    for (let time = 0; time < TIMES; time++) {
      const before = worker.cpuMs()
      // Each from another network: one that fails again and again has to wait.
      const from = { 'cf-connecting-ip': `10.${index}.${time}.1` }
      const answer = await post('/v1/auth/login', { email, password: 'another than theirs' }, from)
      if (answer.status !== 401) throw new Error(`${name}: ${answer.status} ${JSON.stringify(answer.body)}`)
      all.push(worker.cpuMs() - before)
    }
    took.push(Math.min(...all))
    console.log(`${String(Math.round(took[index]! - took[0]!)).padStart(6)} ms  ${name}`)
  }
  console.log(`${cpus().length} cores of ${cpus()[0]?.model.trim()}, load ${loadavg()[0]!.toFixed(1)}`)
} finally {
  await worker.close()
  await stage.close()
}
