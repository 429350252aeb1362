import { randomUUID } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createClient } from '@libsql/client/web'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createAdmin, withResources } from '../../scripts/create-admin.ts'
import { restoreDump } from '../../scripts/db-restore.ts'
import { afterRestore } from '../../scripts/db-restored.ts'
import { verifyHistory } from '../../scripts/history-verify.ts'
import { generate, newSecret } from '../../scripts/keys.ts'
import { freePort, listen, untilReady } from '../../scripts/local/process.ts'
import { startSqld } from '../../scripts/local/sqld.ts'
import { startWorker } from '../../scripts/local/start-worker.ts'
import { startUpstash } from '../../scripts/local/upstash.ts'
import { migrate } from '../../scripts/migrate.ts'
import { updateLedger } from '../../src/activity/ledger.ts'
import { HEAD_KEY } from '../../src/activity/seals.ts'
import type { Resources } from '../../src/context.ts'

/*
 * A restore, rehearsed: a dump is made, people are erased, demoted, signed out and made safer, the database is lost, and the
 * dump comes back into another server. The Worker goes on meanwhile, at the same URL.
 */

const PASSWORD = 'seven brown foxes read'
const home = mkdtempSync(join(tmpdir(), 'roster-restore-'))
const closers: (() => unknown)[] = [() => rmSync(home, { recursive: true, force: true })]
let target = ''
let env: Record<string, string>
let url: string

/** In front of the database of the moment. */
async function startFront(): Promise<string> {
  const server = createServer((asked, answer) => {
    const onwards = request(`${target}${asked.url ?? '/'}`, {
      method: asked.method,
      headers: asked.headers,
    })
    onwards.on('response', (said) => {
      answer.writeHead(said.statusCode ?? 502, said.headers)
      said.pipe(answer)
    })
    onwards.on('error', () => answer.destroy())
    asked.pipe(onwards)
  })
  closers.unshift(() => {
    server.close()
    server.closeAllConnections()
  })
  return `http://127.0.0.1:${await listen(server)}`
}

async function startDatabase(name: string): Promise<string> {
  const sqld = await startSqld({ dir: join(home, name) })
  closers.unshift(sqld.close)
  return sqld.url
}

beforeAll(async () => {
  target = await startDatabase('first')
  await migrate(target)
  const token = newSecret()
  const redis = await startUpstash({ token, engine: 'auto', dir: join(home, 'redis') })
  closers.unshift(redis.close)
  env = {
    ...(await generate()),
    TURSO_DATABASE_URL: await startFront(),
    TURSO_AUTH_TOKEN: 'local',
    UPSTASH_REDIS_REST_URL: redis.url,
    UPSTASH_REDIS_REST_TOKEN: token,
    ISSUER: 'https://roster.test',
    PASSWORD_HASHES: 'cheap',
    EMAIL_VERIFICATION: 'optional',
    HISTORY_KEY: newSecret(),
    MAIL_FROM: 'roster@roster.test',
    RESEND_API_KEY: newSecret(),
    RESEND_URL: 'http://127.0.0.1:9',
  }
  const port = await freePort()
  const worker = startWorker(
    { port, persist: join(home, 'worker'), inspect: false, vars: env },
    join(home, 'env'),
  )
  closers.unshift(worker.close)
  url = `http://127.0.0.1:${port}`
  await untilReady(worker, () => fetch(`${url}/health`), 200_000)
})
afterAll(async () => {
  for (const close of closers) await close()
})

interface Asked {
  body?: object
  token?: string
}
async function send(method: string, path: string, { body, token }: Asked = {}) {
  const answer = await fetch(`${url}${path}`, {
    method,
    headers: {
      'cache-control': 'no-cache',
      ...(body && { 'content-type': 'application/json' }),
      ...(token !== undefined && { authorization: `Bearer ${token}` }),
    },
    ...(body && { body: JSON.stringify(body) }),
  })
  const text = await answer.text()
  return { status: answer.status, body: (text === '' ? {} : JSON.parse(text)) as Record<string, string> }
}
async function sql(statement: string, args: string[] = []) {
  const client = createClient({ url: target })
  try {
    return (await client.execute({ sql: statement, args })).rows.map((row) => ({ ...row }))
  } finally {
    client.close()
  }
}
const logIn = (email: string, password = PASSWORD) =>
  send('POST', '/v1/auth/login', { body: { email, password } })

async function joining(name: string) {
  const email = `${name}@people.test`
  const made = await send('POST', '/v1/auth/signup', { body: { email, password: PASSWORD, name } })
  expect(made.status).toBe(201)
  const { access_token: token = '', refresh_token: refresh = '' } = (await logIn(email)).body
  return { id: made.body.id!, email, token, refresh }
}
const rowOf = async ({ id }: { id: string }) => (await sql('SELECT * FROM users WHERE id = ?', [id]))[0]

/** All rows of ordinary tables. */
async function everything() {
  const tables = await sql(`SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'
    AND name NOT LIKE 'libsql%' AND name NOT LIKE '%fts%' AND name <> '__drizzle_migrations' ORDER BY name`)
  const rows: Record<string, unknown[]> = {}
  for (const { name } of tables)
    rows[String(name)] = (await sql(`SELECT * FROM "${name}"`)).map((row) => JSON.stringify(row)).sort()
  return rows
}
const withOwn = <T>(use: (resources: Resources) => Promise<T>) => withResources(env, use)

test('A restore brings back nothing that was undone since the backup', async () => {
  await createAdmin({
    env,
    email: 'admin@roster.test',
    name: 'Ada',
    password: () => PASSWORD,
    resetPassword: true,
  })
  const admin = (await logIn('admin@roster.test')).body.access_token!
  const [erin, dora, sam, pia, fay, max, dan] = [
    await joining('erin'),
    await joining('dora'),
    await joining('sam'),
    await joining('pia'),
    await joining('fay'),
    await joining('max'),
    await joining('dan'),
  ] as const
  await sql("UPDATE users SET role = 'manager', email_verified_at = 1 WHERE id = ?", [dora.id])
  await sql(
    "UPDATE users SET name = 'O''Älva; two' || char(10) || 'lines\\n' || char(13) || 'and a return' || char(0) || ';' WHERE id = ?",
    [max.id],
  )
  await sql(
    "INSERT INTO factors (user_id, seed, key_id, created_at, confirmed_at, last_step) VALUES (?, 'x', 'x', 1, 1, 1)",
    [fay.id],
  )
  await send('POST', `/v1/users/${dan.id}/disable`, { token: admin, body: { reason: 'for a while' } })
  await send('POST', `/v1/users/${dan.id}/enable`, { token: admin })
  const hook = { url: 'https://hooks.example.com/roster', types: ['user.deleted', 'user.signed_up'] }
  expect((await send('POST', '/v1/webhooks', { token: admin, body: hook })).status).toBe(201)
  const service = {
    name: 'Sync',
    type: 'confidential',
    grants: ['client_credentials'],
    scopes: ['users:read'],
  }
  expect((await send('POST', '/v1/oauth_clients', { token: admin, body: service })).status).toBe(201)
  const key = await send('POST', '/v1/api_keys', {
    token: admin,
    body: { name: 'Job', permissions: ['users:read'] },
  })
  expect(key.status).toBe(201)
  const wiki = await send('POST', '/v1/oauth_clients', {
    token: admin,
    body: {
      name: 'Wiki',
      type: 'public',
      grants: ['authorization_code'],
      scopes: ['openid'],
      redirect_uris: ['https://wiki.test/callback'],
    },
  })
  expect(wiki.status).toBe(201)
  await sql(
    `INSERT INTO oauth_grants (id, user_id, client_id, scopes, created_at, updated_at) VALUES (?, ?, ?, '["openid"]', 1, 1)`,
    [randomUUID(), max.id, wiki.body.client_id!],
  )
  // An earlier restore was seen to.
  await sql("INSERT INTO system_state (name, at) VALUES ('restored', 1), ('restoring_ended', 1)")
  // What is told of before the backup is in it, and nobody is set back for it.
  await withOwn(updateLedger)

  const dump = join(home, 'dump.sql')
  writeFileSync(dump, await (await fetch(`${target}/dump`)).text())
  const before = await everything()
  const sequence = await sql('SELECT seq FROM sqlite_sequence')

  // After the backup.
  expect((await send('DELETE', `/v1/users/${erin.id}?hard=true`, { token: admin })).status).toBe(204)
  expect((await send('PATCH', `/v1/users/${dora.id}`, { token: admin, body: { role: 'user' } })).status).toBe(
    200,
  )
  expect((await send('POST', '/v1/auth/logout', { token: sam.token })).status).toBe(204)
  const change = { current_password: PASSWORD, new_password: 'nine green bears run' }
  expect((await send('POST', '/v1/auth/change_password', { token: pia.token, body: change })).status).toBe(
    200,
  )
  expect((await send('DELETE', `/v1/users/${fay.id}/factors`, { token: admin })).status).toBe(204)
  expect(
    (await send('POST', `/v1/users/${dan.id}/disable`, { token: admin, body: { reason: 'left' } })).status,
  ).toBe(200)
  const [grant] = await sql('SELECT id FROM oauth_grants')
  expect((await send('DELETE', `/v1/auth/grants/${grant!.id}`, { token: max.token })).status).toBe(204)
  await withOwn(updateLedger)
  await withOwn(({ redis }) => redis.put(HEAD_KEY, '7.lost', 60_000_000))

  // The database is lost.
  target = await startDatabase('second')
  const lines = readFileSync(dump, 'utf8').split('\n')
  const cut = join(home, 'cut.sql')
  writeFileSync(
    cut,
    lines.slice(0, lines.findIndex((line) => line.startsWith('INSERT INTO users')) + 1).join('\n'),
  )
  await expect(restoreDump(cut, target)).rejects.toThrow('The dump breaks off')
  const twice = join(home, 'twice.sql')
  writeFileSync(twice, `${lines.join('\n')}\n${lines.join('\n')}`)
  await expect(restoreDump(twice, target)).rejects.toThrow('give one dump, not a file of two')
  const counts = await restoreDump(dump, target)
  expect(counts.get('users')).toBe(8)
  before.system_state = before.system_state!.filter((row) => !String(row).includes('restor'))
  expect(await everything()).toEqual(before)
  expect(await sql('SELECT seq FROM sqlite_sequence')).toEqual(sequence)
  await expect(restoreDump(dump, target)).rejects.toThrow('not empty')
  expect(await rowOf(erin)).toBeDefined()
  expect((await send('GET', '/v1/auth/sessions', { token: sam.token })).status).toBe(200)

  // It is stopped in the middle, and goes on.
  const planned = await withOwn((resources) => afterRestore(resources, { isDryRun: true }))
  expect(planned).toMatchObject({
    erased: 1,
    setBack: 4,
    moved: 0,
    consents: 1,
    ends: { sessions: 8, keys: 1, apps: 1, hooks: 1 },
  })
  expect(await everything()).toEqual(before)
  let writes = 0
  await expect(
    withOwn((resources) => {
      const { db } = resources
      const writeBatch: typeof db.writeBatch = async (...given) => {
        if (++writes === 7) throw new Error('stopped')
        return db.writeBatch(...given)
      }
      return afterRestore({ ...resources, db: { ...db, writeBatch } })
    }),
  ).rejects.toThrow('stopped')
  const done = await withOwn((resources) => afterRestore(resources))
  expect(done.doneAt).toBeUndefined()
  expect(done.lostHead).toBe('7.lost')

  // As it must be.
  expect(await rowOf(erin)).toBeUndefined()
  expect(await rowOf(dora)).toMatchObject({
    role: 'user',
    password_hash: null,
    needs_reset: 1,
    status: 'active',
  })
  expect(await rowOf(pia)).toMatchObject({ role: 'user', password_hash: null, needs_reset: 1 })
  expect(await rowOf(fay)).toMatchObject({ password_hash: null, needs_reset: 1, factors: 0 })
  expect(await sql('SELECT * FROM factors')).toEqual([])
  expect(await sql('SELECT * FROM oauth_grants')).toEqual([])
  expect(await rowOf(dan)).toMatchObject({ status: 'disabled' })
  for (const one of [sam, max]) expect(await rowOf(one)).toMatchObject({ role: 'user', needs_reset: 0 })
  for (const { token, refresh } of [dora, sam, pia, fay, max, { token: admin, refresh: undefined }]) {
    expect((await send('GET', '/v1/auth/sessions', { token })).status).toBe(401)
    if (refresh)
      expect(
        (await send('POST', '/v1/auth/refresh_token', { body: { refresh_token: refresh } })).status,
      ).toBe(401)
  }
  expect((await send('GET', '/v1/users', { token: key.body.key! })).status).toBe(401)
  expect(await sql("SELECT secret_hash FROM oauth_clients WHERE name = 'Sync'")).toEqual([
    { secret_hash: '' },
  ])
  expect(await sql('SELECT secret, rested_at IS NULL AS goes_on FROM webhooks')).toEqual([
    { secret: '', goes_on: 0 },
  ])
  expect((await logIn(pia.email)).status).toBe(401)
  expect((await logIn(max.email)).status).toBe(200)
  expect(await sql("SELECT recipient FROM outbox WHERE kind = 'database_restored'")).toEqual([
    { recipient: 'admin@roster.test' },
  ])
  const back = (await logIn('admin@roster.test')).body.access_token!
  const found = await send('GET', '/v1/users?q=sam', { token: back })
  expect((found.body.data as unknown as { id: string }[]).map(({ id }) => id)).toEqual([sam.id])
  const verdict = await withOwn((resources) => verifyHistory(resources, ['7.lost']))
  expect(verdict).toMatchObject({ seals: 1, findings: [] })
  const again = await send('POST', `/v1/api_keys/${key.body.id}/rotate`, { token: back })
  expect(again.status).toBe(200)
  expect((await send('GET', '/v1/users', { token: again.body.key! })).status).toBe(200)

  // Once more does no harm.
  await withOwn(updateLedger)
  const kept = await everything()
  const second = await withOwn((resources) => afterRestore(resources))
  expect(second.doneAt).toBeGreaterThan(0)
  expect(await everything()).toEqual(kept)
})
