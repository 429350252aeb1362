import * as z from 'zod'
import { USED_MS } from '../access/api-keys.ts'
import { KEY_PERMISSIONS } from '../access/permissions.ts'
import { listOf } from '../http/pagination.ts'
import { DisplayName } from '../users/schemas.ts'
import { inWords } from '../values/durations.ts'
import { Id, Time, TimeInput } from '../values/ids.ts'
import { lazy, type Of } from '../values/lazy.ts'

export const CreateApiKey = lazy(() =>
  z
    .strictObject({
      name: DisplayName().meta({ description: 'What it is for.' }),
      permissions: z
        .array(z.enum(KEY_PERMISSIONS))
        .max(KEY_PERMISSIONS.length)
        .refine((permissions) => new Set(permissions).size === permissions.length, 'Has a duplicate.')
        .meta({ description: 'What it may do: never more than you may at the time.' }),
      expires_at: TimeInput().nullable().default(null).meta({ description: 'Null: never.' }),
    })
    .meta({ id: 'CreateApiKey' }),
)
export type CreateApiKey = Of<typeof CreateApiKey>

export const ApiKey = lazy(() =>
  z
    .object({
      id: Id(),
      name: z.string(),
      permissions: z.array(z.string()),
      expires_at: Time().nullable(),
      created_at: Time(),
      rotated_at: Time().meta({ description: 'When its present secret was made.' }),
      former_until: Time()
        .nullable()
        .meta({ description: 'Until when the former secret works too; null where there is none.' }),
      last_used_at: Time()
        .nullable()
        .meta({ description: `It may have been used up to ${inWords(USED_MS)} later.` }),
    })
    .meta({ id: 'ApiKey' }),
)
export type ApiKey = Of<typeof ApiKey>

export const ApiKeyWithSecret = lazy(() =>
  ApiKey()
    .extend({
      key: z.string().meta({
        description:
          '`rk_…`, for the header `Authorization: Bearer`. Shown only once; we keep only its digest.',
      }),
    })
    .meta({ id: 'ApiKeyWithSecret' }),
)
export type ApiKeyWithSecret = Of<typeof ApiKeyWithSecret>

export const ApiKeyList = lazy(() => listOf(ApiKey()).meta({ id: 'ApiKeyList' }))
