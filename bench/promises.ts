import { dollarsPerMillion } from './dollars.ts'
import type { Ratio } from './ratios.ts'
import type { Results } from './results.ts'

interface Promised {
  what: string
  /** Undefined if the last run did not measure it. */
  measured: number | undefined
  bound: number
  isAtMost: boolean
  show: (value: number) => string
  /** The part of the benchmark that measures it. */
  part: string
}

const percent = (value: number) => `${Math.round(value * 100)} %`
const dollars = (value: number) => `$${value.toFixed(2)}`
const ms = (value: number) => `${value.toFixed(1)} ms`
const kib = (value: number) => `${(value / 1024).toFixed(1)} KiB`

/** What Roster was meant to reach, and what it reaches, so that a missed figure is seen at once. */
export function promisesOf(results: Results): (string | number)[][] {
  return measuredOf(results).map(({ what, measured, bound, isAtMost, show, part }) => {
    const kept =
      measured === undefined ? '' : (isAtMost ? measured <= bound : measured >= bound) ? 'yes' : 'no'
    return [
      what,
      `${isAtMost ? '≤' : '≥'} ${show(bound)}`,
      measured === undefined ? 'not measured yet' : show(measured),
      kept,
      `\`npm run bench -- --only ${part}\``,
    ]
  })
}

function measuredOf(results: Results): Promised[] {
  const { ratios, distance, size } = results
  const lowest = (operation: string, isWanted: (it: Ratio) => boolean = () => true) =>
    least(ratios.filter((it) => it.operation === operation && isWanted(it)).map(({ ratio }) => ratio))
  const ofFloor = (operation: string, bound: number, words = operation): Promised => {
    const what = `${words}: of its floor, at 1, 16 and 64 connections`
    return { what, measured: lowest(operation), bound, isAtMost: false, show: percent, part: 'ratios' }
  }
  const price = (operation: string, bound: number, words = operation): Promised => {
    const measured = dollarsPerMillion(results, operation)?.together
    return {
      what: `a million of ${words}`,
      measured,
      bound,
      isAtMost: true,
      show: dollars,
      part: 'ratios,trips',
    }
  }
  const near = distance.filter(({ redis }) => redis === 'everywhere').map(({ readMs }) => readMs)
  return [
    ofFloor('read of oneself', 0.8, 'read of oneself, by a copy'),
    {
      what: 'read of oneself, by a copy, from the slowest of six regions',
      measured: near.length > 0 ? Math.max(...near) : undefined,
      bound: 15,
      isAtMost: true,
      show: ms,
      part: 'distance',
    },
    ofFloor('read of a person', 0.8),
    ofFloor('list of people, a page', 0.8),
    ofFloor('list of people, page 400', 0.8),
    ofFloor('refresh', 0.85),
    {
      what: 'logins at once: of the bare hash, at 16 and 64 connections',
      measured: lowest('login', ({ connections }) => connections > 1),
      bound: 0.9,
      isAtMost: false,
      show: percent,
      part: 'ratios',
    },
    price('read of a person', 0.4, 'reads of others'),
    price('refresh', 2.5, 'refreshes'),
    price('login', 16, 'logins'),
    {
      what: 'bundle, gzip',
      measured: size?.gzipBytes,
      bound: 256 * 1024,
      isAtMost: true,
      show: kib,
      part: 'size',
    },
    {
      what: 'script start',
      measured: size?.scriptStartMs,
      bound: 12,
      isAtMost: true,
      show: ms,
      part: 'size',
    },
  ]
}

const least = (values: number[]) => (values.length > 0 ? Math.min(...values) : undefined)
