import { inArray } from 'drizzle-orm'
import { forbidden } from '../access/errors.ts'
import { allows, type Permission } from '../access/permissions.ts'
import { writeTogether } from '../database/together.ts'
import { whileDoubting } from '../sessions/near.ts'
import { assertMayWriteAll } from '../throttle/limits.ts'
import { type Acting, byActor, type Decision, prepareChange } from '../users/change.ts'
import { userNotFound, writeConflict } from '../users/errors.ts'
import { deleting, disabling, enabling, endingSessions } from '../users/managing/manage.ts'
import { selectUsers, users } from '../users/models.ts'
import type { BulkAction, BulkChange, BulkResult } from './schemas.ts'

const WITHOUT_A_REASON = 'Disabled with others'

interface Kind {
  permission: Permission
  decide(acting: Acting, input: BulkChange): Decision
}

export const BULK: Record<BulkAction, Kind> = {
  disable: {
    permission: 'users:update',
    decide: (acting, { reason = WITHOUT_A_REASON, until }) =>
      disabling(acting, { reason, ...(until !== undefined && { until }) }),
  },
  enable: { permission: 'users:update', decide: enabling },
  end_sessions: { permission: 'sessions:manage', decide: endingSessions },
  delete: { permission: 'users:delete', decide: deleting },
}

/**
 * Applies one action to many users, each by the rules of the single action, in two trips: one read, and one
 * batch in which each user has their own conditions and their own row of history.
 *
 * @throws 403 `forbidden`, `reauthentication_required`; 422 `until_in_the_past`.
 */
export async function changeInBulk(acting: Acting, input: BulkChange): Promise<BulkResult> {
  const { permission, decide } = BULK[input.action]
  if (!allows(acting.actor, permission)) throw forbidden()
  await assertMayWriteAll(acting, acting.actor, input.ids.length)
  const decision = decide(acting, input)
  // From the primary: a lagging replica may show that there is nothing to do, or not have a user yet.
  const { rows } = await acting.db.readPrimary({
    rows: selectUsers().where(inArray(users.id, input.ids)),
  })
  const known = new Map(rows.map((row) => [row.id, row]))
  const by = byActor(acting.actor, acting.now)
  const prepare = async (id: string) => {
    const row = known.get(id)
    if (!row) throw userNotFound()
    const change = await decision(row)
    if (!change) return { value: row }
    const { batch, isDone, conclude } = prepareChange(acting, by, row, change)
    const concludeHere = async (results: Parameters<typeof conclude>[0]) => {
      const changed = await conclude(results)
      if (!changed) throw writeConflict()
      return changed
    }
    return { batch, isDone, conclude: concludeHere }
  }
  const outcomes = await whileDoubting(acting, { users: input.ids }, () =>
    writeTogether(acting.db, input.ids, prepare),
  )
  return {
    data: outcomes.map(({ key: id, problem }) =>
      problem ? { id, status: 'refused' as const, code: problem.code } : { id, status: 'done' as const },
    ),
  }
}
