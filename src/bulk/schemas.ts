import * as z from 'zod'
import { DisableUser } from '../users/schemas.ts'
import { Id, IdInput } from '../values/ids.ts'
import { lazy, type Of } from '../values/lazy.ts'

/** The actions that can be applied to many users at once. */
const BULK_ACTIONS = ['disable', 'enable', 'end_sessions', 'delete'] as const
export type BulkAction = (typeof BULK_ACTIONS)[number]
export const MAX_AT_ONCE = 100

/** Ids without duplicates, in the given order. */
export const ManyIds = lazy(() =>
  z
    .array(IdInput())
    .min(1)
    .max(MAX_AT_ONCE)
    .transform((ids) => [...new Set(ids)]),
)

export const BulkChange = lazy(() =>
  z
    .strictObject({
      action: z.enum(BULK_ACTIONS),
      ids: ManyIds(),
      reason: DisableUser()
        .shape.reason.optional()
        .meta({ description: 'Only with `disable`, and not needed there.' }),
      until: DisableUser().shape.until.meta({ description: 'Only with `disable`: when it ends by itself.' }),
    })
    .refine(({ action, reason, until }) => action === 'disable' || (reason ?? until) === undefined, {
      path: ['action'],
      message: 'Only disable takes a reason and an end.',
    })
    .meta({ id: 'BulkChange' }),
)
export type BulkChange = Of<typeof BulkChange>

export const BulkResult = lazy(() =>
  z
    .object({
      data: z.array(
        z.object({
          id: Id(),
          status: z
            .enum(['done', 'refused'])
            .meta({ description: '`done` also where there was nothing left to do.' }),
          code: z
            .string()
            .optional()
            .meta({ description: 'What stood in the way, as the `code` of a problem.' }),
        }),
      ),
    })
    .meta({ id: 'BulkResult' }),
)
export type BulkResult = Of<typeof BulkResult>
