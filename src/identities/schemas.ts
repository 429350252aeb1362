import * as z from 'zod'
import { lazy, type Of } from '../values/lazy.ts'

const provider = () => ({ id: z.string().meta({ example: 'google' }), name: z.string() })

/** The providers that users may sign in with, in the order of their buttons. */
export const IdentityProviders = lazy(() =>
  z.object({ data: z.array(z.object(provider())) }).meta({ id: 'IdentityProviders' }),
)

export const Identity = lazy(() =>
  z
    .object({
      id: z.string(),
      provider: z.object(provider()),
      email: z.string().nullable().meta({ description: 'What it was called there when it was connected.' }),
      created_at: z.string().meta({ format: 'date-time' }),
      usable: z.boolean().meta({ description: 'False where the provider is no longer offered here.' }),
    })
    .meta({ id: 'Identity' }),
)
export type Identity = Of<typeof Identity>
export const IdentityList = lazy(() => z.object({ data: z.array(Identity()) }).meta({ id: 'IdentityList' }))

export const PlaceToGo = lazy(() =>
  z
    .object({ location: z.string().meta({ description: 'To be opened in a browser, in time.' }) })
    .meta({ id: 'PlaceToGo' }),
)
