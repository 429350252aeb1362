import * as z from 'zod'
import { listOf, pageQuery } from '../http/pagination.ts'
import { Time } from '../values/ids.ts'
import { type Of, once } from '../values/lazy.ts'

export const CleanupRun = once(() =>
  z
    .object({
      id: z.int(),
      started_at: Time(),
      finished_at: Time().nullable(),
      removed: z.record(z.string(), z.int()),
    })
    .meta({ id: 'CleanupRun' }),
)

export type CleanupRun = Of<typeof CleanupRun>

export const CleanupRunList = once(() => listOf(CleanupRun()).meta({ id: 'CleanupRunList' }))

export const ListCleanupRuns = once(() => z.strictObject(pageQuery()))
