import * as z from 'zod'
import { listOf } from '../http/pagination.ts'
import { Id, Time } from '../values/ids.ts'
import { lazy, type Of } from '../values/lazy.ts'

export const Session = lazy(() =>
  z
    .object({
      id: Id(),
      created_at: Time(),
      last_seen_at: Time(),
      expires_at: Time(),
      ip: z.string().nullable(),
      user_agent: z.string().nullable(),
      country: z.string().nullable(),
      repeated_at: Time().nullable().meta({
        description:
          'When its refresh token was last repeated from a network or client other than it was renewed for: perhaps by a thief.',
      }),
      current: z.boolean().meta({ description: 'Whether it is the session asking.' }),
    })
    .meta({ id: 'Session' }),
)

export type Session = Of<typeof Session>

export const SessionList = lazy(() => listOf(Session()).meta({ id: 'SessionList' }))
