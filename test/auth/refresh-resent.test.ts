import { expect, test } from 'vitest'
import type { Tokens } from '../../src/auth/schemas.ts'
import { makeRefreshToken } from '../../src/sessions/refresh-tokens.ts'
import { openApi } from '../support/api.ts'
import { freshUpstreams } from '../support/upstreams.ts'

test('HX20, RT1: a resent refresh never counts as theft: it is a 401 invalid_refresh_token, and the session continues', async () => {
  const own = await freshUpstreams()
  const api = openApi(own.bindings)
  const ada = await api.quickActor()
  const refresh = (refresh_token: string) =>
    api.send<Tokens & { code: string }>('POST', '/v1/auth/refresh_token', {
      body: { refresh_token },
      ip: '10.9.9.9', // From another network a repeat leaves a row.
    })
  const counter = async () =>
    (await api.sql('SELECT counter FROM sessions WHERE user_id = ?', [ada.id]))[0]!.counter

  // The first send rotates at once, but its answer is so late that the batch is sent again.
  await own.behave('libsql', { mode: 'latency', ms: 4000, next: 1, only: 'rotated_at' })
  const slow = refresh(ada.refreshToken)
  while ((await counter()) !== 1) await new Promise((resolve) => setTimeout(resolve, 20))
  // Meanwhile another tab has received the successor, and used it.
  await api.sql('UPDATE sessions SET counter = 2 WHERE id = ?', [ada.sessionId])

  const { status, body } = await slow
  expect([status, body.code]).toEqual([401, 'invalid_refresh_token'])
  expect(await api.historyOf(ada.id)).not.toContain('session.reuse_detected')
  const newest = makeRefreshToken(api.config().keys.refresh_token, ada.sessionId, 2)
  expect((await refresh(newest)).status).toBe(200)
})
