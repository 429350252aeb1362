import { describe, expect, test } from 'vitest'

/*
 * A model of the protocol of src/webhooks/protocol.ts: one webhook, two deliveries about Ada in a line, two Workers,
 * a receiver that fails or whose answer is lost, messages that take long, somebody who sends one by hand, an erasure
 * of Ada, and days that pass. All orders are tried, breadth first, and each state is checked for what must always
 * hold. `without` leaves one rule out: the search must then find what goes wrong, or it proves nothing.
 */

const [A1, A2] = [0, 1] as const

interface World {
  /** The person that each delivery is about. */
  line: readonly string[]
  /** How often something bad may happen. */
  left: State['left']
  /** The deliveries that the receiver always refuses. */
  refuses?: readonly number[]
  /** How many are looked at, of those that wait and of refused ones; all if absent. */
  lookedAt?: number
  /** How many of its line may wait behind it. */
  mostBehind?: number
  /** Every state must lead to one like this. */
  isGood(state: State): boolean
}

const ADA: World = {
  line: ['ada', 'ada'],
  left: { losses: 1, failures: 1, days: 1, hands: 1, gone: 0, moves: 0 },
  isGood: ({ rows }) => rows.every(({ is }) => is !== 'open'),
}
/** The receiver always refuses the first of Ada's two; the last is Eve's. */
const ADA_AND_EVE: World = {
  line: ['ada', 'ada', 'eve'],
  left: { losses: 1, failures: 1, days: 0, hands: 0, gone: 0, moves: 0 },
  refuses: [A1],
  isGood: ({ rows }) => rows[2]!.is === 'done',
}
/** The receiver always refuses Ada's and Bob's, as many as are looked at; the last is Eve's. */
const MANY_REFUSED: World = {
  line: ['ada', 'bob', 'eve'],
  left: { losses: 1, failures: 1, days: 0, hands: 0, gone: 0, moves: 0 },
  refuses: [0, 1],
  lookedAt: 2,
  isGood: ({ rows }) => rows[2]!.is === 'done',
}
/** The receiver always refuses the first of Ada's three, and one may wait behind it. */
const LONG: World = {
  line: ['ada', 'ada', 'ada'],
  left: { losses: 0, failures: 0, days: 1, hands: 1, gone: 0, moves: 0 },
  refuses: [A1],
  mostBehind: 1,
  isGood: ({ rows }) => rows.every(({ is }) => is !== 'open'),
}

/** Its address answers that it is gone, and somebody gives it another. */
const GONE: World = {
  line: ['ada', 'eve'],
  left: { losses: 0, failures: 1, days: 0, hands: 0, gone: 1, moves: 1 },
  isGood: ({ rows }) => rows.every(({ is }) => is !== 'open'),
}

type Rule =
  | 'line' // Claimed only if no earlier one of its line is open.
  | 'sent in time' // Sent only while its claim has time left.
  | 'noted for its claim' // The result is only recorded for that claim.
  | 'given up by nobody’s claim' // What is under way is not given up.
  | 'refused lines are passed' // One that is refused again and again does not block other lines.
  | 'refused ones have their own places' // However many are refused, the oldest of other lines are looked at.
  | 'given up behind what is open' // Those behind a refused one are given up only while it is open.
  | 'the newest wait' // The oldest behind it are given up, not the newest.
  | 'rests until woken' // A success does not wake a resting webhook: only PATCH does.
  | 'only at its address' // A result from a former address says nothing about the present one.
  | 'sent to where it is now' // A delivery that was claimed for a former address is given back.
  | 'silent as claimed before' // A run that saw it fail skips what it had claimed before, and nothing later.
  | 'erased in the batch' // An erasure removes the content of deliveries.

interface Worker {
  /** What it has claimed, and whether that was sent, and accepted. */
  has: number
  at: 'claimed' | 'left out' | 'on its way' | 'taken' | 'failed' | 'gone' | 'refused'
  address: number
}

interface State {
  /** For each delivery: open, accepted or given up; and whose claim holds it. A claim that has ended belongs to nobody. */
  rows: { is: 'open' | 'done' | 'dead'; holder: 0 | 1 | null; isRefused: boolean }[]
  workers: [Worker | null, Worker | null]
  /** Which run saw it fail, if that keeps later claims from being sent. */
  silent: [boolean, boolean]
  hand: { has: number; at: 'on its way' | 'taken' | 'failed'; address: number } | null
  isFailing: boolean
  rests: boolean
  address: number
  /**
   * The true state of its present address, whatever we have recorded: it is gone and nobody has woken it since; it
   * failed last.
   */
  truly: { gone: boolean; failing: boolean }
  /** Whether its pause is over. */
  mayTry: boolean
  isErased: boolean
  /** Whether a delivery about Ada contains more than her id. */
  tellsOfAda: boolean
  /** How often something bad may still happen. */
  left: { losses: number; failures: number; days: number; hands: number; gone: number; moves: number }
  /** What the receiver has seen. */
  got: boolean[]
  /** Rows that the receiver first saw while an earlier one of the line was open and had not arrived. */
  wrong: string[]
}

const start = ({ line, left }: World): State => ({
  rows: line.map(() => ({ is: 'open', holder: null, isRefused: false })),
  workers: [null, null],
  silent: [false, false],
  hand: null,
  isFailing: false,
  rests: false,
  address: 0,
  truly: { gone: false, failing: false },
  mayTry: true,
  isErased: false,
  tellsOfAda: true,
  left,
  got: line.map(() => false),
  wrong: [],
})

const isOpen = (state: State, at: number) => state.rows[at]!.is === 'open'
const isFirst = (state: State, at: number, { line }: World) =>
  !line.some((whose, other) => other < at && whose === line[at] && isOpen(state, other))
/** The first open one of its line. */
const headOf = (state: State, at: number, { line }: World) =>
  line.findIndex((whose, other) => whose === line[at] && isOpen(state, other))
/** Whether the receiver refuses what this one's line waits for. */
const isRefused = (state: State, at: number, world: World) => state.rows[headOf(state, at, world)]!.isRefused
/** Whether it is among those that are looked at. */
function isLookedAt(state: State, at: number, world: World, haveOwnPlaces: boolean): boolean {
  const open = [...world.line.keys()].filter((other) => isOpen(state, other))
  const free = open.filter((other) => !isRefused(state, other, world))
  const refused = open.filter(
    (other) => isRefused(state, other, world) && headOf(state, other, world) === other,
  )
  const before = refused.filter((other) => other < (free[0] ?? Number.POSITIVE_INFINITY))
  const first = (those: number[]) => those.slice(0, world.lookedAt)
  const looked = haveOwnPlaces
    ? [...first(free), ...first(before)]
    : first([...free, ...refused].sort((one, other) => one - other))
  return looked.includes(at)
}
const isOldest = (state: State, at: number, world: World, passesRefused: boolean) =>
  !world.line.some(
    (_, other) => other < at && isOpen(state, other) && !(passesRefused && isRefused(state, other, world)),
  )

/** The receiver accepts a message. */
function receive(state: State, at: number, how: 'in turn' | 'by hand', { line }: World): void {
  // A delivery sent by hand may come out of order, and says so.
  const isLate = line.some((whose, other) => other > at && whose === line[at] && state.got[other])
  if (how === 'in turn' && isLate && state.left.hands > 0)
    state.wrong.push(`${at} came after what is after it`)
  if (state.got[at]) return
  const before = line.flatMap((whose, other) => (other < at && whose === line[at] ? [other] : []))
  const isOvertaking = before.some((other) => isOpen(state, other) && !state.got[other])
  if (how === 'in turn' && isOvertaking) state.wrong.push(`${at} came before what was before it`)
  state.got[at] = true
}

const copyOf = (state: State): State => ({
  ...state,
  rows: state.rows.map((row) => ({ ...row })),
  workers: [state.workers[0] && { ...state.workers[0] }, state.workers[1] && { ...state.workers[1] }],
  silent: [...state.silent],
  hand: state.hand && { ...state.hand },
  truly: { ...state.truly },
  left: { ...state.left },
  got: [...state.got],
  wrong: [...state.wrong],
})

/** Every state that can come next. */
function next(state: State, world: World, without: Rule | undefined): State[] {
  const found: State[] = []
  const has = (rule: Rule) => rule !== without
  const then = (change: (state: State) => void) => {
    const copy = copyOf(state)
    change(copy)
    found.push(copy)
  }
  const noteAnswer = (s: State, { at, address }: Pick<Worker, 'at' | 'address'>) => {
    const isHere = address === s.address
    if (isHere) {
      s.truly.failing = at !== 'taken'
      s.truly.gone ||= at === 'gone'
    }
    if (!isHere && has('only at its address')) return
    if (s.rests && has('rests until woken')) return
    s.isFailing = at !== 'taken'
    s.mayTry = at === 'taken'
    s.rests = at === 'gone'
  }
  for (const w of [0, 1] as const) {
    const worker = state.workers[w]
    if (!worker) {
      for (const at of world.line.keys()) {
        const row = state.rows[at]!
        const mayClaim =
          isOpen(state, at) &&
          !state.rests &&
          row.holder === null &&
          !(has('line') && !isFirst(state, at, world)) &&
          isLookedAt(state, at, world, has('refused ones have their own places')) &&
          (!state.isFailing || state.mayTry) &&
          (!state.isFailing || isOldest(state, at, world, has('refused lines are passed')))
        if (!mayClaim) continue
        then((s) => {
          s.rows[at]!.holder = w
          s.workers[w] = { has: at, at: s.silent[w] ? 'left out' : 'claimed', address: s.address }
        })
      }
      continue
    }
    const at = worker.has
    const isStillHeld = state.rows[at]!.holder === w
    if (worker.at === 'left out' || worker.at === 'claimed') {
      const hasMoved = worker.address !== state.address && has('sent to where it is now')
      if (worker.at === 'claimed' && !hasMoved && (isStillHeld || !has('sent in time')))
        then((s) => {
          if (worker.address !== s.address) s.wrong.push('a former address hears of something new')
          s.workers[w]!.at = 'on its way'
        })
      else
        then((s) => {
          if (isStillHeld) s.rows[at]!.holder = null
          s.workers[w] = null
        })
    } else if (worker.at === 'on its way') {
      const isAlwaysRefused = world.refuses?.includes(at) ?? false
      if (!isAlwaysRefused)
        then((s) => {
          receive(s, at, 'in turn', world)
          s.workers[w]!.at = 'taken'
        })
      if (isAlwaysRefused)
        then((s) => {
          s.workers[w]!.at = 'failed'
        })
      else if (state.left.failures > 0)
        then((s) => {
          s.left.failures -= 1
          s.workers[w]!.at = 'failed'
        })
      if (state.left.gone > 0)
        then((s) => {
          s.left.gone -= 1
          s.workers[w]!.at = 'gone'
        })
      // Accepted, but the answer is lost: for us it has failed.
      if (state.left.losses > 0 && !isAlwaysRefused)
        then((s) => {
          s.left.losses -= 1
          receive(s, at, 'in turn', world)
          s.workers[w]!.at = 'failed'
        })
    } else if (worker.at === 'refused') {
      then((s) => {
        s.workers[w] = null
        if (!isOpen(s, at) && has('given up behind what is open')) return
        const behind = [...world.line.keys()].filter(
          (other) => other > at && world.line[other] === world.line[at] && isOpen(s, other),
        )
        const waiting = world.mostBehind!
        const given = has('the newest wait') ? behind.slice(0, -waiting) : behind.slice(waiting)
        for (const other of given) s.rows[other]!.is = 'dead'
      })
    } else {
      then((s) => {
        const row = s.rows[at]!
        if ((row.holder === w || !has('noted for its claim')) && row.is === 'open') {
          if (worker.at === 'taken') row.is = 'done'
          row.isRefused ||= world.refuses?.includes(at) ?? false
          row.holder = null
        }
        s.silent[w] = worker.at !== 'taken' && !has('silent as claimed before')
        noteAnswer(s, worker)
        const isRefused = world.refuses?.includes(at) && world.mostBehind !== undefined
        s.workers[w] = isRefused ? { ...worker, at: 'refused' } : null
      })
      // The Worker dies, and nothing is recorded.
      if (state.left.losses > 0)
        then((s) => {
          s.left.losses -= 1
          s.workers[w] = null
        })
    }
  }
  // A claim ends. What was sent in time has arrived by then, or never will.
  for (const at of world.line.keys()) {
    const isOnItsWay = state.workers.some((worker) => worker?.has === at && worker.at === 'on its way')
    if (state.rows[at]!.holder !== null && (!isOnItsWay || !has('sent in time')))
      then((s) => {
        s.rows[at]!.holder = null
      })
  }
  if (state.isFailing && !state.mayTry)
    then((s) => {
      s.mayTry = true
    })
  // Three days pass: the first in its line is given up, unless it is claimed.
  if (state.left.days > 0)
    for (const at of [A1])
      if (isOpen(state, at) && !(has('given up by nobody’s claim') && state.rows[at]!.holder !== null))
        then((s) => {
          s.left.days -= 1
          s.rows[at]!.is = 'dead'
        })
  if (!state.isErased)
    then((s) => {
      s.isErased = true
      if (has('erased in the batch')) s.tellsOfAda = false
    })
  // PATCH wakes it, and may give it another address.
  const patch = (address: number) =>
    then((s) => {
      Object.assign(s, { address, isFailing: false, mayTry: true, rests: false })
      s.truly = { gone: false, failing: false }
    })
  if (state.rests) patch(state.address)
  if (state.left.moves > 0) {
    patch(1 - state.address)
    found.at(-1)!.left.moves -= 1
  }
  // Somebody sends one by hand, which needs no claim.
  if (!state.hand && state.left.hands > 0)
    for (const at of [A1, A2])
      then((s) => {
        s.left.hands -= 1
        s.hand = { has: at, at: 'on its way', address: s.address }
      })
  if (state.hand?.at === 'on its way') {
    then((s) => {
      receive(s, s.hand!.has, 'by hand', world)
      s.hand!.at = 'taken'
    })
    then((s) => {
      s.hand!.at = 'failed'
    })
  } else if (state.hand)
    then((s) => {
      if (s.hand!.at === 'taken') {
        const row = s.rows[s.hand!.has]!
        row.is = 'done'
        noteAnswer(s, s.hand!)
      }
      s.hand = null
    })
  return found
}

/** Sentences about what must hold in every state, and does not. */
function wrongIn(state: State, { line, mostBehind }: World): string[] {
  const found = [...state.wrong]
  // One that was delivered by hand meanwhile blocks nothing.
  const isHolding = (w: 0 | 1) => {
    const worker = state.workers[w]
    const row = worker && state.rows[worker.has]!
    return row?.is === 'open' && row.holder === w && worker?.at !== 'taken' && worker?.at !== 'refused'
  }
  const [one, other] = state.workers
  if (isHolding(0) && isHolding(1) && line[one!.has] === line[other!.has])
    found.push('two have claimed in one line')
  if (state.isErased && state.tellsOfAda) found.push('somebody who is erased is told of')
  if (mostBehind && state.rows.at(-1)!.is === 'dead') found.push('the newest of a line is given up')
  if (state.truly.gone && !state.rests) found.push('what is gone is sent to, though nobody has woken it')
  if (state.truly.failing && !state.isFailing) found.push('what fails has no pause')
  for (const [at, row] of state.rows.entries())
    if (row.is === 'done' && !state.got[at]) found.push('what never came counts as delivered')
  return found
}

/** Two states are equal if the same can happen next: which Worker is which makes no difference. */
function keyOf(state: State): string {
  const worker = (w: 0 | 1) => {
    const one = state.workers[w]
    const isSilent = state.silent[w] ? 'silent' : ''
    return isSilent + (one ? `${one.has}${one.at}${one.address}${state.rows[one.has]!.holder === w}` : '-')
  }
  const rows = state.rows.map((row) => `${row.is}${row.holder !== null}${row.isRefused}`)
  const { hand, left, got, wrong, isFailing, rests, address, truly, mayTry, isErased, tellsOfAda } = state
  const rest = [
    hand?.has,
    hand?.at,
    hand?.address,
    rests,
    address,
    ...Object.values(truly),
    ...Object.values(left),
    got,
    wrong,
    isFailing,
    mayTry,
    isErased,
    tellsOfAda,
  ]
  return `${[worker(0), worker(1)].sort().join()} ${rows.join()} ${rest.join()}`
}

function search(world: World, without?: Rule) {
  const begin = start(world)
  const seen = new Map<string, State>([[keyOf(begin), begin]])
  const leadsTo = new Map<string, string[]>()
  let wave = [begin]
  while (wave.length > 0) {
    const following: State[] = []
    for (const state of wave) {
      const wrong = wrongIn(state, world)
      if (wrong.length > 0) return { states: seen.size, wrong: wrong[0], stuck: 0 }
      const after = next(state, world, without)
      leadsTo.set(keyOf(state), after.map(keyOf))
      for (const one of after) {
        const key = keyOf(one)
        if (seen.has(key)) continue
        seen.set(key, one)
        following.push(one)
      }
    }
    wave = following
  }
  // Nothing is stuck: every state leads to a good one.
  const before = new Map<string, string[]>()
  for (const [from, tos] of leadsTo)
    for (const to of tos) {
      const known = before.get(to)
      if (known) known.push(from)
      else before.set(to, [from])
    }
  const good = new Set<string>()
  const waiting = [...seen].flatMap(([key, state]) => (world.isGood(state) ? [key] : []))
  while (waiting.length > 0) {
    const key = waiting.pop()!
    if (good.has(key)) continue
    good.add(key)
    waiting.push(...(before.get(key) ?? []))
  }
  const stuck = [...seen.keys()].filter((key) => !good.has(key)).length
  return { states: seen.size, wrong: undefined, stuck }
}

describe('In every order of what can happen to deliveries', () => {
  test('a line is never overtaken, no delivery is claimed twice, none is lost, and none tells of an erased user', () => {
    const { states, wrong, stuck } = search(ADA)
    expect([wrong, stuck]).toEqual([undefined, 0])
    expect(states).toBeGreaterThan(10_000)
  })

  test.each<[Rule, string]>([
    ['line', 'two have claimed in one line'],
    ['sent in time', '0 came after what is after it'],
    ['noted for its claim', '0 came after what is after it'],
    ['given up by nobody’s claim', '0 came after what is after it'],
    ['erased in the batch', 'somebody who is erased is told of'],
  ])('without the rule "%s" it finds that %s', (rule, wrong) => {
    expect(search(ADA, rule).wrong).toBe(wrong)
  })

  test('a delivery that is always refused does not block other users’ lines, and is not overtaken in its own', () => {
    expect(search(ADA_AND_EVE)).toMatchObject({ wrong: undefined, stuck: 0 })
    expect(search(ADA_AND_EVE, 'refused lines are passed').stuck).toBeGreaterThan(0)
  })
  test('deliveries that are always refused, however many, do not block other users’ lines', () => {
    expect(search(MANY_REFUSED)).toMatchObject({ wrong: undefined, stuck: 0 })
    expect(search(MANY_REFUSED, 'refused ones have their own places').stuck).toBeGreaterThan(0)
  })
  test('no delivery that is under way is given up behind it, and the newest arrive', {
    timeout: 240_000,
  }, () => {
    expect(search(LONG)).toMatchObject({ wrong: undefined, stuck: 0 })
    expect(search(LONG, 'given up behind what is open').wrong).toBe('1 came after what is after it')
    expect(search(LONG, 'the newest wait').wrong).toBe('the newest of a line is given up')
  })
  test('a webhook that is gone rests until somebody wakes it, and results from a former address end no pause', () => {
    const tried = { ...GONE, left: { ...GONE.left, hands: 1, moves: 0 } }
    for (const world of [GONE, tried]) expect(search(world)).toMatchObject({ wrong: undefined, stuck: 0 })
    expect(search(GONE, 'rests until woken').wrong).toBe(
      'what is gone is sent to, though nobody has woken it',
    )
    expect(search(GONE, 'only at its address').wrong).toBe('what fails has no pause')
  })
  test('a former address gets nothing more, and a repaired webhook is not skipped by a run that saw it fail', {
    timeout: 240_000,
  }, () => {
    expect(search(GONE, 'sent to where it is now').wrong).toBe('a former address hears of something new')
    expect(search(GONE, 'silent as claimed before').stuck).toBeGreaterThan(0)
  })
})
