import { createHash } from 'node:crypto'
import { afterEach, expect, test, vi } from 'vitest'
import { openApi, PASSWORD } from '../support/api.ts'
import { limiter } from '../support/limiter.ts'

const KNOWN = 'nine green bears run'
const DIGEST = createHash('sha1').update(KNOWN).digest('hex').toUpperCase()

/** The public range service, by its protocol: for five digits it returns the rest of each hash, with a count. */
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

test('PW3: a breached password is refused, and the service only learns five digits', async () => {
  const rows = [`${'0'.repeat(35)}:7`, `${DIGEST.slice(5)}:3`]
  service((prefix) => new Response(prefix === DIGEST.slice(0, 5) ? rows.join('\r\n') : ''))
  const refused = await signUp(KNOWN)
  expect([refused.status, (refused.body.errors as { code: string }[])[0]!.code]).toEqual([
    422,
    'weak_password',
  ])
  expect(asked).toEqual([DIGEST.slice(0, 5)])
  // As a mirror may write it: in lower case.
  service(() => new Response(rows.join('\n').toLowerCase()))
  expect((await signUp(KNOWN)).status).toBe(422)
  expect((await signUp('six blue whales sing')).status).toBe(201)
})

test('PW3: a breached password is refused in every spelling that is the same password', async () => {
  service((prefix) => new Response(prefix === DIGEST.slice(0, 5) ? `${DIGEST.slice(5)}:3` : ''))
  const fullWidth = KNOWN.replace('nine', 'ｎｉｎｅ')
  expect(fullWidth).not.toBe(KNOWN)
  const refused = await signUp(fullWidth)
  expect([refused.status, refused.body.errors]).toMatchObject([422, [{ code: 'weak_password' }]])
})

test('PW3, Fault 18: a service that does not answer is given up after about a second, and the history says so', async () => {
  let waitedMs = 0
  vi.spyOn(globalThis, 'fetch').mockImplementation((input, init) => {
    if (!String(input).startsWith('https://ranges.test/')) return passOn(input as RequestInfo, init)
    const startedMs = Date.now()
    return new Promise((_, reject) => {
      init!.signal!.addEventListener('abort', () => {
        waitedMs = Date.now() - startedMs
        reject(init!.signal!.reason)
      })
    })
  })
  const [before] = await notes()
  expect((await signUp('six blue whales sing')).status).toBe(201)
  // The other calls to services may take three seconds or longer.
  expect(waitedMs).toBeGreaterThan(700)
  expect(waitedMs).toBeLessThan(1500)
  expect(await notes()).toEqual([{ n: Number(before!.n) + 1 }])
})

test('PW3, Fault 18: when the service is down only the list decides, and the history says so', async () => {
  service(() => new Response('no', { status: 503 }))
  const [before] = await notes()
  expect((await signUp('six blue whales sing')).status).toBe(201)
  expect(await notes()).toEqual([{ n: Number(before!.n) + 1 }])
})

test('PW3: when the service is down a refused request leaves no row; above the limit of hashes the service is not asked', async () => {
  service(() => new Response('no', { status: 503 }))
  const ada = await api.person({ email_verified_at: 1 })
  const boss = await api.quickActor({ role: 'admin' })
  const [before] = await notes()
  const create = (by: typeof api) =>
    by.send('POST', '/v1/users', {
      token: boss.token,
      body: { email: ada.email, password: 'six blue whales sing', name: 'Ada' },
    })
  expect((await create(api)).body.code).toBe('email_taken')
  const asks = asked.length
  const full = openApi({ ...api.bindings, RATE_LIMIT_HASHES: limiter(0) })
  expect((await create(full)).status).toBe(429)
  expect(asked).toHaveLength(asks)
  expect(await notes()).toEqual([before])
  const { access_token: token } = await api.logIn({ email: ada.email, password: PASSWORD })
  const body = { current_password: PASSWORD, new_password: 'six blue whales sing' }
  expect((await api.send('POST', '/v1/auth/change_password', { token, body })).status).toBe(200)
  expect(await api.historyOf(ada.id)).toContain('password.not_checked')
})
