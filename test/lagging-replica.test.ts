import { decodeBase32IgnorePadding } from '@oslojs/encoding'
import { beforeAll, describe, expect, test } from 'vitest'
import { DEVICE_CODE } from '../src/oauth/models.ts'
import { type Api, linkIn, openApi, PASSWORD } from './support/api.ts'
import { softwarePasskey } from './support/authenticator.ts'
import { addPasskey, codeOf, mailedCode } from './support/factors.ts'
import { comeFrom, isSignedIn, newJar, withProviders } from './support/identities.ts'
import { addKey } from './support/keys.ts'
import { addApp, letApp } from './support/oauth.ts'
import { openBrowser, signedIn } from './support/pages.ts'
import { freshUpstreams } from './support/upstreams.ts'

/** Whoever has just changed something relies on it at once, but a replica may learn of it a moment later. */

let own: Awaited<ReturnType<typeof freshUpstreams>>
let api: Api
let admin: string

beforeAll(async () => {
  own = await freshUpstreams()
  api = openApi(own.bindings)
  admin = (await api.quickActor({ role: 'admin', email_verified_at: 1 })).token
})

const as = (
  token: string,
  method: string,
  path: string,
  body?: object,
  headers: Record<string, string> = {},
) => api.send(method, path, { token, headers, ...(body && { body }) })
const stateOf = async (id: string) => (await api.sql('SELECT state FROM users WHERE id = ?', [id]))[0]!.state

describe('HX8: a bulk action that the replica takes for done already is done:', () => {
  test.each<[action: string, given: Parameters<Api['person']>[0], inverse: string, state: string]>([
    ['disable', { status: 'disabled', disabled_reason: 'Left' }, 'enable', 'disabled'],
    ['enable', {}, 'disable', 'active'],
    ['delete', { deleted_at: 1 }, 'restore', 'deleted'],
  ])('%s', async (action, given, inverse, state) => {
    const { id } = await api.person({ password_hash: null, ...given })
    const reason = { ...(action === 'disable' && { reason: 'Left' }) }
    await own.whileLagging(async () => {
      const body = inverse === 'disable' ? { reason: 'Left' } : undefined
      expect((await as(admin, 'POST', `/v1/users/${id}/${inverse}`, body)).status).toBe(200)
      expect(await stateOf(id)).not.toBe(state)
      const answer = await as(admin, 'POST', '/v1/users/bulk', { action, ids: [id], ...reason })
      expect([answer.status, answer.body]).toEqual([200, { data: [{ id, status: 'done' }] }])
    })
    expect(await stateOf(id)).toBe(state)
  })

  test('for a user who was just made, too', async () => {
    await own.whileLagging(async () => {
      const { id } = await api.person({ password_hash: null })
      const answer = await as(admin, 'POST', '/v1/users/bulk', { action: 'delete', ids: [id] })
      expect(answer.body).toEqual({ data: [{ id, status: 'done' }] })
      expect(await stateOf(id)).toBe('deleted')
    })
  })
})

test('HX8, HX16: an ETag that was just given is accepted in If-Match, and an older one is refused', async () => {
  const { id } = await api.person({ password_hash: null })
  const rename = (name: string, etag: string) =>
    as(admin, 'PATCH', `/v1/users/${id}`, { name }, { 'if-match': etag })
  await own.whileLagging(async () => {
    const first = await as(admin, 'PATCH', `/v1/users/${id}`, { name: 'Grace' })
    const etag = first.headers.get('etag')!
    expect((await rename('Joan', etag)).status).toBe(200)
    const stale = await rename('Eve', etag)
    expect([stale.status, stale.body.code]).toEqual([412, 'version_mismatch'])
  })
  expect(await api.sql('SELECT name FROM users WHERE id = ?', [id])).toEqual([{ name: 'Joan' }])
})

test('AK1, HX8: somebody who has just signed in can make a key, and rotate one that was just made', async () => {
  const ada = await api.person({ role: 'manager', email_verified_at: 1 })
  await own.whileLagging(async () => {
    const { token } = await api.signIn(ada)
    const made = await as(token, 'POST', '/v1/api_keys', { name: 'Report', permissions: ['users:read'] })
    expect([made.status, made.body.code]).toEqual([201, undefined])
    const rotated = await as(token, 'POST', `/v1/api_keys/${made.body.id}/rotate`)
    expect([rotated.status, rotated.body.id]).toEqual([200, made.body.id])
  })
})

test('AK1, HX8: a key that was just revoked cannot be rotated', async () => {
  const ada = await api.person({ role: 'manager', email_verified_at: 1 })
  const { id } = await addKey(api, ada, ['users:read'])
  const { token } = await api.signIn(ada)
  await own.whileLagging(async () => {
    expect((await as(token, 'DELETE', `/v1/api_keys/${id}`)).status).toBe(204)
    const rotated = await as(token, 'POST', `/v1/api_keys/${id}/rotate`)
    expect([rotated.status, rotated.body.code]).toEqual([404, 'api_key_not_found'])
  })
  expect(await api.sql('SELECT id FROM api_keys WHERE id = ?', [id])).toEqual([])
})

test('HX8: somebody without a password who has just signed in can leave', async () => {
  const ada = await api.person({ password_hash: null })
  await own.whileLagging(async () => {
    const { token } = await api.signIn(ada)
    expect((await as(token, 'DELETE', '/v1/users/me', {})).status).toBe(204)
  })
  expect(await stateOf(ada.id)).toBe('deleted')
})

test('HX8, SE3: a session that was just begun can be ended, and set up a second factor', async () => {
  const ada = await api.person({ email_verified_at: 1 })
  await own.whileLagging(async () => {
    const { token } = await api.signIn(ada)
    const begun = await as(token, 'POST', '/v1/auth/factors/totp')
    expect([begun.status, begun.body.code]).toEqual([201, undefined])
    const options = await as(token, 'POST', '/v1/auth/passkeys/options')
    expect([options.status, options.body.code]).toEqual([200, undefined])
    const listed = await as((await api.signIn(ada)).token, 'GET', '/v1/auth/sessions')
    expect(listed.status).toBe(200)
    const [newest] = await api.sql('SELECT id FROM sessions WHERE user_id = ? ORDER BY id DESC LIMIT 1', [
      ada.id,
    ])
    const ended = await as(token, 'DELETE', `/v1/auth/sessions/${newest!.id}`)
    expect([ended.status, ended.body?.code]).toEqual([204, undefined])
    expect(
      await api.sql('SELECT revoked_at IS NULL AS open FROM sessions WHERE id = ?', [newest!.id as string]),
    ).toEqual([{ open: 0 }])
  })
})

test('HX8: an invitation that was just made can be sent again and withdrawn', async () => {
  await own.whileLagging(async () => {
    const email = `${crypto.randomUUID()}@roster.test`
    const made = await as(admin, 'POST', '/v1/invitations', { email, role: 'user' })
    expect(made.status).toBe(201)
    const again = await as(admin, 'POST', `/v1/invitations/${made.body.id}/resend`)
    expect([again.status, again.body.code]).toEqual([200, undefined])
    const gone = await as(admin, 'DELETE', `/v1/invitations/${again.body.id}`)
    expect([gone.status, gone.body?.code]).toEqual([204, undefined])
  })
})

test('HX8, SE1: a password alone does not confirm who somebody is, once they have added a factor', async () => {
  const ada = await api.person({ email_verified_at: 1 })
  const { token } = await api.signIn(ada)
  await own.whileLagging(async () => {
    await api.sql(
      `INSERT INTO factors (user_id, seed, key_id, created_at, confirmed_at) VALUES (?, 'seed', 'key', 1, 1)`,
      [ada.id],
    )
    const { status, body } = await as(token, 'POST', '/v1/auth/reauthenticate', { password: PASSWORD })
    expect([status, body.code]).toEqual([403, 'second_factor_required'])
  })
})

test('HX8: an authenticator is not told to forget the passkey that was just added', async () => {
  const ada = await api.person({ email_verified_at: 1 })
  const former = await addPasskey(api, ada)
  const { ISSUER: origin } = api.config()
  let { cookie } = await signedIn(api, ada)
  const ask = (method: string, path: string, body?: object) =>
    api.send<{ challenge_id: string; options: never }>(method, path, {
      headers: { cookie, origin },
      ...(body && { body }),
    })
  await own.whileLagging(async () => {
    const { challenge_id, options } = (await ask('POST', '/v1/auth/passkeys/options')).body
    const passkey = await softwarePasskey(origin)
    const added = await ask('POST', '/v1/auth/passkeys', {
      challenge_id,
      credential: passkey.create(options),
    })
    expect(added.status, added.text).toBe(201)
    cookie = added.headers.getSetCookie()[0]!.split(';')[0]!
    for (const page of ['/account', '/account/security']) {
      const { status, text } = await ask('GET', page)
      expect(status).toBe(200)
      const [, known] = /data-passkeys-known="([^"]+)"/.exec(text)!
      const { allAcceptedCredentialIds } = JSON.parse(known!.replaceAll('&quot;', '"'))
      expect(allAcceptedCredentialIds.sort()).toEqual([former.id, passkey.id].sort())
    }
  })
})

test('HX8: a link that was just mailed works', async () => {
  const { email } = await api.person({ email_verified_at: 1 })
  await own.whileLagging(async () => {
    expect((await api.send('POST', '/v1/auth/forgot_password', { body: { email } })).status).toBe(202)
    const { token } = linkIn((await api.mailsTo(email))[0]!)
    const body = { token, new_password: 'nine green bears run' }
    expect((await api.send('POST', '/v1/auth/reset_password', { body })).status).toBe(204)
  })
})

test('MF6, HX8: "this was not me", followed a second time, ends a session that has just begun', async () => {
  const ada = await api.person({ email_verified_at: 1 })
  const { token } = await api.signIn(ada)
  const { secret } = (await as(token, 'POST', '/v1/auth/factors/totp')).body
  const proof = await mailedCode(api, { email: ada.email, token })
  const code = codeOf(decodeBase32IgnorePadding(secret as string))
  expect((await as(token, 'POST', '/v1/auth/factors/totp/confirm', { code, ...proof })).status).toBe(200)
  const body = { token: linkIn((await api.mailsTo(ada.email))[0]!).token }
  const disown = async () => (await api.send('POST', '/v1/auth/disown_factor', { body })).body
  expect(await disown()).toEqual({ factor: 'kept' })
  const thief = await own.whileLagging(async () => {
    const begun = await api.signIn(ada)
    expect(await disown()).toEqual({ factor: 'kept' })
    return begun
  })
  expect((await api.send('GET', '/v1/users/me', { token: thief.token })).status).toBe(401)
  const open = 'SELECT id FROM sessions WHERE user_id = ? AND revoked_at IS NULL'
  expect(await api.sql(open, [ada.id])).toEqual([])
})

test('HX8: an authenticator is told of the passkey that it has just made, so that it keeps it', async () => {
  const ada = await api.person({ email_verified_at: 1 })
  const { token } = await api.signIn(ada)
  await own.whileLagging(async () => {
    const { id } = await addPasskey(api, ada)
    const { body } = await as(token, 'POST', '/v1/auth/passkeys/options')
    const { excludeCredentials } = body.options as { excludeCredentials: { id: string }[] }
    expect(excludeCredentials.map((one) => one.id)).toEqual([id])
  })
})

test('HX8: a device whose code was typed as soon as it was shown is allowed', async () => {
  const app = await addApp(api, { grants: [DEVICE_CODE], redirect_uris: [], type: 'public' })
  const browser = await openBrowser(api, await api.person({ email_verified_at: 1 }))
  await own.whileLagging(async () => {
    const raw = new URLSearchParams({ client_id: app.client_id, scope: 'openid' })
    const begun = await api.send('POST', '/oauth/device_authorization', { raw })
    const { text } = await browser('POST', '/device', { code: begun.body.user_code as string })
    const fieldOf = (name: string) => new RegExp(`name="${name}" value="([^"]*)"`).exec(text)?.[1] ?? ''
    const given = { device: fieldOf('device'), shown: fieldOf('shown'), decision: 'allow' }
    const { status, headers } = await browser('POST', '/device', given)
    expect([status, headers.get('location')]).toEqual([303, '/device?done=allowed'])
  })
})

test.each([
  ['another', () => `${crypto.randomUUID()}@fjord.test`],
  ['the same', (own: string) => own],
])(
  'HX8: whoever has just connected a provider enters by it, if it knows them by %s address',
  async (_, emailThere) => {
    const ada = await api.person({ email: `${crypto.randomUUID()}@fjord.test`, email_verified_at: 1 })
    const jar = newJar(openApi({ ...withProviders(), ...own.bindings }))
    const sub = crypto.randomUUID()
    await own.whileLagging(async () => {
      await api.sql(
        "INSERT INTO identities (id, provider, subject, user_id, created_at) VALUES (?, 'corp', ?, ?, 1)",
        [crypto.randomUUID(), sub, ada.id],
      )
      await comeFrom(jar, 'corp', { sub, email: emailThere(ada.email), email_verified: true })
      expect(isSignedIn(jar)).toBe(true)
    })
  },
)

test('HX8, AC4: an app is not refused tokens for a role that its user has no longer', async () => {
  const strict = openApi({ ...own.bindings, SECOND_FACTOR: 'managers' })
  const app = await addApp(api, { scopes: ['openid'] })
  const ada = await api.person({ role: 'manager' })
  const { refreshToken } = await letApp(api, ada, { scope: 'openid', app })
  const refresh = async () => {
    const answer = await strict.send('POST', '/oauth/token', {
      headers: { authorization: `Basic ${btoa(`${app.client_id}:${app.client_secret}`)}` },
      raw: new URLSearchParams({ grant_type: 'refresh_token', refresh_token: refreshToken }),
    })
    return answer.body.error ?? answer.status
  }
  expect(await refresh()).toBe('invalid_grant')
  await own.whileLagging(async () => {
    await api.sql("UPDATE users SET role = 'user' WHERE id = ?", [ada.id])
    expect(await refresh()).toBe(200)
  })
})
