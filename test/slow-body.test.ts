import { afterEach, expect, test, vi } from 'vitest'
import { openApi } from './support/api.ts'

const api = openApi()
const wait = setTimeout
afterEach(() => vi.useRealTimers())

test('Fault 28: a body that is not there after ten seconds is a 408, and not before', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  const raw = new ReadableStream({
    start: (controller) => controller.enqueue(new TextEncoder().encode('{"email":"ada@people.test",')),
  })
  let isAnswered = false
  const headers = { 'content-type': 'application/json' }
  const answering = api.send('POST', '/v1/auth/login', { raw, headers }).finally(() => {
    isAnswered = true
  })
  while (vi.getTimerCount() === 0) await new Promise((resolve) => wait(resolve, 5))
  await vi.advanceTimersByTimeAsync(9_999)
  await new Promise((resolve) => wait(resolve, 50))
  expect(isAnswered).toBe(false)
  await vi.advanceTimersByTimeAsync(1)
  const answer = await answering
  expect([answer.status, answer.body.code]).toEqual([408, 'body_too_slow'])
})
