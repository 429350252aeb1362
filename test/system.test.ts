import { expect, test } from 'vitest'
import { openApi } from './support/api.ts'
import { testOfRedis } from './support/upstreams.ts'

const api = openApi()

testOfRedis('Health answers, and readiness names both upstreams', async () => {
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

test('SC2: there is nothing at the addresses where other systems tell about themselves', async () => {
  const paths = ['/metrics', '/.git/config', '/.env', '/index.js', '/index.js.map', '/debug', '/v1', '/admin']
  for (const path of paths) expect((await api.send('GET', path)).body.code).toBe('not_found')
  const { headers } = await api.send('GET', '/health')
  expect([headers.get('server'), headers.get('x-powered-by'), headers.get('via')]).toEqual([null, null, null])
})
