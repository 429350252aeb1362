import { describe, expect, test } from 'vitest'
import { linkIn, PASSWORD } from '../support/api.ts'
import {
  comeFrom,
  comingFrom,
  identitiesOf,
  isSignedIn,
  newJar,
  openWithProviders,
} from '../support/identities.ts'

const api = openWithProviders()
const newAddress = () => `${crypto.randomUUID()}@people.test`

async function connected(given: object = {}) {
  const ada = await api.person({ email_verified_at: 1, ...given })
  const sub = crypto.randomUUID()
  await api.sql(
    "INSERT INTO identities (id, provider, subject, user_id, created_at) VALUES (?, 'corp', ?, ?, 1)",
    [crypto.randomUUID(), sub, ada.id],
  )
  return { ...ada, sub }
}

/** A thief connects their own account at a provider, with the session that they have. */
async function connectsOwn(token: string) {
  const begun = await api.send<{ location: string }>('POST', '/v1/auth/identities/any', { token })
  const { pathname, search } = new URL(begun.body.location)
  const jar = newJar(api)
  const page = await jar.open(pathname + search)
  const place = /href="(\/signin\/with\/[^"]+)"/.exec(page.text)![1]!.replaceAll('&amp;', '&')
  const { back } = comingFrom('any', (await jar.open(place)).to!)
  const sub = crypto.randomUUID()
  expect((await jar.open(back({ claims: { sub } }))).status).toBe(200)
  return sub
}
const signsIn = async (provider: string, sub: string) => {
  const jar = newJar(api)
  const { status, text } = await comeFrom(jar, provider, { sub })
  return { status, text, isIn: isSignedIn(jar) }
}
const providersOf = async (id: string) => (await identitiesOf(api, id)).map(({ provider }) => provider).sort()

describe('DL1: an account that is deleted, and may be restored', () => {
  test('keeps its providers: they show that it was deleted, and sign in again once it is restored', async () => {
    const ada = await connected({ password_hash: null })
    const admin = await api.quickActor({ role: 'admin' })
    expect((await api.send('DELETE', `/v1/users/${ada.id}`, { token: admin.token })).status).toBe(204)
    const deleted = await signsIn('corp', ada.sub)
    expect([deleted.status, deleted.isIn, deleted.text.includes('This account was deleted')]).toEqual([
      403,
      false,
      true,
    ])
    const restored = await api.send('POST', `/v1/users/${ada.id}/restore`, { token: admin.token })
    expect(restored.status).toBe(200)
    expect(await signsIn('corp', ada.sub)).toMatchObject({ status: 303, isIn: true })
  })

  test('loses them when it is erased: whoever comes then is a new person', async () => {
    const ada = await connected()
    const admin = await api.quickActor({ role: 'admin' })
    await api.send('DELETE', `/v1/users/${ada.id}`, { token: admin.token })
    expect((await api.send('DELETE', `/v1/users/${ada.id}?hard=true`, { token: admin.token })).status).toBe(
      204,
    )
    expect(await identitiesOf(api, ada.id)).toEqual([])
    const jar = newJar(api)
    const email = `${crypto.randomUUID()}@fjord.test`
    const back = await comeFrom(jar, 'corp', { sub: ada.sub, email, email_verified: true })
    expect(back.to).toBe('/signin/with/corp/join')
  })
})

describe('SE2: what a thief has connected', () => {
  test('stays after a reset, as a passkey does, and is removed with the link in its notice', async () => {
    const ada = await connected()
    const thief = await connectsOwn((await api.signIn(ada)).token)
    const notice = linkIn((await api.mailsTo(ada.email))[0]!).token
    await api.send('POST', '/v1/auth/forgot_password', { body: { email: ada.email } })
    const { token } = linkIn((await api.mailsTo(ada.email))[0]!)
    const body = { token, new_password: 'ten orange otters swim' }
    expect((await api.send('POST', '/v1/auth/reset_password', { body })).status).toBe(204)
    expect(await signsIn('any', thief)).toMatchObject({ isIn: true })
    const disowned = await api.send('POST', '/v1/auth/disown_factor', { body: { token: notice } })
    expect([disowned.status, disowned.body]).toEqual([200, { factor: 'removed' }])
    expect(await signsIn('any', thief)).toMatchObject({ isIn: false })
    expect(await providersOf(ada.id)).toEqual(['corp'])
    const open = await api.sql('SELECT id FROM sessions WHERE user_id = ? AND revoked_at IS NULL', [ada.id])
    expect(open).toEqual([])
  })

  test('is removed by undoing a change of address, if it was added since; what was there before stays', async () => {
    const ada = await connected()
    const { access_token: token } = await api.logIn(ada)
    const moved = newAddress()
    const change = { new_email: moved, current_password: PASSWORD }
    expect((await api.send('POST', '/v1/auth/change_email', { token, body: change })).status).toBe(202)
    const undo = linkIn((await api.mailsTo(ada.email))[0]!).token
    const confirm = { token: linkIn((await api.mailsTo(moved))[0]!).token }
    expect((await api.send('POST', '/v1/auth/confirm_email_change', { token, body: confirm })).status).toBe(
      204,
    )
    const thief = await connectsOwn((await api.signIn(ada)).token)
    expect(await providersOf(ada.id)).toEqual(['any', 'corp'])
    expect((await api.send('POST', '/v1/auth/undo_email_change', { body: { token: undo } })).status).toBe(204)
    expect(await providersOf(ada.id)).toEqual(['corp'])
    expect(await signsIn('any', thief)).toMatchObject({ isIn: false })
    expect(await signsIn('corp', ada.sub)).toMatchObject({ isIn: true })
  })
})
