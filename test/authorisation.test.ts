import { beforeAll, describe, expect, test } from 'vitest'
import type * as z from 'zod'
import { app } from '../src/app.ts'
import { describe as describeApi, operationsOf } from '../src/docs/openapi.ts'
import { ROLES, type Role } from '../src/users/models.ts'
import { type Actor, type Answer, type Api, linkIn, openApi, PASSWORD } from './support/api.ts'
import { rounds } from './support/rounds.ts'
import { freshUpstreams } from './support/upstreams.ts'

/**
 * Who gets through each route: `anyone`, whoever is `signed in`, those from `manager` up, or the `admin`. A route
 * that is missing here fails the first test.
 */
const WHO: Record<string, 'anyone' | 'signed in' | 'manager' | 'admin'> = {
  'GET /health': 'anyone',
  'GET /ready': 'anyone',
  'GET /.well-known/jwks.json': 'anyone',
  'GET /.well-known/oauth-authorization-server': 'anyone',
  'GET /openapi.json': 'anyone',
  'GET /docs': 'anyone',
  'POST /v1/auth/signup': 'anyone',
  'POST /v1/auth/login': 'anyone',
  'POST /v1/auth/refresh_token': 'anyone',
  'POST /v1/auth/verify_email': 'anyone',
  'POST /v1/auth/resend_verification': 'anyone',
  'POST /v1/auth/forgot_password': 'anyone',
  'POST /v1/auth/reset_password': 'anyone',
  'POST /v1/auth/confirm_email_change': 'anyone',
  'POST /v1/auth/undo_email_change': 'anyone',
  'POST /v1/auth/accept_invitation': 'anyone',
  'GET /links/:purpose': 'anyone',
  'POST /links/:purpose': 'anyone',
  'POST /v1/auth/logout_all': 'signed in',
  'POST /v1/auth/change_email': 'signed in',
  'POST /v1/auth/change_password': 'signed in',
  'GET /v1/auth/sessions': 'signed in',
  'DELETE /v1/auth/sessions/:id': 'signed in',
  'GET /v1/users/me': 'signed in',
  'PATCH /v1/users/me': 'signed in',
  'DELETE /v1/users/me': 'signed in',
  'GET /v1/users/me/activity': 'signed in',
  'GET /v1/users/me/export': 'signed in',
  'GET /v1/users': 'manager',
  'POST /v1/users': 'manager',
  'GET /v1/users/:id': 'manager',
  'PATCH /v1/users/:id': 'manager',
  'DELETE /v1/users/:id': 'admin',
  'POST /v1/users/:id/restore': 'admin',
  'POST /v1/users/:id/disable': 'manager',
  'POST /v1/users/:id/enable': 'manager',
  'GET /v1/users/:id/export': 'admin',
  'GET /v1/users/:id/sessions': 'manager',
  'DELETE /v1/users/:id/sessions': 'manager',
  'GET /v1/users/:id/activity': 'manager',
  'GET /v1/invitations': 'manager',
  'POST /v1/invitations': 'manager',
  'POST /v1/invitations/:id/resend': 'manager',
  'DELETE /v1/invitations/:id': 'manager',
  'GET /v1/activity': 'manager',
  'GET /v1/cleanup/runs': 'admin',
}
/** Takes tokens that no longer count too, so that logging out works again and again. */
const TAKES_DEAD_TOKENS = 'POST /v1/auth/logout'

const LEVELS = ['signed in', 'manager', 'admin'] as const

let api: Api
let actors: Record<(typeof ROLES)[number] | 'disabled' | 'deleted', () => Promise<Actor>>

beforeAll(async () => {
  api = openApi((await freshUpstreams()).bindings)
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

const routesOf = (router: typeof app) =>
  [
    ...new Set(
      router.routes.filter(({ method }) => method !== 'ALL').map(({ method, path }) => `${method} ${path}`),
    ),
  ].sort()

test('AZ1: every route stands in the table', () => {
  expect(routesOf(app)).toEqual([...Object.keys(WHO), TAKES_DEAD_TOKENS].sort())
})

test.each(Object.entries(WHO))('AZ1, LE6: %s is for %s', async (route, who) => {
  const [method, pattern] = route.split(' ') as [string, string]
  const path = pattern
    .replace(':id', '00000000-0000-7000-8000-000000000000')
    .replace(':purpose', 'verify_email')
  const body = ['POST', 'PATCH'].includes(method) ? {} : undefined
  const statusFor = async (token?: string) => (await api.send(method, path, { token, body })).status
  if (who === 'anyone') {
    expect([200, 415, 422]).toContain(await statusFor())
    return
  }
  expect(await statusFor()).toBe(401)
  expect(await statusFor((await actors.disabled()).token)).toBe(401)
  expect(await statusFor((await actors.deleted()).token)).toBe(401)
  for (const [rank, role] of ROLES.entries()) {
    const status = await statusFor((await actors[role]()).token)
    if (rank < LEVELS.indexOf(who)) expect(status).toBe(403)
    else expect([200, 204, 404, 415, 422]).toContain(status)
  }
})

test('The document and the router know the same routes', () => {
  const document = describeApi(app, 'http://roster.test') as { paths: Record<string, object> }
  const described = Object.entries(document.paths).flatMap(([path, operations]) =>
    Object.keys(operations).map((method) => `${method.toUpperCase()} ${path.replace(/\{(\w+)\}/g, ':$1')}`),
  )
  expect(described.sort()).toEqual(routesOf(app))
})

const as = async (role: Role) => (await api.signIn(await api.person({ role }))).token
const somebody = (role: Role = 'user') => api.person({ role })
const newPerson = (role?: Role) => ({
  email: `${crypto.randomUUID()}@people.test`,
  password: PASSWORD,
  name: 'Grace',
  ...(role && { role }),
})

const changeOfEmail = () => ({ new_email: newPerson().email, current_password: PASSWORD })

/** The token of the mail that a route sends to `to`; asked for by `by`, where that matters. */
async function mailed(to: { email: string }, route: string, body: object, by?: { id: string }) {
  const token = by && (await api.signIn(by)).token
  expect((await api.send('POST', `/v1/auth/${route}`, { token, body })).status).toBe(202)
  return linkIn((await api.mailsTo(to.email))[0]!).token
}

async function invited() {
  const body = { email: newPerson().email }
  const answer = await api.send('POST', '/v1/invitations', { token: await as('admin'), body })
  return answer.body as { id: string; email: string }
}

/** One good request of every route, made by whoever may; `ada` is a person to do it to. */
const GOOD: Record<string, (ada: { id: string; email: string }) => Promise<[path: string, body?: unknown]>> =
  {
    'GET /health': async () => ['/health'],
    'GET /ready': async () => ['/ready'],
    'GET /.well-known/jwks.json': async () => ['/.well-known/jwks.json'],
    'GET /.well-known/oauth-authorization-server': async () => ['/.well-known/oauth-authorization-server'],
    'GET /openapi.json': async () => ['/openapi.json'],
    'GET /docs': async () => ['/docs'],
    'POST /v1/auth/signup': async () => ['/v1/auth/signup', newPerson()],
    'POST /v1/auth/login': async ({ email }) => ['/v1/auth/login', { email, password: PASSWORD }],
    'POST /v1/auth/refresh_token': async (ada) => [
      '/v1/auth/refresh_token',
      { refresh_token: (await api.signIn(ada)).refreshToken },
    ],
    'POST /v1/auth/logout': async () => ['/v1/auth/logout'],
    'POST /v1/auth/logout_all': async () => ['/v1/auth/logout_all'],
    'POST /v1/auth/change_password': async () => [
      '/v1/auth/change_password',
      { current_password: PASSWORD, new_password: 'nine green bears run' },
    ],
    'POST /v1/auth/resend_verification': async ({ email }) => ['/v1/auth/resend_verification', { email }],
    'POST /v1/auth/verify_email': async (ada) => [
      '/v1/auth/verify_email',
      { token: await mailed(ada, 'resend_verification', { email: ada.email }) },
    ],
    'POST /v1/auth/forgot_password': async ({ email }) => ['/v1/auth/forgot_password', { email }],
    'POST /v1/auth/reset_password': async (ada) => [
      '/v1/auth/reset_password',
      {
        token: await mailed(ada, 'forgot_password', { email: ada.email }),
        new_password: 'nine green bears run',
      },
    ],
    'POST /v1/auth/change_email': async () => ['/v1/auth/change_email', changeOfEmail()],
    'POST /v1/auth/confirm_email_change': async (ada) => {
      const change = changeOfEmail()
      const token = await mailed({ ...ada, email: change.new_email }, 'change_email', change, ada)
      return ['/v1/auth/confirm_email_change', { token }]
    },
    'POST /v1/auth/undo_email_change': async (ada) => [
      '/v1/auth/undo_email_change',
      { token: await mailed(ada, 'change_email', changeOfEmail(), ada) },
    ],
    'POST /v1/auth/accept_invitation': async () => {
      const { email } = await invited()
      const { token } = linkIn((await api.mailsTo(email))[0]!)
      return ['/v1/auth/accept_invitation', { token, password: 'nine green bears run' }]
    },
    'GET /links/:purpose': async () => ['/links/verify_email?token=x'],
    'POST /links/:purpose': async () => ['/links/verify_email', new URLSearchParams({ token: 'x' })],
    'GET /v1/invitations': async () => ['/v1/invitations'],
    'POST /v1/invitations': async () => ['/v1/invitations', { email: newPerson().email }],
    'POST /v1/invitations/:id/resend': async () => [`/v1/invitations/${(await invited()).id}/resend`],
    'DELETE /v1/invitations/:id': async () => [`/v1/invitations/${(await invited()).id}`],
    'GET /v1/users/me/export': async () => ['/v1/users/me/export'],
    'GET /v1/users/:id/export': async ({ id }) => [`/v1/users/${id}/export`],
    'GET /v1/auth/sessions': async () => ['/v1/auth/sessions'],
    'GET /v1/users/me': async () => ['/v1/users/me'],
    'PATCH /v1/users/me': async () => ['/v1/users/me', { name: 'Grace' }],
    'DELETE /v1/users/me': async () => ['/v1/users/me', { password: PASSWORD }],
    'GET /v1/users/me/activity': async () => ['/v1/users/me/activity'],
    'GET /v1/users': async () => ['/v1/users?limit=100'],
    'POST /v1/users': async () => ['/v1/users', newPerson()],
    'GET /v1/users/:id': async ({ id }) => [`/v1/users/${id}`],
    'PATCH /v1/users/:id': async ({ id }) => [`/v1/users/${id}`, { name: 'Grace' }],
    'DELETE /v1/users/:id': async ({ id }) => [`/v1/users/${id}`],
    'POST /v1/users/:id/restore': async ({ id }) => [`/v1/users/${id}/restore`],
    'POST /v1/users/:id/disable': async ({ id }) => [`/v1/users/${id}/disable`, { reason: 'left' }],
    'POST /v1/users/:id/enable': async ({ id }) => [`/v1/users/${id}/enable`],
    'GET /v1/users/:id/sessions': async ({ id }) => [`/v1/users/${id}/sessions`],
    'DELETE /v1/users/:id/sessions': async ({ id }) => [`/v1/users/${id}/sessions`],
    'GET /v1/users/:id/activity': async ({ id }) => [`/v1/users/${id}/activity`],
    'GET /v1/activity': async () => ['/v1/activity?limit=100'],
    'GET /v1/cleanup/runs': async () => ['/v1/cleanup/runs'],
  }
/** Needs a session of the caller's own, so it is tried with the others of that kind, in signing-in.test.ts. */
const OWN_SESSION = 'DELETE /v1/auth/sessions/:id'

test('AZ4: every route has a good request', () => {
  expect([...Object.keys(GOOD), OWN_SESSION].sort()).toEqual(routesOf(app))
})

describe.each(Object.entries(GOOD))('AZ4: %s', (route, request) => {
  test.each(ROLES)('responses a %s with what it declares, and with no other member', async (role) => {
    const ada = await somebody()
    await api.signIn(ada)
    const [path, body] = await request(ada)
    const sent = body instanceof URLSearchParams ? { raw: body } : { body }
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
  if (headers.get('content-type')?.startsWith('text/html')) return
  expect(Object.keys(responses)).toContain(String(status))
  const schema = responses[status]!
  if (schema === null) expect(text).toBe('')
  // Parsing drops what the schema does not know, so nothing of the kind was there.
  else expect(schema().parse(body)).toEqual(body)
}

test('HD5: reading changes nothing, whoever reads, by GET and by HEAD', async () => {
  const token = await as('admin')
  const ada = await somebody()
  const before = await dump()
  for (const [route, request] of Object.entries(GOOD).filter(([route]) => route.startsWith('GET'))) {
    const [path] = await request(ada)
    const responses = [await api.send('GET', path, { token }), await api.send('HEAD', path, { token })]
    expect([route, ...responses.map(({ status }) => status)]).toEqual([route, 200, 200])
    expect(responses[1]!.text).toBe('')
  }
  expect(await dump()).toEqual(before)
})

/** Everything in the database, table by table. */
async function dump() {
  const tables = await api.sql(
    "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name",
  )
  return Promise.all(tables.map(({ name }) => api.sql(`SELECT * FROM "${name}"`)))
}

test('AZ2: to a user, somebody else is as unknown as nobody, and nothing of theirs changes', async () => {
  const token = await as('user')
  const ada = await somebody()
  const { sessionId } = await api.signIn(ada)
  const requests: typeof GOOD = { ...GOOD, [OWN_SESSION]: async () => [`/v1/auth/sessions/${sessionId}`] }
  const forOne = Object.entries(requests).filter(([route]) => route.includes(':id'))
  const made = await Promise.all(forOne.map(async ([route, request]) => [route, await request(ada)] as const))
  const before = await dump()
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
  expect(await dump()).toEqual(before)
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

  test('nobody changes their own role or status, whatever they are', async () => {
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

  test('restoring gives back the role that was there, and no session', async () => {
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
    lone = openApi((await freshUpstreams()).bindings)
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

test('AZ7: a role taken away counts at the next request, and a token from then on has the new one', async () => {
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

describe('SE1: a login of the last ten minutes', () => {
  const MINUTE_MS = 60_000
  const change = (method: string, suffix: string, body?: unknown) => async (token: string) => {
    const { id } = await somebody()
    return api.send(method, `/v1/users/${id}${suffix}`, { token, body })
  }
  const create = (role: Role) => (token: string) =>
    api.send('POST', '/v1/users', { token, body: newPerson(role) })

  const withLogin = async (ageMs: number) =>
    (await api.signIn(await somebody('admin'), Date.now() - ageMs)).token

  test.each([
    ['another role', change('PATCH', '', { role: 'manager' })],
    ['another role among other changes', change('PATCH', '', { name: 'Grace', role: 'admin' })],
    ['a hard deletion', change('DELETE', '?hard=true')],
    ['making a manager', create('manager')],
    ['making an administrator', create('admin')],
  ])('is needed for %s', async (_, request) => {
    expect((await request(await withLogin(9 * MINUTE_MS))).status).toBeLessThan(300)
    const refused = await request(await withLogin(11 * MINUTE_MS))
    expect([refused.status, refused.body.code]).toEqual([403, 'reauthentication_required'])
  })

  test.each([
    ['another name', change('PATCH', '', { name: 'Grace' })],
    ['the role that is there', change('PATCH', '', { name: 'Grace', role: 'user' })],
    ['a soft deletion', change('DELETE', '')],
    ['shutting out', change('POST', '/disable', { reason: 'left' })],
    ['making a user', create('user')],
  ])('is not needed for %s', async (_, request) => {
    expect((await request(await withLogin(11 * MINUTE_MS))).status).toBeLessThan(300)
  })
})

const rowOf = async ({ id }: { id: string }) => (await api.sql('SELECT * FROM users WHERE id = ?', [id]))[0]!
