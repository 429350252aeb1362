import { describe, expect, test } from 'vitest'
import { MAX_FAILURES_IN_A_ROW } from '../../src/throttle/limits.ts'
import { openApi, PASSWORD } from '../support/api.ts'
import { searchAll } from '../support/search.ts'
import { freshUpstreams } from '../support/upstreams.ts'

/**
 * A model of src/throttle/counters.ts, and every order of its events. Attempts are counted before the password is
 * checked. A wrong one stays counted. One that was right, but did not sign in, is taken back afterwards. Each batch
 * may arrive a second time, at any later moment. Once, the count may be reset.
 *
 * What must hold: the count is never less than the wrong attempts since the reset. Once everything has arrived, it is
 * not more either, except for an attempt that was forgotten because others came in between.
 */

interface State {
  count: number
  /** The attempts that are remembered, oldest first, and whether each counts. */
  memory: readonly (readonly [attempt: number, counts: boolean])[]
  /** The attempts whose batches have arrived: to count them, and to take them back. */
  counted: readonly number[]
  takenBack: readonly number[]
  /** Wrong attempts that were counted since the reset. */
  owed: readonly number[]
  /** Batches that will arrive a second time. */
  echoes: readonly string[]
  hasBegunAnew: boolean
}

interface Protocol {
  /** How many attempts are remembered. */
  remembers: number
  /** Whether an attempt is only taken back if it is remembered as one that counts. */
  asksMemory: boolean
  /** Whether a reset takes back everything that is remembered. */
  closes: boolean
}
const OURS: Protocol = { remembers: 10, asksMemory: true, closes: true }

/** Which attempts have the right password. */
const ATTEMPTS = [true, true, false]
const MAX_ECHOES = 2

const START: State = {
  count: 0,
  memory: [],
  counted: [],
  takenBack: [],
  owed: [],
  echoes: [],
  hasBegunAnew: false,
}

function count(state: State, attempt: number, { remembers }: Protocol): State {
  if (state.memory.some(([id]) => id === attempt)) return state
  const memory = [...state.memory, [attempt, true] as const].slice(-remembers)
  return { ...state, count: state.count + 1, memory }
}

function takeBack(state: State, attempt: number, { asksMemory }: Protocol): State {
  const isCounted = state.memory.some(([id, counts]) => id === attempt && counts)
  if (asksMemory ? !isCounted : state.count === 0) return state
  const memory = state.memory.map(([id, counts]) => [id, counts && id !== attempt] as const)
  return { ...state, count: state.count - 1, memory }
}

function beginAnew(state: State, { closes }: Protocol): State {
  const memory = closes ? state.memory.map(([id]) => [id, false] as const) : state.memory
  return { ...state, count: 0, memory, owed: [], hasBegunAnew: true }
}

/** Everything that can happen next. */
function next(state: State, protocol: Protocol): { name: string; state: State }[] {
  const steps: ReturnType<typeof next> = []
  const echoing = (name: string, landed: State) => {
    steps.push({ name, state: landed })
    if (state.echoes.length < MAX_ECHOES)
      steps.push({
        name: `${name}, and once more later`,
        state: { ...landed, echoes: [...state.echoes, name] },
      })
  }
  const land = (name: string, from: State): State => {
    const [what, attempt] = name.split(' ') as [string, string]
    return what === 'count' ? count(from, +attempt, protocol) : takeBack(from, +attempt, protocol)
  }
  for (const [attempt, isRight] of ATTEMPTS.entries()) {
    if (!state.counted.includes(attempt)) {
      const counted = { ...state, counted: [...state.counted, attempt].sort() }
      const owed = isRight ? state.owed : [...state.owed, attempt]
      echoing(`count ${attempt}`, land(`count ${attempt}`, { ...counted, owed }))
    } else if (isRight && !state.takenBack.includes(attempt)) {
      const takenBack = { ...state, takenBack: [...state.takenBack, attempt].sort() }
      echoing(`back ${attempt}`, land(`back ${attempt}`, takenBack))
    }
  }
  for (const [index, echo] of state.echoes.entries()) {
    // Marked, not removed, because their total number is limited.
    if (echo.startsWith('done')) continue
    const echoes = state.echoes.with(index, 'done')
    steps.push({ name: `${echo}, again`, state: land(echo, { ...state, echoes }) })
  }
  if (!state.hasBegunAnew) steps.push({ name: 'begin anew', state: beginAnew(state, protocol) })
  return steps
}

function faultOf({ count, owed, counted, takenBack, echoes }: State): string | undefined {
  if (count < owed.length) return 'a failure is not counted'
  const isOver =
    counted.length === ATTEMPTS.length &&
    takenBack.length === ATTEMPTS.filter(Boolean).length &&
    echoes.every((echo) => echo === 'done')
  return isOver && count > owed.length ? 'what was no failure is counted' : undefined
}

const search = (protocol: Protocol) =>
  searchAll(START, (state) => next(state, protocol).map((step) => ({ ...step, fault: faultOf(step.state) })))

test('RL2: in no order of events is a failure lost, or an attempt counted that was taken back', () => {
  const { states, fault } = search(OURS)
  expect(fault).toBeUndefined()
  expect(states).toBeGreaterThan(1_000)
})

test('RL2: this needs the memory of several attempts, the question whether they are in it, and its reset with the count', () => {
  expect(search({ ...OURS, remembers: 1 }).fault).toEqual([
    'count 0',
    'back 0',
    'count 1',
    'count 2',
    'back 1',
    'what was no failure is counted',
  ])
  expect(search({ ...OURS, asksMemory: false }).fault).toContain('a failure is not counted')
  expect(search({ ...OURS, closes: false }).fault).toContain('a failure is not counted')
})

/** What is counted for somebody: per account, and per network they came from. */
async function countsOf(api: ReturnType<typeof openApi>, id: string, before: Set<unknown>) {
  const [user] = await api.sql('SELECT failed_logins FROM users WHERE id = ?', [id])
  const rows = await api.sql('SELECT key, attempts FROM throttles')
  return [user!.failed_logins, rows.filter(({ key }) => !before.has(key)).map(({ attempts }) => attempts)]
}

const keysOf = async (api: ReturnType<typeof openApi>) =>
  new Set((await api.sql('SELECT key FROM throttles')).map(({ key }) => key))

test('RL2, Race 2: correct passwords for a disabled account, sent at once, leave no failure behind', async () => {
  const api = openApi()
  const ada = await api.person({ status: 'disabled', email_verified_at: 1 })
  const before = await keysOf(api)
  const logIn = (password: string) =>
    api.send('POST', '/v1/auth/login', { body: { email: ada.email, password }, ip: '10.99.1.1' })
  const right = await Promise.all(Array.from({ length: 6 }, () => logIn(PASSWORD)))
  expect(new Set(right.map(({ body }) => body.code))).toEqual(new Set(['account_disabled']))
  expect(await countsOf(api, ada.id, before)).toEqual([0, [0]])

  const mixed = await Promise.all([PASSWORD, 'wrong one', PASSWORD, 'wrong two', PASSWORD].map(logIn))
  expect(mixed.filter(({ body }) => body.code === 'account_disabled')).toHaveLength(3)
  const [failed, counts] = (await countsOf(api, ada.id, before)) as [number, number[]]
  // The network's failures over all accounts are another counter.
  expect([failed, counts.toSorted()]).toEqual([2, [2, 2]])
})

/** Somebody disabled: a right password is no failure, and no sign-in. */
async function begin() {
  const own = await freshUpstreams()
  const api = openApi(own.bindings)
  const ada = await api.person({ status: 'disabled', email_verified_at: 1 })
  const before = await keysOf(api)
  const logIn = (password: string) =>
    api.send('POST', '/v1/auth/login', { body: { email: ada.email, password }, ip: '10.99.1.2' })
  return { own, api, logIn, counts: () => countsOf(api, ada.id, before) }
}

describe('RL2: a batch that arrives twice', () => {
  test('counts an attempt once', async () => {
    const { own, logIn, counts } = await begin()
    await own.behave('libsql', { mode: 'echo', next: 1, only: 'failed_attempts' })
    expect((await logIn('wrong one')).status).toBe(401)
    expect(await own.land()).toBe(1)
    expect(await counts()).toEqual([1, [1, 1]])
  })

  test('takes back one attempt, whatever has failed in between', async () => {
    const { own, logIn, counts } = await begin()
    await own.behave('libsql', { mode: 'echo', next: 1, only: 'failed_logins\\" - 1' })
    expect((await logIn(PASSWORD)).body.code).toBe('account_disabled')
    for (const password of ['wrong one', 'wrong two']) await logIn(password)
    expect(await own.land()).toBe(1)
    expect(await counts()).toEqual([2, [2, 2]])
  })
})

test('RL2: an attempt that is taken back after its quarter of an hour takes nothing from the next', async () => {
  const { own, api, logIn, counts } = await begin()
  await logIn('wrong one')
  const { result } = await own.between(
    () => logIn(PASSWORD),
    async () => {
      await api.sql('UPDATE throttles SET expires_at = 0 WHERE attempts = 2')
      await logIn('wrong two')
    },
    { only: 'failed_logins\\" - 1' },
  )
  expect(result.body.code).toBe('account_disabled')
  const [, ofNetwork] = (await counts()) as [number, number[]]
  expect(ofNetwork.toSorted()).toEqual([1, 2])
})

test('RL2, Race 2: correct passwords for an unverified account, sent at once, leave no failure on the account', async () => {
  const api = openApi({ EMAIL_VERIFICATION: 'required' })
  const ada = await api.person()
  const logIn = () => api.send('POST', '/v1/auth/login', { body: { email: ada.email, password: PASSWORD } })
  const answers = await Promise.all(Array.from({ length: 6 }, logIn))
  expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([401]))
  expect(await api.sql('SELECT failed_logins FROM users WHERE id = ?', [ada.id])).toEqual([
    { failed_logins: 0 },
  ])
})

test('RL2: a locked account stays locked, whatever is taken back', async () => {
  const api = openApi()
  const locked = { failed_logins: MAX_FAILURES_IN_A_ROW + 1, email_verified_at: 1 }
  const ada = await api.person(locked)
  // The limit refuses every hash, so each attempt is taken back.
  const refusing = openApi({ RATE_LIMIT_HASHES: { limit: async () => ({ success: false }) } })
  const logIn = (of: typeof api) =>
    of.send('POST', '/v1/auth/login', { body: { email: ada.email, password: PASSWORD } })
  const answers = await Promise.all(Array.from({ length: 4 }, () => logIn(refusing)))
  expect(answers.map(({ status }) => status)).toEqual([429, 429, 429, 429])
  expect((await logIn(api)).status).toBe(401)
  expect(await api.sql('SELECT failed_logins FROM users WHERE id = ?', [ada.id])).toEqual([
    { failed_logins: locked.failed_logins },
  ])
})
