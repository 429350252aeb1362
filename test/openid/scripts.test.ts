import { createExecutionContext } from 'cloudflare:test'
import { beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { letScripts as addScripts } from '../../scripts/create-client.ts'
import { SCRIPT_SCOPES, SCRIPTS_CLIENT_ID, signIn } from '../../scripts/sign-in.ts'
import { openForCron } from '../../src/context.ts'
import { DEVICE_CODE } from '../../src/oauth/models.ts'
import { openApi } from '../support/api.ts'
import { addApp } from '../support/oauth.ts'
import { openBrowser } from '../support/pages.ts'
import { freshUpstreams } from '../support/upstreams.ts'
import { fetchOf, ISSUER } from './support.ts'

/** How the scripts that act on a deployment sign in to it. */

let api: ReturnType<typeof openApi>

/** What `npm run client:create -- --scripts` makes; that it does is tested in test/scripts/operators.test.ts. */
async function letScripts(of: typeof api, given: object = {}) {
  const { client_id } = await addApp(of, {
    type: 'public',
    grants: [DEVICE_CODE],
    redirect_uris: [],
    scopes: SCRIPT_SCOPES,
    first_party: true,
    ...given,
  })
  await of.sql('DELETE FROM oauth_clients WHERE id = ?', [SCRIPTS_CLIENT_ID])
  await of.sql('UPDATE oauth_clients SET id = ? WHERE id = ?', [SCRIPTS_CLIENT_ID, client_id])
}

beforeAll(async () => {
  api = openApi((await freshUpstreams()).bindings)
})
beforeEach(() => letScripts(api))

const somebody = (given: object = {}) =>
  api.person({ email_verified_at: Date.now(), password_hash: null, ...given })

/** Runs it with a simulated clock; the user who is shown the code decides before it asks again. */
async function run(
  decide: (code: string) => Promise<unknown> = async () => {},
  { fetch = fetchOf(api), url = ISSUER }: { fetch?: typeof globalThis.fetch; url?: string } = {},
) {
  const waited: number[] = []
  let deciding: Promise<unknown> = Promise.resolve()
  const token = await signIn({
    url,
    scopes: SCRIPT_SCOPES,
    fetch,
    say: (sentence) => {
      const [, code] = /^Open https:\/\/roster\.test\/device and type (\S+)$/.exec(sentence)!
      deciding = decide(code!)
    },
    sleep: async (ms) => {
      waited.push(ms)
      await deciding
    },
  })
  return { token, waited }
}

const decideAs = (person: { id: string }, decision: 'allow' | 'deny') => async (code: string) => {
  const browser = await openBrowser(api, person)
  const { text } = await browser('POST', '/device', { code })
  const field = (name: string) => new RegExp(`name="${name}" value="([^"]*)"`).exec(text)?.[1] ?? ''
  await browser('POST', '/device', { device: field('device'), shown: field('shown'), decision })
}

test('An administrator who approves at /device lets a script do what it asked for, as with a recent login', async () => {
  const { token, waited } = await run(decideAs(await somebody({ role: 'admin' }), 'allow'))
  expect(waited).toEqual([5000])
  const status = async (path: string) => (await api.send('GET', path, { token })).status
  expect(await status('/v1/users/export')).toBe(200)
  expect(await status('/v1/users')).toBe(403)
  expect(await status('/v1/users/me')).toBe(403)
})

test('An export of deleted users without the permission for it is refused, and is not in the history', async () => {
  const admin = await somebody({ role: 'admin' })
  const { token } = await run(decideAs(admin, 'allow'))
  const refused = await api.send('GET', '/v1/users/export?status=deleted', { token })
  expect([refused.status, refused.body?.code]).toEqual([403, 'forbidden'])
  expect(
    await api.sql("SELECT id FROM user_activity_logs WHERE actor_id = ? AND action = 'user.exported'", [
      admin.id,
    ]),
  ).toEqual([])
})

test('Once the app of the scripts was removed, nothing that it had is valid again when it is added again', async () => {
  const admin = await somebody({ role: 'admin' })
  const { token } = await run(decideAs(admin, 'allow'))
  const exported = async (by: string) => (await api.send('GET', '/v1/users/export', { token: by })).status
  expect(await exported(token)).toBe(200)
  const form = (fields: Record<string, string>) =>
    new URLSearchParams({ client_id: SCRIPTS_CLIENT_ID, ...fields })
  const { body: begun } = await api.send<{ device_code: string; user_code: string }>(
    'POST',
    '/oauth/device_authorization',
    { raw: form({ scope: 'users:export' }) },
  )
  await decideAs(admin, 'allow')(begun.user_code)
  const path = `/v1/oauth_clients/${SCRIPTS_CLIENT_ID}`
  const removed = await api.send('DELETE', path, { token: (await api.signIn(admin)).token })
  expect([removed.status, await exported(token)]).toEqual([204, 401])

  const resources = openForCron(api.bindings as never, createExecutionContext())
  expect(await addScripts(resources)).toBe('added')
  expect(await exported(token)).toBe(401)
  const polled = await api.send('POST', '/oauth/token', {
    raw: form({ grant_type: DEVICE_CODE, device_code: begun.device_code }),
  })
  expect([polled.status, polled.body.error]).toEqual([400, 'invalid_grant'])
  expect(await exported((await run(decideAs(admin, 'allow'))).token)).toBe(200)
})

describe('Failures are explained in a sentence', () => {
  test('if they refuse', async () => {
    await expect(run(decideAs(await somebody({ role: 'admin' }), 'deny'))).rejects.toThrow(
      'It was refused at the page.',
    )
  })

  test('if scripts are not allowed, or not allowed to do this', async () => {
    await letScripts(api, { scopes: ['users:read'] })
    await expect(run()).rejects.toThrow(/lets no script do that.*client:create -- --scripts/)
    await api.sql('DELETE FROM oauth_clients WHERE id = ?', [SCRIPTS_CLIENT_ID])
    await expect(run()).rejects.toThrow(/lets no script do that.*client:create -- --scripts/)
  })

  test('if nobody decides', async () => {
    const { now } = Date
    let late = 0
    vi.spyOn(Date, 'now').mockImplementation(() => now() + late)
    const run10 = run(async () => {
      late = 599_000
      await Promise.resolve()
      late = 601_000
    })
    await expect(run10).rejects.toThrow('Nobody typed the code within ten minutes. Start again.')
    vi.restoreAllMocks()
  })

  test('if the address is not Roster’s, is another deployment’s, or OpenID is off', async () => {
    await expect(run(undefined, { url: 'users' })).rejects.toThrow('users is not a URL.')
    await expect(run(undefined, { url: 'https://other.test' })).rejects.toThrow(
      /^https:\/\/other\.test\/ does not answer as a deployment of Roster with this ISSUER/,
    )
    await expect(run(undefined, { url: 'http://roster.test' })).rejects.toThrow(/does not answer/)
    const off = openApi({ ...api.bindings, OPENID_KEYS: undefined })
    await expect(run(undefined, { fetch: fetchOf(off) })).rejects.toThrow(
      'https://roster.test/ cannot sign in scripts: OPENID_KEYS is not set there.',
    )
  })
})

/** A page of a proxy. */
const page = (status: number) =>
  new Response('<h1>Not now</h1>', { status, headers: { 'content-type': 'text/html' } })

test.each([400, 401, 502])('A proxy’s %i page in place of a code is reported as such', async (status) => {
  const real = fetchOf(api)
  const fetch = (async (input: string, init: RequestInit) =>
    input.endsWith('/oauth/device_authorization') ? page(status) : real(input, init)) as never
  await expect(run(undefined, { fetch })).rejects.toThrow(
    `https://roster.test answered ${status}, but not as Roster does: something is in between`,
  )
})

test('It asks less often if told to, or without an answer, and continues', async () => {
  const real = fetchOf(api)
  const answers = [
    () => Response.json({ error: 'slow_down' }, { status: 400 }),
    () => new Response('busy', { status: 503 }),
    () => page(400),
    () => page(200),
    () => {
      throw new TypeError('connection reset')
    },
  ]
  const admin = await somebody({ role: 'admin' })
  const fetch = (async (input: string, init: RequestInit) =>
    input.endsWith('/oauth/token') && answers.length > 0 ? answers.shift()!() : real(input, init)) as never
  const { waited } = await run(decideAs(admin, 'allow'), { fetch })
  expect(waited).toEqual([5000, 10_000, 15_000, 20_000, 25_000, 30_000])
})
