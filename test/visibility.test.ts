import { beforeAll, describe, expect, test } from 'vitest'
import type { Activity } from '../src/activity/schemas.ts'
import type { Role } from '../src/users/models.ts'
import { type Api, openApi } from './support/api.ts'
import { freshUpstreams } from './support/upstreams.ts'

type Somebody = Awaited<ReturnType<Api['quickActor']>>

let api: Api
let admin: Somebody
let manager: Somebody
let other: Somebody

const someone = (role: Role = 'user') =>
  api.quickActor({ role, password_hash: null, email_verified_at: Date.now() })
const as = (who: { token: string }, method: string, path: string, body?: unknown) =>
  api.send(method, path, { token: who.token, body, ip: '192.0.2.7', headers: { 'user-agent': 'Browser/1' } })
const historyFor = async (who: { token: string }, path: string) => {
  const answer = await as(who, 'GET', path)
  expect([answer.status, answer.body.code]).toEqual([200, undefined])
  return answer.body.data as Activity[]
}

beforeAll(async () => {
  api = openApi((await freshUpstreams()).bindings)
  ;[admin, manager, other] = [await someone('admin'), await someone('manager'), await someone('manager')]
})

test('HX4: a deleted user’s history is for those who may see deleted users', async () => {
  const gone = await someone()
  await as(admin, 'PATCH', `/v1/users/${gone.id}`, { name: 'Quetzal' })
  await as(manager, 'PATCH', `/v1/users/${gone.id}`, { name: 'Kookaburra' })
  await as(admin, 'DELETE', `/v1/users/${gone.id}`)
  const direct = await as(manager, 'GET', `/v1/users/${gone.id}/activity`)
  expect([direct.status, direct.body.code]).toEqual([404, 'user_not_found'])
  for (const filter of ['', `&user_id=${gone.id}`, `&actor_id=${manager.id}`, `&actor_id=${admin.id}`]) {
    const answer = await as(manager, 'GET', `/v1/activity?limit=100${filter}`)
    expect(answer.text).not.toMatch(/Quetzal|Kookaburra/)
    expect(answer.text).not.toContain(gone.id)
  }
  const unknown = await as(manager, 'GET', `/v1/users/${crypto.randomUUID()}/activity`)
  expect(unknown.body.code).toBe('user_not_found')
  expect(await historyFor(admin, `/v1/users/${gone.id}/activity`)).toHaveLength(3)

  await as(admin, 'DELETE', `/v1/users/${gone.id}?hard=true`)
  expect((await as(manager, 'GET', `/v1/users/${gone.id}/activity`)).status).toBe(404)
  expect((await historyFor(admin, `/v1/users/${gone.id}/activity`)).length).toBeGreaterThan(3)
})

test('HX4: the cursors of a list tell nothing about the history of a deleted user', async () => {
  const gone = await someone()
  for (const name of ['Quetzal', 'Kookaburra', 'Hoopoe'])
    await as(admin, 'PATCH', `/v1/users/${gone.id}`, { name })
  const asked = async (who: Somebody, id: string, cursor?: string) => {
    const path = `/v1/activity?user_id=${id}&action=user.updated&limit=1`
    const { status, body } = await as(who, 'GET', cursor ? `${path}&cursor=${cursor}` : path)
    expect(status).toBe(200)
    return body as { data: unknown[]; pagination: { next_cursor: string | null } }
  }
  const before = (await asked(manager, gone.id)).pagination.next_cursor!
  const nobody = await asked(manager, crypto.randomUUID())
  for (const hard of [false, true]) {
    await as(admin, 'DELETE', `/v1/users/${gone.id}${hard ? '?hard=true' : ''}`)
    expect(await asked(manager, gone.id)).toEqual(nobody)
    expect(await asked(manager, gone.id, before)).toEqual(nobody)
    // Whoever may see deleted users turns the pages.
    const { data, pagination } = await asked(admin, gone.id)
    expect(data).toHaveLength(1)
    expect((await asked(admin, gone.id, pagination.next_cursor!)).data).toHaveLength(1)
  }
})

test('HX12: why and by whom somebody was disabled is only for those who manage', async () => {
  const ada = await someone('manager')
  await as(admin, 'POST', `/v1/users/${ada.id}/disable`, { reason: 'suspected of theft' })
  await as(admin, 'POST', `/v1/users/${ada.id}/enable`)
  const { token } = await api.signIn(ada)
  for (const path of ['/v1/users/me/activity?', `/v1/users/${ada.id}/activity?`, '/v1/activity?limit=100&']) {
    const answer = await as({ token }, 'GET', `${path}action=user.disabled`)
    expect(answer.text).not.toContain('suspected')
    const own = (answer.body.data as Activity[]).find(({ user_id }) => user_id === ada.id)!
    expect(own).toMatchObject({ actor_id: null, details: { until: null }, ip: null })
  }
  const managed = await historyFor(other, `/v1/users/${ada.id}/activity?action=user.disabled`)
  expect(managed[0]).toMatchObject({ actor_id: admin.id, details: { reason: 'suspected of theft' } })
})

describe('HX12: where somebody acts from is for them, and for those who outrank them', () => {
  const readers = ['admin', 'manager', 'self'] as const
  const actors = ['admin', 'manager', 'user'] as const
  test.each(readers.flatMap((reader) => actors.map((actor) => [reader, actor] as const)))(
    'a reader who is %s, of what a %s did',
    async (reader, actorRole) => {
      const actor = await someone(actorRole)
      await as(actor, 'PATCH', '/v1/users/me', { name: 'Grace' })
      const by = reader === 'self' ? actor : reader === 'admin' ? admin : other
      const path = reader === 'self' ? '/v1/users/me/activity' : `/v1/users/${actor.id}/activity`
      const [row] = await historyFor(by, `${path}?action=user.updated`)
      const sees = reader === 'self' || reader === 'admin' || actorRole === 'user'
      const origin = sees ? { ip: '192.0.2.7', user_agent: 'Browser/1' } : { ip: null, user_agent: null }
      expect(row).toMatchObject({ ...origin, actor_id: actor.id })

      if (reader === 'self') return
      await api.sql("UPDATE sessions SET ip = '192.0.2.7', user_agent = 'Browser/1' WHERE user_id = ?", [
        actor.id,
      ])
      const sessions = await as(by, 'GET', `/v1/users/${actor.id}/sessions`)
      expect((sessions.body.data as unknown[])[0]).toMatchObject(origin)
    },
  )

  test('a manager does not learn where an administrator was who acted on a user', async () => {
    const ada = await someone()
    await as(admin, 'PATCH', `/v1/users/${ada.id}`, { name: 'Grace' })
    const [row] = await historyFor(manager, `/v1/users/${ada.id}/activity`)
    expect(row).toMatchObject({ actor_id: admin.id, ip: null, user_agent: null })
    expect(row!.details).toEqual({ name: { from: 'Somebody', to: 'Grace' } })
  })
})

test('HX12: a former manager’s export says that they acted, and nothing about those they managed', async () => {
  const former = await someone('manager')
  const ada = await someone()
  await as(former, 'PATCH', `/v1/users/${ada.id}`, { name: 'Kookaburra' })
  await as(former, 'POST', `/v1/users/${ada.id}/disable`, { reason: 'suspected' })
  await as(admin, 'PATCH', `/v1/users/${former.id}`, { role: 'user' })
  const { token } = await api.signIn(former)
  const answer = await as({ token }, 'GET', '/v1/users/me/export')
  expect(answer.status).toBe(200)
  expect(answer.text).not.toMatch(/Kookaburra|suspected/)
  expect(answer.text).toContain('user.disabled')
})

test('HX12: an export has the invitations that somebody made, but not who was invited', async () => {
  const former = await someone('manager')
  const mark = crypto.randomUUID()
  const body = { email: `kookaburra-${mark}@people.test`, name: 'Kookaburra Laughing' }
  const headers = { 'idempotency-key': mark }
  const invited = await api.send('POST', '/v1/invitations', { token: former.token, body, headers })
  expect(invited.status).toBe(201)
  const exported = async (token: string) => {
    const answer = await as({ token }, 'GET', '/v1/users/me/export')
    expect(answer.status).toBe(200)
    expect(answer.text).not.toMatch(/kookaburra/i)
    return (answer.body.invitations as object[]).at(-1)
  }
  const kept = { id: invited.body.id, role: 'user', email: null, name: null }
  expect(await exported(former.token)).toMatchObject(kept)
  await as(admin, 'PATCH', `/v1/users/${former.id}`, { role: 'user' })
  expect(await exported((await api.signIn(former)).token)).toMatchObject(kept)
})

test('HX4: a deleted user’s invitation is for those who may see deleted users', async () => {
  const email = `quetzal-${crypto.randomUUID()}@people.test`
  const { body: invitation } = await as(manager, 'POST', '/v1/invitations', { email, name: 'Quetzal' })
  const gone = await api.person({ email, password_hash: null, email_verified_at: 1 })
  await api.sql('UPDATE invitations SET user_id = ?, accepted_at = 1 WHERE id = ?', [
    gone.id,
    invitation.id as string,
  ])
  const sees = async (who: { token: string }) =>
    (await as(who, 'GET', '/v1/invitations?limit=100')).text.includes(email)
  expect([await sees(manager), await sees(admin)]).toEqual([true, true])
  await as(admin, 'DELETE', `/v1/users/${gone.id}`)
  expect([await sees(manager), await sees(admin)]).toEqual([false, true])
})
