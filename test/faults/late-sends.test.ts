import { afterEach, beforeEach, describe, expect, inject, test } from 'vitest'
import { type Api, openApi, PASSWORD } from '../support/api.ts'
import { ALL_WAYS_IN, asSent, goodRequests, newPerson, WHO } from '../support/requests.ts'
import { type Step, searchAll } from '../support/search.ts'
import { dump } from '../support/snapshots.ts'
import { freshUpstreams } from '../support/upstreams.ts'
import { WRITING_REQUESTS } from '../support/writing-requests.ts'

/**
 * A model of the protocol of src/database/guard.ts, and every order of its events. A batch is sent up to three times.
 * A send is under way until it arrives or is lost, and one that was done may arrive once more. (One that was refused
 * may not: that would be a request that somebody made again.) A delayed send is followed by the next one, whose
 * answer is awaited instead. In the end the caller gives up (503), which leaves the outcome open for 33 seconds.
 * Meanwhile others write: they make the condition of the batch true or false. After a day clean-up removes the rows
 * of `resends`.
 *
 * What must hold: a batch takes effect at most once; an answer, yes or no, is not changed by a send that arrives
 * after it; and nothing happens after the 33 seconds.
 */

interface State {
  /** The condition of the batch, which others change. */
  isAllowed: boolean
  /** The row that the batch inserts, with the number of the send; 0 for none. Nothing removes it within a day. */
  marker: number
  /** The highest number in `resends`; 0 for none. */
  resent: number
  /** The numbers of the sends that are under way, and how many were sent. */
  flying: readonly number[]
  /** Whether one has arrived twice. */
  hasEcho: boolean
  sent: number
  answer: 'yes' | 'no' | 'gave up' | undefined
  /** How often the batch took effect. */
  effects: number
  othersWrites: number
  isTooLate: boolean
}

const START: State = {
  isAllowed: true,
  marker: 0,
  resent: 0,
  flying: [1],
  hasEcho: false,
  sent: 1,
  answer: undefined,
  effects: 0,
  othersWrites: 0,
  isTooLate: false,
}
const MAX_SENDS = 3
const MAX_OTHERS_WRITES = 3

/** Which guards there are. */
interface Protocol {
  /** A send is refused if the marker exists already. */
  marker: boolean
  /** A send is refused if a later one has left its row. */
  resends: boolean
  /** Instead: a send is refused if the marker has a higher number. */
  numberInMarker?: boolean
  /** A send that arrives after its deadline, plus the clocks' difference, is refused. */
  deadline: boolean
}
const OURS: Protocol = { marker: true, resends: true, deadline: true }

const without = (numbers: readonly number[], number: number) => numbers.toSpliced(numbers.indexOf(number), 1)

/** A send arrives in the database: what it changes, and its answer. */
function land(
  state: State,
  number: number,
  protocol: Protocol,
): { state: State; answer: 'yes' | 'no' | undefined } {
  const landed = { ...state, flying: without(state.flying, number) }
  if (protocol.deadline && state.isTooLate) return { state: landed, answer: undefined }
  const isRepeat = state.marker > 0 && (protocol.marker || (protocol.numberInMarker && state.marker > number))
  const isOvertaken = protocol.resends && state.resent > number
  // Refused completely: the caller reads back, which shows whether the batch was done.
  if (isRepeat || isOvertaken) return { state: landed, answer: state.marker > 0 ? 'yes' : 'no' }
  if (number > 1 && protocol.resends) landed.resent = Math.max(landed.resent, number)
  if (!state.isAllowed) return { state: landed, answer: state.marker > 0 ? 'yes' : 'no' }
  return { state: { ...landed, marker: number, effects: state.effects + 1 }, answer: 'yes' }
}

/** What is wrong if a batch takes effect now. */
function faultOf({ effects, answer, isTooLate }: State): string | undefined {
  if (effects > 0) return 'took effect twice'
  if (isTooLate) return 'took effect after 33 seconds'
  return answer === 'no' ? 'took effect after it was answered with no' : undefined
}

/** Everything that can happen next, and what is wrong with it. */
function next(state: State, protocol: Protocol): Step<State>[] {
  const steps: ReturnType<typeof next> = []
  for (const number of state.flying) {
    const { state: landed, answer } = land(state, number, protocol)
    const isNewest = number === state.sent
    const hasChanged = landed.effects !== state.effects
    const fault = hasChanged ? faultOf(state) : undefined
    // The caller gets the answer if it still waits for this send, or the answer is lost.
    const heard = isNewest && answer && !state.answer ? { ...landed, answer } : landed
    steps.push({ name: `send ${number} lands`, state: heard, ...(fault && { fault }) })
    if (heard !== landed) steps.push({ name: `send ${number} lands, its answer is lost`, state: landed })
    if (!state.hasEcho && !fault && landed.marker > 0) {
      const flying = [...heard.flying, number]
      steps.push({
        name: `send ${number} lands, and goes on its way once more`,
        state: { ...heard, flying, hasEcho: true },
      })
    }
    steps.push({ name: `send ${number} is lost`, state: { ...state, flying: landed.flying } })
  }
  if (!state.answer && state.sent < MAX_SENDS && !state.isTooLate) {
    const sent = state.sent + 1
    steps.push({ name: `send ${sent}`, state: { ...state, sent, flying: [...state.flying, sent] } })
  }
  if (!state.answer) steps.push({ name: 'give up', state: { ...state, answer: 'gave up' } })
  if (state.othersWrites < MAX_OTHERS_WRITES) {
    const othersWrites = state.othersWrites + 1
    steps.push({ name: 'others allow it', state: { ...state, othersWrites, isAllowed: true } })
    steps.push({ name: 'others forbid it', state: { ...state, othersWrites, isAllowed: false } })
  }
  if (!state.isTooLate)
    steps.push({
      name: '33 seconds pass',
      state: { ...state, isTooLate: true, answer: state.answer ?? 'gave up' },
    })
  // A day is longer than 33 seconds.
  if (state.isTooLate && state.resent > 0) steps.push({ name: 'clean-up', state: { ...state, resent: 0 } })
  return steps
}

const search = (protocol: Protocol) => searchAll(START, (state) => next(state, protocol))

test('HX20: with marker and resends, no order of events lets a late send change what was answered', () => {
  const { states, fault } = search(OURS)
  expect(fault).toBeUndefined()
  expect(states).toBeGreaterThan(1_000)
})

test('HX20: each guard is needed, and a number in the marker is not enough', () => {
  expect(search({ ...OURS, marker: false }).fault).toContain('took effect twice')
  expect(search({ ...OURS, resends: false }).fault).toEqual([
    'send 2',
    'others forbid it',
    'send 2 lands',
    'others allow it',
    'send 1 lands',
    'took effect after it was answered with no',
  ])
  expect(search({ ...OURS, deadline: false }).fault).toContain('took effect after 33 seconds')
  for (const resends of [true, false]) {
    const numbered = search({ marker: false, resends, numberInMarker: true, deadline: true })
    expect(numbered.fault).toEqual([
      'send 1 lands, and goes on its way once more',
      'send 1 lands',
      'took effect twice',
    ])
  }
})

describe.runIf(inject('whole'))('HX20: a write that arrives twice, late', () => {
  let own: Awaited<ReturnType<typeof freshUpstreams>>
  let api: Api
  let tests = 0
  // Whole databases are compared, so none serves all of them.
  beforeEach(async () => {
    if (tests++ % 25 > 0) return
    own = await freshUpstreams()
    api = openApi({ ...own.bindings, ...ALL_WAYS_IN })
  })
  afterEach(() => own.behave('libsql', { mode: 'pass' }))

  const requests = goodRequests(() => api)
  const writing = [
    ...Object.keys(requests).filter((route) => !route.startsWith('GET ') || /export/.test(route)),
    ...Object.keys(WRITING_REQUESTS),
  ]

  /** A good request, of a route or by name, ready to be sent by somebody who may. */
  async function prepare(route: string) {
    const ada = await api.person({ email_verified_at: 1 })
    const ready = WRITING_REQUESTS[route]
    if (ready) return { ada, send: await ready(api, ada) }
    const boss = await api.person({ role: 'admin', email_verified_at: 1 })
    const isByAdmin = ['manager', 'admin'].includes(WHO[route] ?? '')
    const { token } = await api.signIn(isByAdmin ? boss : ada)
    const [path, body] = await requests[route]!(ada)
    const [method] = route.split(' ') as [string]
    const isAnyone = WHO[route] === 'anyone'
    const given = asSent(body)
    return { ada, send: () => api.send(method, path, { ...given, ...(!isAnyone && { token }) }) }
  }

  /** Other writes meanwhile: about her, by her, and about others. Refusals do not matter. */
  async function tenOtherWrites(ada: { id: string; email: string }) {
    const boss = await api.quickActor({ role: 'admin' })
    const manage = (method: string, path: string, body?: unknown) =>
      api.send(method, `/v1/users/${ada.id}${path}`, { token: boss.token, body })
    const writes = [
      () => manage('POST', '/disable', { reason: 'meanwhile' }),
      () => manage('POST', '/enable'),
      () => api.send('POST', '/v1/auth/login', { body: { email: ada.email, password: PASSWORD } }),
      () => manage('PATCH', '', { name: `Meanwhile ${crypto.randomUUID()}` }),
      () => api.send('POST', '/v1/auth/forgot_password', { body: { email: ada.email } }),
      () => manage('DELETE', ''),
      () => manage('POST', '/restore'),
      () => manage('PATCH', '', { role: 'manager' }),
      () => api.send('POST', '/v1/auth/signup', { body: newPerson() }),
      () => api.send('POST', '/v1/invitations', { token: boss.token, body: { email: newPerson().email } }),
    ]
    for (const write of writes) await write()
  }

  test.each(writing)('%s: a delayed send changes nothing any more, whichever it was', async (route) => {
    for (let nth = 0; ; nth++) {
      const { ada, send } = await prepare(route)
      await own.behave('libsql', { mode: 'adrift', next: 1, after: nth, only: 'BEGIN IMMEDIATE' })
      const { result, calls } = await own.measure(send)
      if (!calls.some(({ mode }) => mode === 'adrift')) return
      expect([nth, result.status, result.body?.code]).toEqual([nth, expect.any(Number), result.body?.code])
      expect(result.status, result.text).toBeLessThan(400)
      await tenOtherWrites(ada)
      const before = await dump(api)
      expect(await own.land()).toBe(1)
      expect(await dump(api)).toEqual(before)
    }
  })

  test.each(writing)(
    '%s: a batch with a marker that arrives again after its answer changes nothing',
    async (route) => {
      const { ada, send } = await prepare(route)
      await own.behave('libsql', { mode: 'echo', only: 'number > ?) OR ' })
      const { result, calls } = await own.measure(send)
      expect(result.status, result.text).toBeLessThan(400)
      await tenOtherWrites(ada)
      const before = await dump(api)
      const marked = await own.land()
      expect(marked).toBeGreaterThanOrEqual(calls.filter(({ mode }) => mode === 'echo').length)
      // About somebody who is gone, few of the other writes take effect.
      expect(marked).toBeGreaterThan(4)
      expect(await dump(api)).toEqual(before)
    },
  )
})
