import type { Language } from './languages.ts'

export const MINUTE_MS = 60_000
export const HOUR_MS = 60 * MINUTE_MS
export const DAY_MS = 24 * HOUR_MS

const UNITS = [
  ['day', DAY_MS],
  ['hour', HOUR_MS],
  ['minute', MINUTE_MS],
  ['second', 1000],
] as const

/** A whole duration in words, in the largest unit that fits: "7 days", "24 hours", "30 minutes". A day is 24 hours. */
export function inWords(ms: number, language: Language = 'en'): string {
  const [unit, size] = UNITS.find(([, size]) => ms % size === 0 && ms > size) ?? UNITS[3]
  return new Intl.NumberFormat(language, { style: 'unit', unit, unitDisplay: 'long' }).format(ms / size)
}
