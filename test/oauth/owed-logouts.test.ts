import { createExecutionContext, waitOnExecutionContext } from 'cloudflare:test'
import { beforeAll, expect, inject, test } from 'vitest'
import { openForCron } from '../../src/context.ts'
import { deliverLogouts } from '../../src/oauth/logouts/backchannel.ts'
import type { OwedLogout } from '../../src/oauth/logouts/owed.ts'
import { type Actor, openApi } from '../support/api.ts'
import { addApp, letApp } from '../support/oauth.ts'
import { openBrowser } from '../support/pages.ts'
import type { Received } from '../support/receiver.ts'
import { freshUpstreams } from '../support/upstreams.ts'

/**
 * The logouts that an app has not been told of, for those who look after it. How it is told:
 * test/openid/backchannel.test.ts.
 */

const ISSUER = 'http://localhost:8787'
let api: ReturnType<typeof openApi>
let admin: Actor

beforeAll(async () => {
  const { bindings } = await freshUpstreams()
  api = openApi({ ...bindings, ISSUER, LINK_ORIGIN: ISSUER, OUTBOUND_LOCAL: 'on', PASSWORD_HASHES: 'full' })
  admin = await api.quickActor({ role: 'admin', email_verified_at: 1 })
})

const receiver = inject('receiverUrl').replace('127.0.0.1', 'localhost')
const placeOf = (name: string, answers: string | number) => `${receiver}/${name}/${answers}`
async function appThat(answers: string | number) {
  const name = crypto.randomUUID()
  const { client_id: id } = await addApp(api, { backchannel_logout_uri: placeOf(name, answers) })
  const received = async () => ((await (await fetch(`${receiver}/__of/${name}`)).json()) as Received[]).length
  const path = `/v1/oauth_clients/${id}`
  const answersNow = (now: number) =>
    api.send('PATCH', path, { token: admin.token, body: { backchannel_logout_uri: placeOf(name, now) } })
  return { id, path, received, answersNow }
}
/** Somebody signs in to the app, and out. */
async function signOut({ id }: { id: string }) {
  const ada = await api.person({ email_verified_at: 1, password_hash: null })
  await letApp(api, ada, { scope: 'openid', app: { client_id: id } })
  await api.sql('UPDATE sessions SET revoked_at = 1 WHERE user_id = ?', [ada.id])
  return ada.id
}
async function deliver() {
  const context = createExecutionContext()
  await deliverLogouts(openForCron(api.bindings, context), 'cron')
  await waitOnExecutionContext(context)
}
const list = async ({ path }: { path: string }, query = '') =>
  (
    await api.send<{ data: OwedLogout[]; pagination: { next_cursor: string | null } }>(
      'GET',
      `${path}/logouts${query}`,
      { token: admin.token },
    )
  ).body
const retry = ({ path }: { path: string }) =>
  api.send('POST', `${path}/logouts/retry`, { token: admin.token })
const until = async (isSo: () => Promise<boolean>) => {
  for (let time = 0; time < 2000 && !(await isSo()); time++)
    await new Promise((resolve) => setTimeout(resolve, 30))
  expect(await isSo()).toBe(true)
}

test('Undelivered logouts of an app are listed, with the number of attempts and the last answer', async () => {
  const [failing, silent, good] = [await appThat(500), await appThat('hang'), await appThat(200)]
  const ids = [await signOut(failing), await signOut(failing)].sort()
  const before = await list(failing)
  expect(before.data).toMatchObject([{ attempts: 0, answer: null }, { attempts: 0 }])
  await signOut(silent)
  await signOut(good)
  await deliver()
  const { data } = await list(failing)
  expect(data.map(({ user_id }) => user_id).sort()).toEqual(ids)
  expect(data).toMatchObject([
    { attempts: 1, answer: 500 },
    { attempts: 1, answer: 500 },
  ])
  expect(Date.parse(data[0]!.expires_at) - Date.parse(data[0]!.owed_at)).toBe(86_400_000)
  expect((await list(silent)).data).toMatchObject([{ attempts: 1, answer: null }])
  expect((await list(good)).data).toEqual([])
  const first = await list(failing, '?limit=1')
  const rest = await list(failing, `?limit=1&cursor=${first.pagination.next_cursor}`)
  expect([...first.data, ...rest.data]).toEqual(data)
  // A cursor of one app's list does not work in another's.
  const other = await api.send('GET', `${good.path}/logouts?cursor=${first.pagination.next_cursor}`, {
    token: admin.token,
  })
  expect(other.body.code).toBe('invalid_cursor')
})

test('An app that was unavailable can be told at once, and no other app is', async () => {
  const [app, other] = [await appThat(500), await appThat(500)]
  await signOut(app)
  await signOut(other)
  await deliver()
  await app.answersNow(200)
  expect([await app.received(), await other.received()]).toEqual([1, 1])
  expect((await retry(app)).status).toBe(204)
  await until(async () => (await list(app)).data.length === 0)
  expect([await app.received(), await other.received()]).toEqual([2, 1])
  const history = async () =>
    (
      await api.sql(
        "SELECT actor_id, details ->> '$.client_id' AS client FROM user_activity_logs WHERE action = 'client.logouts_retried'",
      )
    ).map((row) => Object.values(row))
  expect(await history()).toEqual([[admin.id, app.id]])
  // If nothing waits, nothing happens.
  expect((await retry(app)).status).toBe(204)
  expect(await history()).toHaveLength(1)
  expect((await list(other)).data).toMatchObject([{ attempts: 1 }])
})

test('There is no list for an unknown app, nor for an unregistered one', async () => {
  await api.sql(
    `INSERT INTO oauth_logouts (id, user_id, parent_id, client_id, expires_at, attempts, next_attempt_at)
      VALUES ('x', 'somebody', 'login', 'https://app.example/app', 9000000000000, 1, 9000000000000)`,
  )
  for (const id of [crypto.randomUUID(), encodeURIComponent('https://app.example/app')]) {
    const path = `/v1/oauth_clients/${id}`
    const answers = [await api.send('GET', `${path}/logouts`, { token: admin.token }), await retry({ path })]
    expect(answers.map(({ body }) => body.code)).toEqual(['client_not_found', 'client_not_found'])
  }
})

test('An app’s page shows them, and its button tells the app now', async () => {
  const app = await appThat(503)
  await signOut(app)
  await deliver()
  const browser = await openBrowser(api, admin)
  const page = `/admin/apps/${app.id}`
  const shown = (await browser('GET', page)).text
  expect(shown).toContain('tried once')
  expect(shown).toContain('it answered 503')
  await app.answersNow(204)
  const pressed = await browser('POST', `${page}/logouts/retry`)
  expect([pressed.status, pressed.headers.get('location')]).toEqual([303, `${page}?done=retried`])
  await until(async () => (await list(app)).data.length === 0)
  expect((await browser('GET', page)).text).toContain('It has heard of every sign-out')
  // An app without an address is not told anything.
  const { client_id } = await addApp(api)
  expect((await browser('GET', `/admin/apps/${client_id}`)).text).not.toContain('Sign-outs')
})
