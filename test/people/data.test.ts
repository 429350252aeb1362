import { beforeAll, expect, test } from 'vitest'
import { type Actor, type Api, openApi } from '../support/api.ts'
import { freshUpstreams, testOfRedis } from '../support/upstreams.ts'

let own: Awaited<ReturnType<typeof freshUpstreams>>
let api: Api
let manager: Actor
let ada: Actor

beforeAll(async () => {
  own = await freshUpstreams()
  api = openApi(own.bindings)
  manager = await api.actor({ role: 'manager' })
  ada = await api.actor()
})

const manage = (id: string, body: object) =>
  api.send('PATCH', `/v1/users/${id}`, { token: manager.token, body })
const change = (body: object) => api.send('PATCH', '/v1/users/me', { token: ada.token, body })
const me = () => api.send('GET', '/v1/users/me', { token: ada.token })
const detailsOf = async (id: string) =>
  (
    await api.sql(
      'SELECT details FROM user_activity_logs WHERE user_id = ? AND details IS NOT NULL ORDER BY id',
      [id],
    )
  ).map(({ details }) => JSON.parse(details as string))

test('A person has their own metadata, and those who manage see it beside theirs', async () => {
  const metadata = { theme: 'dark', seen: [1, 2], nested: { '': null }, face: '\u{1f600}' }
  const changed = await change({ metadata })
  expect([changed.status, changed.body.metadata]).toEqual([200, metadata])
  expect((await me()).body.metadata).toEqual(metadata)
  const admin_metadata = { plan: 'team' }
  const managed = await manage(ada.id, { admin_metadata, external_id: 'crm-1', locale: 'de' })
  expect(managed.body).toMatchObject({ metadata, admin_metadata, external_id: 'crm-1', locale: 'de' })
  const seen = await me()
  expect(seen.body).toMatchObject({ metadata, locale: 'de' })
  for (const name of ['admin_metadata', 'external_id']) expect(seen.body).not.toHaveProperty(name)
  const again = await change({ metadata })
  expect(again.body.version).toBe(managed.body.version)
  const emptied = await change({ metadata: {} })
  expect(emptied.body.metadata).toEqual({})
})

test('The history says that metadata was changed, and not its content', async () => {
  const grace = await api.quickActor()
  await api.send('PATCH', '/v1/users/me', { token: grace.token, body: { metadata: { a: 'secret of hers' } } })
  await manage(grace.id, { admin_metadata: { b: 'a note' }, external_id: 'crm-2' })
  expect(await detailsOf(grace.id)).toEqual([
    { metadata: true },
    { admin_metadata: true, external_id: { from: null, to: 'crm-2' } },
  ])
})

test('Metadata must be an object of at most 4096 bytes of JSON', async () => {
  const of = (bytes: number) => ({ a: 'ä'.repeat((bytes - 8) / 2) })
  expect((await change({ metadata: of(4096) })).status).toBe(200)
  expect((await me()).body.metadata).toEqual(of(4096))
  const codeOf = async (metadata: unknown) => {
    const { status, body } = await change({ metadata })
    return [status, (body.errors as { code: string }[])[0]!.code]
  }
  expect(await codeOf(of(4098))).toEqual([422, 'too_big'])
  for (const metadata of [[], 'x', 1, null, true])
    expect(await codeOf(metadata)).toEqual([422, 'invalid_type'])
  await change({ metadata: {} })
})

testOfRedis('A copy contains metadata only if it is small; otherwise libSQL is asked', async () => {
  const linus = await api.actor()
  const ask = () => api.send('GET', '/v1/users/me', { token: linus.token })
  for (const [size, askedOfSecond] of [
    [400, ['redis']],
    [4000, ['redis', 'libsql', 'redis']],
  ] as const) {
    const metadata = { a: 'x'.repeat(size) }
    await api.sql('UPDATE users SET metadata = ? WHERE id = ?', [JSON.stringify(metadata), linus.id])
    expect((await ask()).body.metadata).toEqual(metadata)
    const { result, calls } = await own.measure(ask)
    expect(result.body.metadata).toEqual(metadata)
    expect(calls.map(({ upstream }) => upstream)).toEqual(askedOfSecond)
  }
})

test('An external id belongs to one person, even a deleted one, and finds them', async () => {
  const [first, second] = [await api.quickActor(), await api.quickActor()]
  expect((await manage(first.id, { external_id: 'Crm 3' })).status).toBe(200)
  const taken = await manage(second.id, { external_id: 'Crm 3' })
  expect([taken.status, taken.body.code]).toEqual([409, 'external_id_taken'])
  expect((await manage(second.id, { external_id: 'crm 3' })).status).toBe(200)
  const find = (query: string) => api.send('GET', `/v1/users?${query}`, { token: manager.token })
  const found = await find('external_id=Crm%203')
  expect((found.body.data as { id: string }[]).map(({ id }) => id)).toEqual([first.id])
  expect((await find(`external_id=Crm%203&email=${second.email}`)).body.data).toEqual([])
  expect((await find('external_id=Crm%203&role=admin')).body.data).toEqual([])
  for (const other of ['q=abc', 'email_verified=true', 'locked=true'])
    expect((await find(`external_id=x&${other}`)).status).toBe(422)
  const admin = await api.quickActor({ role: 'admin' })
  await api.send('DELETE', `/v1/users/${first.id}`, { token: admin.token })
  expect((await find('external_id=Crm%203')).body.data).toEqual([])
  const create = (body: object) =>
    api.send('POST', '/v1/users', {
      token: manager.token,
      body: { name: 'New', email: `${crypto.randomUUID()}@people.test`, ...body },
    })
  const refused = await create({ external_id: 'Crm 3' })
  expect([refused.status, refused.body.code]).toEqual([409, 'external_id_taken'])
  const made = await create({
    external_id: 'crm-4',
    metadata: { a: 1 },
    admin_metadata: { b: 2 },
    locale: 'de',
  })
  expect([made.status, made.body]).toMatchObject([
    201,
    { external_id: 'crm-4', metadata: { a: 1 }, admin_metadata: { b: 2 }, locale: 'de' },
  ])
  expect((await manage(second.id, { external_id: null })).body.external_id).toBeNull()
  for (const external_id of ['', ' a', 'a ', 'a\nb', 'a\u200bb', 'x'.repeat(256), '\ud800'])
    expect((await manage(second.id, { external_id })).status).toBe(422)
})

test('An export contains all of this, and nothing is left once its owner is erased', async () => {
  const gone = await api.actor()
  const secret = crypto.randomUUID()
  await manage(gone.id, { metadata: { secret }, admin_metadata: { secret }, external_id: secret })
  const { body } = await api.send('GET', '/v1/users/me/export', { token: gone.token })
  expect(body.user).toMatchObject({
    metadata: JSON.stringify({ secret }),
    admin_metadata: JSON.stringify({ secret }),
    external_id: secret,
  })
  const admin = await api.quickActor({ role: 'admin' })
  const erased = await api.send('DELETE', `/v1/users/${gone.id}?hard=true`, { token: admin.token })
  expect(erased.status).toBe(204)
  expect(JSON.stringify(await detailsOf(gone.id))).not.toContain(secret)
})
