import { decodeBase32IgnorePadding } from '@oslojs/encoding'
import { describe, expect, test } from 'vitest'
import { type Api, linkIn } from '../support/api.ts'
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
import { codeIn } from '../support/mails.ts'
import type { Say } from '../support/provider.ts'

const api = openWithProviders()
const newAddress = (domain = 'fjord.test') => `${crypto.randomUUID()}@${domain}`
type Begun = { id: string; token: string }
const seconds = () => Math.floor(Date.now() / 1000)

describe('OA3: somebody who reauthenticates with a provider', () => {
  /** Somebody who can only sign in with the provider, and their browser. */
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
      Number(
        (await api.sql('SELECT proved_at FROM sessions WHERE id = ?', [String(session!.id)]))[0]!.proved_at,
      ) > 0
    const again = async (more: Say) => {
      const form = await jar.tokenOf('/account')
      const { to } = await jar.open(`/signin/with/${provider}?${new URLSearchParams({ again: form })}`)
      return jar.open(comingFrom(provider, to!).back(more))
    }
    return { jar, said, isProved, again }
  }

  test('must just have been authenticated there, as the provider says', async () => {
    const sub = crypto.randomUUID()
    const { isProved, again } = await joined('corp', (email) => ({
      claims: { sub, email, email_verified: true },
    }))
    for (const said of [{}, { auth_time: seconds() - 300 }])
      expect([(await again({ claims: { sub, ...said } })).status, await isProved()]).toEqual([502, false])
    const proved = await again({ claims: { sub, auth_time: seconds() } })
    expect([proved.status, await isProved()]).toEqual([303, true])
  })

  test('finds what they typed on the page from which they came', async () => {
    const sub = crypto.randomUUID()
    const { jar } = await joined('corp', (email) => ({ claims: { sub, email, email_verified: true } }))
    const asked = '/signin/again?to=/account/apps/keys/new&carried=sealed'
    const [, href] = /href="(\/signin\/with\/corp\?[^"]+)"/.exec((await jar.open(asked)).text)!
    const { to } = await jar.open(href!.replaceAll('&amp;', '&'))
    const proved = await jar.open(comingFrom('corp', to!).back({ claims: { sub, auth_time: seconds() } }))
    expect([proved.status, proved.to]).toEqual([303, '/account/apps/keys/new?carried=sealed'])
    // More than fits in a cookie is left out.
    const { text } = await jar.open(`${asked}${'d'.repeat(2000)}`)
    expect(text).toMatch(/href="\/signin\/with\/corp\?again=[^"]+&amp;to=%2Faccount%2Fapps%2Fkeys%2Fnew"/)
  })

  test('is not offered a mailed code where no mail is configured, only the provider', async () => {
    const silent = openWithProviders({ MAIL_FROM: undefined, RESEND_API_KEY: undefined })
    const { jar } = await joined('corp', (email) => ({
      claims: { sub: crypto.randomUUID(), email, email_verified: true },
    }))
    const browser = newJar(silent)
    for (const [name, value] of jar.jar) browser.jar.set(name, value)
    for (const [{ text }, takesMail] of [
      [await jar.open('/signin/again'), true],
      [await browser.open('/signin/again'), false],
    ] as const) {
      expect([text.includes('/signin/again/mail'), text.includes('/signin/with/corp?')]).toEqual([
        takesMail,
        true,
      ])
      expect(text).not.toContain('No mail is set up here.')
    }
  })

  test('cannot use GitHub, which does not authenticate again', async () => {
    const user = { id: Math.floor(Math.random() * 1e9) + 1, login: 'ada', name: 'Ada' }
    const { said, isProved, again } = await joined('github', (email) => ({
      user,
      emails: [{ email, verified: true, primary: true }],
    }))
    expect([(await again(said)).status, await isProved()]).toEqual([502, false])
  })
})

test('OA3: a provider that says it authenticated somebody long ago does not give them a recent login', async () => {
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
  // A provider that does not say when may have authenticated them long ago.
  expect(await makesKey({})).toEqual(refused)
  expect(await makesKey({ auth_time: seconds() })).toEqual([201, undefined])
  // A time in the future, from a clock that is ahead, counts as now.
  expect(await makesKey({ auth_time: seconds() + 86_400 })).toEqual([201, undefined])
})

describe('OA3: somebody whose provider does not say when it authenticated them', () => {
  const recent = async (jar: ReturnType<typeof newJar>) =>
    (await jar.ask('POST', '/v1/api_keys', { name: 'k', permissions: [], expires_at: null })).status

  test('is asked for a mailed code if they have nothing else, and not for what cannot work', async () => {
    const email = newAddress()
    const user = { id: Math.floor(Math.random() * 1e9) + 1, login: 'ada', name: 'Ada' }
    const jar = newJar(api)
    const { back } = await goTo(jar, 'github')
    await jar.open(back({ user, emails: [{ email, verified: true, primary: true }] }))
    expect((await joinAs(jar, 'github')).to).toBe('/account')
    expect(await recent(jar)).toBe(403)
    const page = await jar.open('/signin/again?to=/account/security')
    expect(page.text).not.toContain('/signin/with/github')
    const asked = await jar.submit('/signin/again', '/signin/again/mail', { to: '/account/security' })
    const request_token = /name="request_token" value="([^"]+)"/.exec(asked.text)![1]!
    const code = codeIn((await api.mailsTo(email))[0]!)
    const proved = await jar.submit('/signin/again', '/signin/again', {
      to: '/account/security',
      request_token,
      mail_code: code,
    })
    expect([proved.status, proved.to, await recent(jar)]).toEqual([303, '/account/security', 201])
  })

  test('has a recent login by the second factor that was asked for', async () => {
    const { addTotp } = await import('../support/factors.ts')
    const ada = await api.person({ email_verified_at: 1 })
    const { seed } = await addTotp(api, ada)
    const sub = crypto.randomUUID()
    await api.sql(
      "INSERT INTO identities (id, provider, subject, user_id, created_at) VALUES (?, 'corp', ?, ?, 1)",
      [crypto.randomUUID(), sub, ada.id],
    )
    const jar = newJar(api)
    expect((await comeFrom(jar, 'corp', { sub })).to).toBe('/signin/factor')
    await jar.submit('/signin/factor', '/signin/factor', { code: codeOf(seed) })
    expect([isSignedIn(jar), await recent(jar)]).toEqual([true, 201])
  })

  test('does not get in by the second factor once that provider was disconnected, even if it is connected again', async () => {
    const { addTotp } = await import('../support/factors.ts')
    const ada = await api.person({ email_verified_at: 1 })
    const { seed } = await addTotp(api, ada)
    const sub = crypto.randomUUID()
    const connect = async () => {
      const id = crypto.randomUUID()
      await api.sql(
        "INSERT INTO identities (id, provider, subject, user_id, created_at) VALUES (?, 'corp', ?, ?, 1)",
        [id, sub, ada.id],
      )
      return id
    }
    const first = await connect()
    const jar = newJar(api)
    expect((await comeFrom(jar, 'corp', { sub })).to).toBe('/signin/factor')
    const { token } = await api.signIn(ada)
    expect((await api.send('DELETE', `/v1/auth/identities/${first}`, { token })).status).toBe(204)
    await connect()
    const before = await api.sql('SELECT id FROM sessions WHERE user_id = ?', [ada.id])
    const refused = await jar.submit('/signin/factor', '/signin/factor', { code: codeOf(seed) })
    expect([refused.to, isSignedIn(jar)]).toEqual(['/signin?done=spent', false])
    expect(await api.sql('SELECT id FROM sessions WHERE user_id = ?', [ada.id])).toEqual(before)
    // The code was not used up.
    expect((await comeFrom(jar, 'corp', { sub })).to).toBe('/signin/factor')
    await jar.submit('/signin/factor', '/signin/factor', { code: codeOf(seed) })
    expect(isSignedIn(jar)).toBe(true)
  })

  test('and each kind of provider is asked for the time in its own way', async () => {
    const asked = async (provider: string) => (await goTo(newJar(api), provider)).asked
    expect((await asked('corp')).get('max_age')).toBe('31622400')
    expect(JSON.parse((await asked('google')).get('claims')!)).toEqual({
      id_token: { auth_time: { essential: true } },
    })
    expect((await asked('google')).get('max_age')).toBeNull()
  })
})

describe('DL3: a sign-in that began before an account ended', () => {
  test('does not bring it back under its old id once it is erased', async () => {
    const [email, sub] = [newAddress(), crypto.randomUUID()]
    const jar = newJar(api)
    await comeFrom(jar, 'corp', { sub, email, email_verified: true })
    const token = await jar.tokenOf('/signin/with/corp/join')
    const kept = new Map(jar.jar)
    await joinAs(jar, 'corp')
    const [ada] = await api.sql('SELECT id FROM users WHERE email = ?', [email])
    const admin = await api.quickActor({ role: 'admin' })
    await api.send('DELETE', `/v1/users/${ada!.id}`, { token: admin.token })
    const erased = await api.send('DELETE', `/v1/users/${ada!.id}?hard=true`, { token: admin.token })
    expect(erased.status).toBe(204)
    for (const [name, value] of kept) jar.jar.set(name, value)
    const late = await jar.post('/signin/with/corp/join', { form_token: token, name: 'Ada' })
    expect([late.status, await api.sql('SELECT id FROM users WHERE email = ?', [email])]).toEqual([400, []])
    expect(await identitiesOf(api, String(ada!.id))).toEqual([])
    // Somebody who starts again is a new person.
    await comeFrom(jar, 'corp', { sub, email, email_verified: true })
    await joinAs(jar, 'corp')
    const [again] = await api.sql('SELECT id FROM users WHERE email = ?', [email])
    expect(again!.id).not.toBe(ada!.id)
  })

  test.each([
    ['signed out', (api: Api, { token }: Begun) => api.send('POST', '/v1/auth/logout', { token })],
    ['erased', (api: Api, { id }: Begun) => api.sql('DELETE FROM users WHERE id = ?', [id])],
    [
      'disabled',
      (api: Api, { id }: Begun) => api.sql("UPDATE users SET status = 'disabled' WHERE id = ?", [id]),
    ],
  ])('connects nothing with a ticket of somebody who was %s since', async (_, ends) => {
    const ada = await api.person({ email_verified_at: 1 })
    const { token } = await api.signIn(ada)
    const begun = await api.send<{ location: string }>('POST', '/v1/auth/identities/corp', { token })
    const { pathname, search } = new URL(begun.body.location)
    const jar = newJar(api)
    const page = await jar.open(pathname + search)
    const place = /href="(\/signin\/with\/[^"]+)"/.exec(page.text)![1]!.replaceAll('&amp;', '&')
    const { back } = comingFrom('corp', (await jar.open(place)).to!)
    await ends(api, { ...ada, token })
    const sub = crypto.randomUUID()
    expect((await jar.open(back({ claims: { sub } }))).status).toBe(400)
    expect(await api.sql('SELECT * FROM identities WHERE subject = ?', [sub])).toEqual([])
    // One that was not opened yet does not either, and it names nobody.
    const late = await newJar(api).open(pathname + search)
    expect(late.text).not.toContain(ada.email)
  })
})

test('OA3: if codes are off, one still signs in for the address that the provider gave, and no other', async () => {
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

test('OA3: connecting a provider, started on a page, only continues in the same browser', async () => {
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

test('MF6: after a provider was disowned, an older device can still prove what else was added', async () => {
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
