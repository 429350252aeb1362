import { createExecutionContext } from 'cloudflare:test'
import { sql } from 'drizzle-orm'
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { app } from '../src/app.ts'
import { openForCron } from '../src/context.ts'
import { operationsOf } from '../src/docs/openapi.ts'
import { openAddedNotices } from '../src/mail/limits.ts'
import type { Role } from '../src/users/models.ts'
import { type Answer, type Api, openApi, PASSWORD } from './support/api.ts'
import { addPasskey } from './support/factors.ts'
import { limiter } from './support/limiter.ts'
import { ALL_WAYS_IN, asSent, goodRequests, newPerson, WHO } from './support/requests.ts'
import { differences, dump } from './support/snapshots.ts'
import { freshUpstreams } from './support/upstreams.ts'
import { OWN_REQUESTS, WRITING_REQUESTS } from './support/writing-requests.ts'

/** After every refusal the database is unchanged, except for counters. */

let own: Awaited<ReturnType<typeof freshUpstreams>>
let api: Api

beforeAll(async () => {
  own = await freshUpstreams()
  api = openApi({ ...own.bindings, ...ALL_WAYS_IN })
})
beforeEach(() => api.person({ role: 'admin' }))
// Everything is read twice per test, and the administrators and webhooks of one test would be told about later ones.
afterEach(async () => {
  for (const table of ['users', 'sessions', 'outbox', 'webhooks']) await api.sql(`DELETE FROM ${table}`)
})

const GOOD = goodRequests(() => api)
const UNSAFE = Object.keys(GOOD).filter((route) => WHO[route] && !route.startsWith('GET '))
const OF_ANYONE = UNSAFE.filter((route) => WHO[route] === 'anyone')
const OF_THE_SIGNED_IN = UNSAFE.filter((route) => WHO[route] !== 'anyone')
const takesJson = (route: string) =>
  !route.includes('/links/') &&
  operationsOf(app)
    .get(route)
    ?.some(({ body }) => body) === true

/** What must be done to somebody first, or the route has nothing to do. */
const FIRST: Record<string, string> = {
  'POST /v1/users/:id/restore': 'UPDATE users SET deleted_at = 1 WHERE id = ?',
  'POST /v1/users/:id/enable': "UPDATE users SET status = 'disabled' WHERE id = ?",
  'POST /v1/users/:id/unlock': 'UPDATE users SET failed_logins = 3 WHERE id = ?',
  'DELETE /v1/users/:id/factors':
    "INSERT INTO factors (user_id, seed, key_id, created_at, confirmed_at) VALUES (?, 'x', 'x', 1, 1)",
}

/** A good request of a route, with `body` instead of its own if given. Nothing is sent yet. */
async function prepare(route: string, token?: string, body?: unknown) {
  const ada = await api.person()
  const [path, good] = await GOOD[route]!(ada)
  if (FIRST[route]) await api.sql(FIRST[route], [ada.id])
  const given = body ?? good
  const sent = asSent(given)
  return (by = api) => by.send(route.split(' ')[0]!, path, { token, ...sent })
}

/** The status of each answer, and all changes together. */
async function sendAll(requests: (() => Promise<Answer>)[]) {
  const before = await dump(api)
  const statuses = new Set<number>()
  for (const request of requests) statuses.add((await request()).status)
  return { statuses: [...statuses], changed: differences(before, await dump(api)) }
}

/** The ways in which a token ends, each by SQL: as another request does it. */
const ENDS: Record<string, (actor: { id: string; sessionId: string }) => Promise<unknown>> = {
  'its session was ended': ({ sessionId }) =>
    api.sql("UPDATE sessions SET revoked_at = ?, revoked_reason = 'ended' WHERE id = ?", [
      Date.now(),
      sessionId,
    ]),
  'all were ended': ({ id }) => api.sql('UPDATE users SET token_epoch = token_epoch + 1 WHERE id = ?', [id]),
  'its user was disabled': ({ id }) => api.sql("UPDATE users SET status = 'disabled' WHERE id = ?", [id]),
  'its user was deleted': ({ id }) => api.sql('UPDATE users SET deleted_at = 1 WHERE id = ?', [id]),
}

/** Somebody, what they may ask for about what is their own, and their session that asks. */
async function prepareOwn(name: string) {
  const ada = await api.person({ email_verified_at: 1 })
  const request = await WRITING_REQUESTS[name]!(api, ada)
  const [newest] = await api.sql(
    'SELECT id FROM sessions WHERE user_id = ? AND client_id IS NULL ORDER BY id DESC LIMIT 1',
    [ada.id],
  )
  return { request, actor: { id: ada.id, sessionId: newest!.id as string } }
}

describe('HX10: with a token that ends while the request is on its way', () => {
  const MAX_WRITES = 4

  async function expectRefusals(
    ready: () => Promise<{ request: () => Promise<Answer>; actor: { id: string; sessionId: string } }>,
    { mustWrite = false } = {},
  ) {
    for (const [how, end] of Object.entries(ENDS)) {
      for (let nth = 1; nth <= MAX_WRITES; nth++) {
        const { request, actor } = await ready()
        let before = await dump(api)
        const meanwhile = async () => {
          await end(actor)
          before = await dump(api)
        }
        const { result, wasHeld } = await own.between(() => request(), meanwhile, { nth })
        if (!wasHeld) {
          // Or nothing was tested.
          if (mustWrite) expect(nth).toBeGreaterThan(1)
          break
        }
        const changed = differences(before, await dump(api))
        // The held write came after the answer: the mail.
        if (nth > 1 && result.status < 300 && changed.some((row) => row.startsWith('outbox:'))) break
        expect({ how, nth, status: result.status, changed }).toEqual({ how, nth, status: 401, changed: [] })
      }
    }
  }

  test.each(OF_THE_SIGNED_IN)('%s changes nothing, and says so', (route) =>
    expectRefusals(async () => {
      // With a proved address, or no notice would be sent there.
      const actor = await api.quickActor({ role: 'admin', email_verified_at: 1 })
      return { request: await prepare(route, actor.token), actor }
    }),
  )

  test.each(Object.keys(OWN_REQUESTS))('%s changes nothing, and says so', (name) =>
    expectRefusals(() => prepareOwn(name), { mustWrite: true }),
  )
})

describe('HX10: what has changed meanwhile is what a refusal names', () => {
  async function expectRefusal(
    name: string,
    only: string,
    act: (made: Awaited<ReturnType<typeof prepareOwn>>) => Promise<unknown>,
    said: [number, string | undefined],
  ) {
    const made = await prepareOwn(name)
    let before = await dump(api)
    const meanwhile = async () => {
      await act(made)
      before = await dump(api)
    }
    const { result, wasHeld } = await own.between(made.request, meanwhile, { only })
    const changed = differences(before, await dump(api))
    const { code } = (result.body ?? {}) as { code?: string }
    expect([wasHeld, result.status, code, changed]).toEqual([true, ...said, []])
  }

  test.each([
    ['removing an authenticator app', 'factor.removed', 'factor_not_found'],
    ['removing a passkey', 'factor.removed', 'passkey_not_found'],
    ['disconnecting a provider', 'identity.unlinked', 'identity_not_found'],
  ])('%s twice at once says the second time that it is gone', (name, only, code) =>
    expectRefusal(name, only, ({ request }) => request(), [404, code]),
  )

  const ADDED: [name: string, only: string, code: string | undefined][] = [
    ['adding a passkey', 'factor.added', 'too_many_attempts'],
    ['confirming an authenticator app', 'factor.added', 'too_many_attempts'],
    // Its answer is a page.
    ['connecting a provider', 'identity.linked', undefined],
  ]
  test.each(ADDED)('RL6: %s in a session that has added too much by then says so', (name, only, code) =>
    expectRefusal(
      name,
      only,
      async ({ actor: { id, sessionId } }) => {
        const resources = openForCron(api.bindings as never, createExecutionContext())
        const { told } = openAddedNotices(resources, 'factors added', sessionId, id)
        await resources.db.writeBatch({ count: Array.from({ length: 20 }, () => told.count(sql`1`)) })
      },
      [429, code],
    ),
  )

  test.each(['adding a passkey', 'confirming an authenticator app'])(
    '%s with a mailed code that is used up by then, or when it is no longer the first factor, says so',
    async (name) => {
      const useUp = ({ actor }: { actor: { id: string } }) =>
        api.sql('UPDATE one_time_tokens SET spent_at = 1 WHERE subject_id = ?', [actor.id])
      await expectRefusal(name, 'factor.added', useUp, [400, 'invalid_link'])
      await expectRefusal(name, 'factor.added', ({ actor }) => addPasskey(api, actor), [
        409,
        'write_conflict',
      ])
    },
  )

  test('PK1: adding a passkey where there are twenty by then, or by a challenge that is used up, says so', async () => {
    const fill = async ({ actor }: { actor: { id: string } }) => {
      for (let i = 0; i < 20; i++) await addPasskey(api, actor)
    }
    await expectRefusal('adding a passkey', 'factor.added', fill, [409, 'too_many_passkeys'])
    const spend = () => api.sql('UPDATE challenges SET spent_at = 1')
    await expectRefusal('adding a passkey', 'factor.added', spend, [400, 'invalid_passkey'])
  })
})

describe('HX10: refused before anything is done', () => {
  const tokenOf = async (role: Role) => (await api.quickActor({ role })).token

  test.each(OF_THE_SIGNED_IN)('%s without a valid token is a 401, and changes nothing', async (route) => {
    const tokens = [undefined, 'garbage', `${await tokenOf('admin')}x`]
    for (const end of Object.values(ENDS)) {
      const actor = await api.quickActor({ role: 'admin' })
      await end(actor)
      tokens.push(actor.token)
    }
    const requests = await Promise.all(tokens.map((token) => prepare(route, token)))
    expect(await sendAll(requests)).toEqual({ statuses: [401], changed: [] })
  })

  test.each(Object.keys(OWN_REQUESTS))(
    '%s with a token that has ended is a 401, and changes nothing',
    async (name) => {
      const requests = []
      for (const end of Object.values(ENDS)) {
        const { request, actor } = await prepareOwn(name)
        await end(actor)
        requests.push(request)
      }
      expect(await sendAll(requests)).toEqual({ statuses: [401], changed: [] })
    },
  )

  test.each(OF_THE_SIGNED_IN.filter((route) => WHO[route] !== 'signed in'))(
    '%s by a lower role is a 403, and changes nothing',
    async (route) => {
      const roles = WHO[route] === 'admin' ? (['user', 'manager'] as const) : (['user'] as const)
      const requests = await Promise.all(roles.map(async (role) => prepare(route, await tokenOf(role))))
      expect(await sendAll(requests)).toEqual({ statuses: [403], changed: [] })
    },
  )

  test.each(UNSAFE.filter(takesJson))(
    '%s with an unknown member is a 422, and changes nothing',
    async (route) => {
      const [, good] = await GOOD[route]!(await api.person())
      const request = await prepare(route, await tokenOf('admin'), { ...(good as object), nobody_knows: 1 })
      expect(await sendAll([request])).toEqual({ statuses: [422], changed: [] })
    },
  )

  test.each(OF_THE_SIGNED_IN)(
    '%s in a session that changes too much is a 429, and changes nothing',
    async (route) => {
      const spent = openApi({ ...own.bindings, ...ALL_WAYS_IN, RATE_LIMIT_WRITES: limiter(0) })
      const request = await prepare(route, await tokenOf('admin'))
      expect(await sendAll([() => request(spent)])).toEqual({ statuses: [429], changed: [] })
    },
  )

  test.each(OF_ANYONE)(
    '%s from a network that has asked too often is a 429, and changes nothing',
    async (route) => {
      const never = { limit: async () => ({ success: false }) }
      // A service that introspects is counted separately, by who reads.
      const full = openApi({
        ...own.bindings,
        RATE_LIMIT_BY_IP: never,
        RATE_LIMIT_BY_TOKEN: never,
        RATE_LIMIT_READS: never,
      })
      const request = await prepare(route)
      expect(await sendAll([() => request(full)])).toEqual({ statuses: [429], changed: [] })
    },
  )
})

describe('HX10: refused because of what exists', () => {
  let token: string
  beforeEach(async () => {
    token = (await api.quickActor({ role: 'admin' })).token
  })
  const by = (method: string, path: string, body?: unknown, headers = {}) =>
    api.send(method, path, { token, body, headers })
  const STALE = { 'if-match': '"999"' }

  const REFUSALS: [string, number, string, () => Promise<() => Promise<Answer>>][] = [
    [
      'creating an address twice',
      409,
      'email_taken',
      async () => {
        const { email } = await api.person()
        return () => by('POST', '/v1/users', { ...newPerson(), email })
      },
    ],
    [
      'inviting an address that has an account',
      409,
      'email_taken',
      async () => {
        const { email } = await api.person({ email_verified_at: 1 })
        return () => by('POST', '/v1/invitations', { email })
      },
    ],
    [
      'restoring somebody whose address is taken',
      409,
      'email_taken',
      async () => {
        const gone = await api.person({ deleted_at: 1 })
        await api.person({ email: gone.email })
        return () => by('POST', `/v1/users/${gone.id}/restore`)
      },
    ],
    [
      'giving somebody an address that is taken',
      409,
      'email_taken',
      async () => {
        const [ada, { email }] = [await api.person(), await api.person()]
        return () => by('PATCH', `/v1/users/${ada.id}`, { email })
      },
    ],
    [
      'changing somebody deleted',
      409,
      'user_deleted',
      async () => {
        const gone = await api.person({ deleted_at: 1 })
        return () => by('PATCH', `/v1/users/${gone.id}`, { name: 'Grace' })
      },
    ],
    [
      'disabling somebody deleted',
      409,
      'user_deleted',
      async () => {
        const gone = await api.person({ deleted_at: 1 })
        return () => by('POST', `/v1/users/${gone.id}/disable`, { reason: 'left' })
      },
    ],
    [
      'sending a withdrawn invitation again',
      409,
      'invitation_ended',
      async () => {
        const { body } = await by('POST', '/v1/invitations', { email: newPerson().email })
        await by('DELETE', `/v1/invitations/${body.id}`)
        return () => by('POST', `/v1/invitations/${body.id}/resend`)
      },
    ],
    [
      'changing a version that is gone',
      412,
      'version_mismatch',
      async () => {
        const ada = await api.person()
        return () => by('PATCH', `/v1/users/${ada.id}`, { name: 'Grace' }, STALE)
      },
    ],
    [
      'changing a version of oneself that is gone',
      412,
      'version_mismatch',
      async () => () => by('PATCH', '/v1/users/me', { name: 'Grace' }, STALE),
    ],
    [
      'using an Idempotency-Key for something else',
      422,
      'idempotency_key_reused',
      async () => {
        const headers = { 'idempotency-key': crypto.randomUUID() }
        await by('POST', '/v1/users', newPerson(), headers)
        return () => by('POST', '/v1/users', newPerson(), headers)
      },
    ],
    [
      'a weak password',
      422,
      'invalid_input',
      async () => () => by('POST', '/v1/users', { ...newPerson(), password: 'password1234' }),
    ],
  ]

  test.each(REFUSALS)('%s is a %i %s, and changes nothing', async (_, status, code, prepare) => {
    const request = await prepare()
    const before = await dump(api)
    const answer = await request()
    expect([answer.status, answer.body.code, differences(before, await dump(api))]).toEqual([
      status,
      code,
      [],
    ])
  })

  test('the last administrator stays, and nothing else changes', async () => {
    const lone = openApi((await freshUpstreams()).bindings)
    const last = await lone.quickActor({ role: 'admin' })
    const before = await dump(lone)
    const answer = await lone.send('DELETE', '/v1/users/me', {
      token: last.token,
      body: { password: PASSWORD },
    })
    expect([answer.status, answer.body.code]).toEqual([409, 'last_admin'])
    expect(differences(before, await dump(lone))).toEqual([])
  })
})
