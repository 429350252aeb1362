import { expect, test } from 'vitest'
import {
  DEVICES_PER_ACCOUNT,
  FAILURES_PER_PAUSE,
  MAX_FAILURES_IN_A_ROW,
  PER_MINUTE,
} from '../../src/throttle/limits.ts'
import { linkIn, openApi, PASSWORD } from '../support/api.ts'
import { limiter } from '../support/limiter.ts'
import { codeIn } from '../support/mails.ts'

/** Device tokens: how many an account has, what all of them together may do, and what ends them. */

const NEW_PASSWORD = 'nine green bears run'

type Api = ReturnType<typeof openApi>
const logIn = (api: Api, body: { email: string; password: string; device_token?: string | undefined }) => {
  const { email, password, device_token } = body
  return api.send('POST', '/v1/auth/login', { body: { email, password, device_token } })
}
const lock = (api: Api, { id }: { id: string }) =>
  api.sql('UPDATE users SET failed_logins = ? WHERE id = ?', [MAX_FAILURES_IN_A_ROW + 1, id])
/** As if this many others had signed in since. */
const addDevices = (api: Api, { id }: { id: string }, howMany: number) =>
  api.sql('UPDATE users SET devices = devices + ? WHERE id = ?', [howMany, id])

test('RL3, HX7: an account knows its newest twenty devices, and a device that signs in again stays the same one', async () => {
  const api = openApi()
  const ada = await api.person()
  const first = (await logIn(api, ada)).body.device_token as string
  await addDevices(api, ada, DEVICES_PER_ACCOUNT - 1)
  // Signing in with a known device makes no new one.
  const again = (await logIn(api, { ...ada, device_token: first })).body.device_token as string
  await lock(api, ada)
  expect((await logIn(api, { ...ada, device_token: again })).status).toBe(200)
  // One more does: the first is now the oldest of twenty-one.
  const newest = (await logIn(api, ada)).body.device_token as string
  await lock(api, ada)
  expect((await logIn(api, { ...ada, device_token: again })).status).toBe(401)
  expect((await logIn(api, { ...ada, device_token: newest })).status).toBe(200)
})

/** What happens before, and the device token if it is not one's own. */
type Before = (api: Api, ada: Ada) => Promise<string | undefined>
test.each<[string, isNew: boolean, Before]>([
  ['the same device', false, async () => undefined],
  [
    'a new one if theirs is another account’s',
    true,
    async (api) => (await logIn(api, await api.person())).body.device_token as string,
  ],
  [
    'a new one if twenty others have signed in since',
    true,
    async (api, ada) => void (await addDevices(api, ada, DEVICES_PER_ACCOUNT)),
  ],
  [
    'a new one if all were made strangers',
    true,
    async (api, ada) => void (await ENDS['ending all of one’s own sessions']!(api, ada)),
  ],
])('HX7: whoever signs in without a password is on %s', async (_, isNew, before) => {
  const api = openApi({ EMAIL_CODE_SIGNIN: 'on' })
  const ada = await api.person({ email_verified_at: 1 })
  const own = (await logIn(api, ada)).body.device_token as string
  const device_token = (await before(api, ada)) ?? own
  const devices = async () =>
    (await api.sql('SELECT devices FROM users WHERE id = ?', [ada.id]))[0]!.devices as number
  const known = await devices()
  const { login_token } = (
    await api.send('POST', '/v1/auth/login/email_code', { body: { email: ada.email } })
  ).body
  const code = codeIn((await api.mailsTo(ada.email))[0]!)
  const body = { login_token, code, device_token }
  expect((await api.send('POST', '/v1/auth/login/email_code/confirm', { body })).status).toBe(200)
  expect((await devices()) - known).toBe(isNew ? 1 : 0)
})

test('RL2, HX7: somebody who hoards an account’s device tokens gets thirty hashes a minute with all of them together', async () => {
  const { RATE_LIMIT_HASHES_OF_DEVICES: most } = PER_MINUTE
  const api = openApi({ RATE_LIMIT_HASHES_OF_DEVICES: limiter(3) })
  const [ada, eve] = [await api.person(), await api.person()]
  const tokens: string[] = []
  for (let i = 0; i < 4; i++) tokens.push((await logIn(api, ada)).body.device_token as string)
  const statuses = []
  for (const device_token of tokens)
    statuses.push((await logIn(api, { ...ada, password: 'wrong password', device_token })).status)
  expect(statuses).toEqual([401, 401, 401, 429])
  const hers = (await logIn(api, eve)).body.device_token as string
  expect((await logIn(api, { ...eve, device_token: hers })).status).toBe(200)
  expect(most).toBe(30)
})

test('HX7: changing the password makes strangers of all devices except the one that did it', async () => {
  const api = openApi()
  const ada = await api.person()
  const mine = (await logIn(api, ada)).body
  const thiefs = (await logIn(api, ada)).body.device_token as string
  const body = { current_password: PASSWORD, new_password: NEW_PASSWORD }
  const token = mine.access_token as string
  const changed = await api.send('POST', '/v1/auth/change_password', { token, body })
  expect(changed.status).toBe(200)
  await lock(api, ada)
  const now = { ...ada, password: NEW_PASSWORD }
  expect((await logIn(api, { ...now, device_token: thiefs })).status).toBe(401)
  expect((await logIn(api, { ...now, device_token: mine.device_token as string })).status).toBe(401)
  expect((await logIn(api, { ...now, device_token: changed.body.device_token as string })).status).toBe(200)
})

type Ada = Awaited<ReturnType<Api['person']>>

async function reset(api: Api, ada: Ada) {
  await api.send('POST', '/v1/auth/forgot_password', { body: { email: ada.email } })
  const { token } = linkIn((await api.mailsTo(ada.email))[0]!)
  const body = { token, new_password: NEW_PASSWORD }
  expect((await api.send('POST', '/v1/auth/reset_password', { body })).status).toBe(204)
}
const ENDS: Record<string, (api: Api, ada: Ada) => Promise<unknown>> = {
  'a reset of the password': reset,
  'the undo of a change of address': async (api, ada) => {
    const { token } = await api.signIn(ada)
    const body = { new_email: `new-${ada.email}`, current_password: PASSWORD }
    expect((await api.send('POST', '/v1/auth/change_email', { token, body })).status).toBe(202)
    const undo = { token: linkIn((await api.mailsTo(ada.email))[0]!).token }
    expect((await api.send('POST', '/v1/auth/undo_email_change', { body: undo })).status).toBe(204)
    // The undo has taken the password away.
    await api.sql(
      'UPDATE users SET password_hash = (SELECT password_hash FROM users WHERE id = ?) WHERE id = ?',
      [(await api.person()).id, ada.id],
    )
  },
  'ending all of one’s own sessions': async (api, ada) => {
    const { token } = await api.signIn(ada)
    expect((await api.send('POST', '/v1/auth/logout_all', { token })).status).toBe(204)
  },
}
test.each(Object.entries(ENDS))('HX7: %s makes strangers of all devices', async (_, end) => {
  const api = openApi()
  const ada = await api.person({ email_verified_at: 1 })
  const device_token = (await logIn(api, ada)).body.device_token as string
  await end(api, ada)
  const password = end === reset ? NEW_PASSWORD : PASSWORD
  expect((await logIn(api, { ...ada, password })).status).toBe(200)
  await lock(api, ada)
  expect((await logIn(api, { ...ada, password, device_token })).status).toBe(401)
})

test('HX7, RV3: ending somebody’s sessions makes strangers of their devices', async () => {
  const api = openApi()
  const [admin, ada] = [await api.quickActor({ role: 'admin' }), await api.person()]
  const device_token = (await logIn(api, ada)).body.device_token as string
  const ended = await api.send('DELETE', `/v1/users/${ada.id}/sessions`, { token: admin.token })
  expect(ended.status).toBe(204)
  await lock(api, ada)
  expect((await logIn(api, { ...ada, device_token })).status).toBe(401)
})

test('HX16: If-Match is obeyed for a new password and for ending all sessions', async () => {
  const api = openApi()
  const ada = await api.actor()
  const body = { current_password: PASSWORD, new_password: NEW_PASSWORD }
  const as = (path: string, version: string, more = {}) =>
    api.send('POST', `/v1/auth/${path}`, { token: ada.token, headers: { 'if-match': version }, ...more })
  expect((await as('change_password', '"999"', { body })).status).toBe(412)
  expect((await as('logout_all', '"999"')).status).toBe(412)
  expect((await logIn(api, ada)).status).toBe(200)
  expect((await as('logout_all', '"1"')).status).toBe(204)
})

test('MF5: an authenticator app locked by a hundred failures is shown as locked', async () => {
  const api = openApi()
  const [admin, ada] = [await api.quickActor({ role: 'admin' }), await api.person({ failed_factors: 100 })]
  const { body } = await api.send('GET', `/v1/users/${ada.id}`, { token: admin.token })
  expect(body.locked).toBe('totp')
})

test('RL3, HX7: somebody with a stolen device token gets no more attempts by signing in to an account of their own', async () => {
  const api = openApi()
  const [ada, eve] = [await api.person(), await api.person()]
  const device_token = (await logIn(api, ada)).body.device_token as string
  const guess = async () => (await logIn(api, { ...ada, password: 'wrong password', device_token })).status
  for (let i = 0; i < FAILURES_PER_PAUSE; i++) expect(await guess()).toBe(401)
  expect(await guess()).toBe(429)
  expect((await logIn(api, { ...eve, device_token })).status).toBe(200)
  expect(await guess()).toBe(429)
})
