import { randomBytes, randomUUID } from 'node:crypto'
import { createInterface } from 'node:readline/promises'
import { Writable } from 'node:stream'
import { and, eq, isNull, sql } from 'drizzle-orm'
import { record } from '../src/activity/service.ts'
import { openResources, type Resources } from '../src/context.ts'
import { openMeter } from '../src/database/meter.ts'
import { PURPOSES } from '../src/links/models.ts'
import { MailRefused, NO_ANSWER, type Send } from '../src/mail/sending.ts'
import { openTransport } from '../src/mail/transports.ts'
import { checkPassword } from '../src/passwords/hashing.ts'
import { findPasswordWeakness } from '../src/passwords/policy.ts'
import { NewPassword } from '../src/passwords/schemas.ts'
import { hashNewPassword } from '../src/passwords/service.ts'
import { MAX_FAILURES_IN_A_ROW, PER_MINUTE } from '../src/throttle/limits.ts'
import { bySystem, changeUserBy, isSamePerson } from '../src/users/change.ts'
import type { Change } from '../src/users/consequences.ts'
import { insertUser, makeUserRow } from '../src/users/create.ts'
import { emailIsTaken, isActive, selectUsers, type User, users } from '../src/users/models.ts'
import { DisplayName, EmailInput } from '../src/users/schemas.ts'
import { normalizeEmail } from '../src/values/email.ts'
import { readArguments, runCommand } from './command.ts'

const USAGE = `npm run admin:create -- --email you@your-domain [--name "Your Name"] [--new-password]

Makes sure that an address belongs to an administrator. May be repeated; says what it changed.

  --name           the name of a new administrator (Administrator)
  --new-password   replaces the password of an existing one
  --dry-run        says what would be done, and does nothing

The password comes from ADMIN_PASSWORD, from standard input or from a prompt; one is made and printed where none is
given. Given in one of the first two ways, it also replaces that of an existing administrator. There is no option
for it: whoever runs ps would read it.`

interface NewAdmin {
  /** The Worker's settings, by the names of its bindings. */
  env: object
  email: string
  name: string
  /** Asked for only when a password has to be set. */
  password: () => string | Promise<string>
  /** Replaces the password of an existing administrator, and ends their sessions. */
  resetPassword: boolean
  /** Says what would be done, and does nothing. */
  isDryRun?: boolean
}

/** What was done, each a clause that follows the address. */
export type Done = 'created' | 'promoted' | 'password replaced' | 'address verified'

interface Result {
  done: Done[]
  user: User | undefined
}

/**
 * Makes sure that `email` belongs to an administrator; safe to repeat. It uses the functions of the API, so the
 * history is complete (actor: the system). An account whose address nobody has proved may be a stranger's: nothing
 * that they set up opens it afterwards.
 */
export async function createAdmin(wanted: NewAdmin): Promise<Result> {
  const { env, name } = wanted
  const email = parseInput(EmailInput(), wanted.email, wanted.email)
  return withResources(env, async (resources) => {
    const user = await findByEmail(resources, email)
    if (user) return makeAdmin(resources, user, wanted)
    if (wanted.isDryRun) return { done: ['created'], user: undefined }
    const made = await insertAdmin(resources, { email, name, password: await wanted.password() })
    if (made) return { done: ['created'], user: made }
    // Somebody else was faster, perhaps another run of this script.
    const other = await findByEmail(resources, email)
    if (!other) throw new Error(`${email} was taken a moment ago, and is free now. Run this again.`)
    return makeAdmin(resources, other, wanted)
  })
}

/** Whether the administrator with this `email` has this password; undefined if there is no such administrator. */
export const findAdmin = (env: object, email: string, password: string) =>
  withResources(env, async (resources) => {
    const user = await findByEmail(resources, email)
    if (user?.role !== 'admin') return undefined
    const { password_hash: hash } = user
    const peppers = resources.config.keys.password_pepper
    return { isPassword: hash !== null && (await checkPassword(password, hash, peppers)).isRight }
  })

/** The platform limits the Worker's requests. A script on your own machine is not limited. */
const UNCOUNTED = Object.fromEntries(
  Object.keys(PER_MINUTE).map((name) => [name, { limit: async () => ({ success: true }) }]),
)

const LEFT_TO_CRON: Send = Object.assign(
  async () => {
    throw new MailRefused(NO_ANSWER, false)
  },
  { knowsRepeats: false, isLeftToCron: true as const },
)

/** A script may only know that the Worker has a binding that sends mail (EMAIL is a text): then the Worker's cron sends. */
function transportOf(env: { EMAIL?: unknown }, { config, send }: Pick<Resources, 'config' | 'send'>) {
  if (typeof env.EMAIL !== 'string') return send
  return openTransport(config, undefined) ?? (send && LEFT_TO_CRON)
}

/** Waits for what the API leaves until after its answer (telling Redis what was revoked), before the script ends. */
export async function withResources<T>(env: object, use: (resources: Resources) => Promise<T>): Promise<T> {
  const later: Promise<unknown>[] = []
  const origin = {
    requestId: randomUUID(),
    ip: null,
    userAgent: null,
    country: null,
    language: 'en' as const,
  }
  try {
    const resources = openResources(env, openMeter(), origin, (work) => later.push(work))
    return await use({ ...resources, send: transportOf(env, resources), rateLimits: UNCOUNTED })
  } finally {
    await Promise.allSettled(later)
  }
}

export async function findByEmail({ db }: Resources, email: string): Promise<User | undefined> {
  const isUser = and(eq(users.email_normalized, normalizeEmail(email)), isNull(users.deleted_at))
  return (await db.read({ user: selectUsers().where(isUser).limit(1) })).user[0]
}

/** The new administrator; undefined if somebody took the address meanwhile. */
async function insertAdmin(
  resources: Resources,
  input: { email: string; name: string; password: string },
): Promise<User | undefined> {
  const row = await makeUserRow(resources, { ...input, role: 'admin' }, true)
  const isFree = sql`NOT ${emailIsTaken(row.email_normalized)}`
  const creation = insertUser(resources, row, isFree, { action: 'user.created', actorId: null })
  try {
    await resources.db.writeBatch({ ...creation.statements }, creation.isDone)
  } catch (cause) {
    const found = await findByEmail(resources, input.email).catch(() => undefined)
    if (found?.id === row.id) return found
    throw new Error(
      `${(cause as Error).message}\nWhether ${input.email} was made an administrator is not known: run this again. If they were, --new-password sets a password that is known.`,
      { cause },
    )
  }
  const found = await findByEmail(resources, input.email)
  return found?.id === row.id ? found : undefined
}

/** Makes an existing user an administrator. */
async function makeAdmin(resources: Resources, user: User, wanted: NewAdmin): Promise<Result> {
  const isAdmin = user.role === 'admin'
  const isUnproved = user.email_verified_at === null
  const setsPassword = wanted.resetPassword || (!isAdmin && isUnproved)
  const done: Done[] = [
    ...(isAdmin ? [] : ['promoted' as const]),
    ...(setsPassword ? ['password replaced' as const] : []),
    ...(setsPassword && isUnproved ? ['address verified' as const] : []),
  ]
  if (done.length === 0 || wanted.isDryRun) return { done, user }
  const password = setsPassword ? await wanted.password() : undefined
  const password_hash = password && (await hashNewPassword(resources, password, user))
  const changed = await changeUserBy(
    resources,
    bySystem,
    user.id,
    (row) =>
      ({
        action: isAdmin ? 'password.changed' : 'user.role_changed',
        reliesOn: isSamePerson(user),
        set: {
          role: 'admin',
          ...(password_hash && {
            password_hash,
            failed_logins: 0,
            email_verified_at: row.email_verified_at ?? resources.now,
          }),
        },
        endsTokens: true,
        ...(!isAdmin && { details: { role: { from: row.role, to: 'admin' } } }),
        // As a reset does: ends sessions and keys, and makes known devices strangers.
        ...(setsPassword && {
          endsSessions: { reason: 'password_changed' },
          endsKeys: true,
        }),
        ...(setsPassword && isUnproved && { voids: PURPOSES, voidsWaysIn: true }),
        alsoWrite: (isDone) => [
          ...(setsPassword && !isAdmin
            ? [record(resources, { action: 'password.changed', userId: row.id, actorId: null }, isDone)]
            : []),
        ],
      }) satisfies Change,
  )
  return { done, user: changed }
}

/** Throws a sentence that begins with `source` if the password may not be set, by the same rules as everywhere. */
export function refuseWeakPassword(
  password: string,
  owner: { email: string; name: string; organisation: string | undefined },
  source: string,
) {
  parseInput(NewPassword(), password, source)
  const weakness = findPasswordWeakness(password, owner)
  if (weakness) throw new Error(`${source}: it ${weakness}.`)
}

interface Schema<T> {
  safeParse(value: unknown): { data?: T; error?: { issues: { message: string }[] } }
}

export function parseInput<T>(schema: Schema<T>, value: unknown, source: string): T {
  const { data, error } = schema.safeParse(value)
  if (error) throw new Error(`${source}: ${error.issues[0]?.message}`)
  return data as T
}

const newPassword = () => randomBytes(15).toString('base64url')

async function askPassword(): Promise<string> {
  // Does not echo what is typed.
  const output = new Writable({ write: (_chunk, _encoding, done) => done() })
  const prompt = createInterface({ input: process.stdin, output, terminal: true })
  process.stderr.write('Password (leave it empty to have one made): ')
  try {
    return await prompt.question('')
  } finally {
    prompt.close()
    process.stderr.write('\n')
  }
}

/** The password that was given without asking; empty if there is none. */
async function givenPassword(): Promise<string> {
  if (process.env.ADMIN_PASSWORD) return process.env.ADMIN_PASSWORD
  if (process.stdin.isTTY) return ''
  return Buffer.concat(await process.stdin.toArray())
    .toString()
    .replace(/\r?\n$/, '')
}

/** What still keeps an administrator from logging in. */
function whatIsLeft(user: User, { config, now }: Pick<Resources, 'config' | 'now'>): string[] {
  const until = user.disabled_until === null ? '' : ` until ${new Date(user.disabled_until).toISOString()}`
  return [
    ...(isActive(user, now)
      ? []
      : [`They are disabled${until}, and cannot log in until somebody enables them.`]),
    ...(user.failed_logins >= MAX_FAILURES_IN_A_ROW
      ? ['They are locked after too many wrong passwords: --new-password opens the account.']
      : []),
    ...(user.email_verified_at === null && config.EMAIL_VERIFICATION === 'required'
      ? ['Their address is not verified, so they cannot log in: --new-password verifies it.']
      : []),
  ]
}

async function main() {
  const options = {
    email: { type: 'string' },
    name: { type: 'string' },
    'new-password': { type: 'boolean' },
  } as const
  const { values, isDryRun } = readArguments({ usage: USAGE, options, ofDeployment: true })
  if (!values.email) throw new Error(USAGE)
  const email = values.email.trim()
  const name = parseInput(DisplayName(), values.name ?? 'Administrator', '--name')
  const owner = { email, name, organisation: process.env.ORGANISATION }
  const given = await givenPassword()
  if (given) refuseWeakPassword(given, owner, 'The password')

  let made: string | undefined
  const password = async () => {
    const chosen = given || (process.stdin.isTTY ? await askPassword() : '')
    if (chosen) refuseWeakPassword(chosen, owner, 'The password')
    else made = newPassword()
    return chosen || made!
  }
  // Only wrangler.toml knows whether the Worker has a binding that sends mail.
  const env = { EMAIL: 'perhaps', ...process.env }
  const resetPassword = values['new-password'] === true || given !== ''
  const { done, user } = await createAdmin({ env, email, name, password, resetPassword, isDryRun })
  if (isDryRun) return console.log(`${email}: would be ${done.join(', ') || 'left as they are'}`)

  console.log(`${email}: ${done.join(', ') || 'is an administrator already; nothing changed'}`)
  if (done.includes('address verified'))
    console.log(
      'Nobody had proved that address, so every earlier way in is void: password, factors, sessions and links.',
    )
  if (user) {
    const left = await withResources(env, async (resources) => whatIsLeft(user, resources))
    for (const sentence of left) console.log(sentence)
  }
  if (done.includes('promoted') && !done.includes('password replaced'))
    console.log(
      user?.password_hash === null
        ? 'They have no password: --new-password sets one.'
        : 'The password is the one they had.',
    )
  // A generated password that was not used, because somebody else was faster, is not printed.
  if (made && done.some((one) => one === 'created' || one === 'password replaced'))
    console.log(`Password: ${made}`)
}

if (import.meta.main) runCommand(main)
