import { expect, test } from 'vitest'
import { AppError } from '../../src/http/problem.ts'
import { inForeignTurn } from '../../src/passwords/foreign/queue.ts'

/** By default each comes from another network. */
let networks = 0
const person = (userId: string, bookedMs = 1000, ip = `10.0.${networks++}.1`) => ({ userId, bookedMs, ip })

/** Asks for places in this order, and releases them all. Answers whether each waited; undefined if refused. */
async function ask(...by: ReturnType<typeof person>[]) {
  const order: string[] = []
  let running = 0
  const turns = by.map((one) =>
    inForeignTurn(one, async (hasWaited) => {
      expect(running++).toBe(0)
      await new Promise((resolve) => setTimeout(resolve, 20))
      running--
      order.push(one.userId)
      return hasWaited
    }).catch((error) => {
      if (!(error instanceof AppError)) throw error
      return `${error.code} ${error.headers?.['retry-after'] ?? ''}`.trim()
    }),
  )
  return { answers: await Promise.all(turns), order }
}

test('Foreign hashes run one at a time, in order, and callers learn whether they waited', async () => {
  const { answers, order } = await ask(person('a'), person('b'), person('c'))
  expect(answers).toEqual([false, true, true])
  expect(order).toEqual(['a', 'b', 'c'])
})

test('A caller who would wait more than four seconds is refused, and one who waits exactly that long is not', async () => {
  const { answers } = await ask(person('a', 2000), person('b', 2000), person('c', 1), person('d', 1))
  expect(answers).toEqual([false, true, true, expect.stringMatching(/^hashing_busy/)])
})

test('An account has one place, whatever the network', async () => {
  const { answers } = await ask(person('a', 100), person('a', 100), person('b', 100), person('b', 100))
  expect(answers).toEqual([
    false,
    expect.stringMatching(/^hashing_busy/),
    true,
    expect.stringMatching(/^hashing_busy/),
  ])
  // The place is free again.
  expect((await ask(person('a'))).answers).toEqual([false])
})

test.each([
  ['an IPv4 /24', '203.0.113.1', '203.0.113.200', '203.0.114.1'],
  ['an IPv6 /64', '2001:db8:1:1::1', '2001:db8:1:1:ffff::2', '2001:db8:1:2::1'],
])('The last place is not given to somebody who has one from %s', async (_, first, same, other) => {
  const { answers } = await ask(
    person('a', 3000, first),
    person('b', 900, same),
    person('c', 900, same),
    person('d', 900, other),
  )
  expect(answers).toEqual([false, true, expect.stringMatching(/^hashing_busy/), true])
})

test('A turn that fails releases its place', async () => {
  const failing = inForeignTurn(person('a'), async () => {
    throw new Error('x')
  })
  await expect(failing).rejects.toThrow('x')
  expect((await ask(person('a'))).answers).toEqual([false])
})
