import { DAY_MS, HOUR_MS, inWords, MINUTE_MS } from '../values/durations.ts'
import { isLanguage } from '../values/languages.ts'
import { readUserAgent } from '../values/user-agent.ts'

/** Times and devices, as people read them. Intl formats times in the reader's zone; no script is needed. */

const WEEK_MS = 7 * DAY_MS
const UNITS: [Intl.RelativeTimeFormatUnit, number][] = [
  ['day', DAY_MS],
  ['hour', HOUR_MS],
  ['minute', MINUTE_MS],
]

/** Dates are written as people of the language write them: "9 Sep 2025", "9. Sept. 2025". */
const localeOf = (language: string) => (language.startsWith('en') ? 'en-GB' : language)

const formats = new Map<string, Intl.DateTimeFormat>()
function format(
  language: string,
  timeZone: string,
  options: Intl.DateTimeFormatOptions,
): Intl.DateTimeFormat {
  const name = `${language} ${timeZone} ${JSON.stringify(options)}`
  const known = formats.get(name) ?? new Intl.DateTimeFormat(localeOf(language), { timeZone, ...options })
  formats.set(name, known)
  return known
}

export interface Clock {
  language: string
  timeZone: string
  /** Epoch ms. */
  now: number
}

export const toDay = ({ language, timeZone }: Clock, at: number) =>
  format(language, timeZone, { day: 'numeric', month: 'short', year: 'numeric' }).format(at)

/** A day where there is little room: without its year, if that is the current one. */
export const toShortDay = (clock: Clock, at: number) =>
  new Date(at).getUTCFullYear() === new Date(clock.now).getUTCFullYear()
    ? format(clock.language, clock.timeZone, { day: 'numeric', month: 'short' }).format(at)
    : toDay(clock, at)

/** A day as a heading: "22 November 2026". */
export const toLongDay = ({ language, timeZone }: Clock, at: number) =>
  format(language, timeZone, { day: 'numeric', month: 'long', year: 'numeric' }).format(at)

export const toMinute = ({ language, timeZone }: Clock, at: number) =>
  format(language, timeZone, { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' }).format(at)

/** A time in full, with its zone: "4 December 2026, 09:00 CET". */
export const toFull = ({ language, timeZone }: Clock, at: number) =>
  format(language, timeZone, {
    day: 'numeric',
    month: 'long',
    year: 'numeric',
    hour: '2-digit',
    minute: '2-digit',
    hourCycle: 'h23',
    timeZoneName: 'short',
  })
    .format(at)
    .replace(' at ', ', ')

/** A zone's offset from UTC at a time, in ms. */
function offsetOf(timeZone: string, at: number): number {
  const options = { year: 'numeric', month: 'numeric', day: 'numeric' } as const
  const clock = { hour: 'numeric', minute: 'numeric', second: 'numeric', hourCycle: 'h23' } as const
  const parts = format('en', timeZone, { ...options, ...clock }).formatToParts(at)
  const [year, month, day, hour, minute, second] = Object.keys({ ...options, ...clock }).map((name) =>
    Number(parts.find(({ type }) => type === name)?.value),
  )
  return Date.UTC(year!, month! - 1, day, hour, minute, second) - Math.floor(at / 1000) * 1000
}

/**
 * A time typed on a page, "2026-12-04T09:00", in the reader's zone. Anything else is returned unchanged, for
 * validation to refuse. The offset is looked up twice, because it may have changed between the two times.
 */
export function toTimeTyped(timeZone: string, typed: string): string {
  const asUtc = /^\d{4}-/.test(typed) ? Date.parse(`${typed}Z`) : Number.NaN
  if (Number.isNaN(asUtc)) return typed
  const near = asUtc - offsetOf(timeZone, asUtc)
  return new Date(asUtc - offsetOf(timeZone, near)).toISOString()
}

/** "2 hours ago" for a week, then the day. */
export function toAgo(clock: Clock, at: number, now: string): string {
  const ago = clock.now - at
  if (ago < 0 || ago >= WEEK_MS) return toDay(clock, at)
  const relative = new Intl.RelativeTimeFormat(localeOf(clock.language), { numeric: 'auto' })
  for (const [unit, length] of UNITS)
    if (ago >= length) return relative.format(-Math.floor(ago / length), unit)
  return now
}

export const toNumber = (language: string, value: number) => value.toLocaleString(localeOf(language))

/** What a User-Agent says, as far as people care: a browser and its system, or a program. */
export function deviceOf(userAgent: string | null) {
  const { browser, system } = readUserAgent(userAgent)
  const isPhone = /iPhone|Android|Mobile/.test(userAgent ?? '')
  if (browser && system) return { browser, system, isPhone }
  const program = /^[\w.-]+(?:\/[\d.]+)?/.exec(userAgent ?? '')?.[0].replace('/', ' ')
  return { program, isPhone }
}

/** A country by its name in the language: "Norway". */
export function countryOf(language: string, code: string | null): string | undefined {
  if (code === null || !/^[A-Z]{2}$/.test(code)) return undefined
  try {
    return new Intl.DisplayNames([localeOf(language)], { type: 'region' }).of(code)
  } catch {
    return undefined
  }
}

/** At most two letters for somebody: "AL" for Ada Lovelace. */
export function initialsOf(name: string): string {
  const words = name.split(/\s+/).filter((word) => /^[\p{L}\p{N}]/u.test(word))
  const picked = words.length > 1 ? [words[0]!, words.at(-1)!] : words.slice(0, 1)
  return picked.map((word) => [...word][0]!.toLocaleUpperCase()).join('') || '?'
}

/** A whole duration: “10 minutes”. */
export const toDuration = ({ language }: Pick<Clock, 'language'>, ms: number) =>
  inWords(ms, isLanguage(language) ? language : 'en')
