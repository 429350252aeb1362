import { beforeAll, expect, test } from 'vitest'
import { type Api, openApi } from './support/api.ts'
import { newPerson } from './support/requests.ts'
import { freshUpstreams } from './support/upstreams.ts'

/** Erasing somebody takes all that is theirs, by whatever it is found, and nothing of anybody else's. */

let api: Api
let admin: string
beforeAll(async () => {
  api = openApi((await freshUpstreams()).bindings)
  admin = (await api.quickActor({ role: 'admin' })).token
})

const invite = async (email: string) =>
  (await api.send('POST', '/v1/invitations', { token: admin, body: { email } })).body.id as string
const purge = ({ id }: { id: string }) => api.send('DELETE', `/v1/users/${id}?hard=true`, { token: admin })
const mailsTo = (address: string) => api.sql('SELECT kind FROM outbox WHERE recipient = ?', [address])

test('DL3: takes no invitation, mail, link or key of anybody else', async () => {
  const [ada, eve] = [
    await api.quickActor({ email_verified_at: 1 }),
    await api.person({ email_verified_at: 1 }),
  ]
  const { email } = newPerson()
  const invitation = await invite(email)
  const key = { 'idempotency-key': crypto.randomUUID() }
  await api.send('POST', '/v1/users', { token: admin, body: newPerson(), headers: key })
  await api.send('POST', '/v1/auth/forgot_password', { body: { email: eve.email } })
  await api.send('POST', '/v1/auth/forgot_password', { body: { email: ada.email } })
  expect((await purge(ada)).status).toBe(204)

  expect(await mailsTo(ada.email)).toEqual([])
  expect(await mailsTo(email)).toEqual([{ kind: 'invitation' }])
  expect(await mailsTo(eve.email)).toEqual([{ kind: 'reset_password' }])
  expect(await api.sql('SELECT email FROM invitations WHERE id = ?', [invitation])).toEqual([{ email }])
  for (const subject of [invitation, eve.id]) {
    expect(await api.sql('SELECT 1 AS n FROM one_time_tokens WHERE subject_id = ?', [subject])).toHaveLength(
      1,
    )
  }
  expect(
    await api.sql('SELECT 1 AS n FROM idempotency_keys WHERE key = ?', [key['idempotency-key']]),
  ).toHaveLength(1)
})

test('DL3: takes the mails that went to their address before it was an account', async () => {
  const { email } = newPerson()
  const invitation = await invite(email)
  await api.sql('UPDATE outbox SET user_id = NULL WHERE recipient = ?', [email])
  const ada = await api.person({ email })
  expect((await purge(ada)).status).toBe(204)
  expect(await mailsTo(email)).toEqual([])
  expect(await api.sql('SELECT id FROM invitations WHERE id = ?', [invitation])).toEqual([])
})
