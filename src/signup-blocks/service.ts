import { and, asc, desc, gt, inArray, lt, sql } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import { activityLogs } from '../activity/models.ts'
import { record } from '../activity/service.ts'
import type { Resources } from '../context.ts'
import { build, rowExists } from '../database/statements.ts'
import { type List, openPlace, toPage } from '../http/pagination.ts'
import type { Claims } from '../sessions/access-tokens.ts'
import { byActor } from '../users/change.ts'
import { writeConflict } from '../users/errors.ts'
import { entriesOf, namesMany } from '../values/blocked.ts'
import { toTime } from '../values/ids.ts'
import { tooManySignupBlocks } from './errors.ts'
import { MAX_SIGNUP_BLOCKS, signupBlocks } from './models.ts'
import type { ListSignupBlocks, SignupBlock, UpdateSignupBlocks } from './schemas.ts'

const howMany = sql`(SELECT count(*) FROM (SELECT 1 FROM ${signupBlocks} LIMIT ${MAX_SIGNUP_BLOCKS}))`

/** The blocked entries, in alphabetical order. Counting them reads them all. */
export async function listSignupBlocks(
  { db, config }: Resources,
  { limit, cursor, covers }: ListSignupBlocks,
  { isCounted = false } = {},
): Promise<List<SignupBlock>> {
  const list = `signup_blocks ${covers ?? ''}`
  const place = openPlace(config, list, cursor)
  const isBackwards = place?.isBackwards === true
  const at = place?.position[0] as string | undefined
  const { entry } = signupBlocks
  const { read, counted } = await db.read({
    counted: isCounted ? sql<{ total: number }>`SELECT ${howMany} AS total` : [],
    read: build
      .select()
      .from(signupBlocks)
      .where(
        and(
          covers === undefined ? undefined : inArray(entry, entriesOf(covers)),
          at === undefined ? undefined : isBackwards ? lt(entry, at) : gt(entry, at),
        ),
      )
      .orderBy(isBackwards ? desc(entry) : asc(entry))
      .limit(limit + 1),
  })
  const positionOf = (row: { entry: string }) => [row.entry]
  const { rows, pagination } = toPage(config, list, { read, limit, place, positionOf })
  return {
    data: rows.map((row) => ({ entry: row.entry, created_at: toTime(row.created_at) })),
    pagination: { ...pagination, total: counted?.[0]?.total ?? null },
  }
}

/** How many entries were added, and how many removed. */
export interface Changed {
  added: number
  removed: number
}

/**
 * Adds and removes entries. Existing accounts are not affected. A block gives nobody any power, so this needs
 * no recent login, and a program may import lists that others maintain. If nothing changes, no history is
 * written.
 *
 * @throws 409 `too_many_signup_blocks`.
 */
export async function changeSignupBlocks(
  resources: Resources & { actor: Claims },
  { add = [], remove = [] }: UpdateSignupBlocks,
): Promise<Changed> {
  const { db, actor, now } = resources
  const by = byActor(actor, now)
  const [only, ...others] = [...add, ...remove]
  // The history must not contain the email or IP address of somebody without an account: nothing would ever
  // erase it.
  const isNamed = others.length === 0 && namesMany(only!)
  const [added, removed] = [JSON.stringify(add), JSON.stringify(remove)]
  const there = sql`(SELECT entry FROM ${signupBlocks})`
  const fits = add.length === 0 ? sql`1` : sql`${howMany} + coming - going <= ${MAX_SIGNUP_BLOCKS}`
  // Materialised, so that it is counted once: the list may be large, and is sent once for each time it is
  // named.
  const counted = sql`WITH counts AS MATERIALIZED (
      SELECT (SELECT count(*) FROM json_each(${added}) WHERE value NOT IN ${there}) AS coming,
        (SELECT count(*) FROM json_each(${removed}) WHERE value IN ${there}) AS going),
    counted AS MATERIALIZED (SELECT coming, going, coming + going > 0 AS changes, ${fits} AS fits FROM counts)`
  const event = {
    id: uuidv7(),
    action: 'signup_blocks.changed',
    userId: null,
    actorId: by.actorId,
    details: sql`(SELECT json_object('added', coming, 'removed', going${isNamed ? sql`, 'entry', ${only}` : sql``})
      FROM counted)`,
  } as const
  const isDone = rowExists(activityLogs, event.id)
  const { verdict } = await db.writeBatch(
    {
      history: sql`${counted} ${record(resources, event, sql`${by.holds} AND (SELECT changes AND fits FROM counted)`)}`,
      removal: sql`DELETE FROM ${signupBlocks} WHERE ${isDone} AND entry IN (SELECT value FROM json_each(${removed}))`,
      addition: sql`INSERT INTO ${signupBlocks} (entry, created_at) SELECT value, ${now} FROM json_each(${added})
        WHERE ${isDone} ON CONFLICT (entry) DO NOTHING`,
      verdict: sql<
        Record<'holds' | 'changes' | 'fits', 0 | 1> & { told: string | null }
      >`SELECT (SELECT details FROM ${activityLogs} WHERE id = ${event.id}) AS told,
        ${by.holds} AS holds, changes, fits FROM (${counted} SELECT changes, fits FROM counted)`,
    },
    isDone,
  )
  const { told, holds, changes: hasChanges, fits: hasRoom } = verdict[0]!
  if (told !== null) return JSON.parse(told) as Changed
  if (!holds) throw by.refused()
  if (!hasChanges) return { added: 0, removed: 0 }
  throw hasRoom ? writeConflict() : tooManySignupBlocks()
}
