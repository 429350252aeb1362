import { beforeAll, expect, test } from 'vitest'
import { type Api, linkIn, openApi } from './support/api.ts'
import { newPerson } from './support/requests.ts'
import { freshUpstreams } from './support/upstreams.ts'

let api: Api
let admin: Awaited<ReturnType<Api['quickActor']>>
const DAY_MS = 86_400_000
const NEW_PASSWORD = 'nine green bears run'

beforeAll(async () => {
  api = openApi((await freshUpstreams()).bindings)
  admin = await api.quickActor({ role: 'admin' })
})
const send = (method: string, path: string, body?: unknown) =>
  api.send(method, path, { token: admin.token, body })
const accept = (token: string) =>
  api.send('POST', '/v1/auth/accept_invitation', { body: { token, password: NEW_PASSWORD } })

test('LG2, HX10: disabling twice with the same reason counts once; with another reason it is a change', async () => {
  const ada = await api.person()
  const disable = (reason: string) => send('POST', `/v1/users/${ada.id}/disable`, { reason })
  const [first, again] = [await disable('left'), await disable('left')]
  expect([again.status, again.body]).toEqual([200, first.body])
  expect((await disable('fraud')).body.version).toBe(Number(first.body.version) + 1)
  expect(await api.historyOf(ada.id)).toEqual(['user.disabled', 'user.disabled'])
})

test('Location is where the new user can be read', async () => {
  const made = await send('POST', '/v1/users', newPerson())
  expect(made.headers.get('location')).toBe(`/v1/users/${made.body.id}`)
  const read = await send('GET', made.headers.get('location')!)
  expect([read.status, read.body.id]).toEqual([200, made.body.id])
})

test('SE3: an accepted invitation cannot be withdrawn, and its account stays', async () => {
  const { email } = newPerson()
  const { body } = await send('POST', '/v1/invitations', { email })
  const { token } = linkIn((await api.mailsTo(email))[0]!)
  const accepted = await accept(token)
  expect(accepted.status).toBe(201)
  const refused = await send('DELETE', `/v1/invitations/${body.id}`)
  expect([refused.status, refused.body.code]).toEqual([409, 'invitation_ended'])
  const [row] = await api.sql('SELECT withdrawn_at, user_id FROM invitations WHERE id = ?', [
    body.id as string,
  ])
  expect(row).toEqual({ withdrawn_at: null, user_id: accepted.body.id })
})

test('RS2: a resent invitation is valid for seven days from then on', async () => {
  const { email } = newPerson()
  const { body } = await send('POST', '/v1/invitations', { email })
  const sixDaysAgo = 'expires_at = expires_at - ?1, created_at = created_at - ?1'
  for (const [table, which] of [
    ['invitations', 'id'],
    ['one_time_tokens', 'subject_id'],
  ]) {
    await api.sql(`UPDATE ${table} SET ${sixDaysAgo} WHERE ${which} = ?2`, [6 * DAY_MS, body.id as string])
  }
  const again = await send('POST', `/v1/invitations/${body.id}/resend`)
  expect(again.status).toBe(200)
  const lifeMs = Date.parse(again.body.expires_at as string) - Date.now()
  expect(lifeMs).toBeGreaterThan(7 * DAY_MS - 60_000)
  expect(lifeMs).toBeLessThanOrEqual(7 * DAY_MS)
  const [token] = await api.sql(
    'SELECT max(expires_at) AS expires_at FROM one_time_tokens WHERE subject_id = ? AND spent_at IS NULL',
    [body.id as string],
  )
  // By the database's clock and by the Worker's.
  expect(Math.abs(Number(token!.expires_at) - Date.parse(again.body.expires_at as string))).toBeLessThan(
    5_000,
  )
})

test('RS2, Fault 17: no mail is sent after its link has expired', async () => {
  const startedAt = Date.now()
  const ada = await api.quickActor({ email_verified_at: 1 })
  await send('POST', '/v1/invitations', { email: newPerson().email })
  await send('POST', '/v1/users', newPerson())
  await api.send('POST', '/v1/auth/forgot_password', { body: { email: ada.email } })
  const change = { new_email: newPerson().email, current_password: ada.password }
  await api.send('POST', '/v1/auth/change_email', { token: ada.token, body: change })
  const mails = await api.sql(
    `SELECT kind, outbox.expires_at <= one_time_tokens.expires_at AS dies_in_time
      FROM outbox JOIN one_time_tokens ON one_time_tokens.id = token_id WHERE outbox.created_at >= ?`,
    [startedAt],
  )
  expect(mails.length).toBeGreaterThanOrEqual(5)
  expect(mails.filter(({ dies_in_time }) => !dies_in_time)).toEqual([])
})

test('HX5: an address typed by somebody who manages is not verified', async () => {
  const ada = await api.person({ email_verified_at: 1 })
  const { email } = newPerson()
  const changed = await send('PATCH', `/v1/users/${ada.id}`, { email })
  expect([changed.status, changed.body.email_verified]).toEqual([200, false])
  const made = await send('POST', '/v1/users', newPerson())
  expect(made.body.email_verified).toBe(false)
})

test('LE4: an address in an international domain can log in however it is spelled', async () => {
  const local = crypto.randomUUID()
  const ada = await api.person({ email: `${local}@bücher.example` })
  for (const domain of [
    'bücher.example',
    'xn--bcher-kva.example',
    'BÜCHER.example',
    'bu\u0308cher.example',
  ]) {
    await api.logIn({ email: `${local}@${domain}`, password: ada.password })
  }
})
