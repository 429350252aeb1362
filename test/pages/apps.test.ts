import { beforeAll, describe, expect, test } from 'vitest'
import { type Actor, type Answer, type Api, openApi } from '../support/api.ts'
import { addApp, REDIRECT } from '../support/oauth.ts'
import { openBrowser } from '../support/pages.ts'
import { dump } from '../support/snapshots.ts'
import { freshUpstreams } from '../support/upstreams.ts'

let api: Api
let bindings: Record<string, string>
let admin: Actor
let visit: Awaited<ReturnType<typeof openBrowser>>

beforeAll(async () => {
  bindings = (await freshUpstreams()).bindings as Record<string, string>
  api = openApi(bindings)
  admin = await api.quickActor({ role: 'admin', email_verified_at: 1, name: 'Ingrid' })
  visit = await openBrowser(api, admin)
})

const ALL_ROLES = { 'role.user': 'on', 'role.manager': 'on', 'role.admin': 'on' }
const typed = (given: Record<string, string> = {}) => ({
  name: 'Wiki',
  kind: 'web',
  redirect_uris: `${REDIRECT}\r\n\r\n https://app.example/other `,
  post_logout_redirect_uris: '',
  'scope.openid': 'on',
  'scope.email': 'on',
  ...ALL_ROLES,
  id_token_signed_response_alg: 'RS256',
  token_endpoint_auth_method: 'client_secret_basic',
  ...given,
})
const add = (given = {}) => visit('POST', '/admin/apps/new', typed(given))
const idIn = ({ text }: Answer) => /\/admin\/apps\/([0-9a-f-]{36})/.exec(text)![1]!
const secretIn = ({ text }: Answer) => /cs_[\w-]{43}/.exec(text)?.[0]
const placeOf = ({ headers }: Answer) => headers.get('location')
const rowOf = async (id: string) =>
  (await api.sql('SELECT * FROM oauth_clients WHERE id = ?', [id]))[0] as Record<string, unknown>
const seenOf = ({ text }: Answer) => /name="seen" value="([^"]+)"/.exec(text)![1]!

describe('Apps in the console', () => {
  test('an app is added as by the API; its secret is on the next page, and on no other', async () => {
    const added = await add()
    expect(added.status).toBe(200)
    const id = idIn(added)
    const secret = secretIn(added)!
    expect(await rowOf(id)).toMatchObject({
      name: 'Wiki',
      type: 'confidential',
      redirect_uris: JSON.stringify([REDIRECT, 'https://app.example/other']),
      scopes: JSON.stringify(['openid', 'email']),
      allowed_roles: null,
      require_pkce: 1,
      created_by: admin.id,
      secret_by: admin.id,
    })
    const page = await visit('GET', `/admin/apps/${id}`)
    expect(page.text).toContain('added by Ingrid')
    expect(page.text).not.toContain(secret)
    expect((await visit('GET', '/admin/apps')).text).toContain('Wiki')
    expect(JSON.stringify(await dump(api))).not.toContain(secret)
  })

  test('an app without a secret, and a service with permissions, are added by the same page', async () => {
    const native = await add({ kind: 'public', redirect_uris: 'com.example.app:/back' })
    expect([native.status, placeOf(native)]).toEqual([
      303,
      expect.stringMatching(/^\/admin\/apps\/[0-9a-f-]{36}\?done=created$/),
    ])
    const service = await add({ kind: 'service', 'scope.users:read': 'on' })
    expect(await rowOf(idIn(service))).toMatchObject({
      grants: JSON.stringify(['client_credentials']),
      scopes: JSON.stringify(['users:read']),
      owner_id: admin.id,
      redirect_uris: '[]',
    })
    expect((await visit('GET', `/admin/apps/${idIn(service)}`)).text).toContain('You do.')
  })

  test('errors are beside their fields, with what was typed; nothing is added', async () => {
    const before = await dump(api)
    const refused = await add({
      name: 'Notes',
      redirect_uris: 'http://app.example/cb',
      'scope.profile': 'on',
    })
    expect(refused.status).toBe(422)
    expect(refused.text).toContain('id="redirect_uris-error"')
    expect(refused.text).toContain('value="Notes"')
    expect(refused.text).toMatch(/name="scope.profile"[^>]* checked/)
    expect(refused.text).not.toMatch(/name="scope.roles"[^>]* checked/)
    const keys = await add({
      token_endpoint_auth_method: 'private_key_jwt',
      id_token_signed_response_alg: 'ES256',
      jwks: '{',
    })
    expect([keys.status, keys.text.includes('id="jwks-error"')]).toEqual([422, true])
    for (const chosen of ['private_key_jwt', 'ES256'])
      expect(keys.text).toMatch(new RegExp(`<option value="${chosen}" selected`))
    expect((await dump(api)).oauth_clients).toEqual(before.oauth_clients)
  })

  test('an app is changed, but not over changes since the form was opened', async () => {
    const id = idIn(await add())
    const seen = seenOf(await visit('GET', `/admin/apps/${id}`))
    const { 'role.user': _, ...staff } = typed({ name: 'Notes', first_party: 'on', seen, without_pkce: 'on' })
    const saved = await visit('POST', `/admin/apps/${id}`, staff)
    expect([saved.status, placeOf(saved)]).toEqual([303, `/admin/apps/${id}?done=saved`])
    expect(await rowOf(id)).toMatchObject({
      name: 'Notes',
      first_party: 1,
      require_pkce: 0,
      allowed_roles: JSON.stringify(['manager', 'admin']),
    })
    const late = await visit('POST', `/admin/apps/${id}`, typed({ name: 'Else', seen: `${seen}x` }))
    expect([late.status, late.text.includes('Somebody changed this a moment ago')]).toEqual([412, true])
    expect(late.text).toContain('value="Else"')
    expect(await rowOf(id)).toMatchObject({ name: 'Notes' })
  })

  test('of two who save the same version at once, the second overwrites nothing', async () => {
    const id = idIn(await add())
    const seen = seenOf(await visit('GET', `/admin/apps/${id}`))
    const names = ['One', 'Two', 'Three', 'Four']
    const saved = await Promise.all(
      names.map((name) => visit('POST', `/admin/apps/${id}`, typed({ name, seen }))),
    )
    expect(saved.map(({ status }) => status).sort()).toEqual([303, 412, 412, 412])
    const won = names[saved.findIndex(({ status }) => status === 303)]
    expect((await rowOf(id)).name).toBe(won)
  })

  test('a secret is replaced with an overlap, or at once if it was stolen', async () => {
    const added = await add()
    const id = idIn(added)
    const before = await rowOf(id)
    const rotated = await visit('POST', `/admin/apps/${id}/secret`, { keep_former_seconds: '3600' })
    expect([rotated.status, secretIn(rotated)]).toEqual([200, expect.not.stringMatching(secretIn(added)!)])
    expect(await rowOf(id)).toMatchObject({ former_secret_hash: before.secret_hash, epoch: 0 })
    await visit('POST', `/admin/apps/${id}/secret`, { keep_former_seconds: '0' })
    expect(await rowOf(id)).toMatchObject({ former_secret_hash: null, epoch: 1 })
    const odd = await visit('POST', `/admin/apps/${id}/secret`, { keep_former_seconds: 'soon' })
    expect([odd.status, secretIn(odd)]).toEqual([422, undefined])
  })

  test('an app is removed', async () => {
    const id = idIn(await add())
    const removed = await visit('POST', `/admin/apps/${id}/delete`)
    expect([removed.status, placeOf(removed)]).toEqual([303, '/admin/apps?done=deleted'])
    expect(await rowOf(id)).toBeUndefined()
    expect((await visit('GET', `/admin/apps/${id}`)).status).toBe(404)
  })

  test('somebody without a recent login reauthenticates, and finds what they typed', async () => {
    const browser = await openBrowser(api, admin, { provedSecondsAgo: 3600 })
    const before = await dump(api)
    const answer = await browser('POST', '/admin/apps/new', typed({ name: 'Kept', kind: 'public' }))
    expect(answer.status).toBe(303)
    const back = new URL(placeOf(answer)!, 'https://x')
    expect([back.pathname, back.searchParams.get('to')]).toEqual(['/signin/again', '/admin/apps/new'])
    const carried = back.searchParams.get('carried')!
    const page = await browser('GET', `/admin/apps/new?carried=${encodeURIComponent(carried)}`)
    expect(page.text).toContain('value="Kept"')
    expect(page.text).toMatch(/aria-current="page"[^>]*>App in a browser/)
    expect((await dump(api)).oauth_clients).toEqual(before.oauth_clients)
  })

  test('a button beside the settings clears no checkbox when it leads through reauthentication', async () => {
    const id = idIn(await add({ 'scope.profile': 'on' }))
    const browser = await openBrowser(api, admin, { provedSecondsAgo: 3600 })
    const ticks = ({ text }: Answer) => text.match(/name="(scope|role)\.[\w:]+" checked/g)
    const before = ticks(await browser('GET', `/admin/apps/${id}`))
    expect(before).toHaveLength(6)
    for (const [button, fields] of [
      ['secret', { keep_former_seconds: '3600' }],
      ['take_over', {}],
      ['delete', {}],
    ] as const) {
      const sent = placeOf(await browser('POST', `/admin/apps/${id}/${button}`, fields))!
      const back = new URLSearchParams(sent.split('?')[1])
      expect([button, back.get('to')]).toEqual([button, `/admin/apps/${id}`])
      const query = new URLSearchParams({ carried: back.get('carried') ?? '' })
      expect(ticks(await browser('GET', `/admin/apps/${id}?${query}`)), button).toEqual(before)
    }
    const refused = await visit('POST', `/admin/apps/${id}/secret`, { keep_former_seconds: 'soon' })
    expect([refused.status, ticks(refused)]).toEqual([422, before])
  })

  test('CONSOLE=off removes these pages, too', async () => {
    const without = openApi({ ...bindings, CONSOLE: 'off' })
    const browser = await openBrowser(without, admin)
    for (const path of ['/admin/apps', '/admin/apps/new'])
      expect((await browser('GET', path)).status).toBe(404)
  })
})

describe('Somebody who no longer manages apps', () => {
  test('leaves a list on /admin of what they made, whose secrets should be replaced', async () => {
    const bo = await api.quickActor({ role: 'admin', email_verified_at: 1, name: 'Bo Ek' })
    const asBo = await openBrowser(api, bo)
    const wiki = idIn(await asBo('POST', '/admin/apps/new', typed({ name: 'Bo’s wiki' })))
    await asBo('POST', '/admin/apps/new', typed({ name: 'Bo’s phone', kind: 'public' }))
    const service = idIn(
      await asBo(
        'POST',
        '/admin/apps/new',
        typed({ name: 'Bo’s job', kind: 'service', 'scope.users:read': 'on' }),
      ),
    )
    const attention = async (see = visit) =>
      /Needs attention.*?<dl/s.exec((await see('GET', '/admin')).text)![0]
    expect(await attention()).not.toContain('Bo’s')
    await api.sql("UPDATE users SET role = 'manager', token_epoch = token_epoch + 1 WHERE id = ?", [bo.id])
    const left = await attention()
    expect(left).toContain('Bo’s wiki: its secret is known to Bo Ek')
    expect(left).toContain('Bo’s job: its secret is known to Bo Ek')
    expect(left).toContain('Bo’s job: nobody answers for it')
    expect(left).not.toContain('Bo’s phone')
    const asManager = await openBrowser(api, await api.quickActor({ role: 'manager' }))
    expect(await attention(asManager)).not.toContain('Bo’s wiki')

    const page = await visit('GET', `/admin/apps/${service}`)
    expect(page.text).toContain('Nobody does any more')
    expect(placeOf(await visit('POST', `/admin/apps/${service}/take_over`))).toBe(
      `/admin/apps/${service}?done=owned`,
    )
    expect(await rowOf(service)).toMatchObject({ owner_id: admin.id })
    for (const id of [wiki, service])
      await visit('POST', `/admin/apps/${id}/secret`, { keep_former_seconds: '0' })
    expect(await attention()).not.toContain('Bo’s')
  })

  test('leaves a service there that nobody answers for, once a takeover of their account has ended', async () => {
    const bo = await api.quickActor({ role: 'admin', email_verified_at: 1, name: 'Bo Ek' })
    const given = { grants: ['client_credentials'], redirect_uris: [], scopes: ['users:read'] }
    const { client_id } = await addApp(api, { by: bo.token, name: 'Bo’s robot', ...given })
    const body = { email: `${bo.id}@other.test`, revoke_old: true }
    await api.send('PATCH', `/v1/users/${bo.id}`, { token: admin.token, body })
    expect((await visit('GET', '/admin')).text).toContain('Bo’s robot: nobody answers for it')
    const path = `/v1/oauth_clients/${client_id}`
    expect((await api.send('GET', path, { token: admin.token })).body.owner_id).toBeNull()
    expect((await visit('GET', `/admin/apps/${client_id}`)).text).toContain('Nobody does any more')
    expect(placeOf(await visit('POST', `/admin/apps/${client_id}/take_over`))).toContain('done=owned')
    expect((await visit('GET', '/admin')).text).not.toContain('Bo’s robot: nobody')
  })

  test('and even by API, whoever replaced a secret counts as knowing it', async () => {
    const app = await addApp(api)
    expect((await rowOf(app.client_id)).secret_by).not.toBe(admin.id)
    const path = `/v1/oauth_clients/${app.client_id}/secret`
    await api.send('POST', path, { token: admin.token, body: {} })
    expect((await rowOf(app.client_id)).secret_by).toBe(admin.id)
  })
})
