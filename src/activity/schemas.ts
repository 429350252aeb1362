import * as z from 'zod'
import { listOf, pageQuery } from '../http/pagination.ts'
import { Id, IdInput, Time, TimeInput } from '../values/ids.ts'
import { lazy, type Of } from '../values/lazy.ts'
import { withDetails } from './details.ts'
import { ACTIONS, type Action } from './models.ts'

const ActionName = lazy(() => z.enum(Object.keys(ACTIONS) as [Action, ...Action[]]))

const AnyActivity = withDetails(() => ({
  id: Id(),
  user_id: Id().nullable().meta({ description: 'Whom it happened to.' }),
  actor_id: Id().nullable().meta({ description: 'Who did it; null for the system, or if you may not know.' }),
  ip: z.string().nullable(),
  user_agent: z.string().nullable(),
  country: z.string().nullable(),
  request_id: z.string().nullable(),
  created_at: Time(),
}))
export const Activity = lazy(() => AnyActivity().meta({ id: 'Activity' }))
export type Activity = Of<typeof Activity>
export const ActivityList = lazy(() => listOf(Activity()).meta({ id: 'ActivityList' }))

/** Filters for the history of one user. */
export const ListActivityOfOne = lazy(() =>
  z.strictObject({
    action: ActionName().optional().meta({ description: 'Only this action.' }),
    from: TimeInput().optional().meta({ description: 'From this time on.' }),
    to: TimeInput().optional().meta({ description: 'Before this time.' }),
    ...pageQuery(),
  }),
)

export const ListActivity = lazy(() =>
  z
    .strictObject({
      user_id: IdInput().optional().meta({ description: 'Whom it happened to.' }),
      actor_id: IdInput().optional().meta({
        description: 'Who did it to others: what users do to themselves is at `user_id`. Not with `user_id`.',
      }),
      ...ListActivityOfOne().shape,
    })
    .refine((query) => !(query.user_id && query.actor_id), {
      path: ['actor_id'],
      message: 'Give user_id or actor_id, not both.',
    }),
)
export type ListActivity = Of<typeof ListActivity>
