import { beforeAll, describe, expect, test } from 'vitest'
import { type Actor, type Api, linkIn, openApi, PASSWORD } from '../support/api.ts'
import { addPasskey, addTotp, codeOf, mailedCode } from '../support/factors.ts'
import { openJar } from '../support/jar.ts'
import { freshUpstreams } from '../support/upstreams.ts'

/** What the owner of an account is told, and what the link in it undoes. */

const NEW = 'nine green bears run'

let api: Api
beforeAll(async () => {
  api = openApi((await freshUpstreams()).bindings)
})

const post = (path: string, body: object, token?: string) => api.send('POST', path, { body, token })
const verified = (given = {}) => api.actor({ email_verified_at: 1, ...given })
/** Somebody who has signed in before. */
const known = (given = {}) => verified({ last_login_at: 1, ...given })
const subjectsTo = async ({ email }: { email: string }) =>
  (await api.mailsTo(email)).map(({ subject }) => subject)
const logIn = (body: { email: string; password: string; device_token?: unknown; cookie?: boolean }) => {
  const { email, password, device_token, cookie } = body
  return post('/v1/auth/login', { email, password, device_token, cookie })
}
const newDevices = async (who: { email: string }) =>
  (await subjectsTo(who)).filter((subject) => subject.includes('new device')).length

describe('A new device', () => {
  test('is reported, with a link that only ends its session, and works once', async () => {
    const ada = await api.person({ email_verified_at: 1, last_login_at: 1 })
    const { device_token } = (await logIn(ada)).body
    expect(await newDevices(ada)).toBe(1)
    const mine = (await logIn({ ...ada, device_token })).body
    expect(await newDevices(ada)).toBe(1)
    const thiefs = (await logIn({ ...ada, cookie: false, device_token: 'dt_forged' })).body
    const [mail] = await api.mailsTo(ada.email)
    expect(mail!.text).toContain('Signed in on ')
    const { token, url } = linkIn(mail!)
    expect(url.pathname).toBe('/links/disown_session')
    const disown = () => post('/v1/auth/disown_session', { token })
    expect((await disown()).status).toBe(204)
    const status = async (token: unknown) =>
      (await api.send('GET', '/v1/auth/sessions', { token: token as string })).status
    expect([await status(thiefs.access_token), await status(mine.access_token)]).toEqual([401, 200])
    expect((await disown()).body.code).toBe('invalid_link')
    const [row] = await api.sql(
      "SELECT details FROM user_activity_logs WHERE user_id = ? AND action = 'session.ended'",
      [ada.id],
    )
    expect(JSON.parse(row!.details as string)).toMatchObject({ reason: 'disowned' })
  })

  test('is reported, however many came before, and each link ends its own session', async () => {
    const ada = await api.person({ email_verified_at: 1, last_login_at: 1 })
    const first = (await logIn({ ...ada, device_token: 'x' })).body
    const { token } = linkIn((await api.mailsTo(ada.email))[0]!)
    const second = (await logIn({ ...ada, device_token: 'x' })).body
    expect((await post('/v1/auth/disown_session', { token })).status).toBe(204)
    const status = async ({ access_token }: Record<string, unknown>) =>
      (await api.send('GET', '/v1/auth/sessions', { token: access_token as string })).status
    expect([await status(first), await status(second)]).toEqual([401, 200])
  })

  test('that was disowned is new again: its next sign-in is reported, and others stay signed in', async () => {
    const ada = await api.person({ email_verified_at: 1, last_login_at: 1 })
    const mine = (await logIn({ ...ada, device_token: 'x' })).body
    const thiefs = (await logIn({ ...ada, device_token: 'y' })).body
    expect(await newDevices(ada)).toBe(2)
    const { token } = linkIn((await api.mailsTo(ada.email))[0]!)
    expect((await post('/v1/auth/disown_session', { token })).status).toBe(204)
    expect((await logIn({ ...ada, device_token: thiefs.device_token })).status).toBe(200)
    expect(await newDevices(ada)).toBe(3)
    expect((await api.send('GET', '/v1/users/me', { token: mine.access_token as string })).status).toBe(200)
  })

  test('is reported once a day for clients without a device token, otherwise ten times', async () => {
    const ada = await api.person({ email_verified_at: 1, last_login_at: 1 })
    for (let i = 0; i < 3; i++) await logIn(ada)
    expect(await newDevices(ada)).toBe(1)
    await api.ages(86_400_000)
    await logIn(ada)
    expect(await newDevices(ada)).toBe(2)
    for (let i = 0; i < 12; i++) await logIn({ ...ada, device_token: 'x' })
    expect(await newDevices(ada)).toBe(12)
    // A browser keeps its token in a cookie, so one without a cookie is a new device.
    const eve = await api.person({ email_verified_at: 1, last_login_at: 1 })
    for (let i = 0; i < 3; i++) await logIn({ ...eve, cookie: true })
    expect(await newDevices(eve)).toBe(3)
  })

  test('is not reported to an unproved address, nor at the very first sign-in', async () => {
    const [unproved, first] = [
      await api.person({ last_login_at: 1 }),
      await api.person({ email_verified_at: 1 }),
    ]
    for (const somebody of [unproved, first]) await logIn(somebody)
    expect([await subjectsTo(unproved), await subjectsTo(first)]).toEqual([[], []])
    await logIn(first)
    expect(await newDevices(first)).toBe(1)
  })

  test('the page of its link leads to a new password', async () => {
    const ada = await api.person({ email_verified_at: 1, last_login_at: 1 })
    await logIn(ada)
    const { url, token } = linkIn((await api.mailsTo(ada.email))[0]!)
    const jar = openJar(api)
    const page = url.pathname + url.search
    expect((await jar.open(page)).text).toContain('This was not me')
    expect(
      await api.sql('SELECT id FROM sessions WHERE user_id = ? AND revoked_at IS NOT NULL', [ada.id]),
    ).toEqual([])
    const done = await jar.submit(page, url.pathname, { token })
    expect([done.status, done.headers.get('location')]).toEqual([303, '/forgot?done=disowned'])
    expect((await jar.open('/forgot?done=disowned')).text).toContain('They are signed out')
  })
})

/** Adds an app through the API, as a thief with a session would. */
async function addApp({ email, token }: Pick<Actor, 'email' | 'token'>) {
  const { body } = await post('/v1/auth/factors/totp', {}, token)
  const { decodeBase32IgnorePadding } = await import('@oslojs/encoding')
  const seed = decodeBase32IgnorePadding(body.secret as string)
  const proof = await mailedCode(api, { email, token })
  const confirmed = await post('/v1/auth/factors/totp/confirm', { code: codeOf(seed), ...proof }, token)
  expect(confirmed.status, confirmed.text).toBe(200)
  return { seed, link: linkIn((await api.mailsTo(email))[0]!).token }
}
const disown = (token: string, more: object = {}) => post('/v1/auth/disown_factor', { token, ...more })
const isOpen = async (token: string) => (await api.send('GET', '/v1/auth/sessions', { token })).status === 200
const hasApp = async ({ id }: { id: string }) =>
  (await api.sql('SELECT 1 FROM factors WHERE user_id = ?', [id])).length > 0

describe('MF6: a factor that was added', () => {
  test('with only the mail, every session ends, and the factor stays', async () => {
    const ada = await verified()
    const { link } = await addApp(ada)
    const answer = await disown(link)
    expect([answer.status, answer.body]).toEqual([200, { factor: 'kept' }])
    expect([await isOpen(ada.token), await hasApp(ada)]).toEqual([false, true])
  })

  test('that stayed can be removed later with the same link, which ends nothing a second time', async () => {
    const ada = await verified()
    const { link } = await addApp(ada)
    const told = async () =>
      (await api.historyOf(ada.id)).filter((action) => action === 'sessions.ended').length
    expect((await disown(link)).body).toEqual({ factor: 'kept' })
    const ended = await told()
    expect((await disown(link)).body).toEqual({ factor: 'kept' })
    expect(await told()).toBe(ended)
    const [{ id }] = (await api.sql('SELECT id FROM sessions WHERE user_id = ? LIMIT 1', [ada.id])) as [
      { id: string },
    ]
    await api.sql('UPDATE sessions SET revoked_at = NULL, revoked_reason = NULL WHERE id = ?', [id])
    expect((await disown(link)).body).toEqual({ factor: 'kept' })
    expect([await told(), await isOpen(ada.token)]).toEqual([ended + 1, false])
    expect((await disown(link, { password: PASSWORD })).body).toEqual({ factor: 'removed' })
    expect((await disown(link, { password: PASSWORD })).body.code).toBe('invalid_link')
  })

  test("goes, and so does whether a thief's device is known; one from before it proves as much for the next", async () => {
    const ada = await known()
    const own = (await logIn(ada)).body.device_token as string
    const thief = (await logIn({ ...ada, device_token: 'x' })).body
    const told = linkIn((await api.mailsTo(ada.email))[0]!).token
    await new Promise((resolve) => setTimeout(resolve, 1100))
    const actor = { ...ada, token: thief.access_token as string }
    const app = await addApp(actor)
    await api.send('DELETE', '/v1/auth/factors/totp', { token: actor.token })
    const again = await addApp(actor)
    expect((await post('/v1/auth/disown_session', { token: told })).status).toBe(204)
    expect((await disown(app.link, { device_token: own })).body).toEqual({ factor: 'none' })
    expect((await disown(again.link)).body).toEqual({ factor: 'kept' })
    expect((await disown(again.link, { device_token: own })).body).toEqual({ factor: 'removed' })
    expect(await hasApp(ada)).toBe(false)
    const before = await newDevices(ada)
    expect((await logIn({ ...ada, device_token: thief.device_token })).status).toBe(200)
    expect(await newDevices(ada)).toBe(before + 1)
  })

  test('is removed with an older password, and the recovery codes too', async () => {
    const ada = await verified()
    const { link } = await addApp(ada)
    const wrong = await disown(link, { password: NEW })
    expect([wrong.status, wrong.body.code, await isOpen(ada.token)]).toEqual([403, 'wrong_password', true])
    const answer = await disown(link, { password: PASSWORD })
    expect([answer.status, answer.body]).toEqual([200, { factor: 'removed' }])
    expect([await isOpen(ada.token), await hasApp(ada)]).toEqual([false, false])
    expect(await api.sql('SELECT 1 FROM recovery_codes WHERE user_id = ?', [ada.id])).toEqual([])
    expect((await subjectsTo(ada))[0]).toContain('was removed')
    await api.logIn(ada)
  })

  test('stays if the password was set since, or by a reset, for which the mailbox is enough', async () => {
    const reset = async ({ email }: Actor) => {
      await post('/v1/auth/forgot_password', { email })
      const { token } = linkIn((await api.mailsTo(email))[0]!)
      expect((await post('/v1/auth/reset_password', { token, new_password: NEW })).status).toBe(204)
    }
    const since = await verified()
    const { link } = await addApp(since)
    await reset(since)
    expect((await disown(link, { password: NEW })).body).toEqual({ factor: 'kept' })
    const before = await verified()
    await reset(before)
    const { token } = await api.signIn(before)
    const later = await addApp({ ...before, token })
    expect((await disown(later.link, { password: NEW })).body).toEqual({ factor: 'kept' })
    expect([await hasApp(since), await hasApp(before)]).toEqual([true, true])
  })

  test('stays, although other mails that confirm the address were never used: they set no password any more', async () => {
    const email = `${crypto.randomUUID()}@people.test`
    const { body } = await post('/v1/auth/signup', { email, password: PASSWORD, name: 'Ada' })
    const { code } = linkIn((await api.mailsTo(email))[0]!)
    await post('/v1/auth/resend_verification', { email })
    const other = linkIn((await api.mailsTo(email))[0]!).token
    const { signup_token } = body
    expect((await post('/v1/auth/verify_email', { code, signup_token })).status).toBe(204)
    const ada = await api.logIn({ email, password: PASSWORD })
    const { link } = await addApp({ email, token: ada.access_token })
    const used = await post('/v1/auth/verify_email', { token: other, new_password: NEW })
    expect([used.status, used.body?.code]).toEqual([400, 'invalid_link'])
    expect((await disown(link, { password: NEW })).body.code).toBe('wrong_password')
    expect([await isOpen(ada.access_token), await hasApp(ada.user)]).toEqual([true, true])
    expect((await logIn({ email, password: PASSWORD })).body.code).toBe('second_factor_required')
  })

  test('is removed with the token of a device that had signed in to this account before', async () => {
    const [ada, eve] = [await verified(), await verified()]
    const own = (await logIn(ada)).body.device_token as string
    const others = (await logIn(eve)).body.device_token as string
    const { link } = await addApp(ada)
    expect((await disown(link, { device_token: others })).body).toEqual({ factor: 'kept' })
    const { token } = await api.signIn(ada)
    await api.send('DELETE', '/v1/auth/factors/totp', { token })
    await new Promise((resolve) => setTimeout(resolve, 1100))
    const again = await addApp({ ...ada, token })
    expect((await disown(again.link, { device_token: own })).body).toEqual({ factor: 'removed' })
  })

  test('is removed if another stays, but the last is never removed with only the mailbox', async () => {
    const ada = await verified()
    const { link } = await addApp(ada)
    const passkey = await addPasskey(api, ada)
    expect((await disown(link)).body).toEqual({ factor: 'removed' })
    expect(await hasApp(ada)).toBe(false)
    expect(await api.sql('SELECT credential_id FROM passkeys WHERE user_id = ?', [ada.id])).toEqual([
      { credential_id: passkey.id },
    ])
  })

  test('a link removes the app it was about, and no later one', async () => {
    const ada = await verified()
    const { link } = await addApp(ada)
    await api.sql('DELETE FROM factors WHERE user_id = ?', [ada.id])
    await addTotp(api, ada)
    expect((await disown(link, { password: PASSWORD })).body).toEqual({ factor: 'none' })
    expect(await hasApp(ada)).toBe(true)
  })

  test('its link stays valid even if the account is closed, or moved to another address', async () => {
    const ada = await verified()
    const { link } = await addApp(ada)
    await api.sql("UPDATE users SET email = 'x@thief.test', email_normalized = ? WHERE id = ?", [
      `${ada.id}@thief.test`,
      ada.id,
    ])
    const closed = await api.send('DELETE', '/v1/users/me', {
      token: ada.token,
      body: { password: PASSWORD },
    })
    expect(closed.status, closed.text).toBe(204)
    expect((await disown(link, { password: PASSWORD })).body).toEqual({ factor: 'removed' })
  })

  test('its page accepts the cookie of this browser, and says what stayed', async () => {
    const ada = await verified()
    const jar = openJar(api)
    const press = async (link: string) => {
      const page = `/links/disown_factor?token=${link}`
      return jar.submit(page, '/links/disown_factor', { token: link })
    }
    const first = await addApp(ada)
    const kept = await press(first.link)
    expect([kept.status, kept.text.includes('is still there')]).toEqual([200, true])
    await api.sql('DELETE FROM factors WHERE user_id = ?', [ada.id])
    await api.sql('DELETE FROM recovery_codes WHERE user_id = ?', [ada.id])
    await jar.submit('/signin', '/signin', { email: ada.email, password: PASSWORD })
    await new Promise((resolve) => setTimeout(resolve, 1100))
    const { token } = await api.signIn(ada)
    const second = await addApp({ ...ada, token })
    const removed = await press(second.link)
    expect([removed.status, removed.headers.get('location')]).toEqual([303, '/forgot?done=disowned'])
    expect(await hasApp(ada)).toBe(false)
  })
})

test('The link about a removed factor ends every session', async () => {
  const ada = await verified()
  await addApp(ada)
  expect((await api.send('DELETE', '/v1/auth/factors/totp', { token: ada.token })).status).toBe(204)
  const { token } = linkIn((await api.mailsTo(ada.email))[0]!)
  expect((await disown(token)).body).toEqual({ factor: 'none' })
  expect(await isOpen(ada.token)).toBe(false)
})

test('Somebody is told that recovery codes run out when they reauthenticate with one, too', async () => {
  const ada = await verified()
  const { recoveryCodes } = await addTotp(api, ada)
  await api.sql(
    'DELETE FROM recovery_codes WHERE user_id = ?1 AND hash NOT IN (SELECT hash FROM recovery_codes WHERE user_id = ?1 ORDER BY hash LIMIT 3)',
    [ada.id],
  )
  const { token } = await api.signIn(ada)
  const tries = []
  for (const recovery_code of recoveryCodes)
    tries.push((await post('/v1/auth/reauthenticate', { password: PASSWORD, recovery_code }, token)).status)
  expect(tries.filter((status) => status === 200)).toHaveLength(3)
  expect((await subjectsTo(ada)).filter((subject) => subject.includes('running out'))).toHaveLength(3)
})

test('A user with a proved address is told when somebody who manages disables or deletes them', async () => {
  const admin = await api.quickActor({ role: 'admin' })
  const [ada, eve, unproved] = [await known(), await known(), await api.actor()]
  const disable = (id: string) =>
    api.send('POST', `/v1/users/${id}/disable`, { token: admin.token, body: { reason: 'left' } })
  for (const { id } of [ada, unproved]) expect((await disable(id)).status).toBe(200)
  for (const { id } of [eve, unproved])
    expect((await api.send('DELETE', `/v1/users/${id}`, { token: admin.token })).status).toBe(204)
  expect((await subjectsTo(ada))[0]).toContain('was disabled')
  expect((await subjectsTo(eve))[0]).toContain('was deleted')
  expect(await subjectsTo(unproved)).toEqual([])
})
