import { decodeJwt } from 'jose'
import type * as oauth from 'oauth4webapi'
import { beforeAll, expect, test } from 'vitest'
import { openApi } from '../support/api.ts'
import { addApp } from '../support/oauth.ts'
import { openBrowser } from '../support/pages.ts'
import { freshUpstreams } from '../support/upstreams.ts'
import { authorize, begin, discover, redeem } from './support.ts'

/** How long an app's session lives beside the login it belongs to, and what it keeps from that. */

const [HOUR, DAY] = [3_600_000, 86_400_000]
let api: ReturnType<typeof openApi>
let as: oauth.AuthorizationServer

beforeAll(async () => {
  api = openApi((await freshUpstreams()).bindings)
  as = await discover(api)
})

/** Somebody whose login ends in an hour, and what an app has from them. */
async function letIt(scope: string, given: Record<string, string> = {}) {
  const scopes = ['openid', 'email', 'offline_access', 'users:read']
  const app = await addApp(api, { type: 'public', scopes })
  const role = scope.includes('users:read') ? 'manager' : 'user'
  const ada = await api.person({ email_verified_at: Date.now(), password_hash: null, role })
  const browser = await openBrowser(api, ada)
  const end = Date.now() + HOUR
  const proved = Date.now() - 20 * 60_000
  await api.sql(
    'UPDATE sessions SET idle_expires_at = ?1, expires_at = ?1, proved_at = ?2 WHERE user_id = ?3',
    [end, proved, ada.id],
  )
  const begun = await begin(app, { scope, ...given })
  const { tokens, claims } = await redeem(api, as, app, await authorize(browser, begun.search), begun)
  const rowOf = async (which: string) =>
    (await api.sql(`SELECT * FROM sessions WHERE user_id = ? AND client_id IS ${which}`, [ada.id]))[0]!
  const refresh = async () => {
    const raw = new URLSearchParams({
      client_id: app.client_id,
      grant_type: 'refresh_token',
      refresh_token: tokens.refresh_token!,
    })
    const { status, body } = await api.send<Record<string, string>>('POST', '/oauth/token', { raw })
    return { status, claims: body.id_token ? decodeJwt(body.id_token) : {} }
  }
  return { ada, claims, end, proved, own: () => rowOf('NULL'), apps: () => rowOf('NOT NULL'), refresh }
}

test('An app’s session expires with the login that it belongs to, and its refresh extends neither', async () => {
  const { own, apps, end, refresh } = await letIt('openid email')
  const [login, before] = [await own(), await apps()]
  expect(before).toMatchObject({ parent_id: login.id, expires_at: end, idle_expires_at: end })
  await refresh()
  expect(await own()).toEqual(login)
  expect(await apps()).toMatchObject({ counter: 1, expires_at: end, idle_expires_at: end })
})

test('An offline session lives as long as a login from then on', async () => {
  const { own, apps, refresh } = await letIt('openid offline_access')
  const [login, { created_at, expires_at, idle_expires_at }] = [await own(), await apps()]
  const after = (time: unknown) => Number(time) - Number(created_at)
  expect(Math.abs(after(expires_at) - 30 * DAY)).toBeLessThan(60_000)
  expect(Math.abs(after(idle_expires_at) - 14 * DAY)).toBeLessThan(60_000)
  await refresh()
  expect(await own()).toEqual(login)
  expect(await apps()).toMatchObject({ expires_at })
})

test('An app’s authentication time stays that of the consent, whatever its user proves later', async () => {
  const { ada, claims, proved, refresh } = await letIt('openid email')
  const first = { auth_time: Math.floor(proved / 1000), amr: ['pwd'], acr: '1' }
  expect(claims).toMatchObject(first)
  await api.sql(
    `UPDATE sessions SET proved_at = ?, amr = '["pwd","otp","mfa"]' WHERE user_id = ? AND client_id IS NULL`,
    [Date.now(), ada.id],
  )
  const { claims: next } = await refresh()
  expect(next).toMatchObject({ ...first, sid: claims.sid, sub: ada.id })
  expect(next).not.toHaveProperty('nonce')
})

test('A login that expires as idle only ends what acts for its user here', async () => {
  const resource = `https://notes-${crypto.randomUUID()}.example`
  await addApp(api, { resources: [{ url: resource, scopes: ['notes:read', 'write'] }] })
  for (const [scope, given, status] of [
    ['openid email', {}, 200],
    ['openid users:read', {}, 400],
    ['openid users:read offline_access', {}, 200],
    ['openid notes:read', { resource }, 200],
    ['openid write', { resource }, 200],
  ] as const) {
    const { ada, refresh } = await letIt(scope, given)
    await api.sql('UPDATE sessions SET idle_expires_at = 1 WHERE user_id = ? AND client_id IS NULL', [ada.id])
    expect([scope, (await refresh()).status]).toEqual([scope, status])
  }
})
