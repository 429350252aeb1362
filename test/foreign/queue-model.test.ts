import { expect, test } from 'vitest'
import {
  type Asking,
  LONGEST_QUEUE_MS,
  type Place,
  placeBehind,
  stillThere,
  turnOf,
} from '../../src/passwords/foreign/places.ts'
import { rounds } from '../support/rounds.ts'

/*
 * A small model of the queue of foreign hashes: people ask, their turns end, clients go away, and a processor is so
 * busy that nothing happens for a long time, in every possible order. Each decision is made by the real functions.
 */

/** Two accounts in one network, and one in each of two others; a quick hash, and one that takes the longest time allowed. */
const ACCOUNTS = [
  { userId: 'a', network: 'one' },
  { userId: 'b', network: 'one' },
  { userId: 'c', network: 'two' },
  { userId: 'd', network: 'three' },
]
const COSTS = [1500, LONGEST_QUEUE_MS]
const ASKING: Asking[] = ACCOUNTS.flatMap((account) => COSTS.map((bookedMs) => ({ ...account, bookedMs })))

interface Waiting {
  place: Place
  /** The client went away, so its request makes no progress. */
  isGone: boolean
}
interface State {
  now: number
  places: readonly Place[]
  /** Everybody without an answer yet. */
  waiting: readonly Waiting[]
  asked: number
  gone: number
}
const BEGIN: State = { now: 0, places: [], waiting: [], asked: 0, gone: 0 }
/** Four make 436,903 states. */
const MAX_ASKED = rounds(3, 4)
const MAX_GONE = 2

const answered = (state: State, place: Place): State => ({
  ...state,
  places: state.places.filter((other) => other !== place),
  waiting: state.waiting.filter((one) => one.place !== place),
})

/** Somebody asks, as `takePlace` does. If they are refused, the state is unchanged. */
function ask(state: State, asking: Asking): State {
  const places = stillThere(state.places, state.now)
  const { place } = placeBehind(places, asking, state.now)
  if (!place) return { ...state, places }
  const waitMs = places.reduce((sum, { bookedMs }) => sum + bookedMs, 0)
  expect(waitMs).toBeLessThanOrEqual(LONGEST_QUEUE_MS)
  return {
    ...state,
    places: [...places, place],
    waiting: [...state.waiting, { place, isGone: false }],
    asked: state.asked + 1,
  }
}

/** Somebody who waits checks whether it is their turn, as the loop of `inForeignTurn` does. */
function look(state: State, { place }: Waiting): State {
  if (turnOf(state.places, place) === 'lost') return answered(state, place)
  return turnOf(state.places, place) === 'now'
    ? state
    : { ...state, places: stillThere(state.places, state.now, place) }
}

/** Somebody whose turn it is verifies, and gets an answer. */
function verify(state: State, { place }: Waiting): State {
  return answered({ ...state, now: state.now + place.bookedMs }, place)
}

const there = ({ waiting }: State) => waiting.filter(({ isGone }) => !isGone)
const running = (state: State) => there(state).filter(({ place }) => turnOf(state.places, place) === 'now')

/** When the next one is assumed to have gone away. */
const nextEnd = ({ places, now }: State) =>
  places
    .map(({ until }) => until)
    .filter((until) => until > now)
    .sort((one, other) => one - other)[0]

function next(state: State): State[] {
  return [
    ...(state.asked < MAX_ASKED ? ASKING.map((asking) => ask(state, asking)) : []),
    ...running(state).map((one) => verify(state, one)),
    ...there(state).map((one) => look(state, one)),
    ...(state.gone < MAX_GONE
      ? there(state).map((one) => ({
          ...state,
          gone: state.gone + 1,
          waiting: state.waiting.map((other) => (other === one ? { ...one, isGone: true } : other)),
        }))
      : []),
    // Nothing happens until somebody is assumed to have gone away.
    ...(nextEnd(state) === undefined ? [] : [{ ...state, now: nextEnd(state)! }]),
  ]
}

/** Times are relative to now, so that equivalent states are the same. */
const nameOf = ({ now, places, waiting, asked, gone }: State) =>
  JSON.stringify([
    places.map(({ userId, bookedMs, until }) => [userId, bookedMs, Math.max(0, until - now)]),
    waiting.map(({ place, isGone }) => [places.indexOf(place), place.userId, place.bookedMs, isGone]),
    asked,
    gone,
  ])

/** What must hold at any time. */
function assertGood(state: State): void {
  const accounts = state.places.map(({ userId }) => userId)
  expect(new Set(accounts).size).toBe(accounts.length)
  const bookedMs = state.places.reduce((sum, place) => sum + place.bookedMs, 0)
  expect(bookedMs).toBeLessThanOrEqual(2 * LONGEST_QUEUE_MS)
  expect(running(state).length).toBeLessThanOrEqual(1)
  // However much one network asks for, somebody in another is let in.
  const networks = new Set(state.places.map(({ network }) => network))
  if (networks.size === 1)
    for (const bookedMs of COSTS)
      expect(
        placeBehind(state.places, { userId: 'z', network: 'elsewhere', bookedMs }, state.now).place,
      ).toBeDefined()
}

/** If nobody else asks, everybody who is there gets an answer in the end. */
function assertEnds(state: State): void {
  let left = state
  for (let turn = 0; there(left).length > 0; turn++) {
    if (turn > 20) throw new Error(`Somebody waits for ever: ${nameOf(state)}`)
    const [first] = running(left)
    if (first) left = verify(left, first)
    else left = { ...left, now: nextEnd(left) ?? left.now }
    for (const one of there(left)) left = look(left, one)
  }
}

test('In whatever order people ask, finish and go away: no wait over four seconds, one place per account, no place left over, no network on its own', () => {
  const seen = new Set([nameOf(BEGIN)])
  let states = [BEGIN]
  while (states.length > 0) {
    const found: State[] = []
    for (const state of states)
      for (const following of next(state)) {
        const name = nameOf(following)
        if (seen.has(name)) continue
        seen.add(name)
        assertGood(following)
        assertEnds(following)
        found.push(following)
      }
    states = found
  }
  console.log(`${seen.size} states`)
  expect(seen.size).toBeGreaterThan(1000)
})

test('The model can fail: somebody who does not check whether the place is still theirs waits for ever', () => {
  const [slow, quick] = [ASKING[1]!, ASKING[4]!]
  let state = ask(ask(BEGIN, slow), quick)
  // The first one's client went away, and the second waits so long that a third takes over its place.
  state = { ...state, now: Math.max(...state.places.map(({ until }) => until)) }
  state = ask(state, ASKING[6]!)
  const [, second] = state.waiting
  expect([turnOf(state.places, second!.place), state.places.length]).toEqual(['lost', 1])
  expect(look(state, second!).waiting).not.toContain(second)
})
