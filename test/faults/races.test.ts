import { createExecutionContext } from 'cloudflare:test'
import { beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { Tokens } from '../../src/auth/schemas.ts'
import { cleanUp } from '../../src/cleanup/service.ts'
import { openForCron } from '../../src/context.ts'
import { type Answer, type Api, linkIn, openApi, PASSWORD, randomIp } from '../support/api.ts'
import { rounds } from '../support/rounds.ts'
import { freshUpstreams } from '../support/upstreams.ts'

/*
 * Whatever may happen once is tried many times at the same moment. Each race has its own test: what is prepared, what
 * is sent at once, and what must be the result.
 */

const ROUNDS = rounds(2, 50)
/** An isolate hashes for eight at once. A ninth is refused, which counts here as not having come. */
const AT_ONCE_HASHING = rounds(3, 5)

let api: Api
let admin: Awaited<ReturnType<Api['quickActor']>>

beforeAll(async () => {
  api = openApi((await freshUpstreams()).bindings)
})

beforeEach(async () => {
  await api.sql("UPDATE users SET role = 'user' WHERE role = 'admin'")
  admin = await api.quickActor({ role: 'admin' })
})

const race = (name: string, round: (index: number) => Promise<void>) =>
  test(name, async () => {
    for (let index = 0; index < ROUNDS; index++) await round(index)
  })

/** Sends all at once. There must be no 5xx other than `hashing_busy`, which is left out. */
async function atOnce<T = Record<string, unknown>>(
  sends: (() => Promise<Answer<T>>)[],
): Promise<Answer<T>[]> {
  const answers = await Promise.all(sends.map((send) => send()))
  const ran = answers.filter(({ body }) => (body as { code?: string } | undefined)?.code !== 'hashing_busy')
  expect(ran.filter(({ status }) => status >= 500)).toEqual([])
  return ran
}
const times = <T>(count: number, make: (index: number) => T) =>
  Array.from({ length: count }, (_, index) => make(index))
/** How often each outcome occurred: `{ '200': 1, '409 last_admin': 19 }`. */
const tally = (answers: Answer<unknown>[]) => {
  const counts: Record<string, number> = {}
  for (const { status, body } of answers) {
    const outcome = [status, (body as { code?: string } | undefined)?.code].filter(Boolean).join(' ')
    counts[outcome] = (counts[outcome] ?? 0) + 1
  }
  return counts
}
const count = async (where: string, args: string[] = []) =>
  Number((await api.sql(`SELECT count(*) AS n FROM ${where}`, args))[0]!.n)
const newEmail = () => `${crypto.randomUUID()}@people.test`
const asAdmin = (method: string, path: string, body?: unknown) => () =>
  api.send(method, path, { token: admin.token, body })

describe('Of many at once', () => {
  race('RT2: fifty refreshes with one token have one successor, and leave no row of history', async () => {
    const [ada, ip] = [await api.quickActor(), randomIp()]
    const refresh = () =>
      api.send<Tokens>('POST', '/v1/auth/refresh_token', {
        body: { refresh_token: ada.refreshToken },
        ip,
      })
    const answers = await atOnce(times(50, () => refresh))
    expect(tally(answers)).toEqual({ 200: 50 })
    expect(new Set(answers.map(({ body }) => body.refresh_token)).size).toBe(1)
    expect(await api.historyOf(ada.id)).toEqual([])
    expect(await api.sql('SELECT counter, revoked_at FROM sessions WHERE user_id = ?', [ada.id])).toEqual([
      { counter: 1, revoked_at: null },
    ])
  })

  race('AZ6: administrators who demote, disable and delete each other leave one at least', async () => {
    await api.sql("UPDATE users SET role = 'user' WHERE role = 'admin'")
    const admins = await Promise.all(times(6, () => api.quickActor({ role: 'admin' })))
    const blows = admins.flatMap((by, i) =>
      admins
        .filter((whom) => whom !== by)
        .map(({ id }, j) => {
          const [method, path, body] = (
            [
              ['PATCH', '', { role: 'user' }],
              ['POST', '/disable', { reason: 'x' }],
              ['DELETE', '', undefined],
              ['DELETE', '?hard=true', undefined],
            ] as const
          )[(i + j) % 4]!
          return () => api.send(method, `/v1/users/${id}${path}`, { token: by.token, body })
        }),
    )
    const answers = await atOnce(blows)
    expect(answers.filter(({ status }) => status < 300).length).toBeGreaterThan(0)
    expect(await count("users WHERE role = 'admin' AND state = 'active'")).toBeGreaterThan(0)
  })

  race('AZ6: of twenty who demote the last two administrators, one gets through', async () => {
    await api.sql("UPDATE users SET role = 'user' WHERE role = 'admin'")
    const [ada, eve] = [await api.quickActor({ role: 'admin' }), await api.quickActor({ role: 'admin' })]
    const demote = (by: { token: string }, whom: { id: string }) => () =>
      api.send('PATCH', `/v1/users/${whom.id}`, { token: by.token, body: { role: 'user' } })
    await atOnce(times(20, (i) => (i % 2 ? demote(ada, eve) : demote(eve, ada))))
    expect(await count("users WHERE role = 'admin' AND state = 'active'")).toBe(1)
    const demoted = "user_activity_logs WHERE action = 'user.role_changed' AND user_id IN (?, ?)"
    expect(await count(demoted, [ada.id, eve.id])).toBe(1)
  })

  race('DL2: of twenty deletions of one person, all are answered and one takes effect', async () => {
    const ada = await api.quickActor()
    expect(tally(await atOnce(times(20, () => asAdmin('DELETE', `/v1/users/${ada.id}`))))).toEqual({
      204: 20,
    })
    expect(await api.historyOf(ada.id)).toEqual(['user.deleted'])
    const purges = await atOnce(times(20, () => asAdmin('DELETE', `/v1/users/${ada.id}?hard=true`)))
    expect(tally(purges)).toEqual({ 204: 1, '404 user_not_found': 19 })
    expect(await api.historyOf(ada.id)).toEqual(['user.deleted', 'user.purged'])
  })

  race('DL2: an address that is restored and signed up for at once has one owner', async () => {
    const email = newEmail()
    const old = await api.person({ email, deleted_at: Date.now() })
    const body = { email: email.toUpperCase(), password: PASSWORD, name: 'Eve' }
    const restore = asAdmin('POST', `/v1/users/${old.id}/restore`)
    const signUp = () => api.send('POST', '/v1/auth/signup', { body })
    await atOnce([...times(3, () => signUp), ...times(17, () => restore)])
    expect(await count('users WHERE email_normalized = ? AND deleted_at IS NULL', [email])).toBe(1)
    const restored = (await api.historyOf(old.id)).length
    const signedUp = await count(
      "user_activity_logs WHERE action = 'user.signed_up' AND user_id IN (SELECT id FROM users WHERE email_normalized = ?)",
      [email],
    )
    expect([restored, signedUp].sort()).toEqual([0, 1])
  })

  race('I6: of twenty restored people with one address, one lives', async () => {
    const email = newEmail()
    const people = await Promise.all(times(20, () => api.person({ email, deleted_at: Date.now() })))
    const answers = await atOnce(people.map(({ id }) => asAdmin('POST', `/v1/users/${id}/restore`)))
    expect(tally(answers)).toEqual({ 200: 1, '409 email_taken': 19 })
  })

  race('I6: an address given to twenty people and signed up for at once has one owner', async () => {
    const email = newEmail()
    const people = await Promise.all(times(17, () => api.person()))
    const give = ({ id }: { id: string }) => asAdmin('PATCH', `/v1/users/${id}`, { email })
    const body = { email, password: PASSWORD, name: 'Eve' }
    const signUp = () => api.send('POST', '/v1/auth/signup', { body })
    const create = asAdmin('POST', '/v1/users', body)
    const answers = await atOnce([signUp, create, signUp, ...people.map(give)])
    expect(answers.filter(({ status }) => status < 300)).toHaveLength(1)
    expect(answers.filter(({ body }) => body.code === 'email_taken')).toHaveLength(answers.length - 1)
    expect(await count('users WHERE email_normalized = ?', [email])).toBe(1)
  })

  race(
    'I10: a creation with one Idempotency-Key takes effect once, and all get its answer',
    async (index) => {
      const ways = [
        ['/v1/auth/signup', undefined],
        ['/v1/users', admin.token],
      ] as const
      for (const [path, token] of ways) {
        const body = { email: newEmail(), password: PASSWORD, name: 'Ada' }
        const send = () =>
          api.send('POST', path, {
            token,
            body,
            headers: { 'idempotency-key': `round-${index}-${body.email}` },
          })
        const answers = await atOnce(times(AT_ONCE_HASHING, () => send))
        expect(tally(answers)).toEqual({ 201: answers.length })
        expect(answers.length).toBeGreaterThan(0)
        expect(new Set(answers.map(({ text }) => text)).size).toBe(1)
        expect(await count('users WHERE email_normalized = ?', [body.email])).toBe(1)
        expect(await api.historyOf(String(answers[0]!.body.id))).toHaveLength(1)
      }
    },
  )

  race('AZ7: a login beside a change of role carries the new role, or is dead', async () => {
    const ada = await api.person({ role: 'manager' })
    const logIn = () =>
      api.send<Tokens>('POST', '/v1/auth/login', { body: { email: ada.email, password: PASSWORD } })
    const demote = asAdmin('PATCH', `/v1/users/${ada.id}`, { role: 'user' }) as () => Promise<Answer<Tokens>>
    const answers = await atOnce([logIn, demote, logIn, logIn])
    for (const { status, body } of answers) {
      if (!body.access_token) expect([200, 401]).toContain(status)
      else expect((await api.send('GET', '/v1/users', { token: body.access_token })).status).not.toBe(200)
    }
  })

  race('LE6: a login beside a deletion leaves no session behind', async () => {
    const ada = await api.person()
    const logIn = () => api.send('POST', '/v1/auth/login', { body: { email: ada.email, password: PASSWORD } })
    await atOnce([logIn, logIn, asAdmin('DELETE', `/v1/users/${ada.id}`), logIn])
    expect(await count('sessions WHERE user_id = ? AND revoked_at IS NULL', [ada.id])).toBe(0)
  })

  race('Twenty changes on one version: one is made', async (index) => {
    const ada = await api.person()
    const change = (i: number) => () =>
      api.send('PATCH', `/v1/users/${ada.id}`, {
        token: admin.token,
        body: { name: `${index}-${i}` },
        headers: { 'if-match': '"1"' },
      })
    expect(tally(await atOnce(times(20, change)))).toEqual({ 200: 1, '412 version_mismatch': 19 })
    expect(await api.historyOf(ada.id)).toEqual(['user.updated'])
  })

  race('CR2: of twenty clean-ups one runs at a time, and what is removed is removed once', async () => {
    await api.sql('DELETE FROM cleanup_runs')
    const gone = await Promise.all(times(3, () => api.person({ deleted_at: 1 })))
    const back = await Promise.all(
      times(3, () => api.person({ status: 'disabled', disabled_reason: 'x', disabled_until: 1 })),
    )
    await Promise.all(times(20, () => cleanUp(openForCron(api.bindings, createExecutionContext()))))
    // One that starts when another has finished may run too, and finds nothing left.
    const runs = await api.sql('SELECT finished_at, counts FROM cleanup_runs')
    expect(runs.filter(({ finished_at }) => finished_at === null)).toEqual([])
    const removed = runs.map(({ counts }) => JSON.parse(String(counts)) as Record<string, number>)
    const sum = (name: string) => removed.reduce((total, counts) => total + (counts[name] ?? 0), 0)
    expect([sum('users'), sum('disabled_ended')]).toEqual([3, 3])
    for (const { id } of gone) expect(await api.historyOf(id)).toEqual(['user.purged'])
    for (const { id } of back) expect(await api.historyOf(id)).toEqual(['user.enabled'])
  })
})

describe('Of many who use one mailed link at once, one succeeds', () => {
  const post = (route: string, body: object, token?: string) => () =>
    api.send('POST', `/v1/auth/${route}`, { token, body })
  const linkTo = async (email: string) => linkIn((await api.mailsTo(email))[0]!).token
  /** One succeeded; the others came too late, or collided with it. */
  const expectOne = (answers: Answer[], status: number) => {
    const {
      [status]: won,
      '400 invalid_link': late = 0,
      '409 write_conflict': met = 0,
      ...odd
    } = tally(answers)
    expect({ won, others: late + met, odd }).toEqual({ won: 1, others: answers.length - 1, odd: {} })
  }
  const rowsOf = (id: string, action: string) =>
    count('user_activity_logs WHERE user_id = ? AND action = ?', [id, action])

  race('RS1: a verification', async () => {
    const ada = await api.person()
    await post('resend_verification', { email: ada.email })()
    const token = await linkTo(ada.email)
    const { token: mine } = await api.signIn(ada)
    expectOne(await atOnce(times(20, () => post('verify_email', { token }, mine))), 204)
    expect(await rowsOf(ada.id, 'email.verified')).toBe(1)
  })

  race('RS1: a reset, and its password is the one', async () => {
    const ada = await api.person()
    await post('forgot_password', { email: ada.email })()
    const token = await linkTo(ada.email)
    const reset = (i: number) => post('reset_password', { token, new_password: `nine green bears run ${i}` })
    const answers = await atOnce(times(AT_ONCE_HASHING, reset))
    expectOne(answers, 204)
    expect(await rowsOf(ada.id, 'password.reset')).toBe(1)
  })

  race('SE2: a change of address, beside its undoing', async () => {
    const ada = await api.quickActor({ email_verified_at: 1 })
    const email = newEmail()
    const asked = await post('change_email', { new_email: email, current_password: PASSWORD }, ada.token)()
    expect([202, 503]).toContain(asked.status)
    if (asked.status === 503) return
    const [confirmation, undo] = [await linkTo(email), await linkTo(ada.email)]
    const confirms = await atOnce(
      times(20, () => post('confirm_email_change', { token: confirmation }, ada.token)),
    )
    expectOne(confirms, 204)
    expectOne(await atOnce(times(20, () => post('undo_email_change', { token: undo }))), 204)
    expect(await rowsOf(ada.id, 'email.changed')).toBe(1)
    expect(await rowsOf(ada.id, 'email.change_undone')).toBe(1)
    expect(await count('users WHERE id = ? AND email = ?', [ada.id, ada.email])).toBe(1)
  })

  race('SE3: an invitation, and one account comes of it', async () => {
    const email = newEmail()
    await asAdmin('POST', '/v1/invitations', { email })()
    const token = await linkTo(email)
    const body = { token, password: 'nine green bears run' }
    const answers = await atOnce(times(AT_ONCE_HASHING, () => post('accept_invitation', body)))
    const { 201: made, '400 invalid_link': late = 0, '409 email_taken': taken = 0, ...odd } = tally(answers)
    expect({ made, others: late + taken, odd }).toEqual({ made: 1, others: answers.length - 1, odd: {} })
    expect(await count('users WHERE email_normalized = ?', [email])).toBe(1)
  })
})
