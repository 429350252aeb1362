import { expect, test } from 'vitest'
import { type Actor, linkIn, openApi, PASSWORD } from '../support/api.ts'

/** Which undo links a change, a confirmation and an undo touch, and which they leave. */

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

test('SE2: the undo of a later change leaves the undo of an earlier one good', async () => {
  const [ada, second, third] = [await verified(), newAddress(), newAddress()]
  await ask(ada, second)
  const first = await newest(ada.email)
  expect(await confirm(ada, second)).toBe(204)
  await ask(ada, third)
  const later = await newest(second)
  expect(await confirm(ada, third)).toBe(204)
  expect([await undo(later.token), await undo(first.token)]).toEqual([204, 204])
  await api.logIn(ada)
})

test('SE2: a confirmation prolongs the undo of that user and that address alone', async () => {
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
