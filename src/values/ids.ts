import * as z from 'zod'
import { lazy } from './lazy.ts'

/** The smallest UUIDv7 of a millisecond: ids carry their time, so a time is a position in a list. */
export function firstIdAt(epochMs: number): string {
  const hex = Math.max(0, Math.floor(epochMs)).toString(16).padStart(12, '0')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-7000-8000-000000000000`
}

/** When a UUIDv7 was made (epoch ms). */
export const timeOfId = (id: string) => Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16)

/** RFC 3339 in UTC with milliseconds: the only format for times in JSON. */
export const toTime = (epochMs: number) => new Date(epochMs).toISOString()
export const toTimeOrNull = (epochMs: number | null) => (epochMs === null ? null : toTime(epochMs))

const ID_EXAMPLE = '019ab0c4-7d1e-7a51-9c3b-2f4d5e6f7a8b'

export const Time = lazy(() =>
  z.iso.datetime({ offset: true, precision: 3 }).meta({ example: '2026-11-24T09:30:00.000Z' }),
)
/** A time as a caller may write it. */
export const TimeInput = lazy(() =>
  z.iso
    .datetime({ offset: true })
    .transform((value) => Date.parse(value))
    .refine((value) => value >= 0 && value < 2 ** 47, 'Is before 1970, or too far ahead.'),
)
/** An id as a caller may write it. */
export const IdInput = lazy(() =>
  Id()
    .transform((value) => value.toLowerCase())
    .meta({ example: ID_EXAMPLE }),
)
export const Id = lazy(() => z.uuid().meta({ example: ID_EXAMPLE }))
