import { expect, test } from 'vitest'

/*
 * A small model of the ledger of erasures: somebody is erased; the batch may be lost, delayed or left without an
 * answer; Redis may be unavailable; the cron job may stop between any two steps; an import may be running; and the
 * database may be restored from its backup. All of this in every possible order. Writes are in the order of
 * src/activity/ledger.ts; other orders are tried to see that they fail.
 */

interface State {
  /** In the database. */
  isThere: boolean
  isOwed: boolean
  /** What the backup contains; undefined before it is made. */
  backup: { isThere: boolean; isOwed: boolean } | undefined
  isRestored: boolean
  isFinished: boolean
  inLedger: boolean
  /** At any time, before or after the restore. */
  wasErased: boolean
  redisIsUp: boolean
  outages: number
  request: 'begin' | 'flying' | 'done' | 'lost' | 'said' | 'answered'
  cron: 'idle' | 'read' | 'said' | 'deleted'
  cronRuns: number
  import: 'begin' | 'finds nobody' | 'owed' | 'clear' | 'over'
  comesBack: boolean
}

const BEGIN: State = {
  isThere: true,
  isOwed: false,
  backup: undefined,
  isRestored: false,
  isFinished: false,
  inLedger: false,
  wasErased: false,
  redisIsUp: true,
  outages: 0,
  request: 'begin',
  cron: 'idle',
  cronRuns: 0,
  import: 'begin',
  comesBack: false,
}

interface Order {
  /** The ledger is written at the same time as the batch, as doubts are, not after it. */
  isToldBefore?: boolean
  /** Nothing is owed: only the request writes to the ledger. */
  owesNothing?: boolean
  /** The row is deleted before the ledger has the entry. */
  deletesFirst?: boolean
  /** The import reads the ledger before it reads who exists. */
  looksFirst?: boolean
}

const say = (state: State): State => (state.redisIsUp ? { ...state, inLedger: true } : state)

function* next(state: State, order: Order): Generator<[name: string, state: State]> {
  if (state.redisIsUp && state.outages < 2)
    yield ['Redis goes away', { ...state, redisIsUp: false, outages: state.outages + 1 }]
  if (!state.redisIsUp) yield ['Redis comes back', { ...state, redisIsUp: true }]

  const commit = (to: State['request']): State => ({
    ...state,
    request: to,
    ...(state.isThere && { isThere: false, isOwed: !order.owesNothing, wasErased: true }),
  })
  if (state.request === 'begin')
    yield ['is asked for', { ...(order.isToldBefore ? say(state) : state), request: 'flying' }]
  if (state.request === 'flying') {
    yield ['commits', commit('done')]
    yield ['commits, and the answer is lost', commit('lost')]
    yield ['is refused, or never comes', { ...state, request: 'answered' }]
  }
  if (state.request === 'lost') {
    // When it is sent again, it finds itself done, and continues. Or it is a 503, and whoever asks again finds
    // nobody.
    yield ['is sent again', { ...state, request: 'done' }]
    yield ['is a 503', { ...state, request: 'answered' }]
  }
  if (state.request === 'done') {
    yield ['tells the ledger', { ...(order.isToldBefore ? state : say(state)), request: 'said' }]
    yield ['ends before it could tell', { ...state, request: 'answered' }]
  }
  if (state.request === 'said') yield ['answers', { ...state, request: 'answered' }]

  if (state.cron === 'idle' && state.cronRuns < 2 && state.isOwed)
    yield ['cron reads', { ...state, cron: 'read', cronRuns: state.cronRuns + 1 }]
  if (state.cron !== 'idle') yield ['cron is stopped', { ...state, cron: 'idle' }]
  const deleted = { ...state, isOwed: false, cron: 'idle' } as const
  if (order.deletesFirst) {
    if (state.cron === 'read') yield ['cron takes the row away', { ...deleted, cron: 'deleted' }]
    if (state.cron === 'deleted') yield ['cron tells', { ...say(state), cron: 'idle' }]
  } else {
    if (state.cron === 'read' && state.redisIsUp) yield ['cron tells', { ...say(state), cron: 'said' }]
    if (state.cron === 'said') yield ['cron takes the row away', deleted]
  }

  // An import while the database still exists. It reads who exists and what is owed in one read, and then asks the
  // ledger.
  if (!state.isRestored && !order.looksFirst) {
    if (state.import === 'begin')
      yield [
        'the import reads',
        { ...state, import: state.isThere ? 'over' : state.isOwed ? 'owed' : 'finds nobody' },
      ]
    if (state.import === 'owed') yield ['the import refuses', { ...state, import: 'over' }]
    if (state.import === 'finds nobody')
      yield [
        'the import asks the ledger',
        { ...state, import: 'over', comesBack: state.redisIsUp && !state.inLedger && state.wasErased },
      ]
  }
  if (!state.isRestored && order.looksFirst) {
    if (state.import === 'begin' && state.redisIsUp)
      yield ['the import asks the ledger', { ...state, import: state.inLedger ? 'over' : 'clear' }]
    if (state.import === 'clear')
      yield [
        'the import reads',
        { ...state, import: 'over', comesBack: !state.isThere && state.wasErased && !state.isOwed },
      ]
  }

  const { isThere, isOwed } = state
  if (!state.backup) yield ['a backup is made', { ...state, backup: { isThere, isOwed } }]
  if (state.backup && !state.isRestored)
    yield [
      'the backup is restored',
      { ...state, ...state.backup, isRestored: true, request: 'answered', cron: 'idle', import: 'over' },
    ]
  // It does not run without Redis. By then everything that stopped has stopped.
  if (state.isRestored && !state.isFinished && state.redisIsUp)
    yield [
      'db:restored',
      {
        ...state,
        isFinished: true,
        ...(state.inLedger && state.isThere && { isThere: false, isOwed: true }),
      },
    ]
}

function flawIn(before: State, after: State, name: string): string | undefined {
  if (after.inLedger && !after.wasErased) return 'it names somebody who was not erased'
  if (after.comesBack) return 'an import brings somebody back'
  if (before.isOwed && !after.isOwed && !after.inLedger && !after.isRestored)
    return 'the row is gone, and the ledger does not know'
  if (name === 'answers' && before.redisIsUp && !after.isRestored && !after.inLedger && before.outages === 0)
    return 'answered, and the ledger does not know'
  if (after.isFinished && after.isThere && after.inLedger) return 'a restore brings somebody back'
  const hasWorked =
    after.redisIsUp && after.request === 'answered' && !after.isRestored && after.cron === 'idle'
  if (hasWorked && after.wasErased && !after.inLedger && !after.isOwed)
    return 'an erasure is missing, for good'
  return undefined
}

function goThrough(order: Order) {
  const seen = new Set([JSON.stringify(BEGIN)])
  let wave = [BEGIN]
  while (wave.length > 0) {
    const following: State[] = []
    for (const state of wave) {
      for (const [name, after] of next(state, order)) {
        const flaw = flawIn(state, after, name)
        if (flaw) return { flaw, states: seen.size }
        const key = JSON.stringify(after)
        if (seen.has(key)) continue
        seen.add(key)
        following.push(after)
      }
    }
    wave = following
  }
  return { flaw: undefined, states: seen.size }
}

test('RV5: in every order of commits, losses, outages, backups and restores, no erased user comes back unnoticed', () => {
  const { flaw, states } = goThrough({})
  console.log(`${states} states`)
  expect(flaw).toBeUndefined()
  expect(states).toBeGreaterThan(1000)
})

test.each([
  ['it is told beside the batch', { isToldBefore: true }, 'it names somebody who was not erased'],
  ['nothing is owed', { owesNothing: true }, 'an erasure is missing, for good'],
  ['the row goes first', { deletesFirst: true }, 'the row is gone, and the ledger does not know'],
  ['an import asks the ledger first', { looksFirst: true }, 'an import brings somebody back'],
] as const)('Where %s, it does not hold', (_, order, flaw) => {
  expect(goThrough(order).flaw).toBe(flaw)
})

/*
 * A small model of how the cron job reads the history: a row is committed in time, late, early (by a clock that is
 * ahead), or never. The cron job reads one row per call, by a clock that may be behind; it may stop between any two
 * steps, or run twice at once. Redis may be emptied or unavailable, or its answer lost, which is the same as a run
 * that stops. One step of time is a minute: "soon" is one, "late" is two. Ids are times, with an order among those of
 * the same time.
 */

const [SOON, LATE, END] = [1, 2, 4]

interface Run {
  step: 'idle' | 'asked' | 'read'
  /** The position that it knows, and how far it has got itself. */
  place: string
  last: number
  lastLate: number
  /** What it is about to report, and the new position after that. */
  found: readonly number[]
  to: string
}

interface History {
  now: number
  committed: readonly number[]
  /** In Redis. */
  place: string
  told: readonly number[]
  wasEmptied: boolean
  runs: readonly Run[]
}

const IDLE: Run = { step: 'idle', place: '', last: 0, lastLate: 0, found: [], to: '' }
const START: History = {
  now: 1,
  committed: [],
  place: '',
  told: [],
  wasEmptied: false,
  runs: [IDLE, IDLE],
}

interface Way {
  /** In minutes 1 and 2; two rows in one minute are more than a run reads at once. */
  rows?: readonly number[]
  clockIsBehind?: boolean
  /** Starts from the newest entry minus the lateness, without a stored position; every other row makes an entry. */
  fromNewest?: boolean
  /** Nothing is read twice. */
  readsOnce?: boolean
  /** The position moves even if it has changed since. */
  movesBlindly?: boolean
  /** What Redis knew when it was asked is not reported again. */
  tellsFreshAlone?: boolean
}

const union = (one: readonly number[], other: readonly number[]) =>
  [...new Set([...one, ...other])].sort((a, b) => a - b)
const makesEntry = (row: number) => row % 2 === 0
const firstBehind = (rows: readonly number[], after: number) => rows.filter((row) => row > after).slice(0, 1)

function read({ now, committed, told }: History, run: Run, way: Way): Run {
  const rows = firstBehind(committed, run.last)
  const old = committed.filter((row) => row <= (now - LATE) * 10)
  const late = way.readsOnce ? [] : firstBehind(old, run.lastLate)
  if (rows.length + late.length === 0) return IDLE
  const [last = run.last] = rows
  const [lastLate = run.lastLate] = late
  const found = union(rows, late).filter((row) => !way.tellsFreshAlone || !told.includes(row))
  const to = `${Math.min(last, (now - SOON) * 10)} ${lastLate}`
  return { ...run, step: 'read', last, lastLate, found, to }
}

function* step(state: History, way: Way, at: number): Generator<History> {
  const run = state.runs[at]!
  const become = (changed: Run): History => ({ ...state, runs: state.runs.with(at, changed) })
  if (run.step === 'idle') {
    const newest = state.told.filter(makesEntry).at(-1) ?? 0
    const [last = 0, lastLate = 0] = way.fromNewest
      ? [Math.max(newest - LATE * 10, 0)]
      : state.place.split(' ').map(Number)
    yield become({ ...IDLE, step: 'asked', place: state.place, last, lastLate })
  }
  if (run.step === 'asked') {
    yield become(read(state, run, way))
    if (way.clockIsBehind) yield become(read({ ...state, now: state.now - 1 }, run, way))
  }
  if (run.step === 'read') {
    const isThere = state.place === run.place || way.movesBlindly || way.fromNewest
    if (!isThere) return yield become(IDLE)
    const goesOn: Run = { ...run, step: 'asked', place: run.to, found: [], to: '' }
    yield { ...become(goesOn), told: union(state.told, run.found), place: run.to }
  }
}

function* happens(state: History, way: Way, rows: readonly number[]): Generator<History> {
  if (state.now < END) yield { ...state, now: state.now + 1 }
  for (const row of rows)
    if (!state.committed.includes(row) && state.now < Math.floor(row / 10) + LATE)
      yield { ...state, committed: union(state.committed, [row]) }
  if (!state.wasEmptied && state.place !== '') yield { ...state, place: '', told: [], wasEmptied: true }
  for (const at of state.runs.keys()) {
    yield* step(state, way, at)
    yield { ...state, runs: state.runs.with(at, IDLE) }
  }
}

/** A state in which only time passes, with a run of one call a minute. */
function leavesUntold(state: History, way: Way): boolean {
  let end: History = state
  for (; end.now < END + 8; end = { ...end, now: end.now + 1 }) {
    end = { ...end, runs: [IDLE] }
    for (const _ of ['asks', 'reads', 'tells']) end = step(end, way, 0).next().value ?? end
  }
  return end.told.length < end.committed.length
}

/** One string for all equivalent states: which of two runs is which makes no difference. */
const nameOf = ({ runs, ...rest }: History) =>
  JSON.stringify([Object.values(rest), runs.map((run) => Object.values(run).join('|')).sort()])

function readOn({ rows = [10, 11, 20], ...way }: Way) {
  const seen = new Set<string>()
  const ends = new Map<string, boolean>()
  let wave = [START]
  while (wave.length > 0) {
    const following: History[] = []
    for (const state of wave) {
      const { committed, told } = state
      if (told.some((row) => !committed.includes(row)))
        return { flaw: 'it tells what was not committed', states: seen.size }
      const end = nameOf({ ...state, runs: [] })
      if (!ends.has(end)) ends.set(end, leavesUntold(state, way))
      if (ends.get(end)) return { flaw: 'a row is left untold, for good', states: seen.size }
      for (const after of happens(state, way, rows)) {
        const name = nameOf(after)
        if (seen.has(name)) continue
        seen.add(name)
        following.push(after)
      }
    }
    wave = following
  }
  return { flaw: undefined, states: seen.size }
}

test.each([
  ['however many rows come', {}],
  ['by a clock that is behind', { rows: [10, 20], clockIsBehind: true }],
] as const)('RV5: whatever stops, and %s, every row of history is reported', (_, way) => {
  const { flaw, states } = readOn(way)
  console.log(`${states} states`)
  expect(flaw).toBeUndefined()
  expect(states).toBeGreaterThan(10_000)
})

test.each([
  ['it goes on from the newest entry', { fromNewest: true }],
  ['it reads once', { readsOnce: true }],
  ['its place moves blindly', { movesBlindly: true }],
  ['it tells what was fresh alone', { tellsFreshAlone: true }],
] as const)('Where %s, a row is not reported', (_, way) => {
  expect(readOn(way).flaw).toBe('a row is left untold, for good')
})
