import { expect, test } from 'vitest'
import { type Actor, linkIn, openApi, PASSWORD } from '../support/api.ts'

const api = openApi()

const newAddress = () => `${crypto.randomUUID()}@people.test`
const ask = (ada: Actor, new_email: string, current_password = PASSWORD) =>
  api.send('POST', '/v1/auth/change_email', { token: ada.token, body: { new_email, current_password } })
const confirm = ({ token }: Actor, body: object) =>
  api.send('POST', '/v1/auth/confirm_email_change', { token, body })
const owner = () => api.actor({ email_verified_at: Date.now() })
const undo = (body: object) => api.send('POST', '/v1/auth/undo_email_change', { body })
const canLogIn = async (email: string) =>
  (await api.send('POST', '/v1/auth/login', { body: { email, password: PASSWORD } })).status === 200
/** The change was requested with the password, which is void now: the mailbox gives a new one. */
const getsBackIn = async (email: string) => {
  const before = await canLogIn(email)
  await api.send('POST', '/v1/auth/forgot_password', { body: { email } })
  const body = { token: (await newest(email)).token, new_password: 'nine green bears run' }
  const reset = await api.send('POST', '/v1/auth/reset_password', { body })
  return !before && reset.status === 204
}
const newest = async (email: string) => linkIn((await api.mailsTo(email))[0]!)

test('SE2: the old address logs in until the new one confirms', async () => {
  const [ada, email] = [await owner(), newAddress()]
  expect((await ask(ada, email)).status).toBe(202)
  expect([await canLogIn(ada.email), await canLogIn(email)]).toEqual([true, false])
  expect((await confirm(ada, { token: (await newest(email)).token })).status).toBe(204)
  expect([await canLogIn(ada.email), await canLogIn(email)]).toEqual([false, true])
  const me = await api.send('GET', '/v1/users/me', { token: ada.token })
  expect(me.body).toMatchObject({ email, email_verified: true })
  expect(await api.historyOf(ada.id)).toContain('email.changed')
})

test('SE2: of two requested changes only the last can be confirmed, by code as well', async () => {
  const [ada, first, second] = [await owner(), newAddress(), newAddress()]
  await ask(ada, first)
  await ask(ada, second)
  expect((await confirm(ada, { token: (await newest(first)).token })).body.code).toBe('invalid_link')
  expect((await confirm(ada, { code: (await newest(first)).code })).body.code).toBe('invalid_link')
  expect((await confirm(ada, { code: (await newest(second)).code })).status).toBe(204)
  expect((await api.send('GET', '/v1/users/me', { token: ada.token })).body.email).toBe(second)
})

test('SE2: the old address is told, and can undo the change within seven days, which ends every session', async () => {
  const [ada, email] = [await owner(), newAddress()]
  await ask(ada, email)
  const notice = (await api.mailsTo(ada.email))[0]!
  expect(notice.text).toContain(email)
  await confirm(ada, { token: (await newest(email)).token })
  expect((await undo({ token: linkIn(notice).token })).status).toBe(204)
  expect([await getsBackIn(ada.email), await canLogIn(email)]).toEqual([true, false])
  expect((await api.send('GET', '/v1/users/me', { token: ada.token })).status).toBe(401)
  const refreshed = await api.send('POST', '/v1/auth/refresh_token', {
    body: { refresh_token: ada.refreshToken },
  })
  expect(refreshed.body.code).toBe('session_revoked')
  expect((await undo({ token: linkIn(notice).token })).body.code).toBe('invalid_link')
})

test('SE2: undoing a change before it is confirmed makes it impossible', async () => {
  const [ada, email] = [await owner(), newAddress()]
  await ask(ada, email)
  expect((await undo({ token: (await newest(ada.email)).token })).status).toBe(204)
  expect((await confirm(ada, { token: (await newest(email)).token })).body.code).toBe('invalid_link')
  expect(await getsBackIn(ada.email)).toBe(true)
})

test('SE2: the seven days start with the confirmation, and end', async () => {
  const [ada, email] = [await owner(), newAddress()]
  await ask(ada, email)
  const passDays = (days: number) =>
    api.sql('UPDATE one_time_tokens SET expires_at = expires_at - ? WHERE subject_id = ?', [
      days * 86_400_000,
      ada.id,
    ])
  await passDays(0.9)
  await confirm(ada, { token: (await newest(email)).token })
  await passDays(6.9)
  const { token } = await newest(ada.email)
  await passDays(0.2)
  expect((await undo({ token })).body.code).toBe('invalid_link')
  expect(await canLogIn(email)).toBe(true)
})

test('SE2: the old address has a day to approve, however late the new one has confirmed', async () => {
  const [ada, email] = [await owner(), newAddress()]
  await ask(ada, email)
  const passHours = (hours: number) =>
    api.sql('UPDATE one_time_tokens SET expires_at = expires_at - ? WHERE subject_id = ?', [
      hours * 3_600_000,
      ada.id,
    ])
  const elsewhere = (token: string) => api.send('POST', '/v1/auth/confirm_email_change', { body: { token } })
  const approve = (token: string) => api.send('POST', '/v1/auth/approve_email_change', { body: { token } })
  const confirming = await newest(email)
  await passHours(23)
  expect((await elsewhere(confirming.token)).status).toBe(202)
  const { token } = await newest(ada.email)
  await passHours(2)
  // The new address is too late to confirm again.
  expect((await elsewhere(confirming.token)).body.code).toBe('invalid_link')
  expect((await approve(token)).status).toBe(204)
  expect([await canLogIn(ada.email), await canLogIn(email)]).toEqual([false, true])

  // A day is all it has.
  const [eve, hers] = [await owner(), newAddress()]
  await ask(eve, hers)
  await elsewhere((await newest(hers)).token)
  const late = await newest(eve.email)
  await api.sql(
    "UPDATE one_time_tokens SET expires_at = 1 WHERE subject_id = ? AND purpose LIKE 'approve%'",
    [eve.id],
  )
  expect((await approve(late.token)).body.code).toBe('invalid_link')
  expect(await canLogIn(eve.email)).toBe(true)
})

test('SE2: the first owner can still undo after somebody has changed the address twice', async () => {
  const [ada, second, third] = [await owner(), newAddress(), newAddress()]
  await ask(ada, second)
  const first = await newest(ada.email)
  await confirm(ada, { token: (await newest(second)).token })
  await ask(ada, third)
  const later = await newest(second)
  await confirm(ada, { token: (await newest(third)).token })
  expect((await undo({ token: first.token })).status).toBe(204)
  expect((await undo({ token: later.token })).body.code).toBe('invalid_link')
  expect([await getsBackIn(ada.email), await canLogIn(second), await canLogIn(third)]).toEqual([
    true,
    false,
    false,
  ])
})

test('Asking needs the password, and a valid address that differs from the present one', async () => {
  const ada = await api.actor()
  expect((await ask(ada, newAddress(), 'not the password at all')).body.code).toBe('wrong_password')
  expect((await ask(ada, ada.email.toUpperCase())).status).toBe(422)
  expect((await ask(ada, 'nobody')).status).toBe(422)
  expect(await api.mailsTo(ada.email)).toEqual([])
})

test('LE3: a taken address can be asked for like any other, and confirming it answers 409', async () => {
  const [ada, eve] = [await api.actor(), await api.person({ email_verified_at: 1 })]
  const [taken, free] = [await ask(ada, eve.email), await ask(ada, newAddress())]
  expect([taken.status, taken.text]).toEqual([free.status, free.text])
  await ask(ada, eve.email)
  const answer = await confirm(ada, { token: (await newest(eve.email)).token })
  expect([answer.status, answer.body.code]).toEqual([409, 'email_taken'])
  expect(await canLogIn(ada.email)).toBe(true)
})

test('SE2, RL6: an address that is to be replaced is told, however often the former one was told', async () => {
  const [ada, moved, evil] = [await owner(), newAddress(), newAddress()]
  for (const email of [newAddress(), newAddress(), moved]) expect((await ask(ada, email)).status).toBe(202)
  expect((await confirm(ada, { token: (await newest(moved)).token })).status).toBe(204)
  expect((await ask(ada, evil)).status).toBe(202)
  const [notice] = await api.mailsTo(moved)
  expect(notice!.text).toContain(evil)
  await confirm(ada, { token: (await newest(evil)).token })
  expect((await undo({ token: linkIn(notice!).token })).status).toBe(204)
  expect(await getsBackIn(moved)).toBe(true)
})
