import type { Language } from './languages.ts'

export const MINUTE_MS = 60_000
export const HOUR_MS = 60 * MINUTE_MS
export const DAY_MS = 24 * HOUR_MS
/** As long as the longest, so that nothing ends before its year is over. */
export const YEAR_MS = 366 * DAY_MS

/**
 * Our own words: the data that `Intl` needs for its own would take a third of the script's start, where
 * descriptions use these.
 */
const UNITS = [
  [DAY_MS, { en: 'days', de: 'Tage' }],
  [HOUR_MS, { en: 'hours', de: 'Stunden' }],
  [MINUTE_MS, { en: 'minutes', de: 'Minuten' }],
  [1000, { en: 'seconds', de: 'Sekunden' }],
] as const satisfies [number, Record<Language, string>][]

/**
 * A duration in words, in the largest unit of which there is more than one: "7 days", "24 hours", "30
 * minutes". A day is 24 hours. No duration is a single second.
 */
export function inWords(ms: number, language: Language = 'en'): string {
  const [size, words] = UNITS.find(([size]) => ms % size === 0 && ms > size) ?? UNITS[3]
  return `${ms / size} ${words[language]}`
}
