import { afterEach, expect, test, vi } from 'vitest'
import { keepByCookie } from '../src/cookie.ts'
import { type Answer, ask } from '../src/http.ts'
import type { User } from '../src/main.ts'
import { failure } from '../src/problems.ts'

afterEach(() => vi.unstubAllGlobals())

const PROBLEM = { 'content-type': 'application/problem+json' }

/** A session keeper whose requests are answered when, and in the order that, a test says. */
function openKeeper(hasTabs = false) {
  const asked: { path: string; answer(status: number, body?: object): void; fail(): void }[] = []
  let user: User | null | undefined
  const keeper = keepByCookie({
    url: 'https://id.test',
    hasTabs,
    ask: (request) =>
      new Promise<Answer>((resolve, reject) =>
        asked.push({
          path: new URL(request.url).pathname,
          answer: (status, body = {}) =>
            resolve({
              response: new Response(null, { status, headers: status < 400 ? {} : PROBLEM }),
              body: body as Answer['body'],
            }),
          fail: () => reject(new Error('no answer')),
        }),
      ),
    user: () => user,
    changed: (next) => {
      user = next
    },
  })
  return { keeper, asked, user: () => user }
}
const ada = { id: 'ada' } as User
const grace = { id: 'grace' } as User

test('A look that fails takes nothing from one before it that is answered', async () => {
  const { keeper, asked, user } = openKeeper()
  const first = keeper.look()
  const second = keeper.look()
  asked[1]!.fail()
  await expect(second).rejects.toThrow('no answer')
  asked[0]!.answer(200, ada)
  await first
  expect(user()).toEqual(ada)
})

test('An answer from before a later one, or from before a sign-in, says nothing', async () => {
  const { keeper, asked, user } = openKeeper()
  const [first, second] = [keeper.look(), keeper.look()]
  asked[1]!.answer(200, grace)
  await second
  asked[0]!.answer(200, ada)
  await first
  expect(user()).toEqual(grace)

  const third = keeper.look()
  const entry = keeper.call(
    new Request('https://id.test/v1/auth/login', { method: 'POST' }),
    '/v1/auth/login',
  )
  asked[3]!.answer(200, { user: ada })
  await entry
  asked[2]!.answer(401)
  await third
  expect(user()).toEqual(ada)
})

test('A 401 of somebody on the way signs nobody out: Roster’s own is a problem with a code', async () => {
  let user: User | null = ada
  let answer: () => Response
  const keeper = keepByCookie({
    url: 'https://id.test',
    hasTabs: false,
    ask: (request) => ask(async () => answer(), request, 1000),
    user: () => user,
    changed: (next) => {
      user = next
    },
  })
  const others = [
    () => new Response('<html>Log in', { status: 401, headers: { 'content-type': 'text/html' } }),
    () => new Response('{}', { status: 401, headers: PROBLEM }),
    () => Response.json({ code: 'UNAUTHORIZED' }, { status: 401 }),
    () => Response.json({ code: 'UNAUTHORIZED', status: 401 }, { status: 401 }),
  ]
  for (const of of others) {
    answer = of
    for (const asked of [keeper.look, keeper.signOut])
      await expect(asked()).rejects.toMatchObject({ name: 'RosterError', status: 401 })
  }
  expect(user).toBe(ada)
  const own = { ...failure('no_answer', ''), code: 'unauthenticated' }
  answer = () => Response.json(own, { status: 401, headers: PROBLEM })
  for (const asked of [keeper.look, keeper.signOut]) {
    user = ada
    await asked()
    expect(user).toBeNull()
  }
})

test('Who is there is asked when somebody comes back from a window beside it, which hid nothing', async () => {
  const page = new EventTarget()
  vi.stubGlobal('addEventListener', page.addEventListener.bind(page))
  vi.stubGlobal('removeEventListener', page.removeEventListener.bind(page))
  const { keeper, asked } = openKeeper(true)
  page.dispatchEvent(new Event('focus'))
  page.dispatchEvent(new Event('focus'))
  expect(asked.map(({ path }) => path)).toEqual(['/v1/users/me'])
  keeper.close()
  asked[0]!.answer(200, ada)
  await new Promise((resolve) => setTimeout(resolve))
  page.dispatchEvent(new Event('focus'))
  expect(asked).toHaveLength(1)
})
