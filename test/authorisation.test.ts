import { beforeAll, expect, test } from 'vitest'
import { app } from '../src/app.ts'
import { describe as describeApi } from '../src/openapi.ts'
import { type Actor, type Api, openApi } from './support/api.ts'
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
const ROLES = ['user', 'manager', 'admin'] as const

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
