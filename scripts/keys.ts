import { randomBytes } from 'node:crypto'
import { calculateJwkThumbprint, exportJWK, generateKeyPair, type JWK } from 'jose'
import { weaknessOfSecret } from '../src/config/checks.ts'
import { ConfigError, configOf } from '../src/config/main.ts'
import { readArguments, runCommand } from './command.ts'
import { findPasswordsLost } from './lost-passwords.ts'

/**
 * The secrets that are lists. In each, the first entry signs and every entry verifies, so all rotate the same way, in
 * three deployments that nobody notices:
 *
 * - `publish` appends a new entry: every location knows it before anything is signed with it;
 * - `sign` moves that entry to the front;
 * - `retire` keeps only the first.
 *
 * Each entry carries the time it was made, which tells what it is wherever it stands: one that is newer than the
 * first has been published and signs nothing yet; any other behind the first has signed before. A step that does not
 * fit is refused. Otherwise a leaked key could stay while its owner believes it gone.
 */
export const STEPS = ['publish', 'sign', 'retire'] as const
export type Step = (typeof STEPS)[number]

const USAGE = `npm run keys:generate
npm run keys:rotate -- --step ${STEPS.join('|')}

Prints JWT_KEYS, OPENID_KEYS, SECRET_KEYS and HISTORY_KEY as lines of an env file: fresh ones, or the first three of the
deployment one step on. A new HISTORY_KEY goes in front of the old, by hand: nothing that it signed ever becomes void.

  --step      publish adds a new entry, sign makes it the one that signs, retire drops the others
  --dry-run   says what would become of each entry, and prints none

Before retiring SECRET_KEYS, the database is asked whose passwords would be lost: TURSO_DATABASE_URL (and
TURSO_AUTH_TOKEN) say which one. While an authenticator app or a webhook's secret is under a key that goes, nothing is
retired. A database that does not answer stops it; without TURSO_DATABASE_URL none is asked.`

/** How long verifiers cache the published keys (system/routes.ts). */
const KNOWN_AFTER_SECONDS = 600

const WHAT_NEXT: Record<Step, string> = {
  publish: 'It verifies, and signs nothing yet. Deploy, wait 10 minutes, then: --step sign',
  sign: 'Deploy, then, when nothing signed before is in use: --step retire',
  retire: 'This holds once it is deployed.',
}
const WHEN_TO_RETIRE = `
JWT_KEYS: 10 minutes after "sign", the life of an access token. OPENID_KEYS likewise: that of an ID token.
SECRET_KEYS: it signs refresh tokens (they live up to 30 days) and peppers passwords. A password is peppered anew when
its owner logs in, authenticator apps and secrets of webhooks are put under it by cron; whoever has not logged in
since "sign" needs a new password after "retire". Keep the old one for a long time: the ledger knows those who were erased
before "sign" only under the old one, and needs it as long as backups are kept (BACKUPS_KEPT_DAYS).
To retire only one of them, name a copy of the file without the lines of the others: --settings COPY. The file itself
keeps every line, as it may have the only copy.`
const WHAT_BECOMES_VOID = {
  OPENID_KEYS: 'hints that apps give when they sign somebody out',
  JWT_KEYS: 'access tokens that it signed',
  SECRET_KEYS:
    'sessions, mailed links, passwords and authenticator apps that were last made with it, and the people whom the ledger knows as erased under it',
} as const
type Name = keyof typeof WHAT_BECOMES_VOID

/** The most that `JWT_KEYS` may have. */
const MAX_ENTRIES = 8

/** Once in a million, a random one looks like words, and is made again. */
export function newSecret(): string {
  const secret = randomBytes(32).toString('base64url')
  return weaknessOfSecret(secret) ? newSecret() : secret
}

/** To the second, in the basic format of ISO 8601: `20261128T153012Z`. */
const STAMP = /\d{8}T\d{6}Z/
const toStamp = (seconds: number) => new Date(seconds * 1000).toISOString().replace(/[-:]|\.\d+/g, '')

const toTime = (seconds: number) => new Date(seconds * 1000).toISOString().replace('.000', '')

/** When an entry was made, in epoch seconds. One without a date counts as older than any with a date. */
function madeAt(text: string | undefined): number {
  const [stamp] = STAMP.exec(text ?? '') ?? []
  if (!stamp) return Number.NEGATIVE_INFINITY
  const [, y, mo, d, h, mi, s] = /(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)/.exec(stamp) ?? []
  return Date.parse(`${y}-${mo}-${d}T${h}:${mi}:${s}Z`) / 1000
}

const nowSeconds = () => Math.floor(Date.now() / 1000)

async function newKey(alg: 'ES256' | 'RS256', seconds: number): Promise<JWK> {
  const { privateKey } = await generateKeyPair(alg, { extractable: true })
  const jwk = await exportJWK(privateKey)
  return { ...jwk, kid: `${toStamp(seconds)}-${await calculateJwkThumbprint(jwk)}`, alg, use: 'sig' }
}

export const newJwk = (seconds = nowSeconds()) => newKey('ES256', seconds)

/** ID tokens need two keys: RS256, which every client knows, and ES256 for clients that ask for it. */
const OPENID_ALGORITHMS = ['RS256', 'ES256'] as const
const newOpenIdKeys = (seconds = nowSeconds()) =>
  Promise.all(OPENID_ALGORITHMS.map((alg) => newKey(alg, seconds)))

/** The date stands where base64 would have its padding, so what precedes it still decodes to 32 bytes. */
const newSecretEntry = (seconds = nowSeconds()) => `${newSecret()}=${toStamp(seconds)}`

export async function generate() {
  return {
    JWT_KEYS: JSON.stringify({ keys: [await newJwk()] }),
    OPENID_KEYS: JSON.stringify({ keys: await newOpenIdKeys() }),
    SECRET_KEYS: newSecretEntry(),
  }
}

/** A deployment also has a key that seals its history. */
export const generateAll = async () => ({ ...(await generate()), HISTORY_KEY: newSecretEntry() })

interface Kind<T> {
  /** The text that has the entry's date. */
  dated(entry: T): string | undefined
  make(seconds: number): T | Promise<T>
}

interface Rotated<T> {
  entries: T[]
  /** What was done, as a sentence that names the dates. */
  said: string
  gone: T[]
}

export async function rotate<T>(entries: T[], step: Step, { dated, make }: Kind<T>): Promise<Rotated<T>> {
  const ageOf = (entry: T | undefined) => madeAt(entry && dated(entry))
  const name = (entry: T | undefined) => {
    const seconds = ageOf(entry)
    return Number.isFinite(seconds) ? `the entry of ${toTime(seconds)}` : 'the entry without a date'
  }
  const [signing, ...others] = entries
  if (signing === undefined) throw new Error('There is no entry.')
  const waiting = others.filter((entry) => ageOf(entry) > ageOf(signing))
  const isUnclear = !Number.isFinite(ageOf(signing)) && others.some((entry) => !Number.isFinite(ageOf(entry)))
  const unclear =
    'Of several entries without a date nobody can tell which is newer: --step publish adds one with a date.'

  if (step === 'publish') {
    if (waiting.length)
      throw new Error(`${name(waiting[0])} is published already, and signs nothing yet: --step sign is next.`)
    if (entries.length >= MAX_ENTRIES)
      throw new Error(`There are ${entries.length} entries already: --step retire is next.`)
    const newest = Math.max(...entries.map(ageOf))
    const fresh = await make(Math.max(nowSeconds(), Number.isFinite(newest) ? newest + 1 : 0))
    return { entries: [...entries, fresh], said: `${name(fresh)} is new, ${name(signing)} signs.`, gone: [] }
  }
  if (step === 'sign') {
    const next = waiting.toSorted((one, other) => ageOf(one) - ageOf(other)).at(-1)
    if (next === undefined)
      throw new Error(
        isUnclear
          ? unclear
          : `No entry is newer than the one that signs (${name(signing)}): --step publish is first.`,
      )
    const knownAt = ageOf(next) + KNOWN_AFTER_SECONDS
    const early = `\n  TOO EARLY: it was published less than 10 minutes ago, and verifiers may not know it yet. Do not deploy this before ${toTime(knownAt)}.`
    return {
      entries: [next, ...entries.filter((entry) => entry !== next)],
      said: `${name(next)} signs now; ${name(signing)} verifies.${nowSeconds() < knownAt ? early : ''}`,
      gone: [],
    }
  }
  if (waiting.length)
    throw new Error(`${name(waiting[0])} signs nothing yet, and would be thrown away: --step sign is first.`)
  if (others.length === 0)
    throw new Error(
      `${name(signing)} is the only one: there is nothing to retire. --step publish begins a rotation.`,
    )
  if (isUnclear) throw new Error(unclear)
  return {
    entries: [signing],
    said: `${name(signing)} stays; ${others.map(name).join(', ')} goes.`,
    gone: others,
  }
}

const JWT_KIND: Kind<JWK> = { dated: ({ kid }) => kid, make: newJwk }
const SECRET_KIND: Kind<string> = { dated: (entry) => entry.split('=')[1], make: newSecretEntry }

function unquoted(value: string): string {
  if (/^["']|["']$/.test(value.trim()))
    throw new Error('its quotes belong to the file: paste what stands between them.')
  return value
}

function readKeySet(current: string): JWK[] {
  const text = unquoted(current)
  let set: { keys?: JWK[] }
  try {
    set = JSON.parse(text)
  } catch {
    throw new Error('it is not JSON. Was it cut when it was copied?')
  }
  if (!Array.isArray(set.keys)) throw new Error('it is not a key set: {"keys":[…]}.')
  return set.keys
}

const readSecrets = (current: string) =>
  unquoted(current)
    .split(',')
    .map((key) => key.trim())
    .filter(Boolean)

const STEP_ON = {
  async JWT_KEYS(current: string, step: Step) {
    const { entries, said } = await rotate(readKeySet(current), step, JWT_KIND)
    return {
      value: JSON.stringify({ keys: entries }),
      said,
      goneSecrets: [] as string[],
      kept: [] as string[],
    }
  },
  /** Each algorithm by itself, in step. */
  async OPENID_KEYS(current: string, step: Step) {
    const keys = readKeySet(current)
    const kinds = await Promise.all(
      OPENID_ALGORITHMS.map((alg) =>
        rotate(
          keys.filter((key) => key.alg === alg),
          step,
          { ...JWT_KIND, make: (seconds) => newKey(alg, seconds) },
        ),
      ),
    )
    return {
      value: JSON.stringify({ keys: kinds.flatMap(({ entries }) => entries) }),
      // Usually both have the same dates, and there is one thing to say.
      said: [...new Set(kinds.map(({ said }) => said))].join(' '),
      goneSecrets: [] as string[],
      kept: [] as string[],
    }
  },
  async SECRET_KEYS(current: string, step: Step) {
    const { entries, said, gone } = await rotate(readSecrets(current), step, SECRET_KIND)
    return { value: entries.join(','), said, goneSecrets: gone, kept: entries }
  },
}

export const rotateJwtKeys = async (current: string, step: Step) =>
  (await STEP_ON.JWT_KEYS(current, step)).value
export const rotateSecretKeys = async (current: string, step: Step) =>
  (await STEP_ON.SECRET_KEYS(current, step)).value

/** Refuses, before anything is printed, what the Worker would refuse. */
async function checkAsTheWorkerDoes(values: Partial<Record<Name, string>>) {
  const others = {
    TURSO_DATABASE_URL: 'http://127.0.0.1',
    TURSO_AUTH_TOKEN: newSecret(),
    UPSTASH_REDIS_REST_URL: 'http://127.0.0.1',
    UPSTASH_REDIS_REST_TOKEN: newSecret(),
    ISSUER: 'http://127.0.0.1',
  }
  try {
    configOf({ ...(await generate()), ...others, ...values })
  } catch (error) {
    throw error instanceof ConfigError ? new Error(error.sentences.join('\n')) : error
  }
}

/** Values go to standard output, as lines of an env file; advice goes to standard error. */
function print(values: Partial<Record<Name | 'HISTORY_KEY', string>>, advice: string) {
  const names = Object.keys(values) as (keyof typeof values)[]
  for (const name of names) console.log(`${name}='${values[name]}'`)
  console.error(`\n${advice}\n\n${names.map((name) => `  npx wrangler secret put ${name}`).join('\n')}`)
  console.error(
    '\nEach asks for its value: what stands between the quotes. Keep a copy where you keep secrets, and in the file of npm run setup.',
  )
}

async function rotateAll(step: Step, isDryRun: boolean) {
  const names = (['JWT_KEYS', 'OPENID_KEYS', 'SECRET_KEYS'] as const).filter((name) => process.env[name])
  if (names.length === 0)
    throw new Error(
      'Where are the current JWT_KEYS, OPENID_KEYS and SECRET_KEYS? Put them into the environment, or name their file: --settings FILE.',
    )
  const values: Partial<Record<Name, string>> = {}
  const advice: string[] = []
  for (const name of names) {
    try {
      const { value, said, goneSecrets, kept } = await STEP_ON[name](process.env[name] ?? '', step)
      values[name] = value
      advice.push(`${name}: ${said}`)
      if (step === 'retire') advice.push(`  Void with what goes: ${WHAT_BECOMES_VOID[name]}.`)
      if (goneSecrets.length) advice.push(`  ${await findPasswordsLost(goneSecrets, kept)}`)
    } catch (error) {
      throw new Error(`${name}: ${(error as Error).message}`)
    }
  }
  await checkAsTheWorkerDoes(values)
  if (isDryRun) return console.error(advice.join('\n'))
  print(values, [...advice, WHAT_NEXT[step], ...(step === 'sign' ? [WHEN_TO_RETIRE] : [])].join('\n'))
}

async function main() {
  const options = { step: { type: 'string' } } as const
  const { words, values, isDryRun } = readArguments({ usage: USAGE, options, words: 1, ofDeployment: true })
  const [command] = words
  if (command === 'generate' && values.step === undefined) {
    if (isDryRun)
      return console.error('Would print fresh JWT_KEYS, OPENID_KEYS, SECRET_KEYS and HISTORY_KEY.')
    return print(await generateAll(), 'Fresh secrets, for a first deployment.')
  }
  const step = STEPS.find((name) => name === values.step)
  if (command !== 'rotate' || !step)
    throw new Error(`Say "generate", or "rotate --step ${STEPS.join('|')}".\n\n${USAGE}`)
  await rotateAll(step, isDryRun)
}

if (import.meta.main) runCommand(main)
