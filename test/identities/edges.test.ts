import { decodeBase32IgnorePadding } from '@oslojs/encoding'
import { describe, expect, test } from 'vitest'
import { linkIn } from '../support/api.ts'
import { codeOf, mailedCode } from '../support/factors.ts'
import {
  comeFrom,
  comingFrom,
  goTo,
  identitiesOf,
  isSignedIn,
  joinAs,
  newJar,
  openWithProviders,
} from '../support/identities.ts'
import type { Say } from '../support/provider.ts'

const api = openWithProviders()
const newAddress = (domain = 'fjord.test') => `${crypto.randomUUID()}@${domain}`
const seconds = () => Math.floor(Date.now() / 1000)

describe('OA3: who proves again who they are by a provider', () => {
  /** Somebody who has nothing but the provider, and their browser. */
  async function joined(provider: string, say: (email: string) => Say) {
    const email = newAddress()
    const jar = newJar(api)
    const said = say(email)
    const { back } = await goTo(jar, provider)
    expect((await jar.open(back(said))).to).toBe(`/signin/with/${provider}/join`)
    expect((await joinAs(jar, provider)).status).toBe(303)
    const [session] = await api.sql(
      'SELECT sessions.id FROM sessions JOIN users ON users.id = user_id WHERE email = ?',
      [email],
    )
    const isProved = async () =>
      (await api.sql('SELECT proved_at FROM sessions WHERE id = ?', [String(session!.id)]))[0]!.proved_at !==
      null
    const again = async (more: Say) => {
      const form = await jar.tokenOf('/account')
      const { to } = await jar.open(`/signin/with/${provider}?${new URLSearchParams({ again: form })}`)
      return jar.open(comingFrom(provider, to!).back(more))
    }
    return { said, isProved, again }
  }

  test('has been asked by it just now, as it says itself', async () => {
    const sub = crypto.randomUUID()
    const { isProved, again } = await joined('corp', (email) => ({
      claims: { sub, email, email_verified: true },
    }))
    for (const said of [{}, { auth_time: seconds() - 300 }])
      expect([(await again({ claims: { sub, ...said } })).status, await isProved()]).toEqual([502, false])
    const proved = await again({ claims: { sub, auth_time: seconds() } })
    expect([proved.status, await isProved()]).toEqual([303, true])
  })

  test('is not by GitHub, which asks nobody anew', async () => {
    const user = { id: Math.floor(Math.random() * 1e9) + 1, login: 'ada', name: 'Ada' }
    const { said, isProved, again } = await joined('github', (email) => ({
      user,
      emails: [{ email, verified: true, primary: true }],
    }))
    expect([(await again(said)).status, await isProved()]).toEqual([502, false])
  })
})

test('OA3: who signs in by a provider that asked them long ago, as it says, has no recent login by that', async () => {
  const [email, sub] = [newAddress(), crypto.randomUUID()]
  const first = newJar(api)
  await comeFrom(first, 'corp', { sub, email, email_verified: true })
  await joinAs(first, 'corp')
  const makesKey = async (claims: Record<string, unknown>) => {
    const jar = newJar(api)
    expect((await comeFrom(jar, 'corp', { sub, ...claims })).to).toBe('/account')
    const { status, body } = await jar.ask('POST', '/v1/api_keys', {
      name: 'k',
      permissions: [],
      expires_at: null,
    })
    return [status, body.code]
  }
  const refused = [403, 'reauthentication_required']
  expect(await makesKey({ auth_time: seconds() - 5 * 86_400 })).toEqual(refused)
  expect(await makesKey({ auth_time: 0 })).toEqual(refused)
  expect(await makesKey({ auth_time: 1.5 })).toEqual(refused)
  expect(await makesKey({ auth_time: seconds() })).toEqual([201, undefined])
  // Of a clock that is ahead, it was now.
  expect(await makesKey({ auth_time: seconds() + 86_400 })).toEqual([201, undefined])
})

test('OA3: where no code signs in else, it does for the address that the provider said, and for no other', async () => {
  const [ada, eve] = [
    await api.person({ email: newAddress('elsewhere.test'), email_verified_at: 1 }),
    newAddress('elsewhere.test'),
  ]
  const jar = newJar(api)
  const back = await comeFrom(jar, 'corp', { sub: crypto.randomUUID(), email: eve })
  expect((await jar.submit(back.to!, '/signin/code', { email: ada.email })).status).toBe(404)
  expect(await api.mailsTo(ada.email)).toEqual([])
  expect((await jar.submit(back.to!, '/signin/code', { email: eve })).status).toBe(200)
  expect(await api.mailsTo(eve)).toHaveLength(1)
})

test('OA3: the way that a page begins to connect a provider goes on in its own browser alone', async () => {
  const ada = await api.person({ email_verified_at: 1 })
  const jar = newJar(api)
  await jar.signIn(ada.email)
  const begun = await jar.submit('/account/security', '/account/security/identities/corp')
  const place = /href="(\/signin\/with\/corp\?link=[^"]+)"/.exec(begun.text)![1]!.replaceAll('&amp;', '&')
  const elsewhere = newJar(api)
  expect((await elsewhere.open(place)).status).toBe(400)
  const sure = await elsewhere.tokenOf('/signin')
  expect((await elsewhere.open(`${place}&${new URLSearchParams({ sure })}`)).status).toBe(400)
  const { to } = await jar.open(place)
  const { back } = comingFrom('corp', to!)
  expect((await jar.open(back({ claims: { sub: crypto.randomUUID() } }))).status).toBe(303)
  expect([await identitiesOf(api, ada.id), isSignedIn(elsewhere)]).toMatchObject([
    [{ provider: 'corp' }],
    false,
  ])
})

test('MF6: once a provider was disowned, a device of before still speaks for what else was added', async () => {
  const ada = await api.person({ email_verified_at: 1, last_login_at: 1 })
  const post = (path: string, body: object, token?: string) => api.send('POST', path, { body, token })
  const { device_token } = await api.logIn(ada)
  await new Promise((resolve) => setTimeout(resolve, 1100))
  const { access_token: token } = await api.logIn(ada)
  const { body: begun } = await post('/v1/auth/identities/corp', {}, token)
  const jar = newJar(api)
  const asked = await jar.open(String(begun.location).slice(api.config().ISSUER.length))
  const place = /href="(\/signin\/with\/corp\?[^"]+sure=[^"]+)"/
    .exec(asked.text)![1]!
    .replaceAll('&amp;', '&')
  const { to } = await jar.open(place)
  await jar.open(comingFrom('corp', to!).back({ claims: { sub: crypto.randomUUID() } }))
  const ofProvider = linkIn((await api.mailsTo(ada.email))[0]!).token
  const { body: app } = await post('/v1/auth/factors/totp', {}, token)
  const proof = await mailedCode(api, { email: ada.email, token })
  const code = codeOf(decodeBase32IgnorePadding(String(app.secret)))
  expect((await post('/v1/auth/factors/totp/confirm', { code, ...proof }, token)).status).toBe(200)
  const ofApp = linkIn((await api.mailsTo(ada.email))[0]!).token
  const disown = (link: string) => post('/v1/auth/disown_factor', { token: link, device_token })
  expect((await disown(ofProvider)).body).toEqual({ factor: 'removed' })
  expect((await disown(ofApp)).body).toEqual({ factor: 'removed' })
  expect(await identitiesOf(api, ada.id)).toEqual([])
})
