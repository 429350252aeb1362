import { createHmac, timingSafeEqual } from 'node:crypto'
import type { Context } from 'hono'
import * as z from 'zod'
import type { Config } from '../config/main.ts'
import { text, wholeNumber } from '../values/text.ts'
import { AppError } from './problem.ts'

export const invalidCursor = () =>
  new AppError(
    400,
    'invalid_cursor',
    'The cursor is not one of ours, or belongs to a list with other filters.',
  )

/** Answers with a list, and with `Link` to its next and previous pages (RFC 8288). */
export function answerList<T>(c: Context, list: List<T>) {
  const { next_cursor, prev_cursor } = list.pagination
  const { pathname, searchParams } = new URL(c.req.url)
  searchParams.delete('page') // A cursor replaces the page number.
  const links = Object.entries({ next: next_cursor, prev: prev_cursor }).flatMap(([rel, cursor]) => {
    if (cursor === null) return []
    searchParams.set('cursor', cursor)
    return [`<${pathname}?${searchParams}>; rel="${rel}"`]
  })
  if (links.length > 0) c.header('link', links.join(', '))
  return c.json(list)
}

/** A list: `total` is null where counting would mean reading everything. */
export const listOf = <S extends z.ZodType>(item: S) =>
  z.object({
    data: z.array(item),
    pagination: z.object({
      limit: z.int(),
      next_cursor: z.string().nullable().meta({ description: 'Where the list goes on; null at its end.' }),
      prev_cursor: z.string().nullable().meta({ description: 'The page before; null at the beginning.' }),
      total: z.int().nullable().meta({
        description: 'Null where it would have to be counted: for a search, and most filters and lists.',
      }),
      page: z.int().optional(),
      pages: z.int().optional(),
    }),
  })

export interface List<T> {
  data: T[]
  pagination: {
    limit: number
    next_cursor: string | null
    prev_cursor: string | null
    total: number | null
    page?: number
    pages?: number
  }
}

/** The longest cursor that we make contains the key of a name (users/names.ts), and has 2,135 characters. */
const MAX_CURSOR_LENGTH = 2560

export const pageQuery = () => ({
  limit: wholeNumber(1, 100).default(20).meta({ description: 'How many, at most.' }),
  cursor: text(MAX_CURSOR_LENGTH, 1)
    .optional()
    .meta({ description: 'The `next_cursor` or `prev_cursor` of an earlier answer, with the same filters.' }),
})

/** Where a page begins: after a row of the list; or before one, and then the page is read backwards. */
export interface Place {
  position: unknown[]
  isBackwards: boolean
}

/** Precedes the position in a cursor that leads backwards. No id or number looks like this. */
const BACKWARDS = '<'

/** The place that a cursor names; undefined for the first page. Throws 400 `invalid_cursor`. */
export function openPlace(config: Config, list: string, cursor: string | undefined): Place | undefined {
  if (cursor === undefined) return undefined
  const position = openCursor(config, list, cursor)
  const isBackwards = position[0] === BACKWARDS
  return { position: isBackwards ? position.slice(1) : position, isBackwards }
}

/**
 * Makes a page of rows that were read in the direction of `place`, one more than the limit, to show whether
 * there are more. The rows are returned in the order of the list.
 */
export function toPage<T>(
  config: Config,
  list: string,
  {
    read,
    limit,
    place,
    positionOf,
  }: {
    read: readonly T[]
    limit: number
    place: Place | undefined
    positionOf: (row: T) => readonly unknown[]
  },
): { rows: T[]; pagination: List<T>['pagination'] } {
  const isBackwards = place?.isBackwards ?? false
  const page = read.slice(0, limit)
  const rows = isBackwards ? page.toReversed() : page
  const goesOn = read.length > limit
  const [first, last] = [rows[0], rows.at(-1)]
  const hasNext = isBackwards || goesOn
  const hasPrev = isBackwards ? goesOn : place !== undefined
  return {
    rows,
    pagination: {
      limit,
      next_cursor: last !== undefined && hasNext ? makeCursor(config, list, positionOf(last)) : null,
      prev_cursor:
        first !== undefined && hasPrev ? makeCursor(config, list, [BACKWARDS, ...positionOf(first)]) : null,
      total: null,
    },
  }
}

const MAC_BYTES = 16

/**
 * A place in a list, opaque and signed. The MAC covers the list's filters too, so a cursor only works for its
 * own list.
 */
export function makeCursor(config: Config, list: string, position: readonly unknown[]): string {
  const body = Buffer.from(JSON.stringify(position))
  return Buffer.concat([macOf(config.keys.cursor[0], list, body), body]).toString('base64url')
}

/** Opens a cursor. Throws 400 `invalid_cursor`. */
export function openCursor(config: Config, list: string, cursor: string): unknown[] {
  const bytes = Buffer.from(cursor, 'base64url')
  const mac = bytes.subarray(0, MAC_BYTES)
  const body = bytes.subarray(MAC_BYTES)
  const isOurs =
    mac.length === MAC_BYTES &&
    bytes.toString('base64url') === cursor &&
    config.keys.cursor.some((key) => timingSafeEqual(macOf(key, list, body), mac))
  if (!isOurs) throw invalidCursor()
  return JSON.parse(body.toString())
}

const macOf = (key: Uint8Array, list: string, body: Buffer) =>
  createHmac('sha256', key).update(`${list}\n`).update(body).digest().subarray(0, MAC_BYTES)
