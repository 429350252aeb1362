import { expect, test } from 'vitest'
import { findInTheWay, judgeLines, type Known, knownBy, type Verdict } from '../../src/bulk/import/judge.ts'
import type { Line } from '../../src/bulk/import/lines.ts'
import type { Claims } from '../../src/sessions/access-tokens.ts'

/*
 * A small model of an import: requests that are sent twice, lost or delayed, beside other people's changes, in every
 * possible order. Each request reads, decides by the real functions, and writes; a batch without an answer is sent
 * again, and the caller asks again after a 503.
 */

const LINES = [
  { line: 1, user: { email: 'a@old.test', external_id: 'x' } },
  { line: 2, user: { email: 'b@old.test' } },
].map(({ line, user }) => ({
  line,
  user: { role: 'user', email_verified: false, disabled: false, ...user },
  seed: undefined,
  hash: 'none',
  warnings: [],
})) as Line[]

interface Person extends Known {
  /** The request that made them. */
  by: number | 'others'
}
interface State {
  people: Person[]
  /** The number of the request, from 1. */
  request: number
  phase: 'begin' | 'planned' | 'waiting' | 'answered' | 'given up'
  /** What the request has decided. */
  plan: Verdict[]
  /** For each request: sends under way, the last one made, and those that have arrived. */
  flying: [request: number, send: number][]
  sent: number
  newest: Record<number, number>
  /** Requests whose batch is done, and those that were answered (also with a 503). */
  done: number[]
  over: number[]
  othersLeft: number
}

const BEGIN: State = {
  people: [],
  request: 1,
  phase: 'begin',
  plan: [],
  flying: [],
  sent: 0,
  newest: {},
  done: [],
  over: [],
  othersLeft: 2,
}
const REQUESTS = 2
const SENDS = 2

const living = ({ people }: State, address: string) =>
  people.find((one) => one.email_normalized === address && one.deleted_at === null)
const idOf = (request: number, at: number) => `r${request}-${at}`

const acting = { actor: { role: 'admin' } as Claims, now: 0, isRecent: () => true, isErased: () => false }

/** Changes by others, each at any time. */
const OTHERS: ((state: State) => State | undefined)[] = [
  ...['a@old.test', 'b@old.test'].flatMap((address) => [
    (state: State) =>
      living(state, address)
        ? undefined
        : withPerson(state, {
            id: `o${state.othersLeft}`,
            email_normalized: address,
            external_id: null,
            deleted_at: null,
            email_verified_at: null,
            by: 'others',
          }),
    (state: State) => changeOf(state, address, { deleted_at: 1 }),
    (state: State) => changeOf(state, address, { external_id: 'y' }),
    (state: State) =>
      state.people.some((one) => one.external_id === 'x')
        ? undefined
        : changeOf(state, address, { external_id: 'x' }),
  ]),
]

const withPerson = (state: State, person: Person): State => ({ ...state, people: [...state.people, person] })
function changeOf(state: State, address: string, change: Partial<Person>): State | undefined {
  const found = living(state, address)
  if (
    !found ||
    ('external_id' in change && state.people.some((one) => one.external_id === change.external_id))
  )
    return undefined
  return { ...state, people: state.people.map((one) => (one === found ? { ...one, ...change } : one)) }
}

/** A send arrives in the database: guarded as in database/guard.ts, and each row by the unique indexes. */
function land(state: State, [request, send]: [number, number]): State {
  const flying = state.flying.filter(([r, s]) => r !== request || s !== send)
  const newest = { ...state.newest, [request]: Math.max(send, state.newest[request] ?? 0) }
  const isRefused =
    state.over.includes(request) || state.done.includes(request) || (state.newest[request] ?? 0) > send
  if (isRefused) return { ...state, flying, newest }
  let people = state.people
  state.plan.forEach((verdict, at) => {
    if (verdict.status !== 'new') return
    const { email, external_id = null } = LINES[at]!.user!
    const isTaken = people.some(
      (one) =>
        (one.email_normalized === email && one.deleted_at === null) ||
        (external_id !== null && one.external_id === external_id),
    )
    if (isTaken) return
    const id = idOf(request, at)
    people = [
      ...people,
      { id, email_normalized: email, external_id, deleted_at: null, email_verified_at: null, by: request },
    ]
  })
  return { ...state, people, flying, newest, done: [...state.done, request] }
}

/** The result of each line once a send was answered. */
const answerOf = (state: State) =>
  LINES.map((line, at): Verdict & { made?: string } => {
    const verdict = state.plan[at]!
    if (verdict.status !== 'new') return verdict
    const id = idOf(state.request, at)
    return state.people.some((one) => one.id === id)
      ? { status: 'new', made: id }
      : findInTheWay(line.user!, knownBy(state.people))
  })

function* next(state: State): Generator<[name: string, state: State]> {
  for (const one of state.flying) yield [`send ${one} lands`, land(state, one)]
  if (state.othersLeft > 0) {
    for (const [index, other] of OTHERS.entries()) {
      const after = other(state)
      if (after) yield [`others ${index}`, { ...after, othersLeft: state.othersLeft - 1 }]
    }
  }
  const { request, sent } = state
  if (state.phase === 'begin')
    yield ['looks', { ...state, phase: 'planned', plan: judgeLines(LINES, state.people, acting) }]
  if (state.phase === 'planned') {
    const isNothing = state.plan.every(({ status }) => status !== 'new')
    yield isNothing
      ? ['has nothing to write', { ...state, phase: 'answered', over: [...state.over, request] }]
      : ['sends', { ...state, phase: 'waiting', sent: 1, flying: [...state.flying, [request, 1]] }]
  }
  if (state.phase !== 'waiting') return
  const hasLanded = !state.flying.some(([r, s]) => r === request && s === sent)
  if (hasLanded) yield ['is answered', { ...state, phase: 'answered', over: [...state.over, request] }]
  if (sent < SENDS)
    yield ['sends again', { ...state, sent: sent + 1, flying: [...state.flying, [request, sent + 1]] }]
  else {
    const over = [...state.over, request]
    yield request < REQUESTS
      ? ['is a 503, and asked again', { ...state, over, request: request + 1, phase: 'begin', plan: [] }]
      : ['is a 503', { ...state, over, phase: 'given up' }]
  }
}

/** What must hold in every state, and after every step. */
function flawIn(before: State, after: State): string | undefined {
  const { people } = after
  const alive = people.filter(({ deleted_at }) => deleted_at === null)
  if (new Set(alive.map((one) => one.email_normalized)).size < alive.length) return 'an address of two'
  const named = people.flatMap(({ external_id }) => external_id ?? [])
  if (new Set(named).size < named.length) return 'an external id of two'
  const made = people.filter(({ id }) => !before.people.some((one) => one.id === id))
  if (made.some(({ by }) => by !== 'others' && before.over.includes(by))) return 'made after the answer'
  if (made.some(({ by }) => by !== 'others' && !after.done.includes(by))) return 'made without its marker'
  if (after.phase !== 'answered' || before.phase === 'answered') return undefined
  for (const [at, said] of answerOf(after).entries()) {
    if (said.status === 'new' && !people.some(({ id }) => id === said.made))
      return `line ${at + 1}: not there`
    if (said.status === 'exists' && !people.some(({ id }) => id === said.id))
      return `line ${at + 1}: exists, and is not there`
  }
  return undefined
}

test('HX20: in every order of sends, losses and other people’s changes, an import makes each user once and says what is so', () => {
  const seen = new Set([JSON.stringify(BEGIN)])
  let wave: State[] = [BEGIN]
  const ends = new Set<string>()
  while (wave.length > 0) {
    const following: State[] = []
    for (const state of wave) {
      for (const [name, after] of next(state)) {
        const flaw = flawIn(state, after)
        if (flaw) expect.fail(`${flaw}, as ${name}: ${JSON.stringify({ state, after }, null, 1)}`)
        const key = JSON.stringify(after)
        if (seen.has(key)) continue
        seen.add(key)
        following.push(after)
        if (after.phase === 'answered' && after.flying.length === 0)
          ends.add(
            answerOf(after)
              .map(({ status }) => status)
              .join(),
          )
      }
    }
    wave = following
  }
  console.log(`${seen.size} states, ends: ${[...ends].sort().join(' · ')}`)
  expect(seen.size).toBeGreaterThan(1000)
  // Both lines made, one of them, and a repeat that finds what it made before.
  for (const end of ['new,new', 'exists,exists', 'exists,new', 'new,exists', 'invalid,new'])
    expect([...ends]).toContain(end)
})
