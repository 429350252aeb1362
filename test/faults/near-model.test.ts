import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import type { NearStore } from '../../src/database/redis.ts'
import type { Claims } from '../../src/sessions/access-tokens.ts'
import { findNear, whileDoubting } from '../../src/sessions/near.ts'
import type { Profile } from '../../src/users/models.ts'
import { openApi } from '../support/api.ts'
import { rounds } from '../support/rounds.ts'

/*
 * A small model of the protocol of near reads (src/sessions/near.ts), as a sequence of events in time. Readers ask
 * Redis, then perhaps libSQL, and store a copy after their answer; changes write to libSQL, and tell Redis at the
 * same time. Each step takes any time that the code allows: a write may arrive 33 seconds late, a doubt may travel to
 * a distant primary, storing a copy may wait until the last moment, clocks may be five seconds off. Readers may be of
 * versions that cannot open each other's copies, or have another NEAR_READ_SECONDS. What must never happen: somebody
 * asks after a change was answered, or has arrived, and is told a state without it; or a copy answers for a session
 * that has expired.
 *
 * A copy may depend on several things: a session and its user; for an app's token the app as well; for a service its
 * owner. Each is changed by itself, and has its own doubt. A service's owner is asked for by a reader that knows them
 * (src/oauth/introspection/copies.ts); one that does not uses no copy, and stores none.
 *
 * In its second half things break: a doubt is lost, or a region of Redis hears late of it; Redis is emptied, or refuses
 * writes; a replica of libSQL lags. A former state may then be told, but for no longer than NEAR_READ_SECONDS and the lag.
 *
 * The same sequences then go through the real `findNear` and `whileDoubting`.
 */

const SECOND = 1000
interface Rules {
  doubtMs: number
  clocksMs: number
  /** A read that found a doubt stores no copy. */
  doubtsForbidPuts: boolean
  /** Redis is told at the same time as the write; otherwise after it. */
  tellsBeside: boolean
  readerJudges: boolean
  /** How many kinds of doubt a reader asks for. */
  asksFor: number
  /** A reader that does not know the last of them uses no copy. */
  takesNoneUnheard: boolean
  /** A copy is not used after its session's end. */
  endsWithSession: boolean
  /** A copy's time counts from before the read. */
  stampsBefore: boolean
}
const KINDS = 3
const OURS: Rules = {
  doubtMs: 180 * SECOND,
  clocksMs: 5 * SECOND,
  doubtsForbidPuts: true,
  tellsBeside: true,
  readerJudges: true,
  asksFor: KINDS,
  takesNoneUnheard: true,
  endsWithSession: true,
  stampsBefore: true,
}

interface Reader {
  at: number
  /** The time until the read in libSQL, from there to its answer, and from there until the copy arrives. */
  untilRead: number
  untilAnswer: number
  untilPut: number
  putTravels: number
  clock: number
  hasHeard: boolean
  /** NEAR_READ_SECONDS, in ms. */
  copyMs: number
  /** Copies are opened only by readers of the same version. */
  version: number
  lagOfReplica: number
  /** Asks a region of Redis that hears late of everything. */
  isFar: boolean
}
interface Changer {
  at: number
  kind: number
  doubtTravels: number
  writeTravels: number
  doubtIsLost: boolean
  /** How much later a far region hears of the doubt. */
  lagOfRegion: number
}
interface Sequence {
  readers: Reader[]
  changers: Changer[]
  /** When the session expires. */
  endsAt: number
  /** When Redis is emptied, if ever. */
  emptied: number | null
  /** From when to when Redis answers reads and refuses writes. */
  refuses: [from: number, to: number]
}

const upTo = (seconds: number) => fc.integer({ min: 0, max: seconds * SECOND })
const mostly = <T>(usual: T, other: fc.Arbitrary<T>, weight = 4) =>
  fc.oneof({ weight, arbitrary: fc.constant(usual) }, other)

const sequence = (breaks: boolean) => {
  const whenBroken = <T>(whole: T, broken: fc.Arbitrary<T>) => (breaks ? broken : fc.constant(whole))
  return fc.record<Sequence>({
    readers: fc.array(
      fc.record<Reader>({
        at: fc.oneof(upTo(300), upTo(90)),
        untilRead: upTo(3),
        untilAnswer: upTo(2),
        untilPut: upTo(30),
        putTravels: fc.oneof(upTo(1), upTo(33)),
        clock: fc.integer({ min: -2.5 * SECOND, max: 2.5 * SECOND }),
        hasHeard: mostly(true, fc.constant(false), 3),
        copyMs: mostly(
          60 * SECOND,
          fc.integer({ min: 0, max: 60 }).map((seconds) => seconds * SECOND),
        ),
        version: mostly(0, fc.constant(1), 9),
        lagOfReplica: whenBroken(0, mostly(0, fc.oneof(upTo(5), upTo(240)))),
        isFar: whenBroken(false, fc.boolean()),
      }),
      { minLength: 2, maxLength: 8 },
    ),
    changers: fc.array(
      fc.record<Changer>({
        at: fc.oneof(upTo(240), upTo(60)),
        kind: fc.integer({ min: 0, max: KINDS - 1 }),
        doubtTravels: upTo(2),
        writeTravels: upTo(33),
        doubtIsLost: whenBroken(false, fc.boolean()),
        lagOfRegion: whenBroken(0, fc.oneof(upTo(5), upTo(240))),
      }),
      { minLength: 1, maxLength: 3 },
    ),
    endsAt: mostly(1_000 * SECOND, upTo(300)),
    emptied: whenBroken<number | null>(null, fc.option(upTo(300))),
    refuses: whenBroken<[number, number]>([0, 0], mostly([0, 0], fc.tuple(upTo(300), upTo(300)))),
  })
}

/** What a reader was told: the changes as bits, and whether by a copy; if so, how old the replica was that it is from. */
interface Told {
  reader: Reader
  knows: number
  isByCopy: boolean
  lag: number
}

/** When somebody who asks must see a change: it has arrived, and was answered. */
const seenFrom = ({ at, doubtTravels, writeTravels }: Changer) => at + Math.max(doubtTravels, writeTravels)
const isRefused = ({ refuses: [from, to] }: Sequence, now: number) => now >= from && now < to

/** What libSQL has had before a moment. */
const changesBy = ({ changers }: Sequence, now: number) =>
  changers.reduce((bits, { at, writeTravels }, i) => (at + writeTravels < now ? bits | (1 << i) : bits), 0)

/** What somebody was told wrongly, if anything. */
function lieAmong(told: Told[], { changers, endsAt }: Sequence, breaks: boolean): string | undefined {
  for (const { reader, knows, isByCopy, lag } of told) {
    const { at, copyMs } = reader
    if (isByCopy && at >= endsAt) return `asked at ${at} about a session that had ended at ${endsAt}`
    const mayLast = breaks ? lag + (isByCopy ? copyMs : 0) : 0
    for (const [index, changer] of changers.entries()) {
      const late = at - seenFrom(changer)
      if (late > mayLast && !(knows & (1 << index))) return `asked at ${at}, was not told of change ${index}`
    }
  }
  return undefined
}

interface Copy {
  knows: number
  lag: number
  readAt: number
  goneAt: number
  version: number
}

/** Runs everything in the order of time. Returns what readers were told. */
function play(rules: Rules, given: Sequence): Told[] {
  const { readers, changers, endsAt, emptied } = given
  const events: { at: number; run: () => void }[] = []
  const on = (at: number, run: () => void) => events.push({ at, run })
  const told: Told[] = []
  let doubts: { kind: number; from: number; farFrom: number; until: number }[] = []
  const copies: { near?: Copy | undefined; far?: Copy | undefined } = {}
  const isDoubted = (now: number, asked: number, isFar: boolean) =>
    doubts.some(
      ({ kind, from, farFrom, until }) => kind < asked && now >= (isFar ? farFrom : from) && now < until,
    )
  const lifetimeOf = (readAt: number, copyMs: number) =>
    Math.min(readAt + copyMs, rules.endsWithSession ? endsAt : Number.MAX_SAFE_INTEGER)

  if (emptied !== null)
    on(emptied, () => {
      doubts = []
      copies.near = copies.far = undefined
    })
  for (const { at, kind, doubtTravels, writeTravels, doubtIsLost, lagOfRegion } of changers) {
    const from = rules.tellsBeside ? at + doubtTravels : at + writeTravels + doubtTravels
    if (doubtIsLost || isRefused(given, from)) continue
    on(from, () => doubts.push({ kind, from, farFrom: from + lagOfRegion, until: from + rules.doubtMs }))
  }

  for (const reader of readers) {
    const { at, untilRead, untilAnswer, untilPut, putTravels, clock, hasHeard, version, isFar } = reader
    on(at, () => {
      const unheard = !hasHeard && rules.takesNoneUnheard
      const doubted = unheard || isDoubted(at, Math.min(rules.asksFor, hasHeard ? KINDS : KINDS - 1), isFar)
      const found = isFar ? copies.far : copies.near
      const mine = at + clock
      const isThere = found && at < found.goneAt && found.version === version && reader.copyMs > 0
      const isWorth =
        isThere &&
        (!rules.readerJudges ||
          (mine >= found.readAt - rules.clocksMs &&
            mine < lifetimeOf(found.readAt, reader.copyMs) - rules.clocksMs))
      if (isWorth && !doubted) {
        told.push({ reader, knows: found.knows, isByCopy: true, lag: found.lag })
        return
      }
      on(at + untilRead, () => {
        const lag = reader.lagOfReplica
        const knows = changesBy(given, at + untilRead - lag)
        told.push({ reader, knows, isByCopy: false, lag })
        const putAt = at + untilRead + untilAnswer + untilPut
        const readAt = clock + (rules.stampsBefore ? at : putAt)
        const left = lifetimeOf(readAt, reader.copyMs) - (putAt + clock)
        const arrives = putAt + putTravels
        if ((doubted && rules.doubtsForbidPuts) || reader.copyMs === 0 || left <= 0) return
        const copy = { knows, lag, readAt, goneAt: arrives + left, version }
        if (isRefused(given, arrives)) return
        on(arrives, () => {
          copies.near = copies.far = copy
        })
      })
    })
  }
  while (events.length > 0) {
    events.sort((a, b) => a.at - b.at)
    events.shift()!.run()
  }
  return told
}

interface Run {
  breaks?: boolean
  /** The lies that count. */
  of?: RegExp
}

const run = (rules: Partial<Rules>, numRuns: number, { breaks = false, of = /./ }: Run = {}) =>
  fc.check(
    fc.property(
      sequence(breaks),
      (given) => !of.test(lieAmong(play({ ...OURS, ...rules }, given), given, breaks) ?? ''),
    ),
    { numRuns, endOnFailure: true },
  )

test('HX8: in no order of events does somebody who asks after a change get the former state', () => {
  const { failed, counterexample } = run({}, rounds(20_000, 300_000))
  expect([failed, counterexample]).toEqual([false, null])
})

test('HX8: whatever Redis loses, and however a replica lags, a copy is used for no longer than NEAR_READ_SECONDS', () => {
  const { failed, counterexample } = run({}, rounds(20_000, 300_000), { breaks: true })
  expect([failed, counterexample]).toEqual([false, null])
})

const TRIES = 5_000_000

test.each<[string, Partial<Rules>, RegExp?]>([
  ['a doubt that ends before the copies do', { doubtMs: 20 * SECOND }],
  [
    'copies that are put although a doubt was found, and doubts no longer than copies',
    { doubtsForbidPuts: false, doubtMs: 60 * SECOND },
  ],
  ['doubts that are told after the write', { tellsBeside: false }],
  ['a kind of doubt that nobody asks for', { asksFor: KINDS - 1 }],
  ['a copy that is taken without asking who answers for it', { takesNoneUnheard: false }],
  ['copies that only their maker judges', { readerJudges: false, doubtMs: 90 * SECOND }],
  ['a copy that outlives its session', { endsWithSession: false }, /session/],
])('The model finds what is wrong with %s', (_, rules, of = /change/) => {
  expect(run(rules, TRIES, { of }).failed).toBe(true)
})

test.each<[string, Partial<Rules>]>([
  ['copies that only their maker judges', { readerJudges: false }],
  ['copies whose time counts from when they are stored', { stampsBefore: false }],
])('When things break, the model finds what is wrong with %s', (_, rules) => {
  expect(run(rules, TRIES, { breaks: true, of: /change/ }).failed).toBe(true)
})

describe('The real parts', () => {
  const { keys, ...settings } = openApi().config()
  const [SESSION, USER] = ['01890000-0000-7000-8000-000000000001', '01890000-0000-7000-8000-000000000002']
  const claims = { sid: SESSION, sub: USER, epoch: 0, role: 'user', turn: 0 } as Claims
  const START = Date.UTC(2026, 0, 1)

  beforeAll(() => void vi.useFakeTimers({ toFake: ['Date'] }))
  afterAll(() => void vi.useRealTimers())

  /** Like `play`, but by `findNear` and `whileDoubting`, in a time that passes only when all of them wait. */
  async function playForReal(given: Sequence, { tells }: { tells: boolean }): Promise<Told[]> {
    const { readers, changers, endsAt, emptied } = given
    const told: Told[] = []
    let entries: { key: string; value: string | null; version: number; farFrom: number; until: number }[] = []
    let now = 0
    const sleepers: { at: number; wake: () => void }[] = []
    const sleepUntil = (at: number, wake: () => void = () => {}) =>
      new Promise<void>((resolve) => sleepers.push({ at, wake: () => resolve(wake()) }))
    /** Readers that are not asleep: what they encrypt and decrypt takes real time. */
    let awake = 0
    const live = (work: Promise<unknown>) => {
      awake++
      void work.finally(() => awake--)
    }
    const enter = (key: string, value: string | null, { version = 0, lag = 0, lifetimeMs = Infinity }) =>
      entries.push({ key, value, version, farFrom: now + lag, until: now + lifetimeMs })

    const change = async ({ at, kind, doubtTravels, writeTravels, doubtIsLost, lagOfRegion }: Changer) => {
      await sleepUntil(at)
      const mark: NearStore['mark'] = async (lifetimes) => {
        await sleepUntil(at + doubtTravels)
        if (doubtIsLost || isRefused(given, now)) return undefined
        for (const [key, lifetimeMs] of lifetimes)
          enter(key, lifetimeMs === 0 ? null : '1', { lag: lagOfRegion, lifetimeMs: lifetimeMs || Infinity })
        return true
      }
      const redis = { mark, marksAreFailing: false } as NearStore
      const doubts = kind === 0 ? { sessions: [SESSION] } : { users: [USER] }
      await whileDoubting({ redis, afterwards: live }, tells ? doubts : {}, () =>
        sleepUntil(at + writeTravels),
      )
    }

    const read = async (reader: Reader) => {
      const { at, untilRead, untilAnswer, untilPut, putTravels, clock, copyMs, version, isFar } = reader
      const sleep = (ms: number) => {
        awake--
        return sleepUntil(now + ms, () => {
          awake++
          vi.setSystemTime(START + now + clock)
        })
      }
      await sleep(at)
      const mget: NearStore['mget'] = async (asked) =>
        asked.map((key) => {
          const found = entries.findLast(
            (entry) => entry.key === key && now < entry.until && (!isFar || now >= entry.farFrom),
          )
          return found?.value && found.version !== version
            ? `of another version: ${found.value}`
            : (found?.value ?? null)
        })
      const put: NearStore['put'] = async (key, value, lifetimeMs) => {
        await sleep(untilPut + putTravels)
        if (!isRefused(given, now)) enter(key, value, { version, lifetimeMs })
        return true
      }
      let isByCopy = true
      const { name } = await findNear(
        {
          config: { ...settings, keys, NEAR_READ_SECONDS: copyMs / SECOND },
          redis: { mget, put } as NearStore,
          afterwards: live,
        },
        claims,
        { isFresh: false },
        async () => {
          isByCopy = false
          await sleep(untilRead)
          const lag = reader.lagOfReplica
          const profile = { name: `${changesBy(given, now - lag)} ${lag}`, metadata: null } as Profile
          await sleep(untilAnswer)
          return { profile, endsAt: START + endsAt, turn: 0 }
        },
      )
      const [knows, lag] = name!.split(' ').map(Number)
      told.push({ reader, knows: knows!, isByCopy, lag: lag! })
    }

    if (emptied !== null)
      void sleepUntil(emptied, () => {
        entries = []
      })
    for (const changer of changers) void change(changer)
    for (const reader of readers) live(read(reader))
    while (sleepers.length > 0) {
      sleepers.sort((a, b) => a.at - b.at)
      const { at, wake } = sleepers.shift()!
      now = at
      wake()
      // Everything that follows at once, and then whatever waits for a cipher.
      for (let turn = 0; turn < 30; turn++) await null
      while (awake > 0) await new Promise((resolve) => setTimeout(resolve))
    }
    return told
  }

  async function runForReal(numRuns: number, { breaks = false, tells = true } = {}) {
    let byCopies = 0
    const { failed, counterexample } = await fc.check(
      fc.asyncProperty(sequence(breaks), async (given) => {
        const told = await playForReal(given, { tells })
        if (told.length !== given.readers.length) throw new Error('somebody was told nothing')
        byCopies += told.filter(({ isByCopy }) => isByCopy).length
        return lieAmong(told, given, breaks) === undefined
      }),
      { numRuns, endOnFailure: true },
    )
    return { failed, counterexample, byCopies }
  }

  test.each([
    ['HX8: tell nobody the former state, in any order of events', false],
    ['HX8: tell nobody the former state for longer than NEAR_READ_SECONDS, whatever breaks', true],
  ])('%s', async (_, breaks) => {
    const { failed, counterexample, byCopies } = await runForReal(rounds(3_000, 50_000), { breaks })
    expect([failed, counterexample]).toEqual([false, null])
    expect(byCopies).toBeGreaterThan(5)
  })

  test('tell somebody a former state if changes tell Redis nothing', async () => {
    expect((await runForReal(20_000, { tells: false })).failed).toBe(true)
  })
})
