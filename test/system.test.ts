import { expect, test } from 'vitest'
import { openApi } from './support/api.ts'

const api = openApi()

test('Health answers, and readiness names both upstreams', async () => {
  expect((await api.send('GET', '/health')).body).toEqual({ status: 'ok' })
  expect((await api.send('GET', '/ready')).body).toMatchObject({
    status: 'ready',
    database: 'ok',
    redis: 'ok',
  })
})

test('A person can log in', async () => {
  const ada = await api.actor()
  expect((await api.send('GET', '/v1/users/me', { token: ada.token })).status).toBe(200)
  expect(await api.historyOf(ada.id)).toEqual(['session.started'])
})
