import { beforeAll, describe, expect, test } from 'vitest'
import { type Api, openApi } from '../support/api.ts'
import { addKey } from '../support/keys.ts'
import { openBrowser } from '../support/pages.ts'
import { freshUpstreams } from '../support/upstreams.ts'

let api: Api

beforeAll(async () => {
  api = openApi((await freshUpstreams()).bindings)
})

const somebody = () => api.person({ role: 'manager', email_verified_at: 1, password_hash: null })
const keyIn = (text: string) => /rk_[\w-]{110}/.exec(text)?.[0]
const NEW = '/account/apps/keys/new'

describe('Keys on the page of apps', () => {
  test('AK2: one is made, shown once, listed, renewed and revoked', async () => {
    const ada = await somebody()
    const visit = await openBrowser(api, ada)
    const made = await visit('POST', NEW, { name: 'Nightly report', 'may.users:read': 'on', days: '30' })
    const key = keyIn(made.text)!
    expect([made.status, (await api.send('GET', '/v1/users', { token: key })).status]).toEqual([200, 200])
    const list = await visit('GET', '/account/apps')
    expect(list.text).toContain('Nightly report')
    expect(list.text).toContain('See people')
    expect(keyIn(list.text)).toBeUndefined()
    const [row] = await api.sql('SELECT * FROM api_keys WHERE user_id = ?', [ada.id])
    expect(row).toMatchObject({ permissions: '["users:read"]', name: 'Nightly report' })
    expect(Number(row!.expires_at) - Date.now()).toBeGreaterThan(29 * 86_400_000)
    const renewed = keyIn((await visit('POST', `/account/apps/keys/${row!.id}/rotate`)).text)!
    const revoked = await visit('POST', `/account/apps/keys/${row!.id}/revoke`)
    expect(revoked.headers.get('location')).toBe('/account/apps?done=revoked')
    for (const token of [key, renewed])
      expect((await api.send('GET', '/v1/users', { token })).status).toBe(401)
  })

  test('an incomplete form comes back with what was typed, and makes nothing', async () => {
    const ada = await somebody()
    const visit = await openBrowser(api, ada)
    const { status, text } = await visit('POST', NEW, { name: '', 'may.users:read': 'on', days: '365' })
    expect(status).toBe(422)
    expect(text).toMatch(/name="may.users:read"[^>]* checked/)
    expect(await api.sql('SELECT * FROM api_keys WHERE user_id = ?', [ada.id])).toEqual([])
  })

  test('AK1: a permission that its maker lacks is neither offered nor given', async () => {
    const visit = await openBrowser(api, await somebody())
    expect((await visit('GET', NEW)).text).not.toContain('mails:manage')
    expect((await visit('POST', NEW, { name: 'Eve', 'may.mails:manage': 'on', days: '' })).status).toBe(422)
  })

  test('AK1: making one needs a login of the last ten minutes, before the form is shown', async () => {
    const ada = await somebody()
    const visit = await openBrowser(api, ada, { provedSecondsAgo: 601 })
    const { id } = await addKey(api, ada)
    for (const [method, path] of [
      ['GET', NEW],
      ['POST', NEW],
      ['POST', `/account/apps/keys/${id}/rotate`],
    ] as const) {
      const { status, headers } = await visit(method, path, method === 'POST' ? { name: 'x' } : undefined)
      expect([method, path, status, headers.get('location')]).toEqual([
        method,
        path,
        303,
        expect.stringMatching(/^\/signin\/again\?/),
      ])
    }
    // What was typed comes along.
    const sent = await visit('POST', NEW, { name: 'Nightly report', days: '30' })
    expect(sent.headers.get('location')).toMatch(/[?&]to=%2Faccount%2Fapps%2Fkeys%2Fnew&carried=./)
    expect(await api.sql('SELECT id FROM api_keys WHERE user_id = ?', [ada.id])).toEqual([{ id }])
  })
})
