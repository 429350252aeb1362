import { beforeAll, describe, expect, test } from 'vitest'
import type * as z from 'zod'
import { app } from '../src/app.ts'
import { describe as describeApi, isPage, operationsOf } from '../src/docs/openapi.ts'
import { type NewUser, ROLES, type Role } from '../src/users/models.ts'
import { type Actor, type Answer, type Api, openApi, PASSWORD } from './support/api.ts'
import { addKey } from './support/keys.ts'
import { openBrowser, PAGES, signedIn } from './support/pages.ts'
import { ALL_WAYS_IN, asSent, goodRequests, newPerson, WHO } from './support/requests.ts'
import { rounds } from './support/rounds.ts'
import { type Dump, differences, dump } from './support/snapshots.ts'
import { freshUpstreams } from './support/upstreams.ts'

/** Also accepts tokens that are void, so that logging out can be repeated. */
const TAKES_DEAD_TOKENS = 'POST /v1/auth/logout'

const LEVELS = ['signed in', 'manager', 'admin'] as const

let api: Api
let actors: Record<(typeof ROLES)[number] | 'disabled' | 'deleted', () => Promise<Actor>>

beforeAll(async () => {
  api = openApi({ ...(await freshUpstreams()).bindings, ...ALL_WAYS_IN })
  await api.person({ role: 'admin' })
  const admin = await api.actor({ role: 'admin' })
  const dead = (end: (id: string) => Promise<unknown>) => async () => {
    const actor = await api.actor({ role: 'admin' })
    await end(actor.id)
    return actor
  }
  const send = (method: string, path: string, body?: unknown) =>
    api.send(method, path, { token: admin.token, body })
  const once = <T>(make: () => Promise<T>) => {
    let made: Promise<T> | undefined
    return () => (made ??= make())
  }
  actors = {
    user: () => api.actor({ role: 'user' }),
    manager: () => api.actor({ role: 'manager' }),
    admin: () => api.actor({ role: 'admin' }),
    disabled: once(dead((id) => send('POST', `/v1/users/${id}/disable`, { reason: 'left' }))),
    deleted: once(dead((id) => send('DELETE', `/v1/users/${id}`))),
  }
})

const allRoutes = [...operationsOf(app)]
const pages = allRoutes.filter(([, parts]) => isPage(parts)).map(([route]) => route)
/** Routes of the API. */
const routes = allRoutes
  .filter(([, parts]) => !isPage(parts))
  .map(([route]) => route)
  .sort()

test('AZ1: every route and page is in the table', () => {
  expect(routes).toEqual([...Object.keys(WHO), TAKES_DEAD_TOKENS].sort())
  expect(pages.sort()).toEqual(Object.keys(PAGES).sort())
})

test.each(Object.entries(PAGES).filter(([, who]) => who !== 'anyone'))(
  'AZ1: the page %s is for %s',
  async (route, who) => {
    const [method, pattern] = route.split(' ') as [string, string]
    const path = pattern.replace(':id', (await api.person({ password_hash: null })).id)
    const stranger = await (await openBrowser(api))(method, path)
    expect([stranger.status, stranger.headers.get('location')]).toEqual([
      303,
      expect.stringMatching(/^\/signin\?to=/),
    ])
    for (const [rank, role] of ROLES.entries()) {
      const browser = await openBrowser(api, await api.person({ role, password_hash: null }))
      const { status } = await browser(method, path)
      if (rank < LEVELS.indexOf(who as never)) expect([role, status]).toEqual([role, 403])
      else expect([200, 303, 404, 409, 422], role).toContain(status)
    }
  },
)

test.each(Object.entries(WHO))('AZ1, LE6: %s is for %s', async (route, who) => {
  const [method, pattern] = route.split(' ') as [string, string]
  const path = pattern
    .replace(':id', '00000000-0000-7000-8000-000000000000')
    .replace(':purpose', 'verify_email?token=x')
    .replace(':code', 'not_found')
  const body = ['POST', 'PATCH'].includes(method) ? {} : undefined
  const statusFor = async (token?: string) => (await api.send(method, path, { token, body })).status
  if (who === 'anyone') {
    expect(OF_APPS.includes(route) || route.includes('/oauth/') ? [400, 401] : [200, 415, 422]).toContain(
      await statusFor(),
    )
    return
  }
  expect(await statusFor()).toBe(401)
  expect(await statusFor((await actors.disabled()).token)).toBe(401)
  expect(await statusFor((await actors.deleted()).token)).toBe(401)
  for (const [rank, role] of ROLES.entries()) {
    const status = await statusFor((await actors[role]()).token)
    if (rank < LEVELS.indexOf(who)) expect(status).toBe(403)
    else expect([200, 201, 204, 404, 409, 415, 422]).toContain(status)
  }
})

test.each(Object.entries(WHO).filter(([, who]) => who !== 'anyone'))(
  'AZ1, HD2: %s by cookie is for %s, and a page of another site cannot change anything',
  async (route, who) => {
    const [method, pattern] = route.split(' ') as [string, string]
    const path = pattern.replace(':id', '00000000-0000-7000-8000-000000000000')
    const body = ['POST', 'PATCH'].includes(method) ? {} : undefined
    for (const [rank, role] of ROLES.entries()) {
      const { cookie } = await signedIn(api, await api.person({ role, password_hash: null }))
      const ask = async (headers: Record<string, string>) =>
        (await api.send(method, path, { body, headers: { cookie, ...headers } })).status
      const isOutranked = rank < LEVELS.indexOf(who as never)
      if (method !== 'GET')
        for (const elsewhere of [{}, { origin: 'null' }, { origin: 'https://evil.test' }])
          expect([elsewhere, await ask(elsewhere as never)]).toEqual([elsewhere, 403])
      const status = await ask({ origin: 'http://roster.test' })
      if (isOutranked) expect([role, status]).toEqual([role, 403])
      else expect([200, 201, 202, 204, 404, 409, 415, 422, 503], role).toContain(status)
    }
  },
)

test('AZ5: a manager cannot delete users on a page either, one or several', async () => {
  const browser = await openBrowser(api, await api.person({ role: 'manager', password_hash: null }))
  const ada = await api.person({ password_hash: null })
  const picked = { action: 'delete', [`pick.${ada.id}`]: 'on' }
  expect((await browser('POST', `/admin/people/${ada.id}/delete`)).status).toBe(403)
  expect((await browser('POST', '/admin/people/bulk/run', picked)).status).toBe(403)
  expect(await api.sql('SELECT deleted_at FROM users WHERE id = ?', [ada.id])).toEqual([{ deleted_at: null }])
})

test('The document and the router know the same routes', () => {
  const document = describeApi(app, 'http://roster.test') as { paths: Record<string, object> }
  const described = Object.entries(document.paths).flatMap(([path, operations]) =>
    Object.keys(operations).map((method) => `${method.toUpperCase()} ${path.replace(/\{(\w+)\}/g, ':$1')}`),
  )
  expect(described.sort()).toEqual(routes)
})

const as = async (role: Role) => (await api.signIn(await api.person({ role }))).token
const somebody = (role: Role = 'user') => api.person({ role, email_verified_at: Date.now() })
const GOOD = goodRequests(() => api)
/** For an app's token: see test/openid. */
const OF_APPS = ['GET /oauth/userinfo', 'POST /oauth/userinfo']
/** Needs one of the caller's own sessions, so it is tested with similar ones in signing-in.test.ts. */
const OWN_SESSION = 'DELETE /v1/auth/sessions/:id'
/** For keys and apps of the caller: see test/oauth. */
const OWN_KEYS = ['POST /v1/api_keys', 'POST /v1/api_keys/:id/rotate', 'DELETE /v1/api_keys/:id']
/** For the caller's own identities: see test/identities. */
const OWN_IDENTITIES = ['POST /v1/auth/identities/:id', 'DELETE /v1/auth/identities/:id']
const OWN_GRANTS = ['PATCH /v1/auth/grants/:id', 'DELETE /v1/auth/grants/:id']
/** Need something that the caller has begun, or has already: see test/factors. */
const OWN_FACTORS = [
  'POST /v1/auth/factors/totp/confirm',
  'DELETE /v1/auth/factors/totp',
  'POST /v1/auth/factors/mail_code',
  'POST /v1/auth/reauthenticate/mail_code',
  'POST /v1/auth/factors/recovery_codes',
  'POST /v1/auth/passkeys',
  'PATCH /v1/auth/passkeys/:id',
  'DELETE /v1/auth/passkeys/:id',
]

test('AZ4: every route has a good request', () => {
  expect(
    [
      ...Object.keys(GOOD),
      OWN_SESSION,
      ...OWN_FACTORS,
      ...OWN_IDENTITIES,
      ...OWN_GRANTS,
      ...OWN_KEYS,
      ...OF_APPS,
    ].sort(),
  ).toEqual(routes)
})

describe.each(Object.entries(GOOD))('AZ4: %s', (route, request) => {
  test.each(ROLES)('answers a %s with the members it declares, and no others', async (role) => {
    const ada = await somebody()
    await api.signIn(ada)
    const [path, body] = await request(ada)
    const sent = asSent(body)
    const answer = await api.send(route.split(' ')[0]!, path, { token: await as(role), ...sent })
    const parts = operationsOf(app).get(route)!
    const declared = Object.assign({}, ...parts.map(({ responses }) => responses)) as Record<
      number,
      (() => z.ZodType) | null
    >
    const isAllowed = LEVELS.indexOf(WHO[route] as never) <= ROLES.indexOf(role)
    if (isAllowed) expectDeclared(answer, declared)
    else expect([answer.status, answer.body.code]).toEqual([403, 'forbidden'])
  })
})

function expectDeclared(
  { status, headers, body, text }: Answer,
  responses: Record<number, (() => z.ZodType) | null>,
) {
  if (/^(text\/|application\/x-ndjson)/.test(headers.get('content-type') ?? '')) return
  expect(Object.keys(responses)).toContain(String(status))
  const schema = responses[status]!
  if (schema === null) expect(text).toBe('')
  // Parsing drops what the schema does not know, so the body had nothing of that kind.
  else expect(schema().parse(body)).toEqual(body)
}

test('HD5: reading with GET or HEAD changes nothing, whoever reads', async () => {
  const token = await as('admin')
  const ada = await somebody()
  await api.send('GET', '/ready') // Once a minute it writes a row.
  // Exporting everything is recorded in the history on purpose.
  const butExports = ({ user_activity_logs: rows, ...others }: Dump) => ({
    ...others,
    user_activity_logs: rows!.filter(({ action }) => action !== 'user.exported'),
  })
  const reads = Object.entries(GOOD).filter(([route]) => route.startsWith('GET'))
  const made = await Promise.all(reads.map(async ([route, request]) => [route, await request(ada)] as const))
  const before = butExports(await dump(api))
  for (const [route, [path]] of made) {
    const responses = [await api.send('GET', path, { token }), await api.send('HEAD', path, { token })]
    expect([route, ...responses.map(({ status }) => status)]).toEqual([route, 200, 200])
    expect(responses[1]!.text).toBe('')
  }
  expect(butExports(await dump(api))).toEqual(before)
})

test('AZ2: for a user, other users do not exist, and nothing of theirs can be changed', async () => {
  const token = await as('user')
  const ada = await somebody()
  const { sessionId } = await api.signIn(ada)
  const requests: typeof GOOD = { ...GOOD, [OWN_SESSION]: async () => [`/v1/auth/sessions/${sessionId}`] }
  const forOne = Object.entries(requests).filter(([route]) => route.includes(':id'))
  const made = await Promise.all(forOne.map(async ([route, request]) => [route, await request(ada)] as const))
  const before = await dump(api)
  for (const [route, [path, body]] of made) {
    const [method] = route.split(' ') as [string]
    const nobody = path.replace(ada.id, crypto.randomUUID()).replace(sessionId, crypto.randomUUID())
    const [theirs, unknown] = [
      await api.send(method, path, { token, body }),
      await api.send(method, nobody, { token, body }),
    ]
    expect(theirs.status).toBe(route === OWN_SESSION ? 404 : 403)
    expect({ ...theirs.body, request_id: '' }).toEqual({ ...unknown.body, request_id: '' })
  }
  expect(await dump(api)).toEqual(before)
})

describe('AZ5: who manages whom', () => {
  const mayManage = (actor: Role, other: Role) =>
    actor === 'admin' || (actor === 'manager' && other === 'user')
  const pairs = (['manager', 'admin'] as const).flatMap((actor) =>
    ROLES.map((other) => [actor, other] as const),
  )

  test.each(pairs)('a %s and a person who is %s', async (actor, role) => {
    const token = await as(actor)
    const target = await somebody(role)
    const path = `/v1/users/${target.id}`
    const send = (method: string, suffix: string, body?: unknown) =>
      api.send(method, `${path}${suffix}`, { token, body })
    const before = await rowOf(target)
    const changes: Record<string, () => Promise<Answer>> = {
      rename: () => send('PATCH', '', { name: 'Eve' }),
      'change the address of': () => send('PATCH', '', { email: `${crypto.randomUUID()}@people.test` }),
      disable: () => send('POST', '/disable', { reason: 'x' }),
      enable: () => send('POST', '/enable'),
      'end the sessions of': () => send('DELETE', '/sessions'),
      delete: () => send('DELETE', ''),
      restore: () => send('POST', '/restore'),
      purge: () => send('DELETE', '?hard=true'),
    }
    for (const [name, change] of Object.entries(changes)) {
      const { status, body } = await change()
      const isForAdmins = ['delete', 'restore', 'purge'].includes(name)
      if (isForAdmins && actor !== 'admin') expect([name, body.code]).toEqual([name, 'forbidden'])
      else if (mayManage(actor, role)) expect([name, [200, 204].includes(status)]).toEqual([name, true])
      else expect([name, body.code]).toEqual([name, 'outranked'])
    }
    if (!mayManage(actor, role)) expect(await rowOf(target)).toEqual(before)
  })

  test.each(pairs)('a %s gives the role %s', async (actor, role) => {
    const token = await as(actor)
    for (const from of ROLES.filter((one) => one !== role)) {
      const target = await somebody(from)
      const lifted = await api.send('PATCH', `/v1/users/${target.id}`, { token, body: { role } })
      const isAllowed = mayManage(actor, from) && mayManage(actor, role)
      expect([lifted.status, lifted.body.code]).toEqual(isAllowed ? [200, undefined] : [403, 'outranked'])
      expect((await rowOf(target)).role).toBe(isAllowed ? role : from)
    }
    const made = await api.send('POST', '/v1/users', { token, body: newPerson(role) })
    expect(made.body[made.status === 201 ? 'role' : 'code']).toBe(mayManage(actor, role) ? role : 'outranked')
  })

  test('nobody can change their own role or status', async () => {
    for (const role of ROLES) {
      const self = await somebody(role)
      const { token } = await api.signIn(self)
      const before = await rowOf(self)
      const path = `/v1/users/${self.id}`
      const answers = [
        ...(await Promise.all(
          ROLES.filter((other) => other !== role).map((other) =>
            api.send('PATCH', path, { token, body: { role: other } }),
          ),
        )),
        await api.send('PATCH', '/v1/users/me', { token, body: { name: 'Eve', role: 'admin' } }),
        await api.send('POST', `${path}/disable`, { token, body: { reason: 'x' } }),
        await api.send('DELETE', path, { token }),
        await api.send('DELETE', `${path}?hard=true`, { token }),
      ]
      expect(answers.filter(({ status }) => status !== 403 && status !== 422)).toEqual([])
      expect(await rowOf(self)).toEqual(before)
    }
  })

  test.each(['manager', 'admin'] as const)(
    'HX2: a %s cannot change their own account there',
    async (role) => {
      const self = await somebody(role)
      const { token } = await api.signIn(self)
      const before = await rowOf(self)
      const path = `/v1/users/${self.id}`
      for (const body of [{ email: newPerson().email }, { name: 'Eve' }, { name: 'Somebody' }, { role }]) {
        const answer = await api.send('PATCH', path, { token, body })
        expect([answer.status, answer.body.code]).toEqual([403, 'own_account'])
      }
      for (const suffix of ['/disable', '/enable']) {
        const body = suffix === '/disable' ? { reason: 'x' } : undefined
        expect((await api.send('POST', `${path}${suffix}`, { token, body })).body.code).toBe('own_account')
      }
      expect((await api.send('DELETE', `${path}/sessions`, { token })).body.code).toBe('own_account')
      expect((await api.send('GET', '/v1/auth/sessions', { token })).status).toBe(200)
      expect(await rowOf(self)).toEqual(before)
    },
  )

  test('restoring gives back the former role, and no session', async () => {
    const token = await as('admin')
    const manager = await somebody('manager')
    const theirs = await api.signIn(manager)
    await api.send('DELETE', `/v1/users/${manager.id}`, { token })
    const restored = await api.send('POST', `/v1/users/${manager.id}/restore`, { token })
    expect(restored.body).toMatchObject({ role: 'manager', status: 'active' })
    expect((await api.send('GET', '/v1/users/me', { token: theirs.token })).status).toBe(401)
  })
})

describe('AZ6: an active administrator remains', () => {
  const removals: Record<string, [method: string, suffix: string, body?: unknown]> = {
    demote: ['PATCH', '', { role: 'user' }],
    disable: ['POST', '/disable', { reason: 'x' }],
    delete: ['DELETE', ''],
    purge: ['DELETE', '?hard=true'],
  }
  const pairs = Object.keys(removals).flatMap((one) =>
    Object.keys(removals).map((other) => [one, other] as const),
  )
  let lone: Api
  beforeAll(async () => {
    lone = openApi({ ...(await freshUpstreams()).bindings, ...ALL_WAYS_IN })
  })

  test.each(pairs)('when two %s and %s each other at once', async (one, other) => {
    for (let round = 0; round < rounds(2, 50); round++) {
      await lone.sql("UPDATE users SET role = 'user'")
      const [ada, eve] = [await lone.person({ role: 'admin' }), await lone.person({ role: 'admin' })]
      const [asAda, asEve] = [await lone.signIn(ada), await lone.signIn(eve)]
      const remove = (by: { token: string }, whom: { id: string }, how: string) => {
        const [method, suffix, body] = removals[how]!
        return lone.send(method, `/v1/users/${whom.id}${suffix}`, { token: by.token, body })
      }
      const answers = await Promise.all([remove(asAda, eve, one), remove(asEve, ada, other)])
      expect(answers.filter(({ status }) => status < 300)).toHaveLength(1)
      expect(await admins()).toBe(1)
    }
  })

  test('when two leave at once', async () => {
    for (let round = 0; round < rounds(2, 50); round++) {
      await lone.sql("UPDATE users SET role = 'user'")
      const leave = async () => {
        const { token } = await lone.signIn(await lone.person({ role: 'admin' }))
        return () => lone.send('DELETE', '/v1/users/me', { token, body: { password: PASSWORD } })
      }
      const both = [await leave(), await leave()]
      const answers = await Promise.all(both.map((go) => go()))
      expect(answers.map(({ status }) => status).sort()).toEqual([204, 409])
      expect(await admins()).toBe(1)
    }
  })

  const admins = async () => {
    const [row] = await lone.sql("SELECT count(*) AS n FROM users WHERE role = 'admin' AND state = 'active'")
    return row!.n
  }
})

test('AZ7: a lower role takes effect at the next request, and new tokens have it', async () => {
  const admin = await as('admin')
  const manager = await somebody('manager')
  const { token, refreshToken } = await api.signIn(manager)
  const list = async (by: string) => (await api.send('GET', '/v1/users', { token: by })).status
  expect(await list(token)).toBe(200)
  await api.send('PATCH', `/v1/users/${manager.id}`, { token: admin, body: { role: 'user' } })
  expect(await list(token)).toBe(401)
  const body = { refresh_token: refreshToken }
  const refreshed = await api.send('POST', '/v1/auth/refresh_token', { body })
  expect(await list(refreshed.body.access_token as string)).toBe(403)
})

describe('SE1, HX2: a login of the last ten minutes', () => {
  const MINUTE_MS = 60_000
  const NOW = Date.now()
  const changeOf =
    (given: Partial<NewUser>, method: string, suffix: string, body?: unknown) => async (token: string) => {
      const { id } = await api.person({ email_verified_at: Date.now(), ...given })
      return () => api.send(method, `/v1/users/${id}${suffix}`, { token, body })
    }
  const change = (method: string, suffix: string, body?: unknown) => changeOf({}, method, suffix, body)
  const create = (role: Role) => async (token: string) => () =>
    api.send('POST', '/v1/users', { token, body: newPerson(role) })
  /** Disables somebody who is disabled already; both ends are in hours from now. */
  const disableAgain = (from: number | null, to: number | null) => (token: string) => {
    const [disabled_until, until] = [from, to].map((hours) => hours && NOW + hours * 60 * MINUTE_MS)
    const given = { status: 'disabled', disabled_reason: 'left', disabled_until } as const
    const body = { reason: 'stole', ...(until && { until: new Date(until).toISOString() }) }
    return changeOf(given, 'POST', '/disable', body)(token)
  }

  const withLogin = async (ageMs: number) =>
    (await api.signIn(await somebody('admin'), Date.now() - ageMs)).token

  test.each([
    ['another address', (token) => change('PATCH', '', { email: newPerson().email })(token)],
    ['another role', change('PATCH', '', { role: 'manager' })],
    ['another role among other changes', change('PATCH', '', { name: 'Grace', role: 'admin' })],
    ['a hard deletion', change('DELETE', '?hard=true')],
    ['restoring', changeOf({ deleted_at: Date.now() }, 'POST', '/restore')],
    ['enabling', changeOf({ status: 'disabled' }, 'POST', '/enable')],
    ['an end for a disabling that had none', disableAgain(null, 1)],
    ['an earlier end for a disabling', disableAgain(2, 1)],
    ['making a manager', create('manager')],
    ['making an administrator', create('admin')],
  ])('is needed for %s, and without one nothing changes', async (_, prepare) => {
    const request = await prepare(await withLogin(9 * MINUTE_MS))
    expect((await request()).status).toBeLessThan(300)
    const late = await prepare(await withLogin(11 * MINUTE_MS))
    const before = await dump(api)
    const refused = await late()
    expect([refused.status, refused.body.code]).toEqual([403, 'reauthentication_required'])
    expect(differences(before, await dump(api))).toEqual([])
  })

  test.each([
    [
      'another spelling of the address',
      async (token: string) => {
        const { id, email } = await somebody()
        return () => api.send('PATCH', `/v1/users/${id}`, { token, body: { email: email.toUpperCase() } })
      },
    ],
    ['enabling who is not disabled', change('POST', '/enable')],
    ['another name', change('PATCH', '', { name: 'Grace' })],
    ['the role that is there', change('PATCH', '', { name: 'Grace', role: 'user' })],
    ['a soft deletion', change('DELETE', '')],
    ['shutting out', change('POST', '/disable', { reason: 'left' })],
    ['a later end for a disabling', disableAgain(1, 2)],
    ['a disabling that has no end any more', disableAgain(1, null)],
    ['another reason for a disabling', disableAgain(1, 1)],
    ['making a user', create('user')],
  ])('is not needed for %s', async (_, prepare) => {
    const request = await prepare(await withLogin(11 * MINUTE_MS))
    expect((await request()).status).toBeLessThan(300)
  })

  test('nobody who is disabled is let in earlier by an old login, a key, a bulk action or a form', async () => {
    const boss = await somebody('admin')
    const [ada, { token }] = [await somebody(), await api.signIn(boss, NOW - 11 * MINUTE_MS)]
    const { key } = await addKey(api, boss, ['users:read', 'users:update'])
    const disabled = await api.send('POST', `/v1/users/${ada.id}/disable`, { token, body: { reason: 'x' } })
    expect(disabled.status).toBe(200)
    const before = await rowOf(ada)
    const until = new Date(Date.now() + 60 * MINUTE_MS).toISOString()
    const alone = { reason: 'x', until }
    const together = { action: 'disable', ids: [ada.id], ...alone }
    const codes = []
    for (const by of [token, key]) {
      const one = await api.send('POST', `/v1/users/${ada.id}/disable`, { token: by, body: alone })
      const bulk = await api.send('POST', '/v1/users/bulk', { token: by, body: together })
      const [inBulk] = (bulk.body.data ?? []) as { code?: string }[]
      codes.push(one.body.code, inBulk?.code ?? bulk.body.code)
    }
    expect(codes).toEqual([
      'reauthentication_required',
      'reauthentication_required',
      'insufficient_scope',
      'insufficient_scope',
    ])
    const browser = await openBrowser(api, boss, { provedSecondsAgo: 700 })
    const form = await browser('POST', `/admin/people/${ada.id}/disable`, {
      reason: 'x',
      // As the field sends it. Tomorrow, as the last minute of today may be over.
      until: new Date(Date.now() + 24 * 60 * MINUTE_MS).toISOString().slice(0, 16),
    })
    expect([form.status, form.headers.get('location')]).toEqual([
      303,
      expect.stringMatching(/^\/signin\/again\?/),
    ])
    expect(await rowOf(ada)).toEqual(before)
    expect(await api.historyOf(ada.id)).toEqual(['user.disabled'])
  })
})

const rowOf = async ({ id }: { id: string }) => (await api.sql('SELECT * FROM users WHERE id = ?', [id]))[0]!
