import * as oauth from 'oauth4webapi'
import { beforeAll, describe, expect, test } from 'vitest'
import type { ClientWithSecret } from '../../src/oauth/clients/schemas.ts'
import { DEVICE_CODE } from '../../src/oauth/models.ts'
import { openApi } from '../support/api.ts'
import { limiter } from '../support/limiter.ts'
import { addApp } from '../support/oauth.ts'
import { openBrowser } from '../support/pages.ts'
import { dump } from '../support/snapshots.ts'
import { freshUpstreams } from '../support/upstreams.ts'
import { authOf, type Browser, discover, optionsOf } from './support.ts'

/** Device authorization (RFC 8628). */

let own: Awaited<ReturnType<typeof freshUpstreams>>
let api: ReturnType<typeof openApi>
let as: oauth.AuthorizationServer
let app: ClientWithSecret
const OF_DEVICES = { grants: [DEVICE_CODE, 'refresh_token'], redirect_uris: [] }

beforeAll(async () => {
  own = await freshUpstreams()
  api = openApi(own.bindings)
  as = await discover(api)
  app = await addApp(api, { ...OF_DEVICES, type: 'public' })
})

const somebody = (given: object = {}) =>
  api.person({ email_verified_at: Date.now(), password_hash: null, ...given })

interface Begun {
  device_code: string
  user_code: string
}
const begin = async (of = app, scope = 'openid email') => {
  const raw = new URLSearchParams({ client_id: of.client_id, scope })
  const answer = await api.send<Begun & { error?: string }>('POST', '/oauth/device_authorization', {
    raw,
    ...anywhere(),
  })
  return { status: answer.status, ...answer.body }
}
/** Devices may be in any network. */
const anywhere = () => ({ ip: `10.${[1, 2, 3].map(() => Math.floor(Math.random() * 256)).join('.')}` })
const poll = async ({ device_code }: Begun, of = app) => {
  const raw = new URLSearchParams({ client_id: of.client_id, grant_type: DEVICE_CODE, device_code })
  const { status, body } = await api.send('POST', '/oauth/token', { raw, ...anywhere() })
  return { status, error: body.error, body: body as Record<string, string> }
}
/** The page with the question, after its code was entered. */
const type = (browser: Browser, code: string) => browser('POST', '/device', { code })
const fieldOf = (page: string, name: string) =>
  new RegExp(`name="${name}" value="([^"]*)"`).exec(page)?.[1] ?? ''
const decide = (browser: Browser, page: string, decision = 'allow', given = {}) =>
  browser('POST', '/device', {
    device: fieldOf(page, 'device'),
    shown: fieldOf(page, 'shown'),
    decision,
    ...given,
  })
async function approve(browser: Browser, code: string) {
  const question = await type(browser, code)
  const answer = await decide(browser, question.text)
  expect([answer.status, answer.headers.get('location')]).toEqual([303, '/device?done=allowed'])
}
const later = async <T>(ms: number, work: () => Promise<T>): Promise<T> => {
  const { now } = Date
  try {
    Date.now = () => now() + ms
    return await work()
  } finally {
    Date.now = now
  }
}

test('A device signs in a user who enters its code, as checked by oauth4webapi', async () => {
  const client = { client_id: app.client_id }
  const asked = await oauth.deviceAuthorizationRequest(
    as,
    client,
    oauth.None(),
    { scope: 'openid profile email' },
    optionsOf(api),
  )
  const begun = await oauth.processDeviceAuthorizationResponse(as, client, asked)
  expect(begun).toEqual({
    device_code: expect.any(String),
    user_code: expect.stringMatching(/^[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}$/),
    verification_uri: 'https://roster.test/device',
    expires_in: 600,
    interval: 5,
  })
  const ask = () => oauth.deviceCodeGrantRequest(as, client, oauth.None(), begun.device_code, optionsOf(api))
  await expect(oauth.processDeviceCodeResponse(as, client, await ask())).rejects.toMatchObject({
    error: 'authorization_pending',
  })
  const ada = await somebody()
  const browser = await openBrowser(api, ada)
  const question = await type(browser, begun.user_code)
  expect(question.status).toBe(200)
  expect(question.text).toContain('Wiki wants to use your account on a device')
  expect(question.text).toContain(
    'Continue only if you started this yourself, just now, on a device in front of you.',
  )
  expect(question.text).toContain('See your email')
  await approve(browser, begun.user_code)
  const tokens = await oauth.processDeviceCodeResponse(as, client, await ask())
  expect(oauth.getValidatedIdTokenClaims(tokens)).toMatchObject({ sub: ada.id, amr: ['pwd'] })
  expect(tokens.scope).toBe('openid profile email')
  const info = await oauth.userInfoRequest(as, client, tokens.access_token, optionsOf(api))
  expect((await oauth.processUserInfoResponse(as, client, ada.id, info)).email).toBe(ada.email)
  const next = await oauth.refreshTokenGrantRequest(
    as,
    client,
    authOf(app),
    tokens.refresh_token!,
    optionsOf(api),
  )
  await oauth.processRefreshTokenResponse(as, client, next)
})

describe('The code', () => {
  test.each([
    ['in small letters', (code: string) => code.toLowerCase()],
    ['without its hyphen', (code: string) => code.replace('-', '')],
    ['with blanks and another dash', (code: string) => ` ${code.replace('-', ' – ')} `],
  ])('may be typed %s', async (_, typed) => {
    const begun = await begin()
    const { status } = await type(await openBrowser(api, await somebody()), typed(begun.user_code))
    expect(status).toBe(200)
  })

  test('is never taken from a link', async () => {
    const begun = await begin()
    const browser = await openBrowser(api, await somebody())
    for (const name of ['user_code', 'code', 'device']) {
      const page = await browser('GET', `/device?${new URLSearchParams({ [name]: begun.user_code })}`)
      const field = /<input id="code"[^>]*>/.exec(page.text)![0]
      expect([page.status, field.includes('value=')]).toEqual([200, false])
    }
  })

  test('may be wrong five times an hour; correct ones do not count, and others are not affected', async () => {
    const [ada, eve] = [await openBrowser(api, await somebody()), await openBrowser(api, await somebody())]
    const begun = await begin()
    for (let right = 0; right < 3; right++) expect((await type(ada, begun.user_code)).status).toBe(200)
    const wrong = await Promise.all(Array.from({ length: 7 }, () => type(ada, 'BBBB-BBBB')))
    expect(wrong.map(({ status }) => status).sort()).toEqual([422, 422, 422, 422, 422, 429, 429])
    const refused = await type(ada, begun.user_code)
    expect([refused.status, Number(refused.headers.get('retry-after'))]).toEqual([429, expect.any(Number)])
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(3500)
    expect((await type(eve, begun.user_code)).status).toBe(200)
    await api.sql('UPDATE throttles SET expires_at = 1')
    expect((await type(ada, begun.user_code)).status).toBe(200)
  })

  test('in an impossible form does not count as a guess, and costs no row', async () => {
    const ada = await openBrowser(api, await somebody())
    const before = await dump(api)
    for (const code of ['', 'AEIO-UAEI', 'BCDF-GHJ', 'x'.repeat(5000)])
      expect((await type(ada, code)).status).toBe(422)
    expect((await dump(api)).throttles).toEqual(before.throttles)
  })
})

describe('The user who enters it is always asked', () => {
  test('even for a first-party app, and for what was granted before', async () => {
    const own = await addApp(api, { ...OF_DEVICES, type: 'public', first_party: true })
    const browser = await openBrowser(api, await somebody())
    for (let time = 0; time < 2; time++) {
      const begun = await begin(own)
      expect((await type(browser, begun.user_code)).text).toContain('wants to use your account on a device')
      expect((await poll(begun, own)).error).toBe('authorization_pending')
      await approve(browser, begun.user_code)
    }
  })

  test('and sees where the request came from, until they have decided', async () => {
    const { device_code, user_code } = (
      await api.send<Begun>('POST', '/oauth/device_authorization', {
        raw: new URLSearchParams({ client_id: app.client_id, scope: 'openid' }),
        headers: { 'user-agent': 'roster-cli/1.0' },
        ip: '203.0.113.77',
      })
    ).body
    const browser = await openBrowser(api, await somebody())
    const { text } = await type(browser, user_code)
    expect(text).toContain('203.0.113.77')
    expect(text).toContain('roster-cli')
    await approve(browser, user_code)
    expect((await poll({ device_code, user_code })).status).toBe(200)
    expect(JSON.stringify(await api.sql('SELECT * FROM oauth_device_codes'))).not.toContain('203.0.113.77')
  })

  test('and a refusal is final', async () => {
    const begun = await begin()
    const browser = await openBrowser(api, await somebody())
    const { text } = await type(browser, begun.user_code)
    expect((await decide(browser, text, 'deny')).headers.get('location')).toBe('/device?done=denied')
    expect((await decide(browser, text)).status).toBe(409)
    expect(await poll(begun)).toMatchObject({ status: 400, error: 'access_denied' })
  })

  test('and nobody is told that it is refused when it was allowed first', async () => {
    const begun = await begin()
    const browser = await openBrowser(api, await somebody())
    const { text } = await type(browser, begun.user_code)
    const { result, wasHeld } = await own.between(
      () => decide(browser, text, 'deny'),
      () => decide(browser, text),
      { only: 'update \\"oauth_device_codes' },
    )
    expect([wasHeld, result.status]).toEqual([true, 409])
    expect((await poll(begun)).status).toBe(200)
  })

  test('and a refusal whose answer from the database was lost is still one', async () => {
    const begun = await begin()
    const browser = await openBrowser(api, await somebody())
    const { text } = await type(browser, begun.user_code)
    await own.behave('libsql', { mode: 'reset-after', next: 1, only: 'update \\"oauth_device_codes' })
    expect((await decide(browser, text, 'deny')).headers.get('location')).toBe('/device?done=denied')
    expect(await poll(begun)).toMatchObject({ status: 400, error: 'access_denied' })
  })

  test.each(['allow', 'deny'])(
    'and whoever is signed out meanwhile decides nothing: %s',
    async (decision) => {
      const begun = await begin()
      const ada = await somebody()
      const browser = await openBrowser(api, ada)
      const { text } = await type(browser, begun.user_code)
      const { result, wasHeld } = await own.between(
        () => decide(browser, text, decision),
        () => api.sql('UPDATE sessions SET revoked_at = 1 WHERE user_id = ?', [ada.id]),
        { only: 'update \\"oauth_device_codes' },
      )
      expect([wasHeld, result.status]).toEqual([true, 401])
      expect((await poll(begun)).error).toBe('authorization_pending')
    },
  )

  test('and asked again if it is more than the page showed', async () => {
    const begun = await begin()
    const browser = await openBrowser(api, await somebody())
    const { text } = await type(browser, begun.user_code)
    const again = await decide(browser, text, 'allow', { shown: 'openid' })
    expect([again.status, again.text.includes('wants to use your account on a device')]).toEqual([200, true])
    expect((await poll(begun)).error).toBe('authorization_pending')
  })

  test('and of two who approve at once, one becomes the user', async () => {
    const begun = await begin()
    const browsers = await Promise.all([1, 2].map(async () => openBrowser(api, await somebody())))
    const pages = await Promise.all(browsers.map((browser) => type(browser, begun.user_code)))
    const answers = await Promise.all(browsers.map((browser, at) => decide(browser, pages[at]!.text)))
    expect(answers.map(({ status }) => status).sort()).toEqual([303, 409])
    expect((await poll(begun)).status).toBe(200)
  })

  test('and only their own page decides, not another’s', async () => {
    const begun = await begin()
    const [ada, eve] = [await openBrowser(api, await somebody()), await openBrowser(api, await somebody())]
    const { text } = await type(ada, begun.user_code)
    expect((await decide(eve, text)).status).toBe(409)
    expect((await poll(begun)).error).toBe('authorization_pending')
  })
})

test('RFC 8628 3.5: a device that asks again, as after a lost answer, keeps what it has', async () => {
  const begun = await begin()
  await approve(await openBrowser(api, await somebody()), begun.user_code)
  const answers = await Promise.all([poll(begun), poll(begun)])
  expect(answers.map(({ status }) => status).sort()).toEqual([200, 400])
  expect(await poll(begun)).toMatchObject({ status: 400, error: 'invalid_grant' })
  const { access_token: token } = answers.find(({ status }) => status === 200)!.body
  expect((await api.send('GET', '/oauth/userinfo', { token: token! })).status).toBe(200)
})

test('Codes entered in an ended session are not counted for its user', async () => {
  const ada = await somebody()
  const stolen = await openBrowser(api, ada)
  await api.sql('UPDATE sessions SET revoked_at = 1 WHERE user_id = ?', [ada.id])
  for (let tries = 0; tries < 6; tries++)
    expect((await type(stolen, 'BBBB-BBBB')).headers.get('location')).toMatch(/^\/signin/)
  const begun = await begin()
  expect((await type(await openBrowser(api, ada), begun.user_code)).status).toBe(200)
})

describe('Nobody gets in whom the authorization endpoint would refuse', () => {
  test('an address that nobody has proved', async () => {
    const begun = await begin()
    const { status } = await type(
      await openBrowser(api, await somebody({ email_verified_at: null })),
      begun.user_code,
    )
    expect(status).toBe(409)
  })

  test('a role that may not use the app', async () => {
    const own = await addApp(api, { ...OF_DEVICES, type: 'public', allowed_roles: ['admin'] })
    const begun = await begin(own)
    expect((await type(await openBrowser(api, await somebody()), begun.user_code)).status).toBe(403)
  })

  test.each([
    ['logged out', 'UPDATE sessions SET revoked_at = 1 WHERE user_id = ?'],
    ['were disabled', "UPDATE users SET status = 'disabled' WHERE id = ?"],
    ['took it back', 'DELETE FROM oauth_grants WHERE user_id = ?'],
  ])('a user who has approved and then %s', async (_, end) => {
    const ada = await somebody()
    const begun = await begin()
    await approve(await openBrowser(api, ada), begun.user_code)
    await api.sql(end, [ada.id])
    expect(await poll(begun)).toMatchObject({ status: 400, error: 'invalid_grant' })
  })

  describe.each([true, false])(
    'a user who takes back what they approved (first-party: %s)',
    (first_party) => {
      const approved = async () => {
        const own = await addApp(api, { ...OF_DEVICES, type: 'public', first_party })
        const ada = await somebody()
        const browser = await openBrowser(api, ada)
        const begun = await begin(own)
        await approve(browser, begun.user_code)
        const { token } = await api.signIn(ada)
        const { body } = await api.send<{ data: { id: string }[] }>('GET', '/v1/auth/grants', { token })
        const path = `/v1/auth/grants/${body.data[0]!.id}`
        const sessions = () =>
          api.sql('SELECT id FROM sessions WHERE user_id = ? AND client_id IS NOT NULL', [ada.id])
        return { own, browser, begun, token, path, sessions }
      }

      test('as a whole, even if they approve another device of that app afterwards', async () => {
        const { own, browser, begun, token, path, sessions } = await approved()
        expect((await api.send('DELETE', path, { token })).status).toBe(204)
        expect(await poll(begun, own)).toMatchObject({ status: 400, error: 'invalid_grant' })
        expect(await sessions()).toEqual([])
        const next = await begin(own)
        await approve(browser, next.user_code)
        expect(await poll(begun, own)).toMatchObject({ status: 400, error: 'invalid_grant' })
        expect(await sessions()).toEqual([])
        expect((await poll(next, own)).status).toBe(200)
      })

      test('in part', async () => {
        const { own, begun, token, path, sessions } = await approved()
        const { status } = await api.send('PATCH', path, { token, body: { scopes: ['openid'] } })
        expect(status).toBe(200)
        expect(await poll(begun, own)).toMatchObject({ status: 400, error: 'invalid_grant' })
        expect(await sessions()).toEqual([])
      })

      test('but not what they approved for another app, nor what somebody else approved', async () => {
        const { own, browser, token, path } = await approved()
        const [elsewhere, eves, waiting] = [await begin(), await begin(own), await begin(own)]
        await approve(browser, elsewhere.user_code)
        await approve(await openBrowser(api, await somebody()), eves.user_code)
        expect((await api.send('DELETE', path, { token })).status).toBe(204)
        expect((await poll(elsewhere)).status).toBe(200)
        expect((await poll(eves, own)).status).toBe(200)
        expect((await poll(waiting, own)).error).toBe('authorization_pending')
      })
    },
  )

  test('a client that is not registered for it, or does not authenticate in its own way', async () => {
    const other = await addApp(api)
    const basic = { authorization: `Basic ${btoa(`${other.client_id}:${other.client_secret}`)}` }
    const raw = new URLSearchParams({ scope: 'openid' })
    const answer = await api.send('POST', '/oauth/device_authorization', { raw, headers: basic })
    expect([answer.status, answer.body.error]).toEqual([400, 'unauthorized_client'])
    expect(await begin(other)).toMatchObject({ status: 401, error: 'invalid_client' })
    expect(await begin(app, 'users:read')).toMatchObject({ status: 400, error: 'invalid_scope' })
  })

  test('another app with the code, or a forged one', async () => {
    const begun = await begin()
    await approve(await openBrowser(api, await somebody()), begun.user_code)
    const other = await addApp(api, { ...OF_DEVICES, type: 'public' })
    expect((await poll(begun, other)).error).toBe('invalid_grant')
    expect((await poll({ ...begun, device_code: `${begun.device_code.slice(0, -3)}AAA` })).error).toBe(
      'invalid_grant',
    )
    expect((await poll(begun)).status).toBe(200)
  })
})

test('A device that asks too often is told to slow down, and nothing is written', async () => {
  const begun = await begin()
  const hasty = openApi({ ...api.bindings, RATE_LIMIT_DEVICE_POLLS: limiter(3) })
  const raw = () =>
    new URLSearchParams({
      client_id: app.client_id,
      grant_type: DEVICE_CODE,
      device_code: begun.device_code,
    })
  const before = await dump(api)
  const errors = []
  for (let time = 0; time < 5; time++)
    errors.push((await hasty.send('POST', '/oauth/token', { raw: raw(), ...anywhere() })).body.error)
  expect(errors).toEqual([...Array(3).fill('authorization_pending'), 'slow_down', 'slow_down'])
  expect(await dump(api)).toEqual(before)
})

test('Its code expires after ten minutes', async () => {
  const begun = await begin()
  const browser = await openBrowser(api, await somebody())
  const { text } = await type(browser, begun.user_code)
  await later(601_000, async () => {
    expect((await poll(begun)).error).toBe('expired_token')
    expect((await type(browser, begun.user_code)).status).toBe(422)
    expect((await decide(browser, text)).status).toBe(409)
  })
})

test('An app that cannot refresh gets no offline access', async () => {
  const own = await addApp(api, {
    grants: [DEVICE_CODE],
    redirect_uris: [],
    type: 'public',
    scopes: ['openid', 'offline_access'],
  })
  const begun = await begin(own, 'openid offline_access')
  await approve(await openBrowser(api, await somebody()), begun.user_code)
  expect((await poll(begun, own)).body).toMatchObject({ scope: 'openid' })
  expect(await begin(own, 'offline_access')).toMatchObject({ status: 400, error: 'invalid_scope' })
})

test('It never gets the scope account: nobody can lose their account by a phone call', async () => {
  const own = await addApp(api, {
    ...OF_DEVICES,
    type: 'public',
    first_party: true,
    scopes: ['openid', 'account'],
  })
  const begun = await begin(own, 'openid account')
  await approve(await openBrowser(api, await somebody()), begun.user_code)
  expect((await poll(begun, own)).body.scope).toBe('openid')
  expect(await begin(own, 'account')).toMatchObject({ status: 400, error: 'invalid_scope' })
})

describe('Permissions of those who manage', () => {
  const POWERS = ['users:delete', 'users:purge', 'users:update', 'users:read']
  const managed = async () => {
    const own = await addApp(api, { ...OF_DEVICES, type: 'public', scopes: POWERS })
    const admin = await somebody({ role: 'admin' })
    return { own, admin, browser: await openBrowser(api, admin) }
  }
  const purge = async (token: string) => {
    const { id } = await api.person({ password_hash: null })
    return (await api.send('DELETE', `/v1/users/${id}?hard=true`, { token })).status
  }

  test('need a recent login, and the code is still there after it', async () => {
    const { own, admin } = await managed()
    const begun = await begin(own, POWERS.join(' '))
    const browser = await later(-700_000, () => openBrowser(api, admin))
    const { status, headers } = await type(browser, begun.user_code)
    const location = headers.get('location')!
    expect([status, location]).toEqual([
      303,
      expect.stringMatching(/^\/signin\/again\?to=%2Fdevice&carried=/),
    ])
    const carried = new URL(location, 'http://x').searchParams.get('carried')!
    const page = await browser('GET', `/device?${new URLSearchParams({ carried })}`)
    expect(page.text).toContain(`value="${begun.user_code}"`)
    expect((await poll(begun, own)).error).toBe('authorization_pending')
    // A device that acts for nobody only needs a sign-in.
    const harmless = await begin()
    expect((await type(browser, harmless.user_code)).status).toBe(200)
  })

  test('count as a recent login for ten minutes, only on the routes of those permissions', async () => {
    const { own, browser } = await managed()
    const begun = await begin(own, POWERS.join(' '))
    await approve(browser, begun.user_code)
    const { body } = await poll(begun, own)
    const { access_token: token, refresh_token } = body
    expect(await purge(token!)).toBe(204)
    // Account access and roles are never given to a device.
    const { id } = await api.person({ password_hash: null, email_verified_at: 1 })
    const change = (input: object) => api.send('PATCH', `/v1/users/${id}`, { token: token!, body: input })
    expect((await change({ name: 'Grace' })).status).toBe(200)
    for (const input of [{ role: 'manager' }, { email: 'new@people.test' }])
      expect((await change(input)).body.code).toMatch(/insufficient_scope|outranked/)
    expect((await api.send('DELETE', `/v1/users/${id}/factors`, { token: token! })).status).toBe(403)
    expect((await api.send('DELETE', `/v1/users/${id}`, { token: token! })).status).toBe(204)
    const restore = (query = '') => api.send('POST', `/v1/users/${id}/restore${query}`, { token: token! })
    expect((await restore('?earlier_email=true')).body.code).toBe('insufficient_scope')
    expect((await restore()).status).toBe(200)
    // A later token of the same session does not count as a recent login.
    const raw = new URLSearchParams({
      client_id: own.client_id,
      grant_type: 'refresh_token',
      refresh_token: refresh_token!,
    })
    const { body: next } = await api.send('POST', '/oauth/token', { raw })
    expect(await purge(next.access_token as string)).toBe(403)
    expect(await later(590_000, () => purge(token!))).toBe(204)
    expect(await later(615_000, () => purge(token!))).not.toBe(204)
  })
})
