import { sql } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import * as z from 'zod'
import { requireRecentLogin } from '../access/guards.ts'
import { activityLogs } from '../activity/models.ts'
import { ListActivity } from '../activity/schemas.ts'
import { listActivity, record } from '../activity/service.ts'
import { rowExists } from '../database/statements.ts'
import type { List } from '../http/pagination.ts'
import { Refusal } from '../http/problem.ts'
import { toStream } from '../http/stream.ts'
import { isForeign, unsealForeignHash } from '../passwords/foreign/sealing.ts'
import { invalidToken } from '../sessions/errors.ts'
import { checkStillLive, tokenIsLive } from '../sessions/revocation.ts'
import { assertMayExport } from '../throttle/limits.ts'
import type { Acting } from '../users/change.ts'
import { assertMayList, listUsers } from '../users/listing.ts'
import { assertNarrowed, ListUsers, type ManagedUser } from '../users/schemas.ts'
import { lazy, type Of } from '../values/lazy.ts'
import { FORMATS, type Format, writeRows } from './rows.ts'

const ROWS_PER_PAGE = 500

const USER_COLUMNS = [
  'id',
  'email',
  'name',
  'role',
  'status',
  'email_verified',
  'created_at',
  'updated_at',
  'last_login_at',
  'disabled_reason',
  'disabled_until',
  'deleted_at',
  'locale',
  'external_id',
  'metadata',
  'admin_metadata',
  'locked',
  'second_factor',
  'needs_reset',
]
const ACTIVITY_COLUMNS = [
  'id',
  'created_at',
  'action',
  'user_id',
  'actor_id',
  'details',
  'ip',
  'user_agent',
  'country',
  'request_id',
]

const format = () =>
  z
    .enum(Object.keys(FORMATS) as [Format, ...Format[]])
    .default('csv')
    .meta({ description: 'CSV with a line of names, or a JSON object a line.' })

const end = () =>
  z
    .stringbool({ truthy: ['true'], falsy: ['false'], case: 'sensitive' })
    .default(false)
    .meta({
      type: 'boolean',
      description:
        'A last line says how many rows there were: `{"end":true,"rows":2}`, in a CSV `end,2` and empty cells.',
    })

const hashes = () =>
  z
    .stringbool({ truthy: ['true'], falsy: ['false'], case: 'sensitive' })
    .default(false)
    .meta({
      type: 'boolean',
      description:
        'True: each row has the `password_hash` too, as an import takes it; only with `format=ndjson`. Ours is worth nothing without the key of SECRET_KEYS that it names.',
    })

/** How a client recognises a complete file. */
export const WHOLE =
  'A file that cannot be finished breaks off: its connection ends with an error. `end=true` shows it in the file, too.'

export const ExportUsers = lazy(() => {
  const { page: _, limit: _limit, cursor: _cursor, ...filters } = ListUsers().shape
  return z
    .strictObject({ ...filters, format: format(), end: end(), hashes: hashes() })
    .refine((query) => !query.hashes || query.format === 'ndjson', {
      path: ['hashes'],
      message: 'Needs format=ndjson.',
    })
    .refine(({ q, sort }) => q === undefined || sort.endsWith('created_at'), {
      path: ['sort'],
      message: 'A search is sorted by created_at or -created_at.',
    })
    .superRefine(assertNarrowed)
})

export const ExportActivity = lazy(() => {
  const { limit: _limit, cursor: _cursor, ...filters } = ListActivity().shape
  return z
    .strictObject({ ...filters, format: format(), end: end() })
    .refine((query) => !(query.user_id && query.actor_id), {
      path: ['actor_id'],
      message: 'Give user_id or actor_id, not both.',
    })
})

/**
 * All users that a list with these filters has, as a file. It is read page by page while it is sent, and
 * breaks off when its reader loses access. The history records who took it. Throws 403
 * `reauthentication_required`.
 */
export async function exportUsers(
  acting: Acting,
  { format, end, hashes, ...filter }: Of<typeof ExportUsers>,
) {
  assertMayList(acting.actor, filter)
  await recordExport(acting, { list: 'users', ...(hashes && { hashes: true }) })
  const once = readingOnce(acting)
  const list = async (cursor: object) => {
    const page = await listUsers(once, acting.actor, { ...filter, limit: ROWS_PER_PAGE, ...cursor })
    return hashes ? { ...page, data: await withHashes(once, page.data) } : page
  }
  return toStream(acting, writeRows(pagesOf(acting, list), { format, end }, USER_COLUMNS))
}

/** Likewise for the history. */
export async function exportActivity(acting: Acting, { format, end, ...filter }: Of<typeof ExportActivity>) {
  await recordExport(acting, { list: 'activity' })
  const once = readingOnce(acting)
  const list = (cursor: object) => listActivity(once, { ...filter, limit: ROWS_PER_PAGE, ...cursor })
  return toStream(acting, writeRows(pagesOf(acting, list), { format, end }, ACTIVITY_COLUMNS))
}

/**
 * Adds the password hashes: ours as they are stored, and those of other software as they came. Throws 503
 * `misconfigured` if one is under a key that is gone: a file without it would look complete.
 */
async function withHashes(acting: Acting, users: ManagedUser[]) {
  const ids = JSON.stringify(users.map(({ id }) => id))
  const { found } = await acting.db.read({
    found: sql<{ id: string; password_hash: string | null }>`SELECT id, password_hash FROM users
      WHERE id IN (SELECT value FROM json_each(${ids}))`,
  })
  const stored = new Map(found.map(({ id, password_hash }) => [id, password_hash]))
  return Promise.all(
    users.map(async (user) => {
      const hash = stored.get(user.id) ?? null
      const isSealed = isForeign(hash)
      return {
        ...user,
        password_hash: isSealed ? await unsealForeignHash(acting.config, user.id, hash) : hash,
      }
    }),
  )
}

/** As in the export of one user, a page that failed is not retried: the reader starts a new export. */
const readingOnce = (acting: Acting): Acting => ({
  ...acting,
  db: { ...acting.db, read: acting.db.readOnce },
})

async function* pagesOf<T extends object>(acting: Acting, list: (cursor: object) => Promise<List<T>>) {
  let cursor: object = {}
  for (;;) {
    const assertLive = checkStillLive(acting, acting.actor)
    const { data, pagination } = await list(cursor)
    await assertLive()
    yield data as Record<string, unknown>[]
    if (pagination.next_cursor === null) return
    cursor = { cursor: pagination.next_cursor }
  }
}

async function recordExport(
  acting: Acting,
  details: { list: 'users' | 'activity'; hashes?: true },
): Promise<void> {
  const { db, now, actor } = acting
  requireRecentLogin(actor, now)
  await assertMayExport(acting, actor.sub)
  const event = {
    id: uuidv7(),
    action: 'user.exported',
    userId: null,
    actorId: actor.sub,
    details,
  } as const
  const isDone = rowExists(activityLogs, event.id)
  const { verdict } = await db.writeBatch(
    {
      history: record(acting, event, tokenIsLive(actor, now)),
      verdict: sql<{ is_done: 0 | 1 }>`SELECT ${isDone} AS is_done`,
    },
    isDone,
  )
  if (!verdict[0]!.is_done) throw invalidToken(new Refusal('meanwhile'))
}
