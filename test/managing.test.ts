import { exportJWK, generateKeyPair, SignJWT } from 'jose'
import { beforeAll, expect, test } from 'vitest'
import { type Actor, type Api, linkIn, openApi, PASSWORD } from './support/api.ts'
import { addPasskey, addTotp, answerOf } from './support/factors.ts'
import { addKey } from './support/keys.ts'
import { limiter } from './support/limiter.ts'
import { addApp } from './support/oauth.ts'
import { newPerson } from './support/requests.ts'
import { differences, dump } from './support/snapshots.ts'
import { freshUpstreams } from './support/upstreams.ts'

let api: Api
let admin: Actor & { sessionId: string }
let manager: Actor & { sessionId: string }

beforeAll(async () => {
  api = openApi((await freshUpstreams()).bindings)
  const of = (role: 'admin' | 'manager') =>
    api.quickActor({ role, password_hash: null, email_verified_at: Date.now() }) as never
  admin = await of('admin')
  manager = await of('manager')
})

const newAddress = () => `${crypto.randomUUID()}@people.test`
const proved = (given: object = {}) =>
  api.person({ password_hash: null, email_verified_at: Date.now(), ...given })
const patch = (by: { token: string }, id: string, body: object, path = '/v1/users') =>
  api.send('PATCH', `${path}/${id}`, { token: by.token, body })
const post = <T = Record<string, unknown>>(by: { token: string }, path: string, body?: object) =>
  api.send<T>('POST', path, { token: by.token, body })
const rowOf = async (id: string) => (await api.sql('SELECT * FROM users WHERE id = ?', [id]))[0]!
const kindsTo = async (email: string) =>
  (
    await api.sql('SELECT kind FROM outbox WHERE recipient_normalized = ? ORDER BY id', [email.toLowerCase()])
  ).map(({ kind }) => kind)
const undo = (token: string) => post({ token: '' }, '/v1/auth/undo_email_change', { token })

test('HX2: another address is unverified, ends sessions and links, and its owner can undo it', async () => {
  const ada = await proved()
  const session = await api.signIn(ada)
  await api.send('POST', '/v1/auth/forgot_password', { body: { email: ada.email } })
  const reset = linkIn((await api.mailsTo(ada.email))[0]!).token
  const email = newAddress()
  const moved = await patch(manager, ada.id, { email, name: 'Grace' })
  expect(moved.body).toMatchObject({ email, email_verified: false, name: 'Grace' })
  expect((await api.send('GET', '/v1/users/me', { token: session.token })).status).toBe(401)
  const refreshed = await api.send('POST', '/v1/auth/refresh_token', {
    body: { refresh_token: session.refreshToken },
  })
  expect(refreshed.status).toBe(401)
  const body = { token: reset, new_password: 'nine green bears run' }
  expect((await api.send('POST', '/v1/auth/reset_password', { body })).body.code).toBe('invalid_link')
  expect(await kindsTo(email)).toEqual(['verify_email_by_admin'])

  const [told] = await api.mailsTo(ada.email)
  expect(told!.text).toContain(email)
  expect((await undo(linkIn(told!).token)).status).toBe(204)
  expect(await rowOf(ada.id)).toMatchObject({ email: ada.email, email_verified_at: expect.any(Number) })
})

test('HX2: an unverified address is not told, and another spelling is the same address', async () => {
  const eve = await proved({ email_verified_at: null })
  expect((await patch(manager, eve.id, { email: newAddress() })).status).toBe(200)
  expect(await kindsTo(eve.email)).toEqual([])

  const ada = await proved()
  const { token } = await api.signIn(ada)
  const answer = await patch(manager, ada.id, { email: ada.email.toUpperCase() })
  expect(answer.body).toMatchObject({ email: ada.email.toUpperCase(), email_verified: true })
  expect((await api.send('GET', '/v1/users/me', { token })).status).toBe(200)
  expect(await kindsTo(ada.email)).toEqual([])
})

test('HX2: ending a takeover leaves the thief no way back, and the other administrators are told', async () => {
  const ada = await proved()
  const other = await proved({ role: 'admin' })
  // The thief changes the address twice: the first undo would be the thief's.
  await patch(admin, ada.id, { email: newAddress() })
  const older = linkIn((await api.mailsTo(ada.email))[0]!).token
  const thiefs = newAddress()
  await api.sql('UPDATE users SET email = ?1, email_normalized = ?1, email_verified_at = 1 WHERE id = ?2', [
    thiefs,
    ada.id,
  ])
  const refused = await patch(manager, ada.id, { email: newAddress(), revoke_old: true })
  expect([refused.status, refused.body.code]).toEqual([403, 'forbidden'])
  expect((await patch(admin, ada.id, { name: 'Ada', revoke_old: true })).status).toBe(422)
  const same = await patch(admin, ada.id, { email: thiefs.toUpperCase(), revoke_old: true })
  expect([same.status, same.body.code]).toEqual([422, 'invalid_input'])

  const email = newAddress()
  expect((await patch(admin, ada.id, { email, revoke_old: true })).status).toBe(200)
  const [told] = await api.mailsTo(thiefs)
  expect(told!.text).not.toContain('http')
  expect((await undo(older)).body.code).toBe('invalid_link')
  expect((await api.mailsTo(other.email))[0]!.text).toContain(email)
  expect(await kindsTo(admin.email)).toEqual([])
  const [row] = await api.sql(
    "SELECT details FROM user_activity_logs WHERE user_id = ? AND action = 'email.changed' ORDER BY id DESC",
    [ada.id],
  )
  expect(JSON.parse(row!.details as string)).toEqual({
    email: { from: thiefs, to: email },
    revoke_old: true,
  })
})

test('HX2: ending a takeover leaves nothing that the thief knows or has added', async () => {
  const ada = await api.person({ email_verified_at: Date.now() })
  const passkey = await addPasskey(api, ada)
  await addTotp(api, ada)
  await addKey(api, ada, [])
  await api.sql(
    "INSERT INTO identities (id, provider, subject, user_id, created_at) VALUES (?1, 'thiefs', ?1, ?2, 1)",
    [ada.id, ada.id],
  )
  const email = newAddress()
  expect((await patch(admin, ada.id, { email, revoke_old: true })).status).toBe(200)
  const logIn = (password: string) => api.send('POST', '/v1/auth/login', { body: { email, password } })
  const refused = await logIn(PASSWORD)
  expect([refused.status, refused.body.code]).toEqual([401, 'invalid_credentials'])
  const asserted = await answerOf(api, passkey, '/v1/auth/login/passkey/options')
  expect((await api.send('POST', '/v1/auth/login/passkey', { body: asserted })).status).toBe(401)
  for (const table of ['passkeys', 'factors', 'recovery_codes', 'api_keys', 'identities'])
    expect([table, await api.sql(`SELECT 1 FROM ${table} WHERE user_id = ?`, [ada.id])]).toEqual([table, []])
  // The owner gets in by the mail alone.
  const { token } = linkIn((await api.mailsTo(email)).at(-1)!)
  const body = { token, new_password: 'nine green bears run' }
  expect((await api.send('POST', '/v1/auth/verify_email', { body })).status).toBe(204)
  expect((await logIn('nine green bears run')).status).toBe(200)
})

test('HX19: an administrator with an old login cannot make a manager, and the refusal costs no hash', async () => {
  const none = openApi({
    ...api.bindings,
    RATE_LIMIT_HASHES: limiter(0),
    RATE_LIMIT_DEVICE_HASHES: limiter(0),
  })
  const { token } = await api.signIn(admin, Date.now() - 3_600_000)
  const body = { ...newPerson(), role: 'manager' }
  const { status, body: said } = await none.send('POST', '/v1/users', { token, body })
  expect([status, said.code]).toEqual([403, 'reauthentication_required'])
})

test('LG2: changing an address and a role together makes two rows', async () => {
  const eve = await proved({ role: 'manager' })
  expect((await patch(admin, eve.id, { email: newAddress(), role: 'user' })).status).toBe(200)
  expect(await api.historyOf(eve.id)).toEqual(['email.changed', 'user.role_changed'])
})

test('HX2: a changed role, disabling, enabling, deleting and restoring are reported by mail', async () => {
  const ada = await proved()
  await patch(admin, ada.id, { role: 'manager' })
  await patch(admin, ada.id, { role: 'user' })
  await post(admin, `/v1/users/${ada.id}/disable`, { reason: 'left' })
  await post(admin, `/v1/users/${ada.id}/enable`)
  await api.send('DELETE', `/v1/users/${ada.id}`, { token: admin.token })
  await post(admin, `/v1/users/${ada.id}/restore`)
  expect(await kindsTo(ada.email)).toEqual([
    'role_changed',
    'role_changed',
    'account_disabled',
    'account_enabled',
    'account_deleted',
    'account_restored',
  ])
})

test('HX2: whoever is disabled until a time is told that time, also when another one is set', async () => {
  const [ada, grace] = [await proved(), await proved({ locale: 'de' })]
  const told = async ({ email }: { email: string }) =>
    (await api.mailsTo(email)).map(({ text }) => text).reverse()
  const disable = ({ id }: { id: string }, until?: string) =>
    post(admin, `/v1/users/${id}/disable`, { reason: 'left', ...(until && { until }) })
  await disable(ada)
  await disable(ada, '2099-03-01T09:05:00Z')
  await disable(ada, '2099-02-01T23:30:00Z')
  await disable(grace, '2099-03-01T09:05:00Z')
  expect(await told(ada)).toEqual([
    expect.stringContaining('nobody can sign in to it, and'),
    expect.stringContaining('nobody can sign in to it until 1 March 2099, 09:05 UTC, and'),
    expect.stringContaining('nobody can sign in to it until 1 February 2099, 23:30 UTC, and'),
  ])
  expect(await told(grace)).toEqual([
    expect.stringContaining('kann sich bis zum 1. März 2099, 09:05 Uhr (UTC), darin anmelden'),
  ])
})

test('HX5, AZ5: no higher role can be given before the address is proved', async () => {
  const squatter = await proved({ email_verified_at: null })
  const ada = await proved()
  const before = await dump(api)
  const refused = await patch(admin, squatter.id, { role: 'admin' })
  expect([refused.status, refused.body.code]).toEqual([409, 'address_not_verified'])
  const along = await patch(admin, ada.id, { role: 'manager', email: newAddress() })
  expect(along.body.code).toBe('address_not_verified')
  expect(differences(before, await dump(api))).toEqual([])

  await api.sql('UPDATE users SET email_verified_at = 1 WHERE id = ?', [squatter.id])
  expect((await patch(admin, squatter.id, { role: 'admin' })).status).toBe(200)
  await api.sql('UPDATE users SET email_verified_at = NULL WHERE id = ?', [squatter.id])
  // The last administrator who can sign in stays an administrator.
  expect((await patch(admin, squatter.id, { role: 'user' })).body.code).toBe('last_admin')
  await api.person({ role: 'admin', email_verified_at: 1 })
  expect((await patch(admin, squatter.id, { role: 'user' })).status).toBe(200)
})

test('HX5: a squatter on a freed address gives way to its owner', async () => {
  const ada = await proved()
  await api.send('DELETE', `/v1/users/${ada.id}`, { token: admin.token })
  const body = { email: ada.email, password: PASSWORD, name: 'Eve' }
  const signedUp = await api.send('POST', '/v1/auth/signup', { body })
  const eve = await api.signIn({ id: signedUp.body.id as string })
  expect((await post(admin, `/v1/users/${ada.id}/restore`)).body).toMatchObject({ email_verified: true })
  expect((await api.send('GET', '/v1/users/me', { token: eve.token })).status).toBe(401)
  expect(await api.historyOf(signedUp.body.id as string)).toEqual(['user.signed_up', 'user.deleted'])
})

test('HX5: somebody who proved the address meanwhile keeps it', async () => {
  const ada = await proved()
  await api.send('DELETE', `/v1/users/${ada.id}`, { token: admin.token })
  await proved({ email: ada.email })
  const answer = await post(admin, `/v1/users/${ada.id}/restore`)
  expect([answer.status, answer.body.code]).toEqual([409, 'email_taken'])
})

test('Those who manage can have the links sent that a user needs, to the account’s address', async () => {
  const ada = await proved({ email_verified_at: null })
  const before = await rowOf(ada.id)
  expect((await post(manager, `/v1/users/${ada.id}/send_verification`)).status).toBe(204)
  expect((await post(manager, `/v1/users/${ada.id}/send_reset`)).status).toBe(204)
  expect(await rowOf(ada.id)).toEqual(before)
  const mails = await api.mailsTo(ada.email)
  expect(mails).toHaveLength(2)
  const body = { token: linkIn(mails[0]!).token, new_password: 'nine green bears run' }
  expect((await api.send('POST', '/v1/auth/reset_password', { body })).status).toBe(204)
  expect((await post(manager, `/v1/users/${ada.id}/send_verification`)).status).toBe(204)
  expect(await kindsTo(ada.email)).not.toContain(undefined)
  expect((await kindsTo(ada.email)).filter((kind) => kind === 'verify_email_by_admin')).toHaveLength(1)

  const boss = await proved({ role: 'admin' })
  for (const path of ['send_reset', 'send_verification']) {
    expect((await post(manager, `/v1/users/${boss.id}/${path}`)).body.code).toBe('outranked')
    expect((await post(manager, `/v1/users/${manager.id}/${path}`)).body.code).toBe('own_account')
  }
  expect(await kindsTo(boss.email)).toEqual([])
})

test('HX2: ending the takeover of an administrator ends the services and invitations that the thief may have set up', async () => {
  const [thief, other, mender] = [
    await api.quickActor({ role: 'admin', email_verified_at: 1 }),
    await api.quickActor({ role: 'admin', email_verified_at: 1 }),
    await api.quickActor({ role: 'admin', email_verified_at: 1 }),
  ]
  type App = { client_id: string; client_secret?: string | undefined }
  const service = (by: Actor, given = {}) =>
    addApp(api, {
      by: by.token,
      grants: ['client_credentials'],
      redirect_uris: [],
      scopes: ['users:read'],
      ...given,
    })
  const rotate = async (by: Actor, { client_id }: App) =>
    (await post<App>(by, `/v1/oauth_clients/${client_id}/secret`, { keep_former_seconds: 3600 })).body
  const tokenOf = async ({ client_id, client_secret }: App) => {
    const { body } = await api.send<{ access_token?: string; error?: string }>('POST', '/oauth/token', {
      raw: new URLSearchParams({ grant_type: 'client_credentials' }),
      headers: { authorization: `Basic ${btoa(`${client_id}:${client_secret}`)}` },
    })
    return body.access_token ?? body.error!
  }
  const read = async (token: string) => (await api.send('GET', '/v1/users', { token })).status
  const found = async ({ client_id }: App) =>
    (await api.sql('SELECT * FROM oauth_clients WHERE id = ?', [client_id]))[0]!
  const invite = async (by: Actor, role = 'admin') => {
    const email = newAddress()
    const { id } = (await post<{ id: string }>(by, '/v1/invitations', { email, role })).body
    return { id, token: linkIn((await api.mailsTo(email))[0]!).token }
  }
  const accept = ({ token }: { token: string }) =>
    post({ token: '' }, '/v1/auth/accept_invitation', { token, password: 'nine green bears run' })

  const own = await service(thief)
  const others = await service(other)
  const known = await rotate(thief, others)
  const bystander = await service(other)
  // Its owner has replaced the secret since: the thief's is a former one, which is good for a while.
  const replaced = await service(other)
  const former = await rotate(thief, replaced)
  await api.sql('UPDATE oauth_clients SET former_secret_until = 1 WHERE id = ?', [replaced.client_id])
  await rotate(other, replaced)
  const web = await addApp(api, { by: thief.token })
  const tokens = [await tokenOf(own), await tokenOf(others), await tokenOf(former), await tokenOf(bystander)]
  expect(await Promise.all(tokens.map(read))).toEqual([200, 200, 200, 200])
  const [thiefs, theirs] = [await invite(thief), await invite(other)]
  const inviting = await service(thief, { scopes: ['users:create'] })
  const byService = await invite({ ...thief, token: await tokenOf(inviting) }, 'user')

  const before = await dump(api)
  expect((await patch(manager, thief.id, { email: newAddress(), revoke_old: true })).status).toBe(403)
  expect(await dump(api)).toEqual(before)

  const untouched = [await found(bystander), await found(web)]
  expect((await patch(mender, thief.id, { email: newAddress(), revoke_old: true })).status).toBe(200)
  expect(await Promise.all(tokens.map(read))).toEqual([401, 401, 401, 200])
  const secrets = [own, others, known, former]
  expect(await Promise.all(secrets.map(tokenOf))).toEqual(Array(4).fill('invalid_client'))
  expect((await accept(thiefs)).body.code).toBe('invalid_link')
  expect((await accept(theirs)).status).toBe(201)
  expect((await post(other, `/v1/invitations/${thiefs.id}/resend`)).body.code).toBe('invitation_ended')
  expect([{ ...(await found(bystander)), last_used_at: null }, await found(web)]).toEqual([
    { ...untouched[0], last_used_at: null },
    untouched[1],
  ])
  const history = await api.sql(
    `SELECT action, details ->> 'reason' AS reason, coalesce(details ->> 'client_id', details ->> 'invitation_id') AS what
      FROM user_activity_logs WHERE actor_id = ? AND id > ? AND details ->> 'reason' > '' ORDER BY action, what`,
    [mender.id, thief.id],
  )
  const event = (action: string, what: string) => ({ action, reason: 'revoke_old', what })
  expect(history).toEqual([
    ...[own, others, replaced, inviting]
      .map(({ client_id }) => client_id)
      .sort()
      .map((id) => event('client.updated', id)),
    ...[thiefs.id, byService.id].sort().map((id) => event('invitation.withdrawn', id)),
  ])

  // Whoever answers for a service from now on gives it another secret.
  for (const app of [own, others, replaced, inviting]) {
    const answer = await patch(other, app.client_id, { take_over: true }, '/v1/oauth_clients')
    expect([answer.status, answer.body.owner_id]).toEqual([200, other.id])
  }
  expect(await Promise.all(secrets.map(tokenOf))).toEqual(Array(4).fill('invalid_client'))
  expect(await Promise.all(tokens.map(read))).toEqual([401, 401, 401, 200])
  expect((await accept(byService)).body.code).toBe('invalid_link')
  const present = await tokenOf(await rotate(other, own))
  expect(await read(present)).toBe(200)
  expect(await tokenOf(own)).toBe('invalid_client')

  // Whoever shut them out knows none of their secrets.
  expect((await patch(other, mender.id, { email: newAddress(), revoke_old: true })).status).toBe(200)
  expect(await read(present)).toBe(200)
})

test('HX2: keys that the thief may have given a service do not work after a takeover has ended either', async () => {
  const thief = await api.quickActor({ role: 'admin', email_verified_at: 1 })
  const { publicKey, privateKey } = await generateKeyPair('RS256', { extractable: true })
  const jwks = { keys: [{ ...(await exportJWK(publicKey)), kid: 'thiefs', alg: 'RS256', use: 'sig' }] }
  const { client_id } = await addApp(api, {
    by: thief.token,
    grants: ['client_credentials'],
    redirect_uris: [],
    scopes: ['users:read'],
    token_endpoint_auth_method: 'private_key_jwt',
    jwks,
  })
  const ask = async () => {
    const assertion = await new SignJWT({ jti: crypto.randomUUID() })
      .setProtectedHeader({ alg: 'RS256', kid: 'thiefs' })
      .setIssuer(client_id)
      .setSubject(client_id)
      .setAudience(api.config().ISSUER)
      .setIssuedAt()
      .setExpirationTime('1m')
      .sign(privateKey)
    const raw = new URLSearchParams({
      grant_type: 'client_credentials',
      client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
      client_assertion: assertion,
    })
    return (await api.send('POST', '/oauth/token', { raw })).status
  }
  const change = (body: object) => patch(admin, client_id, body, '/v1/oauth_clients')
  expect(await ask()).toBe(200)
  expect((await patch(admin, thief.id, { email: newAddress(), revoke_old: true })).status).toBe(200)
  expect((await change({ take_over: true })).body).toMatchObject({ owner_id: admin.id, jwks: { keys: [] } })
  expect(await ask()).toBe(401)
  expect((await change({ jwks })).status).toBe(200)
  expect(await ask()).toBe(200)
})
