import * as z from 'zod'
import { listOf } from '../../http/pagination.ts'
import { Id, Time } from '../../values/ids.ts'
import { lazy, type Of } from '../../values/lazy.ts'
import { SCOPES } from '../scopes.ts'

export const Grant = lazy(() =>
  z
    .object({
      id: Id(),
      client_id: Id(),
      name: z.string().meta({ description: 'Of the app.' }),
      logo_uri: z.string().nullable(),
      scopes: z.array(z.string()),
      created_at: Time(),
      updated_at: Time(),
    })
    .meta({ id: 'Grant', description: 'What a user has let an app do.' }),
)
export type Grant = Of<typeof Grant>

export const GrantList = lazy(() => listOf(Grant()).meta({ id: 'GrantList' }))

export const UpdateGrant = lazy(() =>
  z.strictObject({
    scopes: z
      .array(z.enum(SCOPES))
      .min(1)
      .max(SCOPES.length)
      .refine((scopes) => new Set(scopes).size === scopes.length, 'Has one twice.')
      .meta({ description: 'What the app may go on doing, of what it may do now.' }),
  }),
)
