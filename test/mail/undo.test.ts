import { expect, test } from 'vitest'
import { type Actor, linkIn, openApi, PASSWORD } from '../support/api.ts'

/** Which undo links are affected by a change, a confirmation and an undo, and which are not. */

const api = openApi()
const DAY_MS = 86_400_000
const newAddress = () => `${crypto.randomUUID()}@people.test`
const verified = () => api.actor({ email_verified_at: 1 })

const ask = async ({ token }: Actor, new_email: string) => {
  const body = { new_email, current_password: PASSWORD }
  expect((await api.send('POST', '/v1/auth/change_email', { token, body })).status).toBe(202)
}
const newest = async (email: string) => linkIn((await api.mailsTo(email))[0]!)
const confirm = async ({ token }: Actor, email: string) => {
  const body = { token: (await newest(email)).token }
  return (await api.send('POST', '/v1/auth/confirm_email_change', { token, body })).status
}
const undo = async (token: string) =>
  (await api.send('POST', '/v1/auth/undo_email_change', { body: { token } })).status
const undoLinksOf = ({ id }: Actor) =>
  api.sql(
    "SELECT email, expires_at FROM one_time_tokens WHERE subject_id = ? AND purpose = 'undo_email_change' ORDER BY id",
    [id],
  )

test('SE2: undoing a later change leaves the undo of an earlier one valid', async () => {
  const [ada, second, third] = [await verified(), newAddress(), newAddress()]
  await ask(ada, second)
  const first = await newest(ada.email)
  expect(await confirm(ada, second)).toBe(204)
  await ask(ada, third)
  const later = await newest(second)
  expect(await confirm(ada, third)).toBe(204)
  expect([await undo(later.token), await undo(first.token)]).toEqual([204, 204])
  expect((await api.sql('SELECT email FROM users WHERE id = ?', [ada.id]))[0]).toEqual({ email: ada.email })
})

test('SE2: a confirmation only prolongs the undo for that user and that address', async () => {
  const [ada, eve] = [await verified(), await verified()]
  const [second, third] = [newAddress(), newAddress()]
  await ask(ada, second)
  expect(await confirm(ada, second)).toBe(204)
  await ask(ada, third)
  await ask(eve, newAddress())
  const shorten = ({ id }: Actor) =>
    api.sql('UPDATE one_time_tokens SET expires_at = expires_at - ? WHERE subject_id = ?', [DAY_MS / 2, id])
  await Promise.all([shorten(ada), shorten(eve)])
  const [before, beforeEve] = [await undoLinksOf(ada), await undoLinksOf(eve)]
  expect(await confirm(ada, third)).toBe(204)
  const after = await undoLinksOf(ada)
  expect(after[0]).toEqual(before[0])
  expect(Number(after[1]!.expires_at)).toBeGreaterThan(Number(before[1]!.expires_at))
  expect(await undoLinksOf(eve)).toEqual(beforeEve)
})

test('SE2: whoever closes an account is mailed a link that reopens it, without the password it was closed with', async () => {
  const ada = await verified()
  const close = (who: Actor) =>
    api.send('DELETE', '/v1/users/me', { token: who.token, body: { password: PASSWORD } })
  expect((await close(ada)).status).toBe(204)
  const { token } = await newest(ada.email)
  const reopen = (given: string) => api.send('POST', '/v1/auth/reopen_account', { body: { token: given } })
  expect((await reopen(token)).status).toBe(204)
  const login = { email: ada.email, password: PASSWORD }
  expect((await api.send('POST', '/v1/auth/login', { body: login })).status).toBe(401)
  expect((await api.send('GET', '/v1/users/me', { token: ada.token })).status).toBe(401)
  expect((await reopen(token)).body.code).toBe('invalid_link')
  const history = await api.historyOf(ada.id)
  expect(history.slice(history.indexOf('user.deleted'))).toEqual([
    'user.deleted',
    'user.restored',
    'login.failed',
  ])

  // It no longer works once the account was opened in another way, or was closed by somebody who manages.
  const eve = await verified()
  await close(eve)
  const admin = await api.quickActor({ role: 'admin' })
  await api.send('POST', `/v1/users/${eve.id}/restore`, { token: admin.token })
  const mails = (await api.mailsTo(eve.email)).map(({ text }) => text)
  const link = new URL(/^http\S+reopen_account\S+$/m.exec(mails.join('\n'))![0])
  expect((await reopen(link.searchParams.get('token')!)).body.code).toBe('invalid_link')

  // Nor after somebody who manages has deleted it as well. Deleting it again changes nothing.
  const joan = await verified()
  await close(joan)
  const hers = (await newest(joan.email)).token
  const remove = () => api.send('DELETE', `/v1/users/${joan.id}`, { token: admin.token })
  expect((await remove()).status).toBe(204)
  expect((await reopen(hers)).body.code).toBe('invalid_link')
  expect((await remove()).status).toBe(204)
  expect((await api.historyOf(joan.id)).filter((action) => action === 'user.deleted')).toHaveLength(2)

  // An unproved address is told nothing.
  const squatter = await api.actor()
  await close(squatter)
  expect(await api.mailsTo(squatter.email)).toEqual([])
})
