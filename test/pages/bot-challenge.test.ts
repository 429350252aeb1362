import { afterEach, expect, test, vi } from 'vitest'
import { openApi } from '../support/api.ts'
import { comeFrom, joinAs, openWithProviders } from '../support/identities.ts'
import { openJar } from '../support/jar.ts'
import { newPerson } from '../support/requests.ts'

const TURNSTILE = {
  TURNSTILE_SITE_KEY: '1x00000000000000000000AA',
  TURNSTILE_SECRET: '1x0000000000000000000000000000000AA',
  TURNSTILE_URL: 'https://turnstile.test',
}
const api = openApi({ ...TURNSTILE, EMAIL_VERIFICATION: 'optional', CORS_ORIGINS: 'https://app.fjord.test' })
const plain = openApi()

/** Turnstile, by its protocol: what it is asked, and what it answers. */
const asked: Record<string, string>[] = []
const passOn = globalThis.fetch
const turnstile = (answer: (given: Record<string, string>) => Response | Promise<Response>) =>
  vi.spyOn(globalThis, 'fetch').mockImplementation((input, init) => {
    if (String(input) !== 'https://turnstile.test/turnstile/v0/siteverify')
      return passOn(input as RequestInfo, init)
    const given = JSON.parse(String(init!.body))
    asked.push(given)
    const aborted = new Promise<never>((_, reject) =>
      init!.signal!.addEventListener('abort', () => reject(new Error('timeout'))),
    )
    return Promise.race([Promise.resolve(answer(given)), aborted])
  })
const GOOD = { success: true, hostname: 'roster.test', action: 'signup' }
const saying = (verdict: object) => turnstile(() => Response.json(verdict))
afterEach(() => {
  vi.restoreAllMocks()
  asked.length = 0
})

const signUp = (person: object) => api.send('POST', '/v1/auth/signup', { body: person })
const isThere = async (email: string) =>
  (await api.sql('SELECT 1 FROM users WHERE email = ?', [email])).length > 0

test('With a challenge, signing up by API needs its token, once for each address', async () => {
  saying(GOOD)
  const eve = newPerson()
  const without = await signUp(eve)
  expect([without.status, without.body.code, asked]).toEqual([403, 'challenge_failed', []])
  const done = await signUp({ ...eve, challenge_token: 'XXXX.DUMMY.TOKEN' })
  expect(done.status).toBe(201)
  expect(asked[0]).toEqual({
    secret: TURNSTILE.TURNSTILE_SECRET,
    response: 'XXXX.DUMMY.TOKEN',
    idempotency_key: expect.stringMatching(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/),
  })
  await signUp({ ...eve, challenge_token: 'XXXX.DUMMY.TOKEN' })
  await signUp({ ...newPerson(), challenge_token: 'XXXX.DUMMY.TOKEN' })
  const [first, again, other] = asked.map(({ idempotency_key }) => idempotency_key)
  expect([again === first, other === first]).toEqual([true, false])
})

test.each([
  ['is refused', { ...GOOD, success: false, 'error-codes': ['timeout-or-duplicate'] }],
  ['is of another host', { ...GOOD, hostname: 'evil.test' }],
  ['is of no host', { ...GOOD, hostname: undefined }],
  ['is for another action', { ...GOOD, action: 'login' }],
])('A token that %s does not sign anybody up', async (_, verdict) => {
  saying(verdict)
  const eve = newPerson()
  const refused = await signUp({ ...eve, challenge_token: 'token' })
  expect([refused.status, refused.body.code, await isThere(eve.email)]).toEqual([
    403,
    'challenge_failed',
    false,
  ])
})

test('A token from an app with a listed origin is as good as one from our page', async () => {
  saying({ ...GOOD, hostname: 'app.fjord.test' })
  expect((await signUp({ ...newPerson(), challenge_token: 'token' })).status).toBe(201)
})

test.each([
  ['fails', () => new Response('no', { status: 500 })],
  ['fails with a verdict', () => Response.json(GOOD, { status: 500 })],
  ['says nothing to the point', () => new Response('<html>')],
  ['says nothing', () => Response.json(null)],
  ['says a number', () => Response.json(1)],
  ['gives no verdict', () => Response.json({ hostname: 'roster.test' })],
  ['hangs', () => new Promise<Response>(() => {})],
])(
  'If the challenge’s service %s, the answer is a 503 within seconds, and nothing is changed',
  async (_, answer) => {
    turnstile(answer)
    const eve = newPerson()
    const began = Date.now()
    const failed = await signUp({ ...eve, challenge_token: 'token' })
    expect([failed.status, failed.body.code, await isThere(eve.email)]).toEqual([
      503,
      'challenge_unavailable',
      false,
    ])
    expect(failed.headers.get('retry-after')).toBe('2')
    expect(Date.now() - began).toBeLessThan(20_000)
  },
)

test('Only the sign-up page allows the challenge’s origin, says that it needs a script, and keeps what was typed', async () => {
  const jar = openJar(api)
  const page = await jar.open('/signup')
  const policyOf = (answer: { headers: Headers }) => answer.headers.get('content-security-policy')!
  expect(policyOf(page)).toContain("script-src 'self' https://turnstile.test;")
  expect(policyOf(page)).toContain('frame-src https://turnstile.test')
  for (const text of [
    'class="cf-turnstile"',
    'data-action="signup"',
    '/turnstile/v0/api.js',
    'needs JavaScript',
  ])
    expect(page.text).toContain(text)
  for (const other of [
    await jar.open('/signin'),
    await jar.open('/forgot'),
    await openJar(plain).open('/signup'),
  ])
    expect([policyOf(other).includes('turnstile'), other.text.includes('turnstile')]).toEqual([false, false])

  const eve = newPerson()
  const press = (more: Record<string, string>) => jar.submit('/signup', '/signup', { ...eve, ...more })
  const refused = await press({})
  expect([
    refused.status,
    refused.text.includes('that you are a person'),
    refused.text.includes(eve.email),
  ]).toEqual([403, true, true])
  turnstile(() => new Response('no', { status: 500 }))
  const failed = await press({ 'cf-turnstile-response': 'token' })
  expect([failed.status, failed.text.includes('does not answer'), failed.text.includes(eve.email)]).toEqual([
    503,
    true,
    true,
  ])
  saying(GOOD)
  expect((await press({ 'cf-turnstile-response': 'token' })).to).toBe('/account')
})

test('LE1: a code is only mailed to an address without an account with the token, and the answer does not reveal it', async () => {
  const codes = openApi({ ...api.bindings, EMAIL_CODE_SIGNIN: 'on' })
  const ada = await codes.person({ email_verified_at: 1 })
  const eve = newPerson()
  const ask = (email: string, more: object = {}) =>
    codes.send('POST', '/v1/auth/login/email_code', { body: { email, ...more } })
  saying(GOOD)
  const answers = [await ask(ada.email), await ask(eve.email)]
  expect(answers.map(({ status, body }) => [status, Object.keys(body)])).toEqual([
    [202, ['status', 'login_token']],
    [202, ['status', 'login_token']],
  ])
  expect([await codes.mailsTo(ada.email), await codes.mailsTo(eve.email)]).toMatchObject([[{}], []])
  expect((await ask(eve.email, { challenge_token: 'token' })).status).toBe(202)
  expect(await codes.mailsTo(eve.email)).toHaveLength(1)
  // One that is none is refused alike, and mails nobody.
  vi.restoreAllMocks()
  saying({ success: false })
  const other = newPerson()
  for (const email of [ada.email, other.email]) {
    const refused = await ask(email, { challenge_token: 'token' })
    expect([refused.status, refused.body.code]).toEqual([403, 'challenge_failed'])
  }
  expect([await codes.mailsTo(ada.email), await codes.mailsTo(other.email)]).toMatchObject([[{}], []])
})

test('The page for a code asks for the challenge before it mails, and continues without it for somebody with an account', async () => {
  const codes = openApi({ ...api.bindings, EMAIL_CODE_SIGNIN: 'on' })
  const ada = await codes.person({ email_verified_at: 1 })
  const jar = openJar(codes)
  const asked = await jar.submit('/signin', '/signin/code', { email: ada.email })
  expect([asked.status, asked.text.includes('cf-turnstile'), asked.text.includes(ada.email)]).toEqual([
    200,
    true,
    true,
  ])
  expect(asked.headers.get('content-security-policy')).toContain('https://turnstile.test')
  expect(await codes.mailsTo(ada.email)).toEqual([])
  const sent = await jar.submit('/signin/code', '/signin/code', { email: ada.email, asks: 'yes' })
  expect(sent.text).toContain('one-time-code')
  expect(await codes.mailsTo(ada.email)).toHaveLength(1)
  saying({ success: false })
  const fields = { email: ada.email, asks: 'yes', 'cf-turnstile-response': 'token' }
  const refused = await jar.submit('/signin/code', '/signin/code', fields)
  expect([refused.status, refused.text.includes('id="message"')]).toEqual([403, true])
})

test('Somebody from a provider signs up without the challenge: the provider has checked them', async () => {
  const by = openWithProviders(TURNSTILE)
  const jar = openJar(by)
  const email = `${crypto.randomUUID()}@fjord.test`
  await comeFrom(jar, 'corp', { sub: crypto.randomUUID(), email, email_verified: true })
  expect((await jar.open('/signin/with/corp/join')).text).not.toContain('cf-turnstile')
  expect((await joinAs(jar, 'corp')).status).toBe(303)
  expect(asked).toEqual([])
})
