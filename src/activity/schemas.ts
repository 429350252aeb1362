import * as z from 'zod'
import { Id, Time, TimeInput } from '../ids.ts'
import { listOf, pageQuery } from '../pagination.ts'
import { ACTIONS, type Action } from './models.ts'

const ActionName = z.enum(Object.keys(ACTIONS) as [Action, ...Action[]])

export const Activity = z
  .object({
    id: Id,
    user_id: Id.nullable(),
    actor_id: Id.nullable(),
    action: ActionName,
    details: z.record(z.string(), z.unknown()).nullable(),
    ip: z.string().nullable(),
    user_agent: z.string().nullable(),
    country: z.string().nullable(),
    request_id: z.string().nullable(),
    created_at: Time,
  })
  .meta({ id: 'Activity' })
export type Activity = z.infer<typeof Activity>
export const ActivityList = listOf(Activity).meta({ id: 'ActivityList' })

/** One person's history. */
export const ListActivityOfOne = z.strictObject({
  action: ActionName.optional(),
  from: TimeInput.optional(),
  to: TimeInput.optional(),
  ...pageQuery,
})

export const ListActivity = z
  .strictObject({ user_id: Id.optional(), actor_id: Id.optional(), ...ListActivityOfOne.shape })
  .refine((query) => !(query.user_id && query.actor_id), {
    path: ['actor_id'],
    message: 'Give user_id or actor_id, not both.',
  })
export type ListActivity = z.infer<typeof ListActivity>

export const CleanupRun = z
  .object({
    id: z.int(),
    started_at: Time,
    finished_at: Time.nullable(),
    removed: z.record(z.string(), z.int()),
  })
  .meta({ id: 'CleanupRun' })
export type CleanupRun = z.infer<typeof CleanupRun>
export const CleanupRunList = listOf(CleanupRun).meta({ id: 'CleanupRunList' })
export const ListCleanupRuns = z.strictObject(pageQuery)
