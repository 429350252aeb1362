import { expect, test } from 'vitest'
import { MAX_FAILURES_IN_A_ROW } from '../../src/throttle/limits.ts'
import { type Actor, linkIn, openApi, PASSWORD } from '../support/api.ts'
import { addTotp } from '../support/factors.ts'
import { openJar } from '../support/jar.ts'
import { upstreams } from '../support/upstreams.ts'

const api = openApi()
const NEW_PASSWORD = 'nine green bears run'

const newAddress = () => `${crypto.randomUUID()}@people.test`
const newest = async (email: string) => linkIn((await api.mailsTo(email))[0]!)
const rename = ({ token }: { token: string }, name: string) =>
  api.send('PATCH', '/v1/users/me', { token, body: { name } })

/** The owner's account, after a thief with the password has changed the address and confirmed it. */
async function takenOver() {
  const ada = await api.actor({ email_verified_at: Date.now() })
  const email = newAddress()
  const body = { new_email: email, current_password: PASSWORD }
  await api.send('POST', '/v1/auth/change_email', { token: ada.token, body })
  const { token } = await newest(email)
  const confirmed = await api.send('POST', '/v1/auth/confirm_email_change', {
    token: ada.token,
    body: { token },
  })
  expect(confirmed.status).toBe(204)
  return { ada, thief: ada, email }
}

const logsIn = async (email: string, password = PASSWORD) =>
  (await api.send('POST', '/v1/auth/login', { body: { email, password } })).status === 200

test('RS4, PW6, SE2: renaming in a loop cannot prevent a reset, a change of password, an undo, an unlocking or a sign-out', async () => {
  const admin = await api.quickActor({ role: 'admin' })
  const ends: Record<string, (ada: Actor) => Promise<() => [string, string, object]>> = {
    reset: async (ada) => {
      await api.send('POST', '/v1/auth/forgot_password', { body: { email: ada.email } })
      const { token } = await newest(ada.email)
      return () => ['POST', '/v1/auth/reset_password', { body: { token, new_password: NEW_PASSWORD } }]
    },
    'change of password': async (ada) => () => [
      'POST',
      '/v1/auth/change_password',
      { token: ada.token, body: { current_password: PASSWORD, new_password: NEW_PASSWORD } },
    ],
    undo: async (ada) => {
      const body = { new_email: newAddress(), current_password: PASSWORD }
      await api.send('POST', '/v1/auth/change_email', { token: ada.token, body })
      const { token } = await newest(ada.email)
      return () => ['POST', '/v1/auth/undo_email_change', { body: { token } }]
    },
    'sign-out everywhere': async (ada) => () => ['POST', '/v1/auth/logout_all', { token: ada.token }],
    'ending a session': async (ada) => {
      const { sessionId } = await api.signIn(ada)
      return () => ['DELETE', `/v1/auth/sessions/${sessionId}`, { token: ada.token }]
    },
    unlocking: async (ada) => {
      await api.sql('UPDATE users SET failed_logins = ? WHERE id = ?', [MAX_FAILURES_IN_A_ROW - 1, ada.id])
      await logsIn(ada.email, 'ten silver wolves sing')
      const [mail] = await api.mailsTo(ada.email)
      const token = new URL(/^http\S+$/m.exec(mail!.text)![0]).searchParams.get('token')
      return () => ['POST', '/v1/auth/unlock_account', { body: { token } }]
    },
    'ending by an administrator': async (ada) => () => [
      'DELETE',
      `/v1/users/${ada.id}/sessions`,
      { token: admin.token },
    ],
  }
  for (const [what, prepare] of Object.entries(ends)) {
    const ada = await api.actor({ email_verified_at: Date.now() })
    const request = (await prepare(ada))()
    const own = upstreams()
    const { result, wasHeld } = await own.between(
      () => openApi(own.bindings).send(...request),
      () => rename(ada, `Thief of ${what}`),
      { only: 'user_activity_logs' },
    )
    expect([what, wasHeld, result.status]).toEqual([what, true, what === 'change of password' ? 200 : 204])
  }
})

test('SE2: an undo gives back the account, not only the address: what the thief knew or added opens nothing', async () => {
  const { ada, thief, email } = await takenOver()
  const { token } = await newest(ada.email)
  await addTotp(api, thief)
  const left = await api.send('DELETE', '/v1/users/me', { token: thief.token, body: { password: PASSWORD } })
  expect(left.status).toBe(204)
  expect((await api.send('POST', '/v1/auth/undo_email_change', { body: { token } })).status).toBe(204)
  expect([await logsIn(ada.email), await logsIn(email)]).toEqual([false, false])
  await api.send('POST', '/v1/auth/forgot_password', { body: { email: ada.email } })
  const reset = { token: (await newest(ada.email)).token, new_password: NEW_PASSWORD }
  expect((await api.send('POST', '/v1/auth/reset_password', { body: reset })).status).toBe(204)
  expect(await logsIn(ada.email, NEW_PASSWORD)).toBe(true)
  expect(await api.historyOf(ada.id)).toContain('email.change_undone')
})

test('SE2: an undo by somebody who is disabled gives back the address, and no more', async () => {
  const { ada } = await takenOver()
  const admin = await api.quickActor({ role: 'admin' })
  const disabled = await api.send('POST', `/v1/users/${ada.id}/disable`, {
    token: admin.token,
    body: { reason: 'asked by a thief' },
  })
  expect(disabled.status).toBe(200)
  const { token } = await newest(ada.email)
  expect((await api.send('POST', '/v1/auth/undo_email_change', { body: { token } })).status).toBe(204)
  expect(await logsIn(ada.email)).toBe(false)
  const found = await api.send('GET', `/v1/users/${ada.id}`, { token: admin.token })
  expect(found.body).toMatchObject({ email: ada.email, status: 'disabled' })
})

test('SE2, HX5: somebody who restores an account that a thief has closed sees the former address, and can give it back with that', async () => {
  const { ada, thief, email } = await takenOver()
  const [admin, manager] = [
    await api.quickActor({ role: 'admin' }),
    await api.quickActor({ role: 'manager' }),
  ]
  const read = async ({ token }: { token: string } = admin) =>
    (await api.send('GET', `/v1/users/${ada.id}`, { token })).body
  const restore = (query = '?earlier_email=true') =>
    api.send('POST', `/v1/users/${ada.id}/restore${query}`, { token: admin.token })
  await addTotp(api, thief)
  expect(await read()).not.toHaveProperty('earlier_email')
  const left = await api.send('DELETE', '/v1/users/me', { token: thief.token, body: { password: PASSWORD } })
  expect(left.status).toBe(204)

  expect(await read()).toMatchObject({ email, earlier_email: ada.email })
  expect((await read(manager)).code).toBe('user_not_found')
  expect((await restore('?earlier_email=yes')).status).toBe(422)
  expect((await restore()).body).toMatchObject({ email: ada.email, email_verified: true, status: 'active' })
  expect([await logsIn(ada.email), await logsIn(email)]).toEqual([false, false])
  expect((await api.mailsTo(ada.email))[0]!.subject).toBe('Your account at Roster is back')
  const history = await api.historyOf(ada.id)
  expect(history.slice(history.indexOf('user.restored'))).toEqual([
    'user.restored',
    'email.change_undone',
    'login.failed',
  ])
  // The second factor was the thief's, and the reset is the owner's.
  await api.send('POST', '/v1/auth/forgot_password', { body: { email: ada.email } })
  const reset = { token: (await newest(ada.email)).token, new_password: NEW_PASSWORD }
  expect((await api.send('POST', '/v1/auth/reset_password', { body: reset })).status).toBe(204)
  expect(await logsIn(ada.email, NEW_PASSWORD)).toBe(true)
})

test('SE2: an address that was only requested does not count as an earlier one, and the page offers real ones', async () => {
  const admin = await api.person({ role: 'admin', email_verified_at: 1 })
  const { token } = await api.signIn(admin)
  const eve = await api.actor({ email_verified_at: 1 })
  const body = { new_email: newAddress(), current_password: PASSWORD }
  await api.send('POST', '/v1/auth/change_email', { token: eve.token, body })
  await api.sql('UPDATE users SET deleted_at = 1 WHERE id = ?', [eve.id])
  const path = `/v1/users/${eve.id}`
  expect((await api.send('GET', path, { token })).body).not.toHaveProperty('earlier_email')
  const refused = await api.send('POST', `${path}/restore?earlier_email=true`, { token })
  expect([refused.status, refused.body.code]).toEqual([409, 'no_earlier_email'])

  const { ada, thief } = await takenOver()
  await api.send('DELETE', '/v1/users/me', { token: thief.token, body: { password: PASSWORD } })
  const browser = openJar(api)
  await browser.signIn(admin.email)
  const page = `/admin/people/${ada.id}`
  expect((await browser.open(page)).text).toContain(`Restore with ${ada.email}`)
  const given = await browser.submit(page, `${page}/restore`, { earlier_email: 'true' })
  expect([given.status, given.to]).toEqual([303, `${page}?done=restored`])
  expect((await browser.open(page)).text).toContain(ada.email)
})
