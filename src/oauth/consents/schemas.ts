import * as z from 'zod'
import { listOf } from '../../http/pagination.ts'
import { Id, Time } from '../../values/ids.ts'
import { lazy, type Of } from '../../values/lazy.ts'
import { text } from '../../values/text.ts'

/** Room for the URL of a resource and its scope. */
const MAX_LENGTH = 256

export const Grant = lazy(() =>
  z
    .object({
      id: Id(),
      client_id: z.string().meta({
        description: 'An id; for an app not registered here, the URL where it describes itself.',
      }),
      name: z.string().meta({ description: 'Of the app.' }),
      logo_uri: z.string().nullable(),
      scopes: z.array(z.string()).meta({
        description: 'For another service: its URL, `#` and the scope.',
      }),
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
      .array(text(MAX_LENGTH, 1))
      .min(1)
      .max(500)
      .refine((scopes) => new Set(scopes).size === scopes.length, 'Has a duplicate.')
      .meta({ description: 'What the app may go on doing, of what it may do now.' }),
  }),
)
