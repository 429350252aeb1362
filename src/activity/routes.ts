import { limitLists, requirePermission } from '../access/guards.ts'
import { RUNS_EVERY_MINUTES } from '../cleanup/models.ts'
import { listCleanupRuns } from '../cleanup/runs.ts'
import { CleanupRunList, ListCleanupRuns } from '../cleanup/schemas.ts'
import type { AppEnv } from '../context.ts'
import { Hono } from '../http/hono.ts'
import { operation, query } from '../http/operation.ts'
import { answerList, invalidCursor } from '../http/pagination.ts'
import { ActivityList, ListActivity } from './schemas.ts'
import { listActivity } from './service.ts'
import { AskForStats, readStats, Stats } from './stats.ts'

/** A row carries the time at which its change began; it can be written up to 50 seconds later. */
const FOLLOWING = `Rows can appear up to a minute after the time they carry, with an id between others. To follow the history
without missing any, by time or by cursor, begin each round at least two minutes before the end of the last and skip
the ids already seen. A page can have fewer rows than its limit, even none, where you may not see some; go on until
\`next_cursor\` is null.`

export const activityRoutes = new Hono<AppEnv>()
  .get(
    '/activity',
    operation({
      id: 'listActivity',
      tag: 'activity',
      summary: 'History of everybody',
      description: FOLLOWING,
      responses: { 200: ActivityList },
      problems: [invalidCursor],
    }),
    requirePermission('activity:read'),
    limitLists,
    query(ListActivity),
    async (c) => answerList(c, await listActivity(c.var, c.var.query)),
  )
  .get(
    '/stats',
    operation({
      id: 'getStats',
      tag: 'activity',
      summary: 'What happened by day, and how many users there are',
      description: `Days are those of UTC. Counted from the history by the clean-up job, every ${RUNS_EVERY_MINUTES} minutes.`,
      responses: { 200: Stats },
    }),
    requirePermission('activity:read'),
    limitLists,
    query(AskForStats),
    async (c) => c.json(await readStats(c.var, c.var.query)),
  )
  .get(
    '/cleanup/runs',
    operation({
      id: 'listCleanupRuns',
      tag: 'activity',
      summary: 'When clean-up ran, and what it removed',
      description: 'Newest first.',
      responses: { 200: CleanupRunList },
      problems: [invalidCursor],
    }),
    requirePermission('cleanup:read'),
    limitLists,
    query(ListCleanupRuns),
    async (c) => answerList(c, await listCleanupRuns(c.var, c.var.query)),
  )
