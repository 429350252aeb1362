import * as z from 'zod'
import { listOf, pageQuery } from '../http/pagination.ts'
import { Time } from '../values/ids.ts'
import { lazy, type Of } from '../values/lazy.ts'

export const CleanupRun = lazy(() =>
  z
    .object({
      id: z.int(),
      started_at: Time(),
      finished_at: Time().nullable(),
      removed: z.record(z.string(), z.int()),
      failed: z.array(z.string()).optional().meta({ description: 'Tasks that failed, if any.' }),
    })
    .meta({ id: 'CleanupRun' }),
)

export type CleanupRun = Of<typeof CleanupRun>

export const CleanupRunList = lazy(() => listOf(CleanupRun()).meta({ id: 'CleanupRunList' }))

export const ListCleanupRuns = lazy(() => z.strictObject(pageQuery()))
