import { createExecutionContext, waitOnExecutionContext } from 'cloudflare:test'
import { afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { Tokens } from '../../src/auth/schemas.ts'
import { cleanUp } from '../../src/cleanup/service.ts'
import { openForCron } from '../../src/context.ts'
import { type Answer, type Api, linkIn, openApi, PASSWORD } from '../support/api.ts'
import { expectInvariants } from '../support/invariants.ts'
import { rounds } from '../support/rounds.ts'
import { freshUpstreams } from '../support/upstreams.ts'

/**
 * Answers that got lost: nobody knows whether the write was done. It must take effect once, be answered as done, and
 * be in the history once.
 */
let own: Awaited<ReturnType<typeof freshUpstreams>>
let api: Api
let admin: Person

type Person = Awaited<ReturnType<typeof newcomer>>

/** Somebody who is signed in, without the price of a hash. */
async function newcomer(role: 'user' | 'admin' = 'user') {
  const person = await api.person({ role, email_verified_at: 1 })
  return { ...person, ...(await api.signIn(person)) }
}

beforeAll(async () => {
  own = await freshUpstreams()
  api = openApi(own.bindings)
  admin = await newcomer('admin')
})
afterEach(() => own.behave('libsql', { mode: 'pass' }))

const post = (path: string, body?: unknown, token?: string, key?: string) =>
  api.send('POST', path, { body, token, ...(key && { headers: { 'idempotency-key': key } }) })
const byAdmin = (method: string, path: string, body?: unknown) =>
  api.send(method, `/v1/users${path}`, { token: admin.token, body })
const newPerson = () => ({ email: `${crypto.randomUUID()}@people.test`, password: PASSWORD, name: 'Ada' })

interface Write {
  /** Its action in the history, which also identifies its batch. */
  action: string
  /** For writes that leave nothing in the history. */
  timesDone?(ada: Person): Promise<unknown>
  status: number
  /** What must have happened before. */
  given?(ada: Person, fresh: { email: string }): Promise<unknown>
  send(ada: Person, fresh: { email: string; password: string; name: string }): Promise<Answer>
  /** Whether a client that got no answer may simply send it again. */
  isRepeatable: boolean
}

const disable = ({ id }: Person) => byAdmin('POST', `/${id}/disable`, { reason: 'left' })
const softDelete = ({ id }: Person) => byAdmin('DELETE', `/${id}`)
const changed = { current_password: PASSWORD, new_password: 'nine green bears run' }

const askForReset = ({ email }: Person) => post('/v1/auth/forgot_password', { email })
const askForAddress = ({ token }: Person, fresh: { email: string }) =>
  post('/v1/auth/change_email', { new_email: fresh.email, current_password: PASSWORD }, token)
/** Uses the link in the newest mail to an address. */
const use = async (route: string, { email }: { email: string }, body: object = {}, token?: string) =>
  post(`/v1/auth/${route}`, { token: linkIn((await api.mailsTo(email))[0]!).token, ...body }, token)

const WRITES: Record<string, Write> = {
  'signing up': {
    action: 'user.signed_up',
    status: 201,
    send: (ada, fresh) => post('/v1/auth/signup', fresh, undefined, ada.sessionId),
    isRepeatable: true,
  },
  'creating somebody': {
    action: 'user.created',
    status: 201,
    send: (ada, fresh) => post('/v1/users', { ...fresh, role: 'manager' }, admin.token, ada.sessionId),
    isRepeatable: true,
  },
  'logging in': {
    action: 'session.started',
    status: 200,
    send: ({ email }) => post('/v1/auth/login', { email, password: PASSWORD }),
    isRepeatable: false,
  },
  refreshing: {
    action: 'rotated_at',
    timesDone: async ({ sessionId }) => {
      const [session] = await api.sql('SELECT counter FROM sessions WHERE id = ?', [sessionId])
      return session!.counter
    },
    status: 200,
    send: ({ refreshToken }) =>
      api.send('POST', '/v1/auth/refresh_token', {
        body: { refresh_token: refreshToken },
        ip: '10.9.9.9', // From another network a repeat leaves a row.
      }),
    isRepeatable: true,
  },
  'logging out': {
    action: 'session.ended',
    status: 204,
    send: ({ token }) => post('/v1/auth/logout', undefined, token),
    isRepeatable: true,
  },
  'logging out everywhere': {
    action: 'sessions.ended',
    status: 204,
    send: ({ token }) => post('/v1/auth/logout_all', undefined, token),
    isRepeatable: false,
  },
  'changing the password': {
    action: 'password.changed',
    status: 200,
    send: ({ token }) => post('/v1/auth/change_password', changed, token),
    isRepeatable: false,
  },
  'ending the session one is in': {
    action: 'session.ended',
    status: 204,
    send: ({ sessionId, token }) => api.send('DELETE', `/v1/auth/sessions/${sessionId}`, { token }),
    isRepeatable: false,
  },
  'changing oneself': {
    action: 'user.updated',
    status: 200,
    send: ({ token }) => api.send('PATCH', '/v1/users/me', { token, body: { name: 'Grace' } }),
    isRepeatable: true,
  },
  leaving: {
    action: 'user.deleted',
    status: 204,
    send: ({ token }) => api.send('DELETE', '/v1/users/me', { token, body: { password: PASSWORD } }),
    isRepeatable: false,
  },
  'changing somebody': {
    action: 'user.role_changed',
    status: 200,
    send: ({ id }) => byAdmin('PATCH', `/${id}`, { role: 'manager', name: 'Grace' }),
    isRepeatable: true,
  },
  disabling: { action: 'user.disabled', status: 200, send: disable, isRepeatable: true },
  enabling: {
    action: 'user.enabled',
    status: 200,
    given: disable,
    send: ({ id }) => byAdmin('POST', `/${id}/enable`),
    isRepeatable: true,
  },
  'deleting somebody': { action: 'user.deleted', status: 204, send: softDelete, isRepeatable: true },
  restoring: {
    action: 'user.restored',
    status: 200,
    given: softDelete,
    send: ({ id }) => byAdmin('POST', `/${id}/restore`),
    isRepeatable: true,
  },
  'erasing somebody': {
    action: 'user.purged',
    status: 204,
    send: ({ id }) => byAdmin('DELETE', `/${id}?hard=true`),
    isRepeatable: false,
  },
  'ending the sessions of somebody': {
    action: 'sessions.ended',
    status: 204,
    send: ({ id }) => byAdmin('DELETE', `/${id}/sessions`),
    isRepeatable: false,
  },
  'asking for a reset': {
    action: 'password.reset_requested',
    status: 202,
    send: (ada) => askForReset(ada),
    isRepeatable: false,
  },
  'resetting the password': {
    action: 'password.reset',
    status: 204,
    given: (ada) => askForReset(ada),
    send: (ada) => use('reset_password', ada, { new_password: changed.new_password }),
    isRepeatable: false,
  },
  'confirming an address': {
    action: 'email.verified',
    status: 204,
    given: async ({ id, email }) => {
      await api.sql('UPDATE users SET email_verified_at = NULL WHERE id = ?', [id])
      await post('/v1/auth/resend_verification', { email })
    },
    send: (ada) => use('verify_email', ada, {}, ada.token),
    isRepeatable: false,
  },
  'asking for another address': {
    action: 'email.change_requested',
    status: 202,
    send: (ada, fresh) => askForAddress(ada, fresh),
    isRepeatable: false,
  },
  'confirming another address': {
    action: 'email.changed',
    status: 204,
    given: (ada, fresh) => askForAddress(ada, fresh),
    send: ({ token }, fresh) => use('confirm_email_change', fresh, {}, token),
    isRepeatable: false,
  },
  'taking an address back': {
    action: 'email.change_undone',
    status: 204,
    given: (ada, fresh) => askForAddress(ada, fresh),
    send: (ada) => use('undo_email_change', ada),
    isRepeatable: false,
  },
  'blocking sign-ups': {
    action: 'signup_blocks.changed',
    timesDone: async ({ id }) => {
      const [row] = await api.sql(
        `SELECT count(*) AS n FROM user_activity_logs WHERE action = 'signup_blocks.changed'
          AND details ->> 'entry' = ?`,
        [`${id}.example`],
      )
      return row!.n
    },
    status: 204,
    send: ({ id }) =>
      api.send('PATCH', '/v1/signup_blocks', { token: admin.token, body: { add: [`${id}.example`] } }),
    isRepeatable: true,
  },
  'accepting an invitation': {
    action: 'invitation.accepted',
    status: 201,
    given: (_, { email }) => post('/v1/invitations', { email }, admin.token),
    send: (_, fresh) => use('accept_invitation', fresh, { password: changed.new_password }),
    isRepeatable: false,
  },
}

/** How often an action is in the history of a person, or of whoever has the address. */
async function timesDone(write: Write, ada: Person, email: string) {
  if (write.timesDone) return write.timesDone(ada)
  const [row] = await api.sql(
    `SELECT count(*) AS n FROM user_activity_logs WHERE action = ?1
      AND user_id IN (?2, (SELECT id FROM users WHERE email_normalized = ?3))`,
    [write.action, ada.id, email],
  )
  return row!.n
}

const LOST = ['reset-before', 'reset-after', 'truncate'] as const

describe.each(Object.entries(WRITES))('Fault 4, Fault 5: when the answer to %s is lost, it', (_, write) => {
  test.each(LOST)('takes effect once and is answered as done, through %s', async (mode) => {
    const [ada, fresh] = [await newcomer(), newPerson()]
    await write.given?.(ada, fresh)
    await own.behave('libsql', { mode, next: 1, only: write.action })
    const { result, calls } = await own.measure(() => write.send(ada, fresh))
    expect([result.status, result.body?.code]).toEqual([write.status, undefined])
    expect(calls.filter((call) => call.mode === mode)).toHaveLength(1)
    expect(await timesDone(write, ada, fresh.email)).toBe(1)
    await expectInvariants(api)
  })

  test('is a 503 when its answer is lost twice, has taken effect once, and is not done again', async () => {
    const [ada, fresh] = [await newcomer(), newPerson()]
    await write.given?.(ada, fresh)
    await own.behave('libsql', { mode: 'reset-after', next: 2, only: write.action })
    const lost = await write.send(ada, fresh)
    expect([lost.status, lost.body.code]).toEqual([503, 'database_unavailable'])
    expect(await timesDone(write, ada, fresh.email)).toBe(1)
    if (write.isRepeatable) {
      expect((await write.send(ada, fresh)).status).toBe(write.status)
      expect(await timesDone(write, ada, fresh.email)).toBe(1)
    }
    await expectInvariants(api)
  })
})

test.each(LOST)('Fault 5, RL1: a guess is counted once through %s', async (mode) => {
  const ada = await newcomer()
  const logIn = (password: string) => post('/v1/auth/login', { email: ada.email, password })
  const failures = async () => {
    const [row] = await api.sql('SELECT failed_logins FROM users WHERE id = ?', [ada.id])
    return row!.failed_logins
  }
  await own.behave('libsql', { mode, next: 1, only: 'throttles' })
  expect((await logIn('wrong')).status).toBe(401)
  expect(await failures()).toBe(1)
  await own.behave('libsql', { mode, next: 1, only: 'throttles' })
  expect((await logIn(PASSWORD)).status).toBe(200)
  expect(await failures()).toBe(0)
})

test.each(LOST)('Fault 5, Fault 26: a run of clean-up survives %s on each of its writes', async (mode) => {
  await api.sql('DELETE FROM cleanup_runs')
  const runs = () => api.sql("SELECT count(*) AS n FROM user_activity_logs WHERE action = 'cleanup.ran'")
  const [before] = await runs()
  const writes = ['cleanup_runs\\" (holder', 'user.purged', 'DELETE FROM \\"sessions\\"', 'cleanup.ran']
  for (const only of writes) {
    const [ada, eve] = [await newcomer(), await newcomer()]
    await api.sql('UPDATE sessions SET expires_at = 1 WHERE user_id = ?', [ada.id])
    await api.sql('UPDATE users SET deleted_at = 1 WHERE id = ?', [eve.id])
    await api.sql('DELETE FROM sessions WHERE user_id = ?', [eve.id])
    await own.behave('libsql', { mode, next: 1, only })
    const { calls } = await own.measure(runCleanUp)
    expect([only, calls.filter((call) => call.mode === mode).length]).toEqual([only, 1])
    expect(await api.historyOf(eve.id)).toEqual(['user.purged'])
    expect(await api.sql('SELECT id FROM sessions WHERE user_id = ?', [ada.id])).toEqual([])
  }
  const [after] = await runs()
  expect(Number(after!.n) - Number(before!.n)).toBe(writes.length)
  await expectInvariants(api)
})

async function runCleanUp() {
  const context = createExecutionContext()
  await cleanUp(openForCron(api.bindings, context))
  await waitOnExecutionContext(context)
}

test(`I1, I3, I10: ${rounds(30, 1000)} answers lost at random after the commit: nothing twice, nothing gone, nobody logged out`, async () => {
  const clients = await Promise.all([1, 2, 3].map(() => newcomer()))
  const nameOf = new Map<Person, string>()
  const made: string[] = []
  let lost = 0
  await own.behave('libsql', { mode: 'reset-after', chance: 0.3, only: 'BEGIN IMMEDIATE' })
  while (lost < rounds(30, 1000)) {
    const { calls } = await own.measure(() => Promise.all(clients.map(liveOn)))
    lost += calls.filter(({ mode }) => mode === 'reset-after').length
  }
  await own.behave('libsql', { mode: 'pass' })

  for (const ada of clients) {
    const { status, body } = await api.send('GET', '/v1/users/me', { token: ada.token })
    expect([status, body.name]).toEqual([200, nameOf.get(ada)])
  }
  for (const email of made) {
    const rows = await api.sql('SELECT count(*) AS n FROM users WHERE email_normalized = ?', [email])
    expect(rows).toEqual([{ n: 1 }])
  }
  await expectInvariants(api)

  /** A client's usual requests; one that is answered with a 503 is sent again. Now and then somebody signs up. */
  async function liveOn(ada: Person) {
    const name = `Ada ${crypto.randomUUID()}`
    const renamed = await persist(() =>
      api.send('PATCH', '/v1/users/me', { token: ada.token, body: { name } }),
    )
    expect(renamed.status).toBe(200)
    nameOf.set(ada, name)
    const refreshed = await persist(() =>
      api.send<Tokens>('POST', '/v1/auth/refresh_token', { body: { refresh_token: ada.refreshToken } }),
    )
    expect(refreshed.status).toBe(200)
    ada.token = refreshed.body.access_token
    ada.refreshToken = refreshed.body.refresh_token
    if (Math.random() < 0.9) return
    const [person, key] = [newPerson(), crypto.randomUUID()]
    expect((await persist(() => post('/v1/auth/signup', person, undefined, key))).status).toBe(201)
    made.push(person.email)
  }
})

async function persist<T>(send: () => Promise<Answer<T>>): Promise<Answer<T>> {
  for (;;) {
    const answer = await send()
    if (answer.status !== 503) return answer
  }
}
