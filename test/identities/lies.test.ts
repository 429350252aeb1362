import { describe, expect, inject, test } from 'vitest'
import {
  comeFrom,
  goTo,
  identitiesOf,
  isSignedIn,
  newJar,
  OTHER_TENANT,
  openWithProviders,
  TENANT,
} from '../support/identities.ts'
import type { Say } from '../support/provider.ts'

const api = openWithProviders()
const FAR_AHEAD = Math.floor(Date.now() / 1000) + 9000
const ago = (seconds: number) => Math.floor(Date.now() / 1000) - seconds

/** Somebody whom the provider signs in, as long as it tells the truth. */
async function known(provider = 'corp') {
  const ada = await api.person({ email_verified_at: 1 })
  const sub = crypto.randomUUID()
  await api.sql(
    'INSERT INTO identities (id, provider, subject, user_id, created_at) VALUES (?, ?, ?, ?, 1)',
    [crypto.randomUUID(), provider, sub, ada.id],
  )
  return { ...ada, sub }
}

const LIES: Record<string, (sub: string) => Say> = {
  'another issuer': (sub) => ({ claims: { sub, iss: 'https://accounts.example' } }),
  'no issuer': (sub) => ({ claims: { sub, iss: undefined } }),
  'another audience': (sub) => ({ claims: { sub, aud: 'another-client' } }),
  'two audiences and no azp': (sub) => ({ claims: { sub, aud: ['client-corp', 'another-client'] } }),
  'another azp': (sub) => ({ claims: { sub, aud: ['client-corp', 'x'], azp: 'x' } }),
  'another nonce': (sub) => ({ claims: { sub, nonce: 'x' } }),
  'no nonce': (sub) => ({ claims: { sub, nonce: undefined } }),
  'a token that has expired': (sub) => ({ claims: { sub, exp: ago(600) } }),
  'a token of tomorrow': (sub) => ({ claims: { sub, nbf: FAR_AHEAD } }),
  'a token that was never issued': (sub) => ({ claims: { sub, iat: undefined } }),
  'a token that never ends': (sub) => ({ claims: { sub, exp: undefined } }),
  'no subject': () => ({ claims: { sub: undefined } }),
  'an empty subject': () => ({ claims: { sub: '' } }),
  'a subject that is a number': () => ({ claims: { sub: 7 } }),
  'no signature': (sub) => ({ claims: { sub }, signed: 'none' }),
  'the signature of another key': (sub) => ({ claims: { sub }, signed: 'other_key' }),
  'a signature by the secret': (sub) => ({ claims: { sub }, signed: 'hs256' }),
  'claims that were moved under a signature': (sub) => ({ claims: { sub }, signed: 'tampered' }),
  'another verifier': (sub) => ({ claims: { sub }, challenge: 'x'.repeat(43) }),
  'no ID token': () => ({}),
  'no tokens': (sub) => ({ claims: { sub }, body: '{}' }),
  'an array': (sub) => ({ claims: { sub }, body: '[]' }),
  'what is no JSON': (sub) => ({ claims: { sub }, body: '{' }),
  'a page': (sub) => ({ claims: { sub }, type: 'text/html', body: '<!doctype html>' }),
  'tokens as a page': (sub) => ({ claims: { sub }, type: 'text/html' }),
  'a redirect': (sub) => ({ claims: { sub }, status: 302, location: 'https://elsewhere.example/token' }),
  'a redirect within': (sub) => ({ claims: { sub }, status: 307, location: '/corp/token' }),
  'an error': (sub) => ({ claims: { sub }, status: 500 }),
  nothing: (sub) => ({ claims: { sub }, status: 204, body: '' }),
  'ten megabytes': (sub) => ({ claims: { sub }, megabytes: 10 }),
  silence: (sub) => ({ claims: { sub }, delayMs: 60_000 }),
}

/** What a request has done, by its rows of history. Rows of tables would not do: other tests write there meanwhile. */
const madeBy = async ({ headers }: { headers: Headers }) =>
  (
    await api.sql('SELECT action FROM user_activity_logs WHERE request_id = ?', [
      headers.get('x-request-id')!,
    ])
  ).map(({ action }) => action)

describe('OA2, OA6, Fault 19: a provider that lies starts no session and connects nothing', () => {
  test('and one that tells the truth is believed', async () => {
    const ada = await known()
    const jar = newJar(api)
    const came = await comeFrom(jar, 'corp', { sub: ada.sub })
    expect(came.to).toBe('/account')
    expect(isSignedIn(jar)).toBe(true)
    expect(await madeBy(came)).toEqual(['session.started'])
  })

  test.each(Object.entries(LIES))('%s', async (_, lie) => {
    const ada = await known()
    const jar = newJar(api)
    const { back } = await goTo(jar, 'corp')
    const startedAt = Date.now()
    const place = back(lie(ada.sub))
    const said = await jar.open(place)
    expect(Date.now() - startedAt).toBeLessThan(20_000)
    expect([said.status, said.text.includes('Fjord did not say who you are')]).toEqual([502, true])
    expect(isSignedIn(jar)).toBe(false)
    expect(await madeBy(said)).toEqual([])
    expect(await api.sql('SELECT id FROM sessions WHERE user_id = ?', [ada.id])).toEqual([])
    expect(await identitiesOf(api, ada.id)).toHaveLength(1)
    // The attempt is over, too.
    expect((await jar.open(place)).status).toBe(400)
  })

  test('a subject is compared letter by letter', async () => {
    const ada = await known()
    for (const sub of [ada.sub.toUpperCase(), ` ${ada.sub}`, `${ada.sub}\u0000`]) {
      const jar = newJar(api)
      await comeFrom(jar, 'corp', { sub })
      expect(isSignedIn(jar)).toBe(false)
    }
  })

  test.each(['other_issuer', 'no_token_endpoint', 'elsewhere'])('SC3: metadata with %s', async (provider) => {
    const jar = newJar(api)
    const sure = await jar.tokenOf('/signin')
    const begun = await jar.open(`/signin/with/${provider}?${new URLSearchParams({ sure })}`)
    if (begun.status === 502) return
    const { back } = await goTo(jar, provider)
    expect((await jar.open(back({ claims: { sub: 'x' } }))).status).toBe(502)
    expect(isSignedIn(jar)).toBe(false)
  })
})

describe('OA1, OA5: a provider’s callback', () => {
  test('is valid in the browser that started, for that provider, once, for ten minutes', async () => {
    const ada = await known()
    const [jar, other] = [newJar(api), newJar(api)]
    const { back, asked, codeOf } = await goTo(jar, 'corp')
    expect(asked.get('state')!.split('.').at(-1)).toMatch(/^[\w-]{43}$/)
    const place = back({ claims: { sub: ada.sub } })
    await other.open('/signin')
    expect((await other.open(place)).status).toBe(400)
    // From another provider.
    const { jar: cookies } = jar
    const kept = cookies.get('__Host-roster-with')!
    const code = codeOf({ claims: { sub: ada.sub } })
    const query = (more: Record<string, string>) => new URLSearchParams({ code, ...more })
    for (const path of [
      `/signin/with/any/callback?${query({ state: asked.get('state')! })}`,
      `/signin/with/corp/callback?${query({})}`,
      `/signin/with/corp/callback?${query({ state: 'x' })}`,
      `/signin/with/corp/callback?${query({ state: `${asked.get('state')}x` })}`,
    ]) {
      cookies.set('__Host-roster-with', kept)
      expect((await jar.open(path)).status).toBe(400)
    }
    cookies.set('__Host-roster-with', kept)
    expect((await jar.open(place)).to).toBe('/account')
    // Even if its cookie was copied.
    const late = newJar(api)
    late.jar.set('__Host-roster-with', kept)
    expect((await late.open(place)).status).toBe(400)
    expect(isSignedIn(late)).toBe(false)
  })

  test('names its issuer in `iss`, if the provider says that it does', async () => {
    const ada = await known('iss')
    for (const [iss, status] of [
      [undefined, 502],
      ['https://accounts.example', 502],
      ['its own', 303],
    ] as const) {
      const jar = newJar(api)
      const { back, issuer } = await goTo(jar, 'iss')
      const more: Record<string, string> = iss === undefined ? {} : { iss: iss === 'its own' ? issuer : iss }
      expect((await jar.open(back({ claims: { sub: ada.sub } }, more))).status).toBe(status)
    }
    // If it may be missing, a wrong one is refused all the same.
    const corp = await known()
    const jar = newJar(api)
    const { back } = await goTo(jar, 'corp')
    expect(
      (await jar.open(back({ claims: { sub: corp.sub } }, { iss: 'https://accounts.example' }))).status,
    ).toBe(502)
  })

  test('from GitHub names GitHub’s issuer or none, and no other, even where it refuses', async () => {
    const ada = await known('github')
    const id = Math.floor(Math.random() * 1e9) + 1
    await api.sql('UPDATE identities SET subject = ? WHERE user_id = ?', [String(id), ada.id])
    const come = async (iss?: (issuer: string) => string, more: Record<string, string> = {}) => {
      const jar = newJar(api)
      const { asked, back, issuer } = await goTo(jar, 'github')
      expect(issuer).toMatch(/\/login\/oauth$/)
      const place = new URL(back({ user: { id, login: 'ada' }, emails: [] }, more), 'http://roster.test')
      if (iss) place.searchParams.set('iss', iss(issuer))
      else place.searchParams.delete('iss')
      if (more.error) place.searchParams.delete('code')
      expect(place.searchParams.get('state')).toBe(asked.get('state'))
      const { status } = await jar.open(place.pathname + place.search)
      return [status, isSignedIn(jar)]
    }
    expect(await come((issuer) => issuer)).toEqual([303, true])
    // An Enterprise Server may name none.
    expect(await come()).toEqual([303, true])
    for (const iss of [(own: string) => own.replace('/login/oauth', ''), () => 'https://accounts.example'])
      expect(await come(iss)).toEqual([502, false])
    expect(await come((issuer) => issuer, { error: 'access_denied' })).toEqual([403, false])
  })

  test('of an earlier tab is refused, and the later tab still signs in', async () => {
    const ada = await known()
    const jar = newJar(api)
    const [earlier, later] = [await goTo(jar, 'corp'), await goTo(jar, 'corp')]
    const say = { claims: { sub: ada.sub } }
    expect([(await jar.open(earlier.back(say))).status, isSignedIn(jar)]).toEqual([400, false])
    const signedIn = await jar.open(later.back(say))
    expect([signedIn.to, isSignedIn(jar), jar.jar.has('__Host-roster-with')]).toEqual([
      '/account',
      true,
      false,
    ])
    expect((await jar.open(later.back(say))).status).toBe(400)
  })

  test('may be a refusal, which the page explains', async () => {
    const jar = newJar(api)
    const { asked } = await goTo(jar, 'corp')
    const query = new URLSearchParams({ error: 'access_denied', state: asked.get('state')! })
    const said = await jar.open(`/signin/with/corp/callback?${query}`)
    expect([said.status, said.text.includes('Fjord did not let you go on')]).toEqual([403, true])
  })

  test('is not found for an unknown provider', async () => {
    const jar = newJar(api)
    for (const path of ['/signin/with/nobody', '/signin/with/nobody/callback?code=x&state=y'])
      expect((await jar.open(path)).status).toBe(404)
  })
})

describe('Each kind has its own rules', () => {
  test('Google proves addresses at gmail.com and at the domain it hosts', async () => {
    for (const [email, hd, isProved] of [
      ['gmail.com', undefined, true],
      ['fjord.test', 'fjord.test', true],
      ['fjord.test', undefined, false],
      ['fjord.test', 'other.test', false],
    ] as const) {
      const jar = newJar(api)
      const address = `${crypto.randomUUID()}@${email}`
      const claims = { sub: crypto.randomUUID(), email: address, email_verified: true, hd }
      expect((await comeFrom(jar, 'google', claims)).to).toBe(
        isProved ? '/signin/with/google/join' : '/signin/code?to=%2Fsignin%2Fwith%2Fgoogle%2Flink',
      )
    }
  })

  test('Microsoft has an issuer for each tenant, which must be configured, and proves no address', async () => {
    for (const provider of ['microsoft', 'tenants']) {
      for (const [tid, status] of [
        [TENANT, 303],
        [OTHER_TENANT, 502],
      ] as const) {
        const jar = newJar(api)
        const { back, issuer } = await goTo(jar, provider)
        const iss = `${issuer.replace(/\/[^/]+\/v2\.0$/, '')}/${tid}/v2.0`
        const email = `${crypto.randomUUID()}@fjord.test`
        const said = await jar.open(back({ claims: { iss, tid, sub: 'x', email, email_verified: true } }))
        expect([said.status, isSignedIn(jar)]).toEqual([status, false])
        if (status === 303) expect(said.to).toMatch(/^\/signin\/code/)
      }
    }
  })

  test('GitHub is asked for its verified addresses', async () => {
    const email = `${crypto.randomUUID()}@people.test`
    const id = Math.floor(Math.random() * 1e9)
    const emails = [
      { email: 'other@people.test', verified: false, primary: true },
      { email, verified: true, primary: false },
    ]
    const jar = newJar(api)
    const { back } = await goTo(jar, 'github')
    const said = await jar.open(back({ user: { id, name: null, login: 'ada' }, emails }))
    expect(said.to).toBe('/signin/with/github/join')
    expect((await jar.open(said.to!)).text).toContain(email)
    for (const user of [{}, { id: '7' }, { id: -1 }, { id: 1.5 }]) {
      const other = newJar(api)
      const begun = await goTo(other, 'github')
      expect((await other.open(begun.back({ user, emails }))).status).toBe(502)
    }
  })

  test('OA3: Apple posts across sites, continues by GET, and sends "true" as a string', async () => {
    const [email, sub] = [`${crypto.randomUUID()}@people.test`, crypto.randomUUID()]
    const jar = newJar(api)
    const { asked, codeOf } = await goTo(jar, 'apple')
    expect(asked.get('response_mode')).toBe('form_post')
    const claims = { sub, email, email_verified: 'true' }
    const fields = {
      code: codeOf({ claims }),
      state: asked.get('state')!,
      user: JSON.stringify({ name: { firstName: 'Ada', lastName: 'Lovelace' } }),
    }
    // From Apple's site the browser sends no cookie.
    const posted = await api.send('POST', '/signin/with/apple/callback', {
      raw: new URLSearchParams(fields),
      headers: { origin: 'https://appleid.apple.com', 'sec-fetch-site': 'cross-site' },
    })
    expect([posted.status, posted.headers.getSetCookie()]).toEqual([303, []])
    const place = posted.headers.get('location')!
    expect(place).not.toContain(fields.code)
    const back = await jar.open(place)
    expect(back.to).toBe('/signin/with/apple/join')
    expect((await jar.open(back.to!)).text).toContain('value="Ada Lovelace"')
    // No other provider may use POST.
    const raw = new URLSearchParams(fields)
    expect((await api.send('POST', '/signin/with/corp/callback', { raw })).status).toBe(400)
  })
})

describe('OA2, OA3, Fault 19: an address from userinfo', () => {
  const come = async (more: (sub: string, email: string) => Say) => {
    const [sub, email] = [crypto.randomUUID(), `${crypto.randomUUID()}@fjord.test`]
    const jar = newJar(api)
    const { back } = await goTo(jar, 'informs')
    const place = back({ claims: { sub }, ...more(sub, email) })
    const startedAt = Date.now()
    const { to, status } = await jar.open(place)
    expect(Date.now() - startedAt).toBeLessThan(20_000)
    expect(isSignedIn(jar)).toBe(false)
    return [status, to]
  }
  const well = (sub: string, email: string): Say => ({ userinfo: { sub, email, email_verified: true } })

  test('counts like one in the token', async () => {
    expect(await come(well)).toEqual([303, '/signin/with/informs/join'])
  })

  test.each<[string, (sub: string, email: string) => Say]>([
    ['of somebody else', (_, email) => ({ userinfo: { sub: 'eve', email, email_verified: true } })],
    ['of nobody', (_, email) => ({ userinfo: { email, email_verified: true } })],
    ['of one in capitals', (sub, email) => ({ userinfo: { sub: sub.toUpperCase(), email } })],
    ['as nothing', () => ({ userinfo: {} })],
    ['as a list', (...of) => ({ informs: { body: JSON.stringify([well(...of).userinfo]) } })],
    ['as a page', () => ({ informs: { type: 'text/html', body: '<!doctype html>' } })],
    ['well, as a page', (...of) => ({ ...well(...of), informs: { type: 'text/html' } })],
    ['as what is no JSON', () => ({ informs: { body: '{' } })],
    ['by a redirect', (...of) => ({ ...well(...of), informs: { status: 307, location: '/corp/userinfo' } })],
    ['with an error', (...of) => ({ ...well(...of), informs: { status: 500 } })],
    ['in ten megabytes', (...of) => ({ ...well(...of), informs: { megabytes: 10 } })],
    ['in silence', (...of) => ({ ...well(...of), informs: { delayMs: 60_000 } })],
  ])('%s is refused, and nobody gets in', async (_, lie) => {
    expect(await come(lie)).toEqual([502, null])
  })

  test.each<[string, (sub: string, email: string) => Say]>([
    [
      'that is verified as the string "true"',
      (sub, email) => ({ userinfo: { sub, email, email_verified: 'true' } }),
    ],
    ['of which it does not say so', (sub, email) => ({ userinfo: { sub, email } })],
    [
      'where the token has another',
      (sub, email) => ({ ...well(sub, email), claims: { sub, email: 'a@x.test' } }),
    ],
  ])('%s is not proved by it: a mail is sent there', async (_, lie) => {
    expect(await come(lie)).toEqual([303, '/signin/code?to=%2Fsignin%2Fwith%2Finforms%2Flink'])
  })
})

test('A callback is one call to the provider, and its state is used up meanwhile; then two trips as a login', async () => {
  const timed = openWithProviders({ DEBUG_TIMING: 'on' })
  const ada = await known()
  const asked = async () =>
    (await (await fetch(`${inject('providerUrl')}/__asked`)).json()) as Record<string, number>
  const jar = newJar(timed)
  await comeFrom(jar, 'corp', { sub: ada.sub })
  const { back } = await goTo(jar, 'corp')
  const before = await asked()
  const { headers, status } = await jar.open(back({ claims: { sub: ada.sub } }))
  const after = await asked()
  expect([status, headers.get('server-timing')]).toEqual([
    303,
    expect.stringMatching(/db;dur=\d+;desc="3".*depth;desc="3"$/),
  ])
  const of = (path: string) => (after[path] ?? 0) - (before[path] ?? 0)
  expect([of('/corp/token'), of('/corp/jwks'), of('/corp/.well-known/openid-configuration')]).toEqual([
    1, 0, 0,
  ])
})
