import { decodeBase32IgnorePadding } from '@oslojs/encoding'
import { describe, expect, test } from 'vitest'
import { authorize, begin } from '../openid/support.ts'
import { type Actor, type Api, linkIn, openApi, PASSWORD } from '../support/api.ts'
import { softwarePasskey } from '../support/authenticator.ts'
import { addPasskey, addRecoveryCodes, codeOf } from '../support/factors.ts'
import { comingFrom, goTo, newJar, placeIn, withProviders } from '../support/identities.ts'
import { addKey } from '../support/keys.ts'
import { addApp, letApp } from '../support/oauth.ts'
import { openBrowser } from '../support/pages.ts'
import { upstreams } from '../support/upstreams.ts'

/** Which undo links are affected by a change, a confirmation and an undo, and which are not. */

const api = openApi()
const DAY_MS = 86_400_000
const newAddress = () => `${crypto.randomUUID()}@people.test`
const verified = () => api.actor({ email_verified_at: 1 })

const ask = async ({ token }: Actor, new_email: string) => {
  const body = { new_email, current_password: PASSWORD }
  expect((await api.send('POST', '/v1/auth/change_email', { token, body })).status).toBe(202)
}
const newest = async (email: string) => linkIn((await api.mailsTo(email))[0]!)
const confirm = async ({ token }: Actor, email: string) => {
  const body = { token: (await newest(email)).token }
  return (await api.send('POST', '/v1/auth/confirm_email_change', { token, body })).status
}
const undo = async (token: string) =>
  (await api.send('POST', '/v1/auth/undo_email_change', { body: { token } })).status
const undoLinksOf = ({ id }: Actor) =>
  api.sql(
    "SELECT email, expires_at FROM one_time_tokens WHERE subject_id = ? AND purpose = 'undo_email_change' ORDER BY id",
    [id],
  )

test('SE2: undoing a later change leaves the undo of an earlier one valid', async () => {
  const [ada, second, third] = [await verified(), newAddress(), newAddress()]
  await ask(ada, second)
  const first = await newest(ada.email)
  expect(await confirm(ada, second)).toBe(204)
  await ask(ada, third)
  const later = await newest(second)
  expect(await confirm(ada, third)).toBe(204)
  expect([await undo(later.token), await undo(first.token)]).toEqual([204, 204])
  expect((await api.sql('SELECT email FROM users WHERE id = ?', [ada.id]))[0]).toEqual({ email: ada.email })
})

test('SE2: a confirmation only prolongs the undo for that user and that address', async () => {
  const [ada, eve] = [await verified(), await verified()]
  const [second, third] = [newAddress(), newAddress()]
  await ask(ada, second)
  expect(await confirm(ada, second)).toBe(204)
  await ask(ada, third)
  await ask(eve, newAddress())
  const shorten = ({ id }: Actor) =>
    api.sql('UPDATE one_time_tokens SET expires_at = expires_at - ? WHERE subject_id = ?', [DAY_MS / 2, id])
  await Promise.all([shorten(ada), shorten(eve)])
  const [before, beforeEve] = [await undoLinksOf(ada), await undoLinksOf(eve)]
  expect(await confirm(ada, third)).toBe(204)
  const after = await undoLinksOf(ada)
  expect(after[0]).toEqual(before[0])
  expect(Number(after[1]!.expires_at)).toBeGreaterThan(Number(before[1]!.expires_at))
  expect(await undoLinksOf(eve)).toEqual(beforeEve)
})

test('SE2: whoever closes an account is mailed a link that reopens it, without the password it was closed with', async () => {
  const ada = await verified()
  const close = (who: Actor) =>
    api.send('DELETE', '/v1/users/me', { token: who.token, body: { password: PASSWORD } })
  expect((await close(ada)).status).toBe(204)
  const { token } = await newest(ada.email)
  const reopen = (given: string) => api.send('POST', '/v1/auth/reopen_account', { body: { token: given } })
  expect((await reopen(token)).status).toBe(204)
  const login = { email: ada.email, password: PASSWORD }
  expect((await api.send('POST', '/v1/auth/login', { body: login })).status).toBe(401)
  expect((await api.send('GET', '/v1/users/me', { token: ada.token })).status).toBe(401)
  expect((await reopen(token)).body.code).toBe('invalid_link')
  const history = await api.historyOf(ada.id)
  expect(history.slice(history.indexOf('user.deleted'))).toEqual([
    'user.deleted',
    'user.restored',
    'login.failed',
  ])

  // It no longer works once the account was opened in another way, or was closed by somebody who manages.
  const eve = await verified()
  await close(eve)
  const admin = await api.quickActor({ role: 'admin' })
  await api.send('POST', `/v1/users/${eve.id}/restore`, { token: admin.token })
  const mails = (await api.mailsTo(eve.email)).map(({ text }) => text)
  const link = new URL(/^http\S+reopen_account\S+$/m.exec(mails.join('\n'))![0])
  expect((await reopen(link.searchParams.get('token')!)).body.code).toBe('invalid_link')

  // Nor after somebody who manages has deleted it as well. Deleting it again changes nothing.
  const joan = await verified()
  await close(joan)
  const hers = (await newest(joan.email)).token
  const remove = () => api.send('DELETE', `/v1/users/${joan.id}`, { token: admin.token })
  expect((await remove()).status).toBe(204)
  expect((await reopen(hers)).body.code).toBe('invalid_link')
  expect((await remove()).status).toBe(204)
  expect((await api.historyOf(joan.id)).filter((action) => action === 'user.deleted')).toHaveLength(2)

  // An unproved address is told nothing.
  const squatter = await api.actor()
  await close(squatter)
  expect(await api.mailsTo(squatter.email)).toEqual([])
})

describe('SE2: an undo removes what was being added while the change was asked for:', () => {
  /** Prepares an addition for somebody who has a passkey: the request, and the action it writes. */
  type Addition = (ada: Actor, by: Api) => Promise<[action: string, request: () => Promise<unknown>]>
  const post = (by: Api, { token }: Actor, path: string, body?: object) =>
    by.send('POST', path, { token, ...(body && { body }) })
  const ADDITIONS: [what: string, table: string, add: Addition][] = [
    [
      'a passkey',
      'passkeys',
      async (ada, by) => {
        const { body } = await post(by, ada, '/v1/auth/passkeys/options')
        const credential = (await softwarePasskey(by.config().ISSUER)).create(body.options as never)
        const made = { challenge_id: body.challenge_id, credential, name: 'Thief' }
        return ['factor.added', () => post(by, ada, '/v1/auth/passkeys', made)]
      },
    ],
    [
      'an app',
      'factors',
      async (ada, by) => {
        const { body } = await post(by, ada, '/v1/auth/factors/totp', {})
        const code = codeOf(decodeBase32IgnorePadding(body.secret as string))
        return ['factor.added', () => post(by, ada, '/v1/auth/factors/totp/confirm', { code })]
      },
    ],
    [
      'recovery codes',
      'recovery_codes',
      async (ada, by) => ['recovery_codes.renewed', () => post(by, ada, '/v1/auth/factors/recovery_codes')],
    ],
    [
      'a key',
      'api_keys',
      async (ada, by) => [
        'api_key.created',
        () => post(by, ada, '/v1/api_keys', { name: 'Thief', permissions: [] }),
      ],
    ],
    [
      'a new secret of a key',
      'api_keys',
      async (ada, by) => {
        const { id } = await addKey(by, ada)
        return ['api_key.rotated', () => post(by, ada, `/v1/api_keys/${id}/rotate`)]
      },
    ],
    [
      'an identity',
      'identities',
      async (ada, by) => {
        const jar = newJar(by)
        await jar.signIn(ada.email)
        const page = await jar.submit('/account/security', '/account/security/identities/corp')
        const { back } = comingFrom('corp', (await jar.open(placeIn(page))).to!)
        const place = back({ claims: { sub: crypto.randomUUID(), email: newAddress() } })
        return ['identity.linked', () => jar.open(place)]
      },
    ],
    [
      'an identity that its provider is trusted to connect',
      'identities',
      async (ada, by) => {
        const jar = newJar(by)
        const { back } = await goTo(jar, 'trusted')
        const place = back({ claims: { sub: crypto.randomUUID(), email: ada.email, email_verified: true } })
        return ['identity.linked', () => jar.open(place)]
      },
    ],
    [
      'a consent',
      'oauth_grants',
      async (ada, by) => {
        const browser = await openBrowser(by, ada)
        const { search } = await begin(await addApp(by), { scope: 'openid' })
        return ['consent.given', () => authorize(browser, search)]
      },
    ],
  ]

  test.each(ADDITIONS)('%s', async (_what, table, add) => {
    const ada = await api.actor({ email: `${crypto.randomUUID()}@fjord.test`, email_verified_at: 1 })
    const own = upstreams()
    const [action, request] = await add(ada, openApi({ ...withProviders(), ...own.bindings }))
    if (table !== 'identities') await addPasskey(api, ada)
    if (table === 'recovery_codes') await addRecoveryCodes(api, ada.id)
    const theirs = async () => (await api.sql(`SELECT * FROM ${table} WHERE user_id = ?`, [ada.id])).length
    const before = action === 'factor.added' ? await theirs() : 0
    const { wasHeld } = await own.between(request, () => ask(ada, newAddress()), { only: action })
    expect(wasHeld).toBe(true)
    expect(await api.historyOf(ada.id)).toContain(action)
    const notices = await api.mailsTo(ada.email)
    const { token } = notices.map(linkIn).find(({ url }) => url.pathname.includes('undo_email_change'))!
    expect(await undo(token)).toBe(204)
    expect(await theirs()).toBe(table === 'passkeys' ? before : 0)
  })

  test('or a consent that was given since, even if a Worker whose clock is behind withdraws part of it', async () => {
    const ada = await verified()
    await ask(ada, newAddress())
    const { token } = await newest(ada.email)
    const { grantId } = await letApp(api, ada, { scope: 'openid profile' })
    const ahead = Date.now() + 60_000
    await api.sql('UPDATE one_time_tokens SET created_at = ? WHERE subject_id = ?', [ahead, ada.id])
    await api.sql('UPDATE oauth_grants SET updated_at = ? WHERE id = ?', [ahead, grantId])
    const kept = await api.send('PATCH', `/v1/auth/grants/${grantId}`, {
      token: ada.token,
      body: { scopes: ['openid'] },
    })
    expect(kept.body).toMatchObject({ scopes: ['openid'], updated_at: new Date(ahead).toISOString() })
    expect(await undo(token)).toBe(204)
    expect(await api.sql('SELECT * FROM oauth_grants WHERE id = ?', [grantId])).toEqual([])
  })

  test('and whoever adds it is told the time that is stored', async () => {
    const ada = await verified()
    await addPasskey(api, ada)
    const [, addAnother] = await ADDITIONS[0]![2](ada, api)
    await ask(ada, newAddress())
    const ahead = Date.now() + 60_000
    await api.sql('UPDATE one_time_tokens SET created_at = ? WHERE subject_id = ?', [ahead, ada.id])
    const stored = new Date(ahead).toISOString()
    expect(await addAnother()).toMatchObject({ status: 201, body: { created_at: stored } })
    const made = await post(api, ada, '/v1/api_keys', { name: 'Mine', permissions: [] })
    expect(made).toMatchObject({ status: 201, body: { rotated_at: stored } })
    await api.sql('UPDATE api_keys SET rotated_at = 1 WHERE user_id = ?', [ada.id])
    const rotated = await post(api, ada, `/v1/api_keys/${made.body.id}/rotate`)
    expect(rotated).toMatchObject({ status: 200, body: { rotated_at: stored } })
    const inTables = `SELECT rotated_at AS at FROM api_keys WHERE user_id = ?1
      UNION SELECT max(created_at) FROM passkeys WHERE user_id = ?1`
    expect(await api.sql(inTables, [ada.id])).toEqual([{ at: ahead }])
  })

  test('or its own link does, if that is followed first', async () => {
    const ada = await verified()
    const own = upstreams()
    const [action, request] = await ADDITIONS[1]![2](ada, openApi(own.bindings))
    await addPasskey(api, ada)
    const { wasHeld } = await own.between(request, () => ask(ada, newAddress()), { only: action })
    expect(wasHeld).toBe(true)
    const body = { token: (await newest(ada.email)).token }
    expect((await api.send('POST', '/v1/auth/disown_factor', { body })).body).toEqual({ factor: 'removed' })
    expect(await api.sql('SELECT * FROM factors WHERE user_id = ?', [ada.id])).toEqual([])
  })

  test('but not what was added before it, whose own link stays valid', async () => {
    const ada = await verified()
    await addPasskey(api, ada)
    const [, add] = await ADDITIONS[0]![2](ada, api)
    const own = upstreams()
    const body = { new_email: newAddress(), current_password: PASSWORD }
    const change = () =>
      openApi(own.bindings).send('POST', '/v1/auth/change_email', { token: ada.token, body })
    const { wasHeld } = await own.between(change, add, { only: 'email.change_requested' })
    expect(wasHeld).toBe(true)
    const linkTo = async (path: string) =>
      (await api.mailsTo(ada.email)).map(linkIn).find(({ url }) => url.pathname.includes(path))!.token
    expect(await undo(await linkTo('undo_email_change'))).toBe(204)
    const names = () => api.sql('SELECT name FROM passkeys WHERE user_id = ? ORDER BY id', [ada.id])
    expect(await names()).toEqual([{ name: 'Laptop' }, { name: 'Thief' }])
    const disowned = await api.send('POST', '/v1/auth/disown_factor', {
      body: { token: await linkTo('disown') },
    })
    expect([disowned.status, disowned.body]).toEqual([200, { factor: 'removed' }])
    expect(await names()).toEqual([{ name: 'Laptop' }])
  })
})
