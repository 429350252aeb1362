import { createHash } from 'node:crypto'
import { afterEach, expect, test, vi } from 'vitest'
import { openApi } from '../support/api.ts'

const KNOWN = 'nine green bears run'
const DIGEST = createHash('sha1').update(KNOWN).digest('hex').toUpperCase()

/** The public range service, by its protocol: what begins with five digits is answered with the rest and a count. */
const asked: string[] = []
const passOn = globalThis.fetch
const service = (answer: (prefix: string) => Response | Promise<Response>) =>
  vi.spyOn(globalThis, 'fetch').mockImplementation((input, init) => {
    const [, prefix] = /^https:\/\/ranges\.test\/range\/(\w+)$/.exec(String(input)) ?? []
    if (!prefix) return passOn(input as RequestInfo, init)
    asked.push(prefix)
    return Promise.resolve(answer(prefix))
  })
afterEach(() => void vi.restoreAllMocks())

const api = openApi({ BREACHED_PASSWORDS: 'on', BREACHED_PASSWORDS_URL: 'https://ranges.test' })
const signUp = (password: string) =>
  api.send('POST', '/v1/auth/signup', {
    body: { email: `${crypto.randomUUID()}@people.test`, password, name: 'Ada' },
  })
const notes = () =>
  api.sql("SELECT count(*) AS n FROM user_activity_logs WHERE action = 'password.not_checked'")

test('PW3: a password that is known from a breach is refused, and the service learns five digits alone', async () => {
  const rows = [`${'0'.repeat(35)}:7`, `${DIGEST.slice(5)}:3`]
  service((prefix) => new Response(prefix === DIGEST.slice(0, 5) ? rows.join('\r\n') : ''))
  const refused = await signUp(KNOWN)
  expect([refused.status, (refused.body.errors as { code: string }[])[0]!.code]).toEqual([
    422,
    'weak_password',
  ])
  expect(asked).toEqual([DIGEST.slice(0, 5)])
  expect((await signUp('six blue whales sing')).status).toBe(201)
})

test('PW3, Fault 18: where the service is down the list alone decides, and the history says so', async () => {
  service(() => new Response('no', { status: 503 }))
  const [before] = await notes()
  expect((await signUp('six blue whales sing')).status).toBe(201)
  expect(await notes()).toEqual([{ n: Number(before!.n) + 1 }])
})
