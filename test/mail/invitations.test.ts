import { beforeAll, expect, test } from 'vitest'
import type { Invitation } from '../../src/invitations/schemas.ts'
import { type Actor, linkIn, openApi } from '../support/api.ts'

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
const accept = (body: object) => api.send('POST', '/v1/auth/accept_invitation', { body })
const linkFor = async (email: string) => linkIn((await api.mailsTo(email))[0]!)

test('Somebody is invited, accepts by the link of the mail, and logs in as what they were invited as', async () => {
  const email = newAddress()
  const invited = await invite(admin, { email, name: 'Grace', role: 'manager' })
  expect(invited.status).toBe(201)
  expect(invited.body).toMatchObject({ email, role: 'manager', status: 'pending', invited_by: admin.id })
  const accepted = await accept({ token: (await linkFor(email)).token, password: PASSWORD })
  expect(accepted.status).toBe(201)
  expect(accepted.body).toMatchObject({ email, name: 'Grace', role: 'manager', email_verified: true })
  await api.logIn({ email, password: PASSWORD })
  expect(await api.historyOf(accepted.body.id as string)).toEqual(['invitation.accepted', 'session.started'])
  const list = await api.send<{ data: Invitation[] }>('GET', '/v1/invitations?limit=1', {
    token: admin.token,
  })
  expect(list.body.data[0]).toMatchObject({ status: 'accepted', user_id: accepted.body.id })
})

test('SE3, RS1: of six who accept at once one succeeds, and afterwards nobody does', async () => {
  const email = newAddress()
  await invite(manager, { email })
  const { token, code } = await linkFor(email)
  const answers = await Promise.all(Array.from({ length: 6 }, () => accept({ token, password: PASSWORD })))
  expect(answers.filter(({ status }) => status === 201)).toHaveLength(1)
  expect((await accept({ token, password: PASSWORD })).body.code).toBe('invalid_link')
  expect((await accept({ email, code, password: PASSWORD })).body.code).toBe('invalid_link')
})

test('AZ5: nobody invites to their own rank or above, nor sends or withdraws such an invitation', async () => {
  for (const role of ['manager', 'admin']) {
    expect((await invite(manager, { email: newAddress(), role })).body.code).toBe('outranked')
  }
  const { body } = await invite(admin, { email: newAddress(), role: 'admin' })
  const by = { token: manager.token }
  expect((await api.send('POST', `/v1/invitations/${body.id}/resend`, by)).body.code).toBe('outranked')
  expect((await api.send('DELETE', `/v1/invitations/${body.id}`, by)).body.code).toBe('outranked')
})

test('AZ5: an invitation falls with its inviter', async () => {
  for (const fall of ['disabled', 'demoted'] as const) {
    const inviter = await api.actor({ role: 'manager' })
    const email = newAddress()
    await invite(inviter, { email })
    const body = fall === 'disabled' ? { reason: 'left' } : { role: 'user' }
    const [method, path] = fall === 'disabled' ? ['POST', '/disable'] : ['PATCH', '']
    await api.send(method!, `/v1/users/${inviter.id}${path}`, { token: admin.token, body })
    const { token } = await linkFor(email)
    expect((await accept({ token, password: PASSWORD })).body.code).toBe('invalid_link')
  }
})

test('Sent again, an invitation has a new link; withdrawn, it has none; both again and again', async () => {
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

test('Who has an account is not invited, and a second invitation replaces the first', async () => {
  const ada = await api.person()
  expect((await invite(admin, { email: ada.email.toUpperCase() })).body.code).toBe('email_taken')
  const email = newAddress()
  await invite(admin, { email })
  const first = await linkFor(email)
  await invite(admin, { email })
  expect((await accept({ token: first.token, password: PASSWORD })).body.code).toBe('invalid_link')
  expect((await accept({ token: (await linkFor(email)).token, password: PASSWORD })).status).toBe(201)
})

test('Who signed up meanwhile keeps their account', async () => {
  const email = newAddress()
  await invite(admin, { email })
  const { token } = await linkFor(email)
  await api.person({ email })
  const answer = await accept({ token, password: PASSWORD })
  expect([answer.status, answer.body.code]).toEqual([409, 'email_taken'])
})

test('Invited twice with one Idempotency-Key, somebody is invited once', async () => {
  const email = newAddress()
  const headers = { 'idempotency-key': crypto.randomUUID() }
  const answers = await Promise.all(Array.from({ length: 10 }, () => invite(admin, { email }, headers)))
  expect(new Set(answers.map(({ status, text }) => `${status} ${text}`)).size).toBe(1)
  expect(await api.mailsTo(email)).toHaveLength(1)
  expect((await invite(admin, { email, name: 'Other' }, headers)).body.code).toBe('idempotency_key_reused')
})
