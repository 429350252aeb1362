import { afterEach, expect, test, vi } from 'vitest'
import { openApi } from '../support/api.ts'
import { openJar } from '../support/jar.ts'
import { newPerson } from '../support/requests.ts'

const TURNSTILE = {
  TURNSTILE_SITE_KEY: '1x00000000000000000000AA',
  TURNSTILE_SECRET: '1x0000000000000000000000000000000AA',
  TURNSTILE_URL: 'https://turnstile.test',
}
const api = openApi({ ...TURNSTILE, EMAIL_VERIFICATION: 'optional', CORS_ORIGINS: 'https://app.fjord.test' })
const plain = openApi()

/** Turnstile, by its protocol: what it is asked, and what it says. */
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

test('With a challenge, signing up by API takes its token, once for each address', async () => {
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
  ['is refused', { success: false, 'error-codes': ['timeout-or-duplicate'] }],
  ['is of another host', { ...GOOD, hostname: 'evil.test' }],
  ['is of no host', { ...GOOD, hostname: undefined }],
  ['is for another action', { ...GOOD, action: 'login' }],
])('A token that %s signs nobody up', async (_, verdict) => {
  saying(verdict)
  const eve = newPerson()
  const refused = await signUp({ ...eve, challenge_token: 'token' })
  expect([refused.status, refused.body.code, await isThere(eve.email)]).toEqual([
    403,
    'challenge_failed',
    false,
  ])
})

test('A token of an app whose origin is named is as good as one of our page', async () => {
  saying({ ...GOOD, hostname: 'app.fjord.test' })
  expect((await signUp({ ...newPerson(), challenge_token: 'token' })).status).toBe(201)
})

test.each([
  ['fails', () => new Response('no', { status: 500 })],
  ['says nothing to the point', () => new Response('<html>')],
  ['hangs', () => new Promise<Response>(() => {})],
])('A challenge whose service %s is 503 within seconds, and nothing is changed', async (_, answer) => {
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
  expect(Date.now() - began).toBeLessThan(6000)
})

test('The page for signing up alone knows the origin of the challenge, says that it needs a script, and keeps what was typed', async () => {
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
