import { createExecutionContext, createScheduledController, waitOnExecutionContext } from 'cloudflare:test'
import { createLocalJWKSet, decodeJwt, decodeProtectedHeader, jwtVerify } from 'jose'
import { beforeAll, describe, expect, inject, test } from 'vitest'
import { cleanUp } from '../../src/cleanup/service.ts'
import { openForCron } from '../../src/context.ts'
import { faultOfOutboundUrl } from '../../src/http/outbound.ts'
import worker from '../../src/index.ts'
import type { ClientWithSecret } from '../../src/oauth/clients/schemas.ts'
import { sidOf } from '../../src/oauth/id-tokens.ts'
import { claimLogouts, deliverLogouts, noteTold } from '../../src/oauth/logouts/backchannel.ts'
import { openApi } from '../support/api.ts'
import { addApp, letApp } from '../support/oauth.ts'
import type { Received } from '../support/receiver.ts'
import { behindFirstRead, freshUpstreams } from '../support/upstreams.ts'

/** OpenID Connect Back-Channel Logout 1.0. */

const ISSUER = 'http://localhost:8787'
let api: ReturnType<typeof openApi>

beforeAll(async () => {
  const { bindings } = await freshUpstreams()
  api = openApi({ ...bindings, ISSUER, LINK_ORIGIN: ISSUER, OUTBOUND_LOCAL: 'on', PASSWORD_HASHES: 'full' })
})

const receiver = inject('receiverUrl').replace('127.0.0.1', 'localhost')
/** An app whose server answers like this. */
async function appThat(answers: string | number, given: object = {}) {
  const name = crypto.randomUUID()
  const app = await addApp(api, {
    backchannel_logout_uri: `${receiver}/${name}/${answers}`,
    scopes: ['openid', 'offline_access'],
    ...given,
  })
  const received = async () => (await (await fetch(`${receiver}/__of/${name}`)).json()) as Received[]
  return { app, received }
}
const somebody = () => api.person({ email_verified_at: Date.now(), password_hash: null })
/** What the cron job does. */
async function deliver() {
  const context = createExecutionContext()
  const done = await deliverLogouts(openForCron(api.bindings, context), 'cron')
  await waitOnExecutionContext(context)
  return done
}
const owed = () => api.sql('SELECT client_id, attempts FROM oauth_logouts')
const due = () => api.sql('UPDATE oauth_logouts SET next_attempt_at = 1')
const until = async (isSo: () => Promise<boolean>) => {
  for (let time = 0; time < 2000 && !(await isSo()); time++)
    await new Promise((resolve) => setTimeout(resolve, 30))
  expect(await isSo()).toBe(true)
}

describe.each([['RS256'], ['ES256']])('A logout token (%s)', (algorithm) => {
  test('says who signed out of what, only to that app, for two minutes', async () => {
    const { app, received } = await appThat(200, { id_token_signed_response_alg: algorithm })
    const ada = await somebody()
    const { parentId } = await letApp(api, ada, { scope: 'openid', app })
    await api.sql('UPDATE sessions SET revoked_at = 1 WHERE id = ?', [parentId])
    await api.sql('UPDATE sessions SET revoked_at = 1 WHERE user_id = ?', [ada.id])
    await deliver()
    const [told, ...more] = await received()
    expect([told?.method, told?.type, more.length]).toEqual([
      'POST',
      expect.stringMatching(/^application\/x-www-form-urlencoded/),
      0,
    ])
    const token = new URLSearchParams(told!.body).get('logout_token')!
    const { body: jwks } = await api.send<{ keys: object[] }>('GET', '/.well-known/jwks.json')
    const { payload, protectedHeader } = await jwtVerify(token, createLocalJWKSet(jwks as never), {
      issuer: ISSUER,
      audience: app.client_id,
      typ: 'logout+jwt',
    })
    expect([protectedHeader.alg, decodeProtectedHeader(token).typ]).toEqual([algorithm, 'logout+jwt'])
    expect(payload).toEqual({
      iss: ISSUER,
      aud: app.client_id,
      sub: ada.id,
      sid: sidOf(parentId, app.client_id),
      iat: expect.any(Number),
      exp: payload.iat! + 120,
      jti: expect.any(String),
      events: { 'http://schemas.openid.net/event/backchannel-logout': {} },
    })
    expect(await owed()).toEqual([])
  })
})

describe('Whatever ends an app’s session makes us tell the app', () => {
  const ends: [
    string,
    (at: {
      token: string
      ada: { id: string }
      app: ClientWithSecret
      grantId: string
      refreshToken: string
    }) => Promise<unknown>,
  ][] = [
    ['a logout', ({ token }) => api.send('POST', '/v1/auth/logout', { token })],
    ['a logout everywhere', ({ token }) => api.send('POST', '/v1/auth/logout_all', { token })],
    [
      'a consent taken back',
      ({ token, grantId }) => api.send('DELETE', `/v1/auth/grants/${grantId}`, { token }),
    ],
    [
      'the app itself',
      ({ app, refreshToken }) =>
        api.send('POST', '/oauth/revoke', {
          headers: { authorization: `Basic ${btoa(`${app.client_id}:${app.client_secret}`)}` },
          raw: new URLSearchParams({ token: refreshToken }),
        }),
    ],
    [
      'a disabling',
      async ({ ada }) => {
        const { token } = await api.quickActor({ role: 'admin' })
        await api.send('POST', `/v1/users/${ada.id}/disable`, { token, body: { reason: 'left' } })
      },
    ],
    [
      'a deletion',
      async ({ ada }) => {
        const { token } = await api.quickActor({ role: 'admin' })
        await api.send('DELETE', `/v1/users/${ada.id}`, { token })
      },
    ],
    [
      'another role, of what goes on without the login',
      async ({ ada }) => {
        await api.sql(
          "UPDATE sessions SET scope = 'openid offline_access' WHERE user_id = ? AND client_id IS NOT NULL",
          [ada.id],
        )
        const { token } = await api.quickActor({ role: 'admin' })
        await api.send('PATCH', `/v1/users/${ada.id}`, { token, body: { role: 'manager' } })
      },
    ],
    [
      'a refresh token that was stolen',
      async ({ app, refreshToken }) => {
        await api.sql('UPDATE sessions SET counter = 5 WHERE client_id = ?', [app.client_id])
        await api.send('POST', '/oauth/token', {
          headers: { authorization: `Basic ${btoa(`${app.client_id}:${app.client_secret}`)}` },
          raw: new URLSearchParams({ grant_type: 'refresh_token', refresh_token: refreshToken }),
        })
      },
    ],
    [
      'an erasure',
      async ({ ada }) => {
        const { token } = await api.quickActor({ role: 'admin' })
        await api.send('DELETE', `/v1/users/${ada.id}?hard=true`, { token })
      },
    ],
    [
      'who manages, ending sessions',
      async ({ ada }) => {
        const { token } = await api.quickActor({ role: 'admin' })
        await api.send('DELETE', `/v1/users/${ada.id}/sessions`, { token })
      },
    ],
  ]
  test.each(ends)('%s, after the answer, without the cron job', async (_, end) => {
    const { app, received } = await appThat(204)
    const ada = await somebody()
    const parent = await api.signIn(ada)
    const let_ = await letApp(api, ada, { scope: 'openid', app, parent: parent.sessionId })
    await end({ token: parent.token, ada, app, grantId: let_.grantId, refreshToken: let_.refreshToken })
    await until(async () => (await received()).length === 1)
    await until(async () => (await owed()).length === 0)
    await deliver()
    expect((await received()).length).toBe(1)
  })

  test('even of sessions that outlive the login: the user has signed out of it', async () => {
    const { app, received } = await appThat(200)
    const ada = await somebody()
    const parent = await api.signIn(ada)
    await letApp(api, ada, { scope: 'openid offline_access', app, parent: parent.sessionId })
    await api.send('POST', '/v1/auth/logout', { token: parent.token })
    await until(async () => (await received()).length === 1)
    const open = 'SELECT id FROM sessions WHERE user_id = ? AND revoked_at IS NULL'
    expect((await api.sql(open, [ada.id])).length).toBe(1)
  })

  test('but not the end of the oldest of several, while another of the same login continues', async () => {
    const { app, received } = await appThat(200)
    const ada = await somebody()
    const parent = await api.signIn(ada)
    const first = await letApp(api, ada, { scope: 'openid', app, parent: parent.sessionId })
    const second = await letApp(api, ada, { scope: 'openid', app, parent: parent.sessionId })
    const end = (id: string) => api.sql('UPDATE sessions SET revoked_at = 1 WHERE id = ?', [id])
    await end(first.sessionId)
    expect(await owed()).toEqual([])
    await end(second.sessionId)
    expect((await owed()).length).toBe(1)
    await deliver()
    expect((await received()).length).toBe(1)
  })

  test('and nothing for an app without an address, nor for a login without apps', async () => {
    const ada = await somebody()
    const { token } = await api.signIn(ada)
    await letApp(api, ada, { scope: 'openid' })
    await api.send('POST', '/v1/auth/logout_all', { token })
    expect(await owed()).toEqual([])
  })
})

describe('A receiver that', () => {
  const endOne = async (answers: string | number) => {
    const { app, received } = await appThat(answers)
    const ada = await somebody()
    const { parentId } = await letApp(api, ada, { scope: 'openid', app })
    await api.sql('UPDATE sessions SET revoked_at = 1 WHERE user_id = ?', [ada.id])
    return { app, received, ada, parentId }
  }

  test.each([
    ['fails', 500],
    ['leads elsewhere', 'away'],
    ['has nothing there', 404],
    ['is busy', 429],
  ])('%s is tried again, with another token each time', async (_, answers) => {
    const { received, ada } = await endOne(answers)
    await deliver()
    expect((await owed()).map(({ attempts }) => attempts)).toEqual([1])
    await deliver()
    expect((await received()).length).toBe(1)
    await due()
    await deliver()
    const ids = (await received()).map(
      ({ body }) => decodeJwt(new URLSearchParams(body).get('logout_token')!).jti,
    )
    expect([ids.length, new Set(ids).size]).toEqual([2, 2])
    await api.sql('DELETE FROM oauth_logouts WHERE user_id = ?', [ada.id])
  })

  test('refuses it (400) is not asked again', async () => {
    const { received } = await endOne(400)
    await deliver()
    expect([await owed(), (await received()).length]).toEqual([[], 1])
  })

  test('answers without an end is read no further', async () => {
    const { received } = await endOne('long')
    const started = Date.now()
    await deliver()
    expect([await owed(), (await received()).length]).toEqual([[], 1])
    expect(Date.now() - started).toBeLessThan(4000)
  })

  test('hangs is given five seconds, and does not delay others', async () => {
    const hanging = await endOne('hang')
    const { received } = await endOne(200)
    const started = Date.now()
    await deliver()
    expect(Date.now() - started).toBeLessThan(30_000)
    expect((await received()).length).toBe(1)
    expect((await owed()).map(({ client_id }) => client_id)).toEqual([hanging.app.client_id])
    await api.sql('DELETE FROM oauth_logouts')
  })

  test('hangs is tried once per run, however much it is owed, so that others are told', async () => {
    const hanging = await endOne('hang')
    await api.sql(
      `INSERT INTO oauth_logouts WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 30)
        SELECT i || '.' || client_id, user_id, 'login ' || i, client_id, expires_at, 0, 1, NULL FROM n, oauth_logouts`,
    )
    const { received } = await endOne(200)
    const started = Date.now()
    await deliver()
    expect(Date.now() - started).toBeLessThan(30_000)
    expect((await received()).length).toBe(1)
    expect((await hanging.received()).length).toBe(5)
    const left = await owed()
    expect([left.length, new Set(left.map(({ attempts }) => attempts))]).toEqual([31, new Set([1])])
    await api.sql('DELETE FROM oauth_logouts')
  })

  test('is slow takes one connection of a request, and as many as there are of the cron job', async () => {
    const apps = await Promise.all(['slow', 'slow', 'slow'].map((answers) => appThat(answers)))
    /** How many are called at a time, measured by the second that each call takes. */
    async function atATimeIn(run: (token: string) => Promise<unknown>) {
      const ada = await somebody()
      const { token, sessionId } = await api.signIn(ada)
      for (const { app } of apps) await letApp(api, ada, { scope: 'openid', app, parent: sessionId })
      await run(token)
      await until(async () => (await owed()).length === 0)
      const all = await Promise.all(apps.map(({ received }) => received()))
      const times = all.map((told) => told.at(-1)!.at)
      return Math.max(...times.map((time) => times.filter((other) => Math.abs(other - time) < 900).length))
    }
    expect(await atATimeIn((token) => api.send('POST', '/v1/auth/logout_all', { token }))).toBe(1)
    const byCron = atATimeIn(async () => {
      await api.sql('UPDATE sessions SET revoked_at = 1 WHERE revoked_at IS NULL')
      const context = createExecutionContext()
      worker.scheduled(createScheduledController({ cron: '* * * * *' }), api.bindings as never, context)
      await waitOnExecutionContext(context)
    })
    expect(await byCron).toBe(3)
  })

  test('is unavailable for a day is given up', async () => {
    const { received } = await endOne(500)
    await api.sql('UPDATE oauth_logouts SET expires_at = 1')
    expect(await deliver()).toEqual({ due: 1, dead: 1 })
    expect([await owed(), (await received()).length]).toEqual([[], 0])
  })

  test('was removed, or no longer has an address, is told nothing', async () => {
    const { app, received } = await endOne(200)
    await api.sql('UPDATE oauth_clients SET backchannel_logout_uri = NULL WHERE id = ?', [app.client_id])
    await deliver()
    expect([await owed(), (await received()).length]).toEqual([[], 0])
  })
})

test('What a batch owes while others are being told goes out with them, at whatever moment it comes', async () => {
  const { app, received } = await appThat(200)
  const ada = await somebody()
  await letApp(api, ada, { scope: 'openid', app })
  await api.sql('DELETE FROM oauth_logouts')
  const resources = openForCron(api.bindings, createExecutionContext())
  // Nothing was due; now something is, while the run is about to end.
  behindFirstRead(resources, async () => {
    await api.sql('UPDATE sessions SET revoked_at = 1 WHERE user_id = ?', [ada.id])
    void resources.deliverOwed()
  })
  await resources.deliverOwed()
  expect((await received()).length).toBe(1)
})

test('If two Workers deliver at once, one of them tells the app', async () => {
  const apps = await Promise.all(Array.from({ length: 8 }, () => appThat(200)))
  const ada = await somebody()
  for (const { app } of apps) await letApp(api, ada, { scope: 'openid', app })
  await api.sql('UPDATE sessions SET revoked_at = 1 WHERE user_id = ?', [ada.id])
  await Promise.all([deliver(), deliver(), deliver()])
  for (const { received } of apps) expect((await received()).length).toBe(1)
  expect(await owed()).toEqual([])
})

describe('In every order of a sign-out, its delivery, and another sign-in and sign-out', () => {
  // The Worker's steps and the user's steps; each list keeps its order, and all interleavings are tried.
  const WORKER = ['claim', 'send', 'note'] as const
  const interleavings = (a: readonly string[], b: readonly string[]): string[][] =>
    a.length === 0 || b.length === 0
      ? [[...a, ...b]]
      : [
          ...interleavings(a.slice(1), b).map((rest) => [a[0]!, ...rest]),
          ...interleavings(a, b.slice(1)).map((rest) => [b[0]!, ...rest]),
        ]

  async function run(order: string[]) {
    const context = createExecutionContext()
    const resources = openForCron(api.bindings, context)
    const { app, received } = await appThat(200)
    const ada = await somebody()
    const { parentId, sessionId } = await letApp(api, ada, { scope: 'openid', app })
    let current = sessionId
    /** What the app believes, and the truth. */
    const app_ = { isIn: true }
    let isIn = true
    let claimed: Awaited<ReturnType<typeof claimLogouts>>['claimed'] = []
    let wasLate = false
    const end = () => api.sql('UPDATE sessions SET revoked_at = 1 WHERE id = ?', [current])
    await end()
    isIn = false
    for (const step of order) {
      if (step === 'claim') {
        const rows = await api.sql(
          'SELECT id, attempts, next_attempt_at FROM oauth_logouts WHERE client_id = ?',
          [app.client_id],
        )
        if (rows.length > 0) claimed = (await claimLogouts(resources, rows as never)).claimed
      } else if (step === 'send' && claimed.length > 0) {
        // A notice that is under way when somebody signs in again cannot be called back.
        wasLate = isIn
        app_.isIn = false
      } else if (step === 'note') for (const one of claimed) await noteTold(resources, one)
      else if (step === 'signin') {
        current = (await letApp(api, ada, { scope: 'openid', app, parent: parentId })).sessionId
        isIn = true
        app_.isIn = true
      } else if (step === 'signout') {
        await end()
        isIn = false
      }
    }
    const before = (await received()).length
    await due()
    await deliver()
    if ((await received()).length > before) app_.isIn = false
    return { isIn, believes: app_.isIn, wasLate, left: (await owed()).length }
  }

  test.each(interleavings(WORKER, ['signin', 'signout']).map((order) => [order.join(' → '), order] as const))(
    '%s: the app is told of the last one',
    async (_, order) => {
      const { isIn, believes, left } = await run([...order])
      expect([isIn, believes, left]).toEqual([false, false, 0])
    },
  )

  test.each(interleavings(WORKER, ['signin']).map((order) => [order.join(' → '), order] as const))(
    '%s: a late notice does not sign out a user who has signed in again',
    async (_, order) => {
      const { isIn, believes, wasLate, left } = await run([...order])
      expect([isIn, believes || wasLate, left]).toEqual([true, true, 0])
    },
  )
})

describe('The address of an app', () => {
  const own = { ISSUER: 'https://id.your-domain.com', LINK_ORIGIN: undefined, OUTBOUND_LOCAL: 'off' } as const
  test.each([
    'http://app.example/out',
    'https://app.example:8443/out',
    'https://127.0.0.1/out',
    'https://10.0.0.1/out',
    'https://2130706433/out',
    'https://0x7f.1/out',
    'https://[::1]/out',
    'https://[::ffff:127.0.0.1]/out',
    'https://localhost/out',
    'https://x.localhost/out',
    'https://printer/out',
    'https://metadata.google.internal/out',
    'https://nas.local/out',
    'https://app.example./out',
    'https://id.your-domain.com/v1/users',
    'https://ID.your-domain.com/v1/users',
    'ftp://app.example/out',
    'javascript:alert(1)',
    'x',
  ])('is never %s', (uri) => {
    expect(faultOfOutboundUrl(uri, own)).toEqual(expect.any(String))
  })
  test('is publicly reachable', () => {
    for (const uri of ['https://app.example/out', 'https://app.example:443/out?x=1'])
      expect(faultOfOutboundUrl(uri, own)).toBeUndefined()
  })
  test('is on this machine only if the Worker runs there itself', async () => {
    const local = { ...own, ISSUER, OUTBOUND_LOCAL: 'on' } as const
    expect(faultOfOutboundUrl('http://127.0.0.1:9000/out', local)).toBeUndefined()
    expect(faultOfOutboundUrl(`${ISSUER}/v1/auth/logout`, local)).toEqual("Is Roster's own.")
    const strange = openApi({
      ...api.bindings,
      ISSUER: 'https://id.your-domain.com',
      LINK_ORIGIN: 'https://id.your-domain.com',
    })
    expect((await strange.send('GET', '/v1/users')).body.code).toBe('misconfigured')
  })
  test('is refused otherwise', async () => {
    const { token } = await api.quickActor({ role: 'admin' })
    for (const uri of ['https://printer/out', 'https://10.0.0.1/out', 'com.example.app:/out']) {
      const body = {
        name: 'Wiki',
        type: 'public',
        redirect_uris: ['https://a.example/b'],
        backchannel_logout_uri: uri,
      }
      const answer = await api.send('POST', '/v1/oauth_clients', { token, body })
      expect([uri, answer.status]).toEqual([uri, 422])
    }
  })
})

test('Clean-up leaves notices that are still owed', async () => {
  const { app } = await appThat(500)
  await letApp(api, await somebody(), { scope: 'openid', app })
  await api.sql('UPDATE sessions SET revoked_at = 1 WHERE client_id = ?', [app.client_id])
  const context = createExecutionContext()
  await cleanUp(openForCron(api.bindings, context))
  expect((await owed()).length).toBe(1)
})
