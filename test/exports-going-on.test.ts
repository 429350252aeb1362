import { createExecutionContext, waitOnExecutionContext } from 'cloudflare:test'
import { v7 as uuidv7 } from 'uuid'
import { beforeAll, describe, expect, test, vi } from 'vitest'
import worker from '../src/index.ts'
import { signClientToken } from '../src/sessions/access-tokens.ts'
import { type Actor, type Api, openApi } from './support/api.ts'
import { openJar } from './support/jar.ts'
import { limiter } from './support/limiter.ts'
import { letApp } from './support/oauth.ts'
import { openBrowser, PAGES } from './support/pages.ts'
import { upstreams } from './support/upstreams.ts'

const api = openApi()
let admin: Actor
/** Somebody with more history than fits into a page of a file. */
let ada: Actor
beforeAll(async () => {
  admin = await api.actor({ role: 'admin', email_verified_at: 1 })
  ada = await api.actor({ email_verified_at: 1 })
  const beginning = uuidv7({ msecs: Date.now() - 60_000 }).slice(0, 24)
  await api.sql(
    `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1800)
      INSERT INTO user_activity_logs (id, user_id, action) SELECT ? || printf('%012x', i), ?, 'user.updated' FROM n`,
    [beginning, ada.id],
  )
})

/** Starts an export, and reads as much of it as the test says. */
async function begin(by: Api, token: string, path: string) {
  const context = createExecutionContext()
  const request = new Request(`http://roster.test${path}`, { headers: { authorization: `Bearer ${token}` } })
  const answer = await worker.fetch(request, by.bindings, context)
  expect(answer.status).toBe(200)
  const reader = answer.body!.getReader()
  return {
    id: answer.headers.get('x-request-id'),
    read: () => reader.read(),
    async readOn() {
      for (let read = await reader.read(); !read.done; read = await reader.read());
      await waitOnExecutionContext(context)
    },
  }
}

const FILES = [
  ['the history', () => admin, () => `/v1/activity/export?user_id=${ada.id}`],
  ['one person', () => admin, () => `/v1/users/${ada.id}/export`],
  ['oneself', () => ada, () => '/v1/users/me/export'],
] as const

/** Continues to read, which fails. @returns what the log says about it. */
async function breaksOff(file: { readOn(): Promise<unknown> }, level: 'warn' | 'error') {
  const logged = vi.spyOn(console, level).mockImplementation(() => {})
  await expect(file.readOn()).rejects.toThrow('The file breaks off here.')
  const lines = logged.mock.calls.map(([line]) => JSON.parse(line))
  logged.mockRestore()
  return lines
}

describe('A running export', () => {
  test.each(FILES)(
    'AZ7: of %s breaks off when its reader loses access, and the log says why',
    async (_, reader, path) => {
      const { sessionId, token } = await api.signIn(reader())
      const file = await begin(api, token, path())
      await file.read()
      await file.read()
      await api.sql('UPDATE sessions SET revoked_at = 1 WHERE id = ?', [sessionId])
      expect(await breaksOff(file, 'warn')).toEqual([
        expect.objectContaining({
          code: 'export_failed',
          why: 'invalid_token',
          reason: 'revoked',
          request_id: file.id,
          actor: reader().id,
          session: sessionId,
        }),
      ])
    },
  )

  test('AZ7: by an app is complete, and breaks off once the app may no longer read it', async () => {
    const scope = 'activity:read'
    const { client, sessionId: sid } = await letApp(api, admin, { scope })
    // As if from a device that they have just approved.
    const approved_at = Math.floor(Date.now() / 1000)
    const claims = { sub: admin.id, sid, client_id: client.client_id, scope, epoch: 0, approved_at }
    const token = await signClientToken(api.config(), Date.now(), claims)
    await (await begin(api, token, `/v1/activity/export?user_id=${ada.id}`)).readOn()
    const file = await begin(api, token, `/v1/activity/export?user_id=${ada.id}`)
    await file.read()
    await file.read()
    await api.sql('DELETE FROM oauth_grants WHERE client_id = ?', [client.client_id])
    expect(await breaksOff(file, 'warn')).toMatchObject([{ why: 'invalid_token', session: sid }])
  })

  test.each(FILES)(
    'HX18: of %s that fails in the middle leaves a log line with its request, and is not repeated',
    async (_, reader, path) => {
      const own = upstreams()
      const { token } = await api.signIn(reader())
      const file = await begin(openApi(own.bindings), token, path())
      await file.read()
      await file.read()
      await own.behave('libsql', { mode: 'down' })
      const { result, calls } = await own.measure(() => breaksOff(file, 'error'))
      expect(result).toEqual([
        expect.objectContaining({
          code: 'export_failed',
          why: 'database_unavailable',
          request_id: file.id,
          cause: expect.anything(),
        }),
      ])
      expect(calls.filter(({ upstream }) => upstream === 'libsql')).toHaveLength(1)
    },
  )

  test.each([
    ['csv', 1, (rows: number) => `end,${rows},,,,,,,,\r\n`],
    ['ndjson', 0, (rows: number) => `{"end":true,"rows":${rows}}\n`],
  ])('AZ7: shows in its last line that it is complete, if asked to, as %s', async (format, names, end) => {
    const path = `/v1/activity/export?user_id=${ada.id}&format=${format}`
    const textOf = async (more: string) => (await api.send('GET', path + more, { token: admin.token })).text
    const [plain, whole] = [await textOf(''), await textOf('&end=true')]
    expect(whole).toBe(plain + end(plain.trimEnd().split('\n').length - names))

    const own = upstreams()
    const { token } = await api.signIn(admin)
    const file = await begin(openApi(own.bindings), token, `${path}&end=true`)
    let text = ''
    const decoder = new TextDecoder()
    text += decoder.decode((await file.read()).value)
    text += decoder.decode((await file.read()).value)
    await own.behave('libsql', { mode: 'down' })
    await breaksOff(file, 'error')
    expect(text).not.toContain(end(0).slice(0, 5))
  })

  test('AZ7: on a page continues while its owner reauthenticates, but not after a change of password', async () => {
    const browser = openJar(api)
    await browser.signIn(admin.email)
    const cookie = [...browser.jar].map(([name, value]) => `${name}=${value}`).join('; ')
    const open = async () => {
      const request = new Request(`http://roster.test/admin/activity/export?user_id=${ada.id}`, {
        headers: { cookie },
      })
      return (await worker.fetch(request, api.bindings, createExecutionContext())).body!.getReader()
    }
    const finish = async (reader: Awaited<ReturnType<typeof open>>) => {
      for (let read = await reader.read(); !read.done; read = await reader.read());
    }
    const [first, second] = [await open(), await open()]
    await first.read()
    await second.read()
    const turn = (by: number) =>
      api.sql('UPDATE sessions SET turn = turn + ?, proved_at = 1 WHERE user_id = ?', [by, admin.id])
    await turn(1)
    await finish(first)
    await turn(1)
    const logged = vi.spyOn(console, 'warn').mockImplementation(() => {})
    await expect(finish(second)).rejects.toThrow()
    logged.mockRestore()
  })
})

test('HX19: exports are counted by user, however they are requested, and one too many writes nothing', async () => {
  const some = openApi({ RATE_LIMIT_EXPORTS: limiter(3) })
  const boss = await api.quickActor({ role: 'admin', email_verified_at: 1 })
  const visit = await openBrowser(some, boss)
  const ask = (path: string) => some.send('GET', path, { token: boss.token })
  expect((await ask(`/v1/users/${ada.id}/export`)).status).toBe(200)
  expect((await ask(`/v1/activity/export?user_id=${boss.id}`)).status).toBe(200)
  expect((await visit('GET', '/account/data/export')).status).toBe(200)
  for (const path of [
    '/v1/users/me/export',
    `/v1/users/${ada.id}/export`,
    '/v1/activity/export',
    '/v1/users/export',
  ])
    expect([path, (await ask(path)).status]).toEqual([path, 429])
  for (const path of [
    '/account/data/export',
    `/admin/people/${ada.id}/export`,
    '/admin/people/export',
    '/admin/activity/export',
  ])
    expect([path, (await visit('GET', path)).status]).toEqual([path, 429])
  const [row] = await api.sql(
    "SELECT count(*) AS written FROM user_activity_logs WHERE actor_id = ? AND action = 'user.exported'",
    [boss.id],
  )
  expect(row).toEqual({ written: 3 })
})

/** Pages that require a session, and only read a few rows of their viewer, and no list. */
const OF_FEW_ROWS = [
  'GET /signin/again',
  'GET /account',
  'GET /account/security',
  'GET /account/sessions',
  'GET /account/apps/keys/new',
  'GET /account/data',
  'GET /admin/apps/new',
  'GET /admin/people/import',
  'GET /admin/people/new',
  'GET /admin/webhooks/new',
  'GET /device',
  'GET /signin/with/:provider/link',
  'GET /terms',
]

test('HX19: every page that reads a list or a file is counted as the API counts them', async () => {
  const none = openApi({ RATE_LIMIT_LISTS: limiter(0), RATE_LIMIT_EXPORTS: limiter(0) })
  const visit = await openBrowser(none, await api.person({ role: 'admin', email_verified_at: 1 }))
  const pages = Object.entries(PAGES).filter(([route, who]) => route.startsWith('GET') && who !== 'anyone')
  const found: string[] = []
  for (const [route] of pages) {
    const { status } = await visit('GET', route.slice(4).replace(':id', ada.id))
    if (status !== 429) found.push(route)
  }
  expect(found.sort()).toEqual(OF_FEW_ROWS.toSorted())
})
