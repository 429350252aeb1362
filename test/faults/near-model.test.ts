import fc from 'fast-check'
import { expect, test } from 'vitest'
import { rounds } from '../support/rounds.ts'

/*
 * The protocol of near reads (src/sessions/near.ts) in miniature, as a run of events in time. Readers ask Redis, then
 * perhaps libSQL, and put a copy after their answer; changes write to libSQL and tell Redis beside it. Each step takes as
 * long as it likes within what the code allows: a write may land 33 seconds late, a doubt may be on its way to a far
 * primary, a put may wait until the last moment, clocks are five seconds off. What must not be: that somebody who asks
 * after a change has been answered, or has landed, is told what was so before.
 */

const SECOND = 1000
interface Rules {
  copyMs: number
  doubtMs: number
  clocksMs: number
  /** A read that found a doubt puts no copy. */
  doubtsForbidPuts: boolean
  /** Redis is told beside the write; else after it. */
  tellsBeside: boolean
  readerJudges: boolean
}
const OURS: Rules = {
  copyMs: 60 * SECOND,
  doubtMs: 180 * SECOND,
  clocksMs: 5 * SECOND,
  doubtsForbidPuts: true,
  tellsBeside: true,
  readerJudges: true,
}

interface Reader {
  at: number
  /** From the reply of Redis to the read in libSQL, from there to its answer, from there to when the put arrives. */
  untilRead: number
  untilAnswer: number
  untilPut: number
  putTravels: number
  clock: number
}
interface Changer {
  at: number
  doubtTravels: number
  writeTravels: number
}

const upTo = (seconds: number) => fc.integer({ min: 0, max: seconds * SECOND })
const reader = fc.record<Reader>({
  at: upTo(300),
  untilRead: upTo(3),
  untilAnswer: upTo(2),
  untilPut: upTo(30),
  putTravels: fc.oneof(upTo(1), upTo(33)),
  clock: fc.integer({ min: -2.5 * SECOND, max: 2.5 * SECOND }),
})
const changer = fc.record<Changer>({ at: upTo(240), doubtTravels: upTo(2), writeTravels: upTo(33) })

interface Copy {
  value: number
  readAt: number
  goneAt: number
}

/** Runs everything in the order of time. Answers what a reader was told wrongly, if one was. */
function firstLie(rules: Rules, readers: Reader[], changers: Changer[]): string | undefined {
  const events: { at: number; run: () => void }[] = []
  const on = (at: number, run: () => void) => events.push({ at, run })
  let [value, doubtedUntil] = [0, 0]
  let copy: Copy | undefined
  let lie: string | undefined
  const isDoubted = (now: number) => now < doubtedUntil

  for (const { at, doubtTravels, writeTravels } of changers) {
    const told = rules.tellsBeside ? at + doubtTravels : at + writeTravels + doubtTravels
    on(told, () => {
      doubtedUntil = Math.max(doubtedUntil, told + rules.doubtMs)
    })
    on(at + writeTravels, () => value++)
  }
  /** How many changes have landed, and been told, by a moment: what somebody who asks then has a right to. */
  const dueAt = (now: number) =>
    changers.filter(({ at, doubtTravels, writeTravels }) => at + Math.max(doubtTravels, writeTravels) < now)
      .length

  for (const { at, untilRead, untilAnswer, untilPut, putTravels, clock } of readers) {
    on(at, () => {
      const due = dueAt(at)
      const doubted = isDoubted(at)
      const found = copy && at < copy.goneAt ? copy : undefined
      const mine = at + clock
      const isWorth =
        found !== undefined &&
        (!rules.readerJudges ||
          (mine >= found.readAt - rules.clocksMs && mine < found.readAt + rules.copyMs - rules.clocksMs))
      if (found && isWorth && !doubted) {
        if (found.value < due) lie ??= `asked at ${at}, was told ${found.value} of ${due}`
        return
      }
      const readAt = at + clock
      on(at + untilRead, () => {
        const read = value
        const putAt = at + untilRead + untilAnswer + untilPut
        const left = readAt + rules.copyMs - (putAt + clock)
        if ((doubted && rules.doubtsForbidPuts) || left <= 0) return
        on(putAt + putTravels, () => {
          copy = { value: read, readAt, goneAt: putAt + putTravels + left }
        })
      })
    })
  }
  while (events.length > 0) {
    events.sort((a, b) => a.at - b.at)
    events.shift()!.run()
  }
  return lie
}

const run = (rules: Partial<Rules>, numRuns: number) =>
  fc.check(
    fc.property(
      fc.array(reader, { minLength: 2, maxLength: 8 }),
      fc.array(changer, { minLength: 1, maxLength: 3 }),
      (readers, changers) => firstLie({ ...OURS, ...rules }, readers, changers) === undefined,
    ),
    { numRuns, endOnFailure: true },
  )

test('HX8: nobody who asks after a change is told what was so before it, in any order of events', () => {
  const { failed, counterexample } = run({}, rounds(20_000, 300_000))
  expect([failed, counterexample]).toEqual([false, null])
})

test.each<[string, Partial<Rules>]>([
  ['a doubt that ends before the copies do', { doubtMs: 20 * SECOND }],
  [
    'copies that are put although a doubt was found, and doubts no longer than copies',
    { doubtsForbidPuts: false, doubtMs: 60 * SECOND },
  ],
  ['doubts that are told after the write', { tellsBeside: false }],
  ['copies that only their maker judges', { readerJudges: false, doubtMs: 90 * SECOND }],
])('The model finds what is wrong with %s', (_, rules) => {
  expect(run(rules, 200_000).failed).toBe(true)
})
