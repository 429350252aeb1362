import { describe, expect, test } from 'vitest'
import { openApi, PASSWORD } from '../support/api.ts'
import {
  comeFrom,
  comingFrom,
  goTo,
  identitiesOf,
  isSignedIn,
  joinAs,
  newJar,
  openWithProviders,
  placeIn,
} from '../support/identities.ts'
import { codeIn } from '../support/mails.ts'

const api = openWithProviders({ EMAIL_CODE_SIGNIN: 'on' })
const newSubject = () => crypto.randomUUID()
const newAddress = (domain = 'fjord.test') => `${crypto.randomUUID()}@${domain}`
const userAt = async (email: string) =>
  (await api.sql('SELECT * FROM users WHERE email = ? AND deleted_at IS NULL', [email]))[0]
const newest = async (email: string) => codeIn((await api.mailsTo(email))[0]!)

describe('Somebody without an account', () => {
  test('OA3: gets one after a page with name, address and a button, and is recognised by provider and subject from then on', async () => {
    const [email, sub] = [newAddress(), newSubject()]
    const jar = newJar(api)
    const back = await comeFrom(jar, 'corp', { sub, email, email_verified: true, name: 'Ada Lovelace' })
    expect(back.to).toBe('/signin/with/corp/join')
    expect(await userAt(email)).toBeUndefined()
    const page = await jar.open(back.to!)
    expect(page.text).toContain(email)
    expect(page.text).toContain('value="Ada Lovelace"')
    const made = await joinAs(jar, 'corp')
    expect([made.status, made.to, isSignedIn(jar)]).toEqual([303, '/account', true])
    const user = await userAt(email)
    expect(user).toMatchObject({ name: 'Ada', role: 'user', password_hash: null })
    expect(user!.email_verified_at).not.toBeNull()
    expect(await identitiesOf(api, String(user!.id))).toEqual([{ provider: 'corp', subject: sub, email }])
    expect(await api.historyOf(String(user!.id))).toEqual([
      'user.signed_up',
      'email.verified',
      'identity.linked',
      'session.started',
    ])
    // The address there has changed meanwhile: the key is the subject.
    const again = newJar(api)
    const in_ = await comeFrom(again, 'corp', { sub, email: newAddress(), email_verified: true })
    expect([in_.to, isSignedIn(again)]).toEqual(['/account', true])
    // Another subject with that address is somebody else.
    const eve = newJar(api)
    const other = await comeFrom(eve, 'corp', { sub: sub.toUpperCase(), email, email_verified: true })
    expect([other.to?.startsWith('/signin?done=connect'), isSignedIn(eve)]).toEqual([true, false])
  })

  test('gets only one if the button is pressed twice', async () => {
    const [email, sub] = [newAddress(), newSubject()]
    const jar = newJar(api)
    await comeFrom(jar, 'corp', { sub, email, email_verified: true })
    const token = await jar.tokenOf('/signin/with/corp/join')
    const answers = await Promise.all(
      [1, 2, 3].map(() => jar.post('/signin/with/corp/join', { form_token: token, name: 'Ada' })),
    )
    expect(answers.filter(({ status }) => status === 303)).toHaveLength(1)
    expect(await api.sql('SELECT count(*) AS n FROM users WHERE email = ?', [email])).toEqual([{ n: 1 }])
  })

  test('gets only one if the first has another address by now and was disconnected from the provider', async () => {
    const [email, sub] = [newAddress(), newSubject()]
    const jar = newJar(api)
    await comeFrom(jar, 'corp', { sub, email, email_verified: true })
    const token = await jar.tokenOf('/signin/with/corp/join')
    const kept = new Map(jar.jar)
    await joinAs(jar, 'corp')
    const { id } = (await userAt(email))!
    const moved = newAddress()
    await api.sql('DELETE FROM identities WHERE user_id = ?', [String(id)])
    await api.sql('UPDATE users SET email = ?, email_normalized = ? WHERE id = ?', [moved, moved, String(id)])
    for (const [name, value] of kept) jar.jar.set(name, value)
    const late = await jar.post('/signin/with/corp/join', { form_token: token, name: 'Ada' })
    expect([late.status, await userAt(email), (await userAt(moved))?.id]).toEqual([400, undefined, id])
  })

  test('has the address stored as it is shown, whatever the provider has around it', async () => {
    const email = newAddress()
    const jar = newJar(api)
    await comeFrom(jar, 'corp', { sub: newSubject(), email: ` ${email}\n`, email_verified: true })
    await joinAs(jar, 'corp')
    expect(await userAt(email)).toMatchObject({ email, email_normalized: email })
  })

  test('gets none if sign-up is closed', async () => {
    const claims = () => ({ sub: newSubject(), email: newAddress(), email_verified: true })
    const closed = openWithProviders({ SIGNUP: 'closed' })
    const domains = openWithProviders({ SIGNUP_DOMAINS: 'other.test', EMAIL_VERIFICATION: 'required' })
    for (const [by, provider, code] of [
      [closed, 'corp', 'There is no account for you yet'],
      [api, 'deny', 'There is no account for you yet'],
      [domains, 'corp', 'Accounts are not made for this mail domain.'],
    ] as const) {
      const jar = newJar(by)
      const said = await comeFrom(jar, provider, claims())
      expect([said.status, said.text.includes(code), isSignedIn(jar)]).toEqual([403, true, false])
    }
    const admin = await api.quickActor({ role: 'admin' })
    const email = newAddress()
    await api.send('POST', '/v1/invitations', { token: admin.token, body: { email } })
    const said = await comeFrom(newJar(api), 'corp', { sub: newSubject(), email, email_verified: true })
    expect([said.status, said.text.includes('You are invited')]).toEqual([409, true])
  })
})

describe('OA3: an address that is verified on both sides', () => {
  test('is connected only after a complete sign-in to that account, and a button', async () => {
    const ada = await api.person({ email: newAddress(), email_verified_at: 1 })
    const sub = newSubject()
    const jar = newJar(api)
    const back = await comeFrom(jar, 'corp', { sub, email: ada.email, email_verified: true })
    expect(isSignedIn(jar)).toBe(false)
    expect((await jar.open(back.to!)).text).toContain('There is an account with this address')
    const { searchParams } = new URL(back.to!, 'http://x.test')
    const link = searchParams.get('to')!
    expect(link).toBe('/signin/with/corp/link')
    const signedIn = await jar.submit('/signin', '/signin', {
      email: ada.email,
      password: PASSWORD,
      to: link,
    })
    expect(signedIn.to).toBe(link)
    expect((await jar.open(link)).text).toContain(ada.email)
    expect(await identitiesOf(api, ada.id)).toEqual([])
    const done = await jar.submit(link, link)
    expect([done.status, done.to]).toEqual([303, '/account'])
    expect(await identitiesOf(api, ada.id)).toEqual([{ provider: 'corp', subject: sub, email: ada.email }])
    expect((await api.mailsTo(ada.email))[0]!.subject).toContain('A provider was connected')
    expect((await jar.open('/account')).status).toBe(200)
    const again = newJar(api)
    await comeFrom(again, 'corp', { sub })
    expect(isSignedIn(again)).toBe(true)
  })

  test('is not connected to an account of another address', async () => {
    const [ada, eve] = [
      await api.person({ email_verified_at: 1, email: newAddress() }),
      await api.person({ email_verified_at: 1 }),
    ]
    const jar = newJar(api)
    await comeFrom(jar, 'corp', { sub: newSubject(), email: ada.email, email_verified: true })
    await jar.signIn(eve.email)
    expect((await jar.open('/signin/with/corp/link')).to).toBe('/account')
    const token = await jar.tokenOf('/account')
    const pressed = await jar.post('/signin/with/corp/link', { form_token: token })
    expect(pressed.status).toBe(400)
    expect(await identitiesOf(api, eve.id)).toEqual([])
  })

  test('is connected at once only if the provider is trusted with the domain', async () => {
    const ada = await api.person({ email: newAddress(), email_verified_at: 1 })
    const session = await api.signIn(ada)
    const jar = newJar(api)
    await comeFrom(jar, 'trusted', { sub: newSubject(), email: ada.email, email_verified: true })
    expect([isSignedIn(jar), (await identitiesOf(api, ada.id)).length]).toEqual([true, 1])
    expect((await api.send('GET', '/v1/users/me', { token: session.token })).status).toBe(401)
    const bob = await api.person({ email: newAddress('elsewhere.test'), email_verified_at: 1 })
    const other = newJar(api)
    await comeFrom(other, 'trusted', { sub: newSubject(), email: bob.email, email_verified: true })
    expect([isSignedIn(other), await identitiesOf(api, bob.id)]).toEqual([false, []])
  })
})

describe('Somebody whom an app sent to sign in, and who is asked to connect a provider', () => {
  const APP = 'https://app.test/signed-in'
  const apps = openWithProviders({ APP_URLS: APP, EMAIL_CODE_SIGNIN: 'on' })
  const PAGE = `/signin?${new URLSearchParams({ redirect_to: APP })}`
  const LINK = '/signin/with/corp/link'

  /** They come back from the provider, which knows them by this address. */
  async function cameBack(email: string, claims: object = { email_verified: true }) {
    const jar = newJar(apps)
    const { to } = await jar.open(placeIn(await jar.open(PAGE)))
    const came = await jar.open(
      comingFrom('corp', to!).back({ claims: { sub: newSubject(), email, ...claims } }),
    )
    return { jar, came }
  }

  test('returns to the app, whether they connect it or not', async () => {
    const ada = await apps.person({ email: newAddress(), email_verified_at: 1 })
    const { jar } = await cameBack(ada.email)
    const signedIn = await jar.signIn(ada.email, { to: LINK })
    expect(signedIn.to).toBe(LINK)
    const page = await jar.open(LINK)
    expect(page.text).toMatch(new RegExp(`href="${APP}"[^>]*>Not now`))
    expect(page.headers.get('content-security-policy')).toContain("form-action 'self' https://app.test;")
    const done = await jar.submit(LINK, LINK)
    expect([done.to, (await identitiesOf(apps, ada.id)).length]).toEqual([APP, 1])
  })

  test('returns to the app after a mailed code as well', async () => {
    const ada = await apps.person({ email: newAddress('elsewhere.test'), email_verified_at: 1 })
    const { jar, came } = await cameBack(ada.email, {})
    await jar.submit(came.to!, '/signin/code', { email: ada.email, to: LINK })
    const code = await newest(ada.email)
    const typed = await jar.submit('/signin/code', '/signin/code/confirm', {
      email: ada.email,
      code,
      to: LINK,
    })
    expect(typed.to).toBe(LINK)
    expect((await jar.submit(LINK, LINK)).to).toBe(APP)
  })

  test('returns to the app if they sign in to an account with another address, and nothing is connected', async () => {
    const [ada, eve] = [
      await apps.person({ email: newAddress(), email_verified_at: 1 }),
      await apps.person({ email_verified_at: 1 }),
    ]
    const { jar } = await cameBack(ada.email)
    // The form's policy would not let a browser be redirected on to the app, so the redirects end at a page.
    const form = { email: eve.email, password: PASSWORD, to: LINK }
    const signedIn = await jar.submit('/signin', '/signin', form, { 'sec-fetch-mode': 'navigate' })
    expect([signedIn.status, signedIn.headers.get('refresh')]).toEqual([200, `0; url=${LINK}`])
    expect((await jar.open(LINK)).to).toBe(APP)
    expect([await identitiesOf(apps, ada.id), await identitiesOf(apps, eve.id)]).toEqual([[], []])
  })
})

test('MF6: if a factor is due, a trusted provider connects nothing and ends nothing before it is shown', async () => {
  const { addTotp } = await import('../support/factors.ts')
  const ada = await api.person({ email: newAddress(), email_verified_at: 1 })
  await addTotp(api, ada)
  const sessions = () =>
    api.sql('SELECT id, revoked_at FROM sessions WHERE user_id = ? ORDER BY id', [ada.id])
  const before = await sessions()
  const claims = { sub: newSubject(), email: ada.email, email_verified: true }
  const jar = newJar(api)
  const back = await comeFrom(jar, 'trusted', { ...claims, amr: ['pwd'] })
  expect([back.to?.startsWith('/signin?done=connect'), isSignedIn(jar)]).toEqual([true, false])
  expect([await identitiesOf(api, ada.id), await sessions()]).toEqual([[], before])
  await comeFrom(jar, 'trusted', { ...claims, amr: ['pwd', 'mfa'] })
  expect([isSignedIn(jar), (await identitiesOf(api, ada.id)).length]).toEqual([true, 1])
})

describe('OA3: somebody who registered an address before its owner', () => {
  test('keeps nothing of it: password, session and link are void', async () => {
    const email = newAddress()
    const body = { email, password: PASSWORD, name: 'Mallory' }
    await api.send('POST', '/v1/auth/signup', { body })
    const mallory = await api.logIn(body)
    await api.sql(
      "INSERT INTO identities (id, provider, subject, user_id, created_at) VALUES (?, 'google', ?, ?, 1)",
      [crypto.randomUUID(), email, mallory.user.id],
    )
    const sub = newSubject()
    const jar = newJar(api)
    await comeFrom(jar, 'corp', { sub, email, email_verified: true })
    expect(isSignedIn(jar)).toBe(true)
    expect((await api.send('GET', '/v1/users/me', { token: mallory.access_token })).status).toBe(401)
    expect((await api.send('POST', '/v1/auth/login', { body: { email, password: PASSWORD } })).status).toBe(
      401,
    )
    const refresh_token = mallory.refresh_token
    expect((await api.send('POST', '/v1/auth/refresh_token', { body: { refresh_token } })).status).toBe(401)
    expect(await identitiesOf(api, mallory.user.id)).toEqual([{ provider: 'corp', subject: sub, email }])
  })

  test('does not keep them out of a provider by connecting an identity of their own there', async () => {
    const noMail = { MAIL_FROM: undefined, RESEND_API_KEY: undefined, RESEND_URL: undefined }
    const unmailed = openApi({ ...api.bindings, EMAIL_CODE_SIGNIN: 'off', ...noMail })
    const email = newAddress('gmail.com')
    const body = { email, password: PASSWORD, name: 'Mallory' }
    await unmailed.send('POST', '/v1/auth/signup', { body })
    const { access_token: token, user } = await unmailed.logIn(body)
    const begun = await unmailed.send('POST', '/v1/auth/identities/google', { token })
    const hers = newJar(unmailed)
    const page = await hers.open(String(begun.body.location).slice(unmailed.config().ISSUER.length))
    const { back } = comingFrom('google', (await hers.open(placeIn(page))).to!)
    const sub = newSubject()
    await hers.open(back({ claims: { sub } }))
    expect(await identitiesOf(unmailed, user.id)).toEqual([{ provider: 'google', subject: sub, email: null }])

    const own = newSubject()
    const jar = newJar(unmailed)
    const came = await comeFrom(jar, 'google', { sub: own, email, email_verified: true })
    expect([came.to, isSignedIn(jar)]).toEqual(['/account', true])
    expect(await identitiesOf(unmailed, user.id)).toEqual([{ provider: 'google', subject: own, email }])
    expect((await unmailed.send('GET', '/v1/users/me', { token })).status).toBe(401)
    // The first identity is nobody's by now.
    await comeFrom(hers, 'google', { sub, email: newAddress('gmail.com'), email_verified: true })
    expect(isSignedIn(hers)).toBe(false)
  })

  test.each([
    ['is not verified', false],
    ['is verified, in a word', 'true'],
    ['says nothing of it', undefined],
    ['is verified, in a number', 1],
  ])('and an address that %s proves nothing', async (_, email_verified) => {
    const ada = await api.person({ email: newAddress() })
    const jar = newJar(api)
    const said = await comeFrom(jar, 'corp', { sub: newSubject(), email: ada.email, email_verified })
    expect(said.to).toMatch(/^\/signin\/code/)
    expect([isSignedIn(jar), await identitiesOf(api, ada.id)]).toEqual([false, []])
    expect((await api.logIn(ada)).user.email_verified).toBe(false)
  })
})

describe('OA3: an address that the provider does not prove', () => {
  test('needs a mail, and nothing changes until its code is used', async () => {
    const ada = await api.person({ email: newAddress('elsewhere.test'), email_verified_at: 1 })
    const sub = newSubject()
    const jar = newJar(api)
    const back = await comeFrom(jar, 'corp', { sub, email: ada.email, email_verified: true })
    expect((await jar.open(back.to!)).text).toContain('does not show that it is yours')
    await jar.submit(back.to!, '/signin/code', { email: ada.email, to: '/signin/with/corp/link' })
    expect(isSignedIn(jar)).toBe(false)
    const code = await newest(ada.email)
    const link = '/signin/with/corp/link'
    const typed = await jar.submit('/signin/code', '/signin/code/confirm', {
      email: ada.email,
      code,
      to: link,
    })
    expect(typed.to).toBe(link)
    expect((await jar.submit(link, link)).status).toBe(303)
    expect(await identitiesOf(api, ada.id)).toEqual([{ provider: 'corp', subject: sub, email: ada.email }])
  })

  test('works even if codes are off, and makes no account if sign-up is closed', async () => {
    const off = openWithProviders()
    const ada = await off.person({ email: newAddress('elsewhere.test'), email_verified_at: 1 })
    const jar = newJar(off)
    const ask = (email: string) => jar.submit('/signin/code', '/signin/code', { email })
    await comeFrom(jar, 'deny', { sub: newSubject(), email: ada.email })
    expect((await ask(ada.email)).status).toBe(200)
    expect(await off.mailsTo(ada.email)).toHaveLength(1)
    const nobody = newAddress('elsewhere.test')
    await comeFrom(jar, 'deny', { sub: newSubject(), email: nobody })
    expect((await ask(nobody)).status).toBe(200)
    expect(await off.mailsTo(nobody)).toEqual([])
    expect((await newJar(off).open('/signin/code')).status).toBe(404)
  })

  test('and without any address the page says what to do', async () => {
    const said = await comeFrom(newJar(api), 'corp', { sub: newSubject() })
    expect([said.status, said.text.includes('Fjord gave us no address')]).toEqual([403, true])
  })
})

describe('An account that may not enter', () => {
  test('says so: disabled, deleted, not confirmed', async () => {
    const required = openWithProviders({ EMAIL_VERIFICATION: 'required' })
    for (const [given, sentence, status] of [
      [{ status: 'disabled' as const, email_verified_at: 1 }, 'Your account is disabled', 403],
      [{ deleted_at: Date.now(), email_verified_at: 1 }, 'This account was deleted', 403],
      [{}, 'Confirm your email first', 403],
    ] as const) {
      const ada = await required.person(given)
      const sub = newSubject()
      await required.sql(
        "INSERT INTO identities (id, provider, subject, user_id, created_at) VALUES (?, 'corp', ?, ?, 1)",
        [crypto.randomUUID(), sub, ada.id],
      )
      const jar = newJar(required)
      const said = await comeFrom(jar, 'corp', { sub })
      expect([said.status, said.text.includes(sentence), isSignedIn(jar)]).toEqual([status, true, false])
    }
  })

  test('MF6: a factor is asked for, unless the provider is believed to have asked', async () => {
    const { addTotp } = await import('../support/factors.ts')
    const ada = await api.person({ email_verified_at: 1 })
    await addTotp(api, ada)
    for (const [provider, amr, isIn] of [
      ['corp', ['pwd', 'mfa'], false],
      ['trusted', ['pwd'], false],
      ['trusted', ['pwd', 'mfa'], true],
    ] as const) {
      const sub = newSubject()
      await api.sql('DELETE FROM identities WHERE user_id = ?', [ada.id])
      await api.sql(
        'INSERT INTO identities (id, provider, subject, user_id, created_at) VALUES (?, ?, ?, ?, 1)',
        [crypto.randomUUID(), provider, sub, ada.id],
      )
      const jar = newJar(api)
      const back = await comeFrom(jar, provider, { sub, amr })
      expect([back.to, isSignedIn(jar)]).toEqual([isIn ? '/account' : '/signin/factor', isIn])
    }
  })
})

test('A page of another site cannot send anybody to a provider before they press the button', async () => {
  const jar = newJar(api)
  const page = await jar.open('/signin/with/corp?to=/account')
  expect([page.status, page.to, page.text.includes('Continue with Fjord')]).toEqual([200, null, true])
  const place = /href="(\/signin\/with\/corp\?[^"]+)"/.exec(page.text)![1]!.replaceAll('&amp;', '&')
  expect((await jar.open(place)).to).toContain('/corp/authorize?')
  expect((await newJar(api).open(place)).status).toBe(200)
  expect((await goTo(jar, 'corp')).asked.get('scope')).toBe('openid email profile')
})
