import { createExecutionContext, waitOnExecutionContext } from 'cloudflare:test'
import { getTableName } from 'drizzle-orm'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { newSecret } from '../scripts/keys.ts'
import { keyIdOf } from '../src/crypto/encryption.ts'
import worker from '../src/index.ts'
import { sealForeignHash } from '../src/passwords/foreign/sealing.ts'
import type { Readiness } from '../src/system/checks.ts'
import { SEARCH_TABLES, TABLES } from '../src/system/tables.ts'
import { openApi } from './support/api.ts'
import { addKey } from './support/keys.ts'
import { limiter } from './support/limiter.ts'
import { lineOf } from './support/log-lines.ts'
import { addApp, letApp } from './support/oauth.ts'
import { freshUpstreams, readinessOf, testOfRedis } from './support/upstreams.ts'

const api = openApi()

testOfRedis('Health answers, and readiness names both upstreams', async () => {
  expect((await api.send('GET', '/health')).body).toEqual({ status: 'ok' })
  expect((await api.send('GET', '/ready')).body).toMatchObject({
    status: 'ready',
    database: 'ok',
    redis: 'ok',
  })
})

test('A person can log in', async () => {
  const ada = await api.actor()
  expect((await api.send('GET', '/v1/users/me', { token: ada.token })).status).toBe(200)
  expect(await api.historyOf(ada.id)).toEqual(['session.started'])
})

test('SC2: the paths where other systems reveal something about themselves do not exist', async () => {
  const paths = ['/metrics', '/.git/config', '/.env', '/index.js', '/index.js.map', '/debug', '/v1']
  for (const path of paths) expect((await api.send('GET', path)).body.code).toBe('not_found')
  const { headers } = await api.send('GET', '/health')
  expect([headers.get('server'), headers.get('x-powered-by'), headers.get('via')]).toEqual([null, null, null])
})

afterEach(() => {
  vi.useRealTimers()
  vi.restoreAllMocks()
})

describe('HX17: readiness is a list of named checks, and each notices the real failure', () => {
  const own = freshUpstreams()
  const openOwn = async (bindings: object = {}) => openApi({ ...(await own).bindings, ...bindings })
  const ready = async (at: Awaited<ReturnType<typeof openOwn>>, token?: string) => {
    const { status, body } = await at.send('GET', '/ready', { ...(token && { token }) })
    return [status, readinessOf(body)]
  }

  test('counts are only for those who may read the runs of clean-up', async () => {
    const at = await openOwn()
    const [admin, ada] = [await at.quickActor({ role: 'admin' }), await at.quickActor()]
    const bodyFor = async (token?: string) =>
      (await at.send('GET', '/ready', { ...(token && { token }) })).body
    for (const body of [await bodyFor(), await bodyFor(ada.token)]) {
      expect(Object.keys(body).sort()).toEqual(['checks', 'database', 'redis', 'status'])
    }
    expect(await bodyFor(admin.token)).toMatchObject({
      cleanup: { last_finished: null, overdue: false },
      mail: { waiting: 0, dead: 0, oldest_waiting_s: null, last_refusal: null },
    })
  })

  test('a key, an app or a service gets the counts if it may read the runs of clean-up, and is refused if not', async () => {
    const at = await openOwn()
    const admin = await at.person({ role: 'admin', email_verified_at: 1 })
    const ask = async (token: string) => {
      const { status, body } = await at.send('GET', '/ready', { token })
      return [status, body.code ?? Object.keys(body).includes('cleanup')]
    }
    const ofService = async (scope: string) => {
      const service = await addApp(at, { grants: ['client_credentials'], redirect_uris: [], scopes: [scope] })
      const answer = await at.send<{ access_token: string }>('POST', '/oauth/token', {
        headers: { authorization: `Basic ${btoa(`${service.client_id}:${service.client_secret}`)}` },
        raw: new URLSearchParams({ grant_type: 'client_credentials' }),
      })
      return answer.body.access_token
    }
    for (const [permission, expected] of [
      ['cleanup:read', [200, true]],
      ['users:read', [403, 'insufficient_scope']],
    ] as const) {
      expect(await ask((await addKey(at, admin, [permission])).key)).toEqual(expected)
      expect(await ask((await letApp(at, admin, { scope: permission })).token)).toEqual(expected)
      expect(await ask(await ofService(permission))).toEqual(expected)
    }
    expect(await ask((await letApp(at, admin, { scope: 'account' })).token)).toEqual([200, true])
  })

  test('RL4: callers are counted by network, before any upstream is called', async () => {
    const at = await openOwn({ RATE_LIMIT_BY_IP: limiter(1) })
    const ask = () => at.send('GET', '/ready', { ip: '192.0.2.1' })
    expect((await ask()).status).toBe(200)
    const { result, calls } = await (await own).measure(ask)
    expect([result.status, result.body.code, calls]).toEqual([429, 'too_many_requests', []])
  })

  test('a missing binding', async () => {
    expect(await ready(await openOwn({ RATE_LIMIT_WITHOUT_IP: undefined }))).toEqual([503, 'misconfigured'])
    expect(await ready(await openOwn({ RATE_LIMIT_BY_IP: undefined }))).toEqual([503, 'misconfigured'])
  })

  test('a missing key of SECRET_KEYS that has peppered passwords', async () => {
    const lone = (await freshUpstreams()).bindings
    await openApi(lone).person()
    expect(await ready(openApi(lone))).toEqual([200, 'ready'])
    expect(await ready(openApi({ ...lone, SECRET_KEYS: newSecret() }))).toEqual([503, 'misconfigured'])
  })

  test('a key that was retired: degraded while the oldest or the newest password is under one that is there', async () => {
    const lone = (await freshUpstreams()).bindings
    const rotated = { ...lone, SECRET_KEYS: newSecret() }
    const [former, now] = [openApi(lone), openApi(rotated)]
    await former.person()
    const newest = await now.person()
    expect([await ready(former), await ready(now)]).toEqual([
      [200, 'degraded'],
      [200, 'degraded'],
    ])
    await now.sql('DELETE FROM users WHERE id = ?', [newest.id])
    expect(await ready(now)).toEqual([503, 'misconfigured'])
    // Somebody without a password is no evidence that others can sign in.
    await now.person({ password_hash: null })
    expect(await ready(now)).toEqual([503, 'misconfigured'])
    await now.sql('DELETE FROM users WHERE password_hash IS NOT NULL')
    expect(await ready(now)).toEqual([200, 'ready'])
  })

  test('a schema without a column, and an empty one', async () => {
    const lone = openApi((await freshUpstreams()).bindings)
    await lone.sql('ALTER TABLE outbox RENAME COLUMN new_email TO not_there_yet')
    expect(await ready(lone)).toEqual([503, 'schema_mismatch'])
    const empty = openApi((await freshUpstreams({ migrations: 0 })).bindings)
    expect(await ready(empty)).toEqual([503, 'schema_mismatch'])
    const login = await empty.send('POST', '/v1/auth/login', { body: { email: 'a@b.test', password: 'x' } })
    expect([login.body.code, login.headers.get('retry-after')]).toEqual(['schema_mismatch', '60'])
  })

  test('a clock that differs: degraded from 5 s, not ready from 25 s, with both times in the log', async () => {
    const at = await openOwn()
    await ready(at)
    const states = []
    for (const seconds of [0, -10, 10, -60, 60]) {
      vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + seconds * 1000 })
      const said = vi.spyOn(console, 'error').mockImplementation(() => {})
      states.push(await ready(at))
      vi.useRealTimers()
      if (Math.abs(seconds) > 25)
        expect(String(said.mock.calls)).toMatch(/"clock_skew","worker":"20.+","database":"20/)
      said.mockRestore()
    }
    const [far, near] = [
      [503, 'clock_skew'],
      [200, 'degraded'],
    ]
    expect(states).toEqual([[200, 'ready'], near, near, far, far])
  })

  test('a disk that accepts no row, checked at most once a minute', async () => {
    const lone = await freshUpstreams()
    const at = openApi(lone.bindings)
    const writes = async () => {
      const { calls } = await lone.measure(() => at.send('GET', '/ready'))
      return calls.flatMap(({ statements }) => statements).filter(({ sql }) => sql.startsWith('INSERT'))
        .length
    }
    expect([await writes(), await writes()]).toEqual([1, 0])
    await at.sql("UPDATE system_state SET at = at - 60001 WHERE name = 'probe'")
    await lone.behave('libsql', { mode: 'refused', code: 'SQLITE_IOERR', only: 'BEGIN IMMEDIATE' })
    expect(await ready(at)).toEqual([503, 'database_unavailable'])
    await lone.behave('libsql', { mode: 'pass' })
    expect(await ready(at)).toEqual([200, 'ready'])
  })

  test('a cron job that has not run for 45 minutes, and a mail that has been due for ten', async () => {
    const lone = openApi((await freshUpstreams()).bindings)
    await lone.sql("UPDATE system_state SET at = at - 46 * 60000 WHERE name = 'began'")
    expect(await ready(lone)).toEqual([503, 'cron_overdue'])
    await lone.sql(
      "INSERT INTO cleanup_runs (started_at, lease_expires_at, counts) VALUES (unixepoch() * 1000, 0, '{}')",
    )
    expect(await ready(lone)).toEqual([200, 'ready'])
    const due = (minutes: number) =>
      lone.sql(
        `INSERT INTO outbox (id, kind, recipient, recipient_normalized, created_at, expires_at, attempts, next_attempt_at)
          VALUES (?, 'password_changed', 'a@b.test', 'a@b.test', ?2, ?2 + 9000000, 0, ?2)`,
        [crypto.randomUUID(), Date.now() - minutes * 60_000],
      )
    await due(9)
    expect(await ready(lone)).toEqual([200, 'ready'])
    await due(11)
    const answer = await lone.send('GET', '/ready')
    expect([answer.body.code, answer.body.detail]).toEqual(['mail_overdue', 'Not ready: mail_overdue.'])
    // Everybody sees what is wrong; numbers are for those who may read the runs, just when they matter.
    expect(answer.body.failed).toEqual(['mail'])
    expect(answer.body.checks).toContainEqual({ name: 'mail', status: 'failed' })
    expect(answer.body.mail).toBeUndefined()
    await lone.sql('UPDATE cleanup_runs SET started_at = 1')
    await lone.sql("UPDATE system_state SET at = 1 WHERE name = 'began'")
    const { token } = await lone.quickActor({ role: 'admin' })
    expect((await lone.send('GET', '/ready', { token })).body).toMatchObject({
      failed: ['cron', 'mail'],
      cleanup: { overdue: true },
      mail: { waiting: 2, oldest_waiting_s: expect.any(Number) },
    })
  })

  test('a mail service that refused the last mail, with its status, until it accepts one', async () => {
    const lone = await freshUpstreams()
    const at = openApi(lone.bindings)
    const { token } = await at.quickActor({ role: 'admin' })
    const answerAfter = async (status: number | undefined) => {
      await lone.behave('mail', status === undefined ? { mode: 'pass' } : { mode: 'status', status })
      const { email } = await at.person()
      await at.send('POST', '/v1/auth/resend_verification', { body: { email } })
      const { status: answered, body } = await at.send('GET', '/ready', { token })
      return [answered, readinessOf(body), (body.mail as { last_refusal: unknown }).last_refusal]
    }
    const refused = (status: number) => ({ at: expect.any(String), status })
    expect(await answerAfter(422)).toEqual([200, 'degraded', refused(422)])
    expect(await answerAfter(403)).toEqual([503, 'mail_refused', refused(403)])
    expect(await answerAfter(undefined)).toEqual([200, 'ready', null])
  })

  test('an hourly limit of mails that is used up', async () => {
    const lone = openApi({ ...(await freshUpstreams()).bindings, MAILS_PER_HOUR: '2' })
    const mailOne = async () =>
      lone.send('POST', '/v1/auth/resend_verification', { body: { email: (await lone.person()).email } })
    await mailOne()
    expect(await ready(lone)).toEqual([200, 'ready'])
    await mailOne()
    const { body } = await lone.send('GET', '/ready')
    expect([body.status, body.checks]).toEqual([
      'degraded',
      expect.arrayContaining([{ name: 'mail', status: 'degraded' }]),
    ])
  })

  test('a missing table, even one that only clean-up uses', async () => {
    for (const table of ['erasures', 'reasons_fts', 'passkeys', 'challenges']) {
      const lone = openApi((await freshUpstreams()).bindings)
      await lone.sql(`DROP TABLE ${table}`)
      const { status, body } = await lone.send('GET', '/ready')
      expect([table, status, body.code, body.failed]).toEqual([table, 503, 'schema_mismatch', ['schema']])
    }
  })

  test('HX18: its list of tables is what the migrations make', async () => {
    const made = await api.sql(
      `SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND name NOT LIKE 'libsql_%'
        AND name NOT LIKE '%\\_fts\\_%' ESCAPE '\\' AND name NOT IN ('__drizzle_migrations', '__later')`,
    )
    expect([...TABLES.map(getTableName), ...SEARCH_TABLES].sort()).toEqual(
      made.map(({ name }) => name).sort(),
    )
  })

  test('CK2: an authenticator app whose seed is under none of the keys', async () => {
    const lone = openApi((await freshUpstreams()).bindings)
    const { keys } = lone.config()
    const underKey = async (key: string) => {
      const { id } = await lone.person()
      await lone.sql('INSERT INTO factors (user_id, seed, key_id, created_at) VALUES (?, ?, ?, 1)', [
        id,
        'x',
        key,
      ])
    }
    await underKey(keyIdOf(keys.totp_seed[0]))
    expect(await ready(lone)).toEqual([200, 'ready'])
    for (const lost of ['-', 'zzzzzzzzzzzz']) {
      await underKey(lost)
      const { status, body } = await lone.send('GET', '/ready')
      expect([status, body.code, body.failed]).toEqual([503, 'misconfigured', ['keys']])
      await lone.sql('DELETE FROM factors WHERE key_id = ?', [lost])
    }
  })
})

test('CK2: a webhook whose secret is under none of the keys shows at /ready, and locks nobody out', async () => {
  const lone = openApi((await freshUpstreams()).bindings)
  const hook = (id: string, keyId: string) =>
    lone.sql(
      `INSERT INTO webhooks (id, url, types, secret, created_at, updated_at, version)
        VALUES (?, 'https://a.example', '[]', ?, 0, 0, 0)`,
      [id, `${keyId}.x`],
    )
  const keys = async () => {
    const { status, body } = await lone.send<Pick<Readiness, 'checks'>>('GET', '/ready')
    return [status, body.checks.find(({ name }) => name === 'keys')?.status]
  }
  await hook('known', keyIdOf(lone.config().keys.webhook_secret[0]))
  expect(await keys()).toEqual([200, 'ok'])
  await hook('lost', 'zzzzzzzzzzz')
  expect(await keys()).toEqual([200, 'degraded'])
})

test('CK2: an imported hash that is under none of the keys shows at /ready: failed only if it is all that can be seen', async () => {
  const lone = openApi((await freshUpstreams()).bindings)
  await lone.person()
  const withHash = async (password_hash: string) => (await lone.person({ password_hash })).id
  const keys = async () => {
    const { status, body } = await lone.send<Pick<Readiness, 'checks'>>('GET', '/ready')
    return [status, body.checks.find(({ name }) => name === 'keys')?.status]
  }
  const { id } = await lone.person()
  await lone.sql('UPDATE users SET password_hash = ? WHERE id = ?', [
    await sealForeignHash(lone.config(), id, '{SSHA512}x'),
    id,
  ])
  expect(await keys()).toEqual([200, 'ok'])
  for (const lost of ['-----------', 'zzzzzzzzzzz']) {
    const other = await withHash(`$foreign$${lost}$${'x'.repeat(60)}`)
    expect(await keys()).toEqual([200, 'degraded'])
    // Also if it is neither the oldest nor the newest.
    const newest = await lone.person()
    expect(await keys()).toEqual([200, 'degraded'])
    await lone.sql('DELETE FROM users WHERE id IN (?, ?)', [other, newest.id])
  }
  await withHash(`$foreign$zzzzzzzzzzz$${'x'.repeat(60)}`)
  await lone.sql("DELETE FROM users WHERE password_hash NOT LIKE '$foreign$zzz%'")
  expect(await keys()).toEqual([503, 'failed'])
})

describe('LG1, HX18: the log has one line for each request and each run of a cron job', () => {
  const listen = () => {
    const lines: Record<string, unknown>[] = []
    for (const level of ['info', 'warn', 'error'] as const)
      vi.spyOn(console, level).mockImplementation((line) => void lines.push(JSON.parse(line)))
    return lines
  }

  test('and the tests look at the line of each answer', async () => {
    const { headers } = await api.send('GET', '/v1/users/me')
    expect(lineOf(headers)).toMatch('"status":401,"code":"unauthenticated","reason":"absent"')
  })

  test('with the route’s pattern, who it was, and why it was refused', async () => {
    const ada = await api.quickActor()
    const lines = listen()
    const id = crypto.randomUUID()
    await api.send('GET', `/v1/users/${id}`, {
      token: ada.token,
      headers: { 'x-request-id': 'given-by-them' },
    })
    await api.send('GET', '/v1/users/me', { token: `${ada.token.slice(0, -20)}${'A'.repeat(20)}` })
    await api.send('GET', '/v1/users/me?x=1')
    await api.send('GET', `/nowhere/${id}`)
    const seen = lines.map(({ level, method, route, status, code, reason }) => [
      ...[level, method, route, status, code, reason],
    ])
    expect(seen).toEqual([
      ['warn', 'GET', '/v1/users/:id', 403, 'forbidden', undefined],
      ['warn', 'GET', '/v1/users/me', 401, 'invalid_token', expect.stringMatching(/^(signature|form)$/)],
      ['warn', 'GET', '/v1/users/me', 401, 'unauthenticated', 'absent'],
      ['warn', 'GET', null, 404, 'not_found', undefined],
    ])
    expect(lines[0]).toMatchObject({
      ...{ request_id: 'given-by-them', own_id: expect.stringMatching(/^[0-9a-f-]{36}$/) },
      ...{ actor: ada.id, session: ada.sessionId, trips: 1, retries: 0, ms: expect.any(Number) },
    })
    expect(JSON.stringify(lines)).not.toContain(id)
  })

  test('the reason for refusing a genuine token is the database’s', async () => {
    const [revoked, raised, idle, gone] = [
      await api.quickActor(),
      await api.quickActor(),
      await api.quickActor(),
      await api.quickActor(),
    ]
    await api.sql('UPDATE sessions SET revoked_at = 1 WHERE user_id = ?', [revoked.id])
    await api.sql('UPDATE users SET token_epoch = token_epoch + 1 WHERE id = ?', [raised.id])
    await api.sql('UPDATE sessions SET idle_expires_at = 1 WHERE user_id = ?', [idle.id])
    await api.sql('DELETE FROM sessions WHERE user_id = ?', [gone.id])
    const lines = listen()
    for (const { token } of [revoked, raised, idle, gone]) {
      expect((await api.send('GET', '/v1/users/me', { token })).status).toBe(401)
      expect((await api.send('GET', '/v1/auth/sessions', { token })).status).toBe(401)
    }
    expect(lines.map(({ reason }) => reason)).toEqual(
      ['revoked', 'epoch', 'idle', 'unknown'].flatMap((reason) => [reason, reason]),
    )
  })

  test('LOG=errors leaves out requests that succeeded, or failed because of the caller', async () => {
    const lines = listen()
    const quiet = openApi({ LOG: 'errors' })
    await quiet.send('GET', '/.well-known/jwks.json')
    await quiet.send('GET', '/v1/users/me')
    expect(lines).toEqual([])
  })

  test('a failed job is one line, and a successful one says how much it did', async () => {
    const lone = await freshUpstreams()
    const runCron = async (cron: string) => {
      const context = createExecutionContext()
      worker.scheduled({ cron } as ScheduledController, openApi(lone.bindings).bindings as never, context)
      await waitOnExecutionContext(context)
    }
    const lines = listen()
    await runCron('*/15 * * * *')
    await runCron('* * * * *')
    await lone.behave('libsql', { mode: 'down' })
    await runCron('*/15 * * * *')
    const ms = expect.any(Number)
    expect(lines).toEqual([
      { level: 'info', cron: 'cleanup', ms, removed: expect.any(Object), left: [], failed: [] },
      {
        level: 'info',
        cron: 'mail',
        ms,
        due: 0,
        dead: 0,
        owed: { due: 0, dead: 0 },
        events: { due: 0, dead: 0 },
      },
      expect.objectContaining({ level: 'error', code: 'cron_failed', cron: 'cleanup', ms }),
    ])
  })
})
