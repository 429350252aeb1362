import { beforeAll, describe, expect, test } from 'vitest'
import type { Invitation } from '../../src/invitations/schemas.ts'
import { type Actor, linkIn, openApi } from '../support/api.ts'
import { declaredCodes } from '../support/declared.ts'
import { limiter } from '../support/limiter.ts'
import { addApp } from '../support/oauth.ts'

const api = openApi()
const PASSWORD = 'nine green bears run'
let admin: Actor
let manager: Actor

beforeAll(async () => {
  admin = await api.actor({ role: 'admin' })
  manager = await api.actor({ role: 'manager' })
})

const newAddress = () => `${crypto.randomUUID()}@people.test`
const invite = (by: Actor, body: object, headers = {}) =>
  api.send<Invitation & { code: string }>('POST', '/v1/invitations', { token: by.token, body, headers })
const accept = (body: object, by = api) => by.send('POST', '/v1/auth/accept_invitation', { body })
/** Refuses whatever needs a hash. */
const unhashing = openApi({ ...api.bindings, RATE_LIMIT_HASHES: limiter(0) })
const linkFor = async (email: string) => linkIn((await api.mailsTo(email))[0]!)

test('Somebody is invited, accepts by the link of the mail, and logs in as what they were invited as', async () => {
  const email = newAddress()
  const invited = await invite(admin, { email, name: 'Grace', role: 'manager' })
  expect(invited.status).toBe(201)
  expect(invited.body).toMatchObject({ email, role: 'manager', status: 'pending', invited_by: admin.id })
  const accepted = await accept({ token: (await linkFor(email)).token, password: PASSWORD })
  expect(accepted.status).toBe(201)
  expect(accepted.body).toMatchObject({ email, name: 'Grace', role: 'manager', email_verified: true })
  const times = 'SELECT email_verified_at - created_at AS apart FROM users WHERE email = ?'
  expect(await api.sql(times, [email])).toEqual([{ apart: 0 }])
  await api.logIn({ email, password: PASSWORD })
  expect(await api.historyOf(accepted.body.id as string)).toEqual(['invitation.accepted', 'session.started'])
  const list = await api.send<{ data: Invitation[] }>('GET', '/v1/invitations?limit=1', {
    token: admin.token,
  })
  expect(list.body.data[0]).toMatchObject({ status: 'accepted', user_id: accepted.body.id })
})

test('SE3, RS1: of six who accept at once, one succeeds, and nobody can afterwards', async () => {
  const email = newAddress()
  await invite(manager, { email })
  const { token, code } = await linkFor(email)
  expect(code).toBe('')
  const answers = await Promise.all(Array.from({ length: 6 }, () => accept({ token, password: PASSWORD })))
  expect(answers.filter(({ status }) => status === 201)).toHaveLength(1)
  expect((await accept({ token, password: PASSWORD })).body.code).toBe('invalid_link')
})

test('AZ5: nobody can invite to their own rank or above, nor resend or withdraw such an invitation', async () => {
  for (const role of ['manager', 'admin']) {
    expect((await invite(manager, { email: newAddress(), role })).body.code).toBe('outranked')
  }
  const { body } = await invite(admin, { email: newAddress(), role: 'admin' })
  const by = { token: manager.token }
  expect((await api.send('POST', `/v1/invitations/${body.id}/resend`, by)).body.code).toBe('outranked')
  expect((await api.send('DELETE', `/v1/invitations/${body.id}`, by)).body.code).toBe('outranked')
})

test('AZ5: an invitation becomes void with its inviter', async () => {
  for (const fall of ['disabled', 'demoted'] as const) {
    const inviter = await api.actor({ role: 'manager' })
    const email = newAddress()
    await invite(inviter, { email })
    const body = fall === 'disabled' ? { reason: 'left' } : { role: 'user' }
    const [method, path] = fall === 'disabled' ? ['POST', '/disable'] : ['PATCH', '']
    await api.send(method!, `/v1/users/${inviter.id}${path}`, { token: admin.token, body })
    const { token } = await linkFor(email)
    expect((await accept({ token, password: PASSWORD })).body.code).toBe('invalid_link')
    expect((await accept({ token, password: PASSWORD }, unhashing)).body.code).toBe('invalid_link')
  }
})

test('AZ5: a service’s invitation is valid as long as its owner may invite', async () => {
  const owner = await api.actor({ role: 'admin' })
  const { client_id, client_secret } = await addApp(api, {
    by: owner.token,
    grants: ['client_credentials'],
    redirect_uris: [],
    scopes: ['users:create'],
  })
  const asked = await api.send<{ access_token: string }>('POST', '/oauth/token', {
    raw: new URLSearchParams({ grant_type: 'client_credentials' }),
    headers: { authorization: `Basic ${btoa(`${client_id}:${client_secret}`)}` },
  })
  const service = { token: asked.body.access_token }
  const change = (body: object) =>
    api.send('PATCH', `/v1/oauth_clients/${client_id}`, { token: admin.token, body })
  const listed = async () =>
    (await api.send<{ data: Invitation[] }>('GET', '/v1/invitations?limit=1', { token: admin.token })).body
      .data[0]!
  const [email, other] = [newAddress(), newAddress()]
  expect((await api.send('POST', '/v1/invitations', { ...service, body: { email } })).status).toBe(201)
  const { body } = await invite(admin, { email: other })
  expect((await api.send('POST', `/v1/invitations/${body.id}/resend`, service)).status).toBe(200)
  expect(await listed()).toMatchObject({ status: 'pending', invited_by: client_id })
  const acceptance = async (to: string) => accept({ token: (await linkFor(to)).token, password: PASSWORD })
  expect((await acceptance(other)).status).toBe(201)

  const { token } = await linkFor(email)
  await change({ scopes: ['users:read'] })
  expect((await accept({ token, password: PASSWORD })).body.code).toBe('invalid_link')
  await change({ scopes: ['users:create'] })
  await api.send('PATCH', `/v1/users/${owner.id}`, { token: admin.token, body: { role: 'manager' } })
  expect((await accept({ token, password: PASSWORD })).body.code).toBe('invalid_link')
  await change({ take_over: true })
  expect((await accept({ token, password: PASSWORD })).status).toBe(201)
})

test('A resent invitation has a new link, a withdrawn one has none, and both can be repeated', async () => {
  const email = newAddress()
  const { body } = await invite(manager, { email })
  const first = await linkFor(email)
  const by = { token: manager.token }
  expect((await api.send('POST', `/v1/invitations/${body.id}/resend`, by)).status).toBe(200)
  const second = await linkFor(email)
  expect((await accept({ token: first.token, password: PASSWORD })).body.code).toBe('invalid_link')
  for (const _ of [1, 2])
    expect((await api.send('DELETE', `/v1/invitations/${body.id}`, by)).status).toBe(204)
  expect((await accept({ token: second.token, password: PASSWORD })).body.code).toBe('invalid_link')
  const late = await api.send('POST', `/v1/invitations/${body.id}/resend`, by)
  expect([late.status, late.body.code]).toEqual([409, 'invitation_ended'])
  for (const path of [`/v1/invitations/${crypto.randomUUID()}`, '/v1/invitations/x']) {
    expect((await api.send('DELETE', path, by)).body.code).toBe('invitation_not_found')
  }
})

test('RS2: an invitation that has expired is pending for seven more days once it is resent, and its link works', async () => {
  const email = newAddress()
  const { body } = await invite(manager, { email })
  const { id } = body
  await api.sql('UPDATE invitations SET expires_at = ? WHERE id = ?', [Date.now() - 1, id])
  const by = { token: manager.token }
  const listed = async () => {
    const list = await api.send<{ data: Invitation[] }>('GET', '/v1/invitations?limit=100', by)
    return list.body.data.find((one) => one.id === id)!
  }
  expect((await listed()).status).toBe('expired')
  const resent = await api.send<Invitation>('POST', `/v1/invitations/${id}/resend`, by)
  const found = await listed()
  expect([resent.body, found.status]).toEqual([found, 'pending'])
  const daysLeft = (Date.parse(found.expires_at) - Date.now()) / 86_400_000
  expect(daysLeft).toBeGreaterThan(6.99)
  expect(daysLeft).toBeLessThanOrEqual(7)
  expect((await accept({ token: (await linkFor(email)).token, password: PASSWORD })).status).toBe(201)
})

test('Somebody with an account is not invited, and a second invitation replaces the first', async () => {
  const ada = await api.person({ email_verified_at: Date.now() })
  expect((await invite(admin, { email: ada.email.toUpperCase() })).body.code).toBe('email_taken')
  const email = newAddress()
  await invite(admin, { email })
  const first = await linkFor(email)
  await invite(admin, { email })
  expect((await accept({ token: first.token, password: PASSWORD })).body.code).toBe('invalid_link')
  expect((await accept({ token: (await linkFor(email)).token, password: PASSWORD })).status).toBe(201)
})

test('Somebody who signed up meanwhile keeps their account', async () => {
  const email = newAddress()
  await invite(admin, { email })
  const { token } = await linkFor(email)
  await api.person({ email, email_verified_at: Date.now() })
  for (const by of [api, unhashing]) {
    const answer = await accept({ token, password: PASSWORD }, by)
    expect([answer.status, answer.body.code]).toEqual([409, 'email_taken'])
  }
})

test('Invited twice with one Idempotency-Key, somebody is invited once', async () => {
  const email = newAddress()
  const headers = { 'idempotency-key': crypto.randomUUID() }
  const answers = await Promise.all(Array.from({ length: 10 }, () => invite(admin, { email }, headers)))
  expect(new Set(answers.map(({ status, text }) => `${status} ${text}`)).size).toBe(1)
  expect(await api.mailsTo(email)).toHaveLength(1)
  expect((await invite(admin, { email, name: 'Other' }, headers)).body.code).toBe('idempotency_key_reused')
})

const invitationOf = async (email: string) =>
  (await api.sql('SELECT * FROM invitations WHERE email_normalized = ? ORDER BY id DESC', [email]))[0]!
const endedWhy = async (id: unknown) => {
  const rows = await api.sql("SELECT details FROM user_activity_logs WHERE action = 'invitation.withdrawn'")
  const details = rows.map((row) => JSON.parse(row.details as string))
  return details.find(({ invitation_id }) => invitation_id === id)
}

test('HX5: somebody who signs up with an invited address without proving it gets nothing of the invitation', async () => {
  const email = newAddress()
  const { body } = await invite(admin, { email, name: 'Quetzal', role: 'manager' })
  const { token } = await linkFor(email)
  const signedUp = await api.send('POST', '/v1/auth/signup', {
    body: { email, password: PASSWORD, name: 'Eve' },
  })
  const eve = await api.signIn({ id: signedUp.body.id as string })
  expect(await invitationOf(email)).toMatchObject({ withdrawn_at: null, user_id: null })
  const exported = await api.send('GET', '/v1/users/me/export', { token: eve.token })
  expect(exported.text).not.toContain('Quetzal')
  expect(exported.text).not.toContain(body.id)

  const accepted = await accept({ token, password: PASSWORD })
  expect([accepted.status, accepted.body.role]).toEqual([201, 'manager'])
  expect((await api.send('GET', '/v1/users/me', { token: eve.token })).status).toBe(401)
  await api.logIn({ email, password: PASSWORD })
})

test('HX5: an account with an unproved address does not prevent an invitation to it', async () => {
  const eve = await api.person()
  expect((await invite(admin, { email: eve.email })).status).toBe(201)
})

test('LG2: somebody who proves an invited address needs no invitation, and the history says so', async () => {
  const email = newAddress()
  const { body } = await invite(admin, { email, role: 'manager' })
  await api.send('POST', '/v1/auth/signup', { body: { email, password: PASSWORD, name: 'Ada' } })
  await api.send('POST', '/v1/auth/resend_verification', { body: { email } })
  const { token } = linkIn((await api.mailsTo(email)).find(({ subject }) => subject.startsWith('Confirm'))!)
  const proof = { token, password: PASSWORD }
  expect((await api.send('POST', '/v1/auth/verify_email', { body: proof })).status).toBe(204)
  expect(await invitationOf(email)).toMatchObject({
    withdrawn_at: expect.any(Number),
    user_id: expect.any(String),
  })
  expect(await endedWhy(body.id)).toMatchObject({ role: 'manager', reason: 'has_account' })
})

test('AZ5: nobody can replace an invitation that they could not withdraw', async () => {
  const email = newAddress()
  const { body } = await invite(admin, { email, role: 'admin' })
  const refused = await invite(manager, { email })
  expect([refused.status, refused.body.code]).toEqual([403, 'outranked'])
  expect(await invitationOf(email)).toMatchObject({ id: body.id, withdrawn_at: null })
  const { token } = await linkFor(email)
  expect((await invite(admin, { email })).status).toBe(201)
  expect((await accept({ token, password: PASSWORD })).body.code).toBe('invalid_link')
  expect(await endedWhy(body.id)).toEqual({ invitation_id: body.id, role: 'admin', reason: 'replaced' })
})

test('SE1, HX2: resending an invitation to a role above user needs what inviting needs', async () => {
  const { body } = await invite(admin, { email: newAddress(), role: 'manager' })
  const stale = (await api.signIn(admin, Date.now() - 11 * 60_000)).token
  const path = `/v1/invitations/${body.id}`
  const refused = await api.send('POST', `${path}/resend`, { token: stale })
  expect([refused.status, refused.body.code]).toEqual([403, 'reauthentication_required'])
  expect((await api.send('POST', `${path}/resend`, { token: admin.token })).status).toBe(200)
  const user = await invite(admin, { email: newAddress() })
  expect((await api.send('POST', `/v1/invitations/${user.body.id}/resend`, { token: stale })).status).toBe(
    200,
  )
  await api.person({ email: user.body.email, email_verified_at: Date.now() })
  const taken = await api.send('POST', `/v1/invitations/${user.body.id}/resend`, { token: admin.token })
  expect([taken.status, taken.body.code]).toEqual([409, 'email_taken'])
  const declared = await declaredCodes(api, 'POST /v1/invitations/{id}/resend')
  expect(declared).toEqual(expect.arrayContaining(['reauthentication_required', 'email_taken']))
})

test('An invitation shows that it is void, and why, while its inviter may not invite', async () => {
  const inviter = await api.quickActor({ role: 'manager', email_verified_at: Date.now() })
  const headers = { 'idempotency-key': crypto.randomUUID() }
  const email = newAddress()
  const made = await api.send('POST', '/v1/invitations', { token: inviter.token, body: { email }, headers })
  const now = async () => {
    const list = await api.send<{ data: Invitation[] }>('GET', '/v1/invitations?limit=100', {
      token: admin.token,
    })
    const { status, void_reason } = list.body.data.find(({ id }) => id === made.body.id)!
    return [status, void_reason]
  }
  expect(await now()).toEqual(['pending', null])
  for (const [set, reason] of [
    ["status = 'disabled'", 'inviter_disabled'],
    ["status = 'active', role = 'user'", 'inviter_outranked'],
    ["role = 'manager', deleted_at = 1", 'inviter_gone'],
  ]) {
    await api.sql(`UPDATE users SET ${set} WHERE id = ?`, [inviter.id])
    expect(await now()).toEqual(['void', reason])
  }
  await api.sql('UPDATE users SET deleted_at = NULL WHERE id = ?', [inviter.id])
  expect(await now()).toEqual(['pending', null])
  await api.send('DELETE', `/v1/invitations/${made.body.id}`, { token: admin.token })
  const { token } = await api.signIn(inviter)
  const again = await api.send('POST', '/v1/invitations', { token, body: { email }, headers })
  expect([again.status, again.body]).toEqual([201, { ...made.body, status: 'withdrawn' }])
})

test('An accepted invitation cannot be withdrawn', async () => {
  const email = newAddress()
  const { body } = await invite(admin, { email })
  await accept({ token: (await linkFor(email)).token, password: PASSWORD })
  for (const [method, path] of [
    ['DELETE', ''],
    ['POST', '/resend'],
  ]) {
    const answer = await api.send(method!, `/v1/invitations/${body.id}${path}`, { token: admin.token })
    expect([answer.status, answer.body.code]).toEqual([409, 'invitation_ended'])
  }
  expect(await invitationOf(email)).toMatchObject({ withdrawn_at: null })
})

test('A withdrawn invitation has ended, even if somebody else has proved its address since', async () => {
  const email = newAddress()
  const { body } = await invite(admin, { email })
  await api.send('DELETE', `/v1/invitations/${body.id}`, { token: admin.token })
  await api.person({ email, email_verified_at: 1 })
  const before = await invitationOf(email)
  const answer = await api.send('POST', `/v1/invitations/${body.id}/resend`, { token: admin.token })
  expect([answer.status, answer.body.code]).toEqual([409, 'invitation_ended'])
  expect(await invitationOf(email)).toEqual(before)
})

describe('Somebody who gets an invited address, proved, needs no invitation to it:', () => {
  const ended = async (email: string, id: string, userId: string) => {
    expect(await invitationOf(email)).toMatchObject({ withdrawn_at: expect.any(Number), user_id: userId })
    expect(await endedWhy(id)).toMatchObject({ reason: 'has_account' })
  }

  test('by confirming a change to it', async () => {
    const ada = await api.actor({ email_verified_at: 1 })
    const email = newAddress()
    const { body } = await invite(admin, { email })
    const change = { new_email: email, current_password: ada.password }
    const asked = await api.send('POST', '/v1/auth/change_email', { token: ada.token, body: change })
    expect(asked.status, asked.text).toBe(202)
    const { token } = linkIn((await api.mailsTo(email)).find(({ subject }) => /new/i.test(subject))!)
    const done = await api.send('POST', '/v1/auth/confirm_email_change', {
      token: ada.token,
      body: { token },
    })
    expect(done.status, done.text).toBe(204)
    await ended(email, body.id, ada.id)
  })

  test('by being restored', async () => {
    const ada = await api.person({ email_verified_at: 1, deleted_at: Date.now() })
    const { body } = await invite(admin, { email: ada.email })
    const restored = await api.send('POST', `/v1/users/${ada.id}/restore`, { token: admin.token })
    expect(restored.status, restored.text).toBe(200)
    await ended(ada.email, body.id, ada.id)
  })
})

test.each(['/v1/invitations', '/v1/users'])(
  'A creation at %s that is repeated with its key after ten minutes gives the stored answer',
  async (path) => {
    const boss = await api.person({ role: 'admin' })
    const fresh = (await api.signIn(boss)).token
    const stale = (await api.signIn(boss, Date.now() - 11 * 60_000)).token
    const body = { email: newAddress(), role: 'manager', ...(path === '/v1/users' && { name: 'Ada' }) }
    const headers = { 'idempotency-key': crypto.randomUUID() }
    const made = await api.send('POST', path, { token: fresh, body, headers })
    const repeated = await api.send('POST', path, { token: stale, body, headers })
    expect([made.status, repeated.status, repeated.text]).toEqual([201, 201, made.text])
    const other = await api.send('POST', path, {
      token: stale,
      body: { ...body, email: newAddress() },
      headers: { 'idempotency-key': crypto.randomUUID() },
    })
    expect([other.status, other.body.code]).toEqual([403, 'reauthentication_required'])
  },
)
