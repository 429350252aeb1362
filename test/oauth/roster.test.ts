import { env } from 'cloudflare:workers'
import { describe, expect, test } from 'vitest'
import type { Roster } from '../../src/index.ts'
import { openApi } from '../support/api.ts'
import { letApp } from '../support/oauth.ts'

/**
 * Called through a service binding, as another Worker would: with another isolate's promises, and only values that
 * can be serialised.
 */
const roster = (env as unknown as { ROSTER: Service<Roster> }).ROSTER
const api = openApi()

describe('Another Worker', () => {
  test('learns whether a token is valid, and at once when it was logged out', async () => {
    const ada = await api.quickActor()
    expect(await roster.verify(ada.token)).toMatchObject({ active: true, sub: ada.id, role: 'user' })
    expect(await roster.verify(ada.token)).toMatchObject({ active: true })
    await api.send('POST', '/v1/auth/logout', { token: ada.token })
    expect(await roster.verify(ada.token)).toEqual({ active: false })
    for (const token of ['', 'x', `${ada.token}x`, 'rk_x'])
      expect(await roster.verify(token)).toEqual({ active: false })
  })

  test('can ask for an app’s scope, or a login’s permission', async () => {
    const manager = await api.quickActor({ role: 'manager' })
    const { token } = await letApp(api, manager, { scope: 'openid users:read' })
    const asked = async (by: string, scope: string) => (await roster.verify(by, { scope })).active
    expect([await asked(token, 'users:read'), await asked(token, 'users:update')]).toEqual([true, false])
    expect([await asked(manager.token, 'users:update'), await asked(manager.token, 'users:delete')]).toEqual([
      true,
      false,
    ])
    const fresh = { scope: 'users:read', isFresh: true }
    await api.sql('UPDATE oauth_grants SET scopes = \'["openid"]\' WHERE user_id = ?', [manager.id])
    expect(await roster.verify(token, fresh)).toEqual({ active: false })
  })

  test('can read a user, but not a deleted one', async () => {
    const ada = await api.person({ name: 'Ada' })
    const user = await roster.getUser(ada.id)
    expect(user).toMatchObject({ id: ada.id, name: 'Ada', email: ada.email, role: 'user', status: 'active' })
    expect(Object.keys(user!).join()).not.toMatch(/hash|epoch/)
    await api.sql('UPDATE users SET deleted_at = 1 WHERE id = ?', [ada.id])
    expect([await roster.getUser(ada.id), await roster.getUser('x')]).toEqual([null, null])
  })
})
