import { desc, lt } from 'drizzle-orm'
import type { Resources } from '../context.ts'
import { build } from '../database/statements.ts'
import { type List, makeCursor, openCursor } from '../http/pagination.ts'
import { toTime, toTimeOrNull } from '../values/ids.ts'
import { cleanupRuns } from './models.ts'
import type { CleanupRun } from './schemas.ts'

/** Runs of the clean-up job, newest first. */
export async function listCleanupRuns(
  { db, config }: Resources,
  { limit, cursor }: { limit: number; cursor?: string | undefined },
): Promise<List<CleanupRun>> {
  const [after] = cursor === undefined ? [] : (openCursor(config, 'cleanup', cursor) as [number])
  const { rows } = await db.read({
    rows: build
      .select()
      .from(cleanupRuns)
      .where(after === undefined ? undefined : lt(cleanupRuns.id, after))
      .orderBy(desc(cleanupRuns.id))
      .limit(limit + 1),
  })
  const page = rows.slice(0, limit)
  const data = page.map((run) => ({
    id: run.id,
    started_at: toTime(run.started_at),
    finished_at: toTimeOrNull(run.finished_at),
    removed: JSON.parse(run.counts) as Record<string, number>,
    ...(run.failed !== '[]' && { failed: JSON.parse(run.failed) as string[] }),
  }))
  const next_cursor = rows.length > limit ? makeCursor(config, 'cleanup', [page.at(-1)!.id]) : null
  return { data, pagination: { limit, next_cursor, total: null } }
}
