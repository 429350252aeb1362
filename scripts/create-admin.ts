import { randomBytes, randomUUID } from 'node:crypto'
import { createInterface } from 'node:readline/promises'
import { Writable } from 'node:stream'
import { parseArgs } from 'node:util'
import { and, eq, isNull, sql } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import { record } from '../src/activity/service.ts'
import { openResources, type Resources } from '../src/context.ts'
import { openMeter } from '../src/database/meter.ts'
import { build } from '../src/database/statements.ts'
import { checkPassword, hashPassword } from '../src/passwords/hashing.ts'
import { findPasswordWeakness } from '../src/passwords/policy.ts'
import { NewPassword } from '../src/passwords/schemas.ts'
import { sessions } from '../src/sessions/models.ts'
import { publishRevocations } from '../src/sessions/revocation.ts'
import { revokeSessions } from '../src/sessions/service.ts'
import { type User, users } from '../src/users/models.ts'
import { isEmail, normalizeEmail } from '../src/values/email.ts'

interface NewAdmin {
  /** The Worker's settings, by the names of its bindings. */
  env: object
  email: string
  name: string
  /** Asked for only when a password has to be set. */
  password: () => string | Promise<string>
  /** Replaces the password of somebody who is there already, and ends their sessions. */
  resetPassword: boolean
}

export type Change = 'created' | 'promoted' | 'password replaced'

/**
 * Makes sure that `email` belongs to an administrator; safe to repeat. Says what that took: nothing at all when
 * there is one already. Through the same statements as the API, so the history has its rows (actor: the system).
 */
export async function createAdmin({
  env,
  email,
  name,
  password,
  resetPassword,
}: NewAdmin): Promise<Change[]> {
  const resources = open(env)
  const person = await find(resources, email)
  if (!person) return insertAdmin(resources, email, name, await password())

  const changes: Change[] = []
  if (person.role !== 'admin') {
    await promote(resources, person)
    changes.push('promoted')
  }
  if (resetPassword) {
    await replacePassword(resources, person, await password())
    changes.push('password replaced')
  }
  return changes
}

/** Whether the administrator who has `email` has this password; undefined when there is none. */
export async function findAdmin(env: object, email: string, password: string) {
  const resources = open(env)
  const person = await find(resources, email)
  if (person?.role !== 'admin') return undefined
  const { password_hash: hash } = person
  const peppers = resources.config.keys.password_pepper
  return { isPassword: hash !== null && (await checkPassword(password, hash, peppers)).isRight }
}

function open(env: object): Resources {
  const origin = { requestId: randomUUID(), ip: null, userAgent: null, country: null }
  return openResources(env, openMeter(), origin, () => {})
}

async function find({ db }: Resources, email: string): Promise<User | undefined> {
  if (!isEmail(email)) throw new Error(`${email} is not an e-mail address.`)
  const isUser = and(eq(users.email_normalized, normalizeEmail(email)), isNull(users.deleted_at))
  const { found } = await db.read({ found: build.select().from(users).where(isUser).limit(1) })
  return found[0]
}

/** As everywhere: throws, with `source` in front, when a password may not be set. */
export function refuseWeakPassword(password: string, owner: { email: string; name: string }, source: string) {
  const problem =
    NewPassword().safeParse(password).error?.issues[0]?.message ?? findPasswordWeakness(password, owner)
  if (problem) throw new Error(`${source}: ${problem}`)
}

async function insertAdmin(
  resources: Resources,
  email: string,
  name: string,
  password: string,
): Promise<Change[]> {
  const { config, db, now } = resources
  const id = uuidv7()
  const admin = {
    id,
    email,
    email_normalized: normalizeEmail(email),
    name,
    password_hash: await hashPassword(password, config.keys.password_pepper),
    role: 'admin' as const,
    status: 'active' as const,
    // Whoever may run this script is believed: without it they could not log in where addresses have to be proved.
    email_verified_at: now,
    version: 1,
    token_epoch: 0,
    failed_logins: 0,
    created_at: now,
    updated_at: now,
  }
  const event = { action: 'user.created', userId: id, actorId: null, details: { role: 'admin' } } as const
  await db.writeBatch({
    creation: build.insert(users).values(admin),
    history: record(resources, event, sql`changes() > 0`),
  })
  return ['created']
}

/** What every change that ends a person's tokens has in common. */
const raised = (now: number) => ({
  token_epoch: sql`${users.token_epoch} + 1`,
  version: sql`${users.version} + 1`,
  updated_at: now,
})

async function promote(resources: Resources, { id, role }: Pick<User, 'id' | 'role'>) {
  const { update } = await resources.db.writeBatch({
    update: build
      .update(users)
      .set({ role: 'admin', ...raised(resources.now) })
      .where(and(eq(users.id, id), eq(users.role, role), isNull(users.deleted_at)))
      .returning({ epoch: users.token_epoch }),
    history: record(
      resources,
      {
        action: 'user.role_changed',
        userId: id,
        actorId: null,
        details: { role: { from: role, to: 'admin' } },
      },
      sql`changes() > 0`,
    ),
  })
  await publish(resources, id, update[0])
}

async function replacePassword(resources: Resources, { id }: Pick<User, 'id'>, password: string) {
  const { config, db, now } = resources
  const password_hash = await hashPassword(password, config.keys.password_pepper)
  const { update } = await db.writeBatch({
    update: build
      .update(users)
      .set({ password_hash, failed_logins: 0, ...raised(now) })
      .where(and(eq(users.id, id), isNull(users.deleted_at)))
      .returning({ epoch: users.token_epoch }),
    history: record(resources, { action: 'password.changed', userId: id, actorId: null }, sql`changes() > 0`),
    sessions: revokeSessions(now, 'password_changed', eq(sessions.user_id, id)),
  })
  await publish(resources, id, update[0])
}

async function publish(resources: Resources, id: string, row: Record<string, unknown> | undefined) {
  if (!row) throw new Error('Somebody else changed this person just now. Run it again.')
  await publishRevocations(resources, { user: { id, epoch: Number(row.epoch) } })
}

const newPassword = () => randomBytes(15).toString('base64url')

async function askPassword(): Promise<string> {
  if (!process.stdin.isTTY) return ''
  // What is typed is echoed to nowhere.
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

async function main() {
  const options = {
    email: { type: 'string' },
    name: { type: 'string' },
    password: { type: 'string' },
  } as const
  const { email, name = 'Administrator', password } = parseArgs({ options }).values
  if (!email) throw new Error('npm run admin:create -- --email … [--name …] [--password …]')

  let made: string | undefined
  const acceptablePassword = async () => {
    const chosen = password ?? (await askPassword())
    if (!chosen) {
      made = newPassword()
      return made
    }
    refuseWeakPassword(chosen, { email, name }, 'The password')
    return chosen
  }
  const changes = await createAdmin({
    // Whether the Worker has a binding to send mail by, only wrangler.toml knows.
    env: { EMAIL: 'perhaps', ...process.env },
    email,
    name,
    password: acceptablePassword,
    resetPassword: password !== undefined,
  })
  console.log(`${email}: ${changes.join(', ') || 'is an administrator already; nothing changed'}`)
  if (!changes.includes('created') && password === undefined) console.log('The password is the one they had.')
  if (made) console.log(`Password: ${made}`)
}

if (import.meta.main) {
  main().catch((error: Error) => {
    console.error(error.message)
    process.exitCode = 1
  })
}
