import { describe, expect, test } from 'vitest'

/**
 * Where the order matters, every order is tried: a breadth-first search of small models of what the statements do. A
 * batch is one step, as it is alone in the database; between two batches of a request anything may happen. Each model
 * is also searched without the condition that it is about, to show that the search finds the fault.
 */
type Move<S> = (state: S) => S | undefined

/** The shortest path to a state that violates what must hold; undefined if there is none. */
function findBroken<S>(initial: S, moves: readonly Move<S>[], holds: (state: S) => boolean): S[] | undefined {
  const ways: S[][] = [[initial]]
  const seen = new Set([JSON.stringify(initial)])
  for (let way = ways.shift(); way; way = ways.shift()) {
    const state = way.at(-1)!
    if (!holds(state)) return way
    for (const move of moves) {
      const next = move(structuredClone(state))
      if (!next || seen.has(JSON.stringify(next))) continue
      seen.add(JSON.stringify(next))
      ways.push([...way, next])
    }
  }
  return undefined
}

/** One request: `begun` once its first batch is through, with what that has read; `ended` after its second. */
interface Request {
  challenge: number
  /** The step that its code belongs to. */
  step: number
  isCounted: boolean
  state: 'new' | 'begun' | 'ended'
}

interface SigningIn {
  challenges: { tries: number; isSpent: boolean }[]
  lastStep: number
  requests: Request[]
  /** The steps and challenges that led to a session. */
  sessions: { step: number; challenge: number }[]
}

const MAX_TRIES = 5

/** First batch: the attempt is counted or not. Second: the session starts, on the named conditions. */
const signingIn = (has: { unspent: boolean; unusedStep: boolean; counting: boolean }, requests: number) =>
  Array.from({ length: requests }, (_, index): Move<SigningIn>[] => [
    (state) => {
      const request = state.requests[index]!
      if (request.state !== 'new') return undefined
      const challenge = state.challenges[request.challenge]!
      request.isCounted = !has.counting || (!challenge.isSpent && challenge.tries < MAX_TRIES)
      if (request.isCounted) challenge.tries += 1
      request.state = request.isCounted ? 'begun' : 'ended'
      return state
    },
    (state) => {
      const request = state.requests[index]!
      if (request.state !== 'begun') return undefined
      request.state = 'ended'
      const challenge = state.challenges[request.challenge]!
      const mayBegin =
        (!has.unspent || !challenge.isSpent) && (!has.unusedStep || state.lastStep < request.step)
      if (!mayBegin) return state
      challenge.isSpent = true
      state.lastStep = Math.max(state.lastStep, request.step)
      state.sessions.push({ step: request.step, challenge: request.challenge })
      return state
    },
  ]).flat()

const start = (requests: [challenge: number, step: number][]): SigningIn => ({
  challenges: [
    { tries: 0, isSpent: false },
    { tries: 0, isSpent: false },
  ],
  lastStep: 0,
  requests: requests.map(([challenge, step]) => ({ challenge, step, isCounted: false, state: 'new' })),
  sessions: [],
})
const areOnce = (values: number[]) => new Set(values).size === values.length

describe('MF2, MF4: in every order of requests at once', () => {
  const ALL = { unspent: true, unusedStep: true, counting: true }
  const codeIsOnce = ({ sessions }: SigningIn) => areOnce(sessions.map(({ step }) => step))
  const challengeIsOnce = ({ sessions }: SigningIn) => areOnce(sessions.map(({ challenge }) => challenge))

  test('a code signs in once, whichever challenges it is given for', () => {
    const requests = start([
      [0, 1],
      [1, 1],
      [1, 1],
    ])
    expect(findBroken(requests, signingIn(ALL, 3), codeIsOnce)).toBeUndefined()
    expect(findBroken(requests, signingIn({ ...ALL, unusedStep: false }, 3), codeIsOnce)).toBeDefined()
  })

  test('a challenge gives one session, whatever codes are used with it', () => {
    const requests = start([
      [0, 1],
      [0, 2],
      [0, 2],
    ])
    expect(findBroken(requests, signingIn(ALL, 3), challengeIsOnce)).toBeUndefined()
    expect(findBroken(requests, signingIn({ ...ALL, unspent: false }, 3), challengeIsOnce)).toBeDefined()
  })

  test('a challenge may be tried five times', () => {
    const requests = start(Array.from({ length: 6 }, () => [0, 1] as [number, number]))
    const fiveTries = ({ challenges }: SigningIn) => challenges[0]!.tries <= MAX_TRIES
    expect(findBroken(requests, signingIn(ALL, 6), fiveTries)).toBeUndefined()
    expect(findBroken(requests, signingIn({ ...ALL, counting: false }, 6), fiveTries)).toBeDefined()
  })
})

interface WaysIn {
  hasPassword: boolean
  passkeys: boolean[]
  /** For each removal, whether it has read that another way in exists. */
  read: (boolean | undefined)[]
  ended: boolean[]
}

/** First batch: reads. Second: removes its own passkey, on a condition of that moment, or on what was read. */
const removing = (decides: 'as written' | 'as read') =>
  [0, 1].flatMap((index): Move<WaysIn>[] => {
    const anotherRemains = ({ hasPassword, passkeys }: WaysIn) =>
      hasPassword || passkeys.some((isThere, other) => isThere && other !== index)
    return [
      (state) => {
        if (state.read[index] !== undefined) return undefined
        state.read[index] = anotherRemains(state)
        return state
      },
      (state) => {
        if (state.read[index] === undefined || state.ended[index]) return undefined
        state.ended[index] = true
        if (decides === 'as written' ? anotherRemains(state) : state.read[index])
          state.passkeys[index] = false
        return state
      },
    ]
  })

test('PK4: in every order of two removals at once, a way in stays', () => {
  const initial: WaysIn = { hasPassword: false, passkeys: [true, true], read: [], ended: [false, false] }
  const oneStays = ({ hasPassword, passkeys }: WaysIn) => hasPassword || passkeys.includes(true)
  expect(
    findBroken({ ...initial, read: [undefined, undefined] }, removing('as written'), oneStays),
  ).toBeUndefined()
  expect(
    findBroken({ ...initial, read: [undefined, undefined] }, removing('as read'), oneStays),
  ).toBeDefined()
})
