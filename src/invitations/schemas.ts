import * as z from 'zod'
import { listOf, pageQuery } from '../http/pagination.ts'
import { withProof } from '../links/schemas.ts'
import { NewPassword } from '../passwords/schemas.ts'
import { DisplayName, EmailInput, Role } from '../users/schemas.ts'
import { Id, Time } from '../values/ids.ts'
import { lazy, type Of } from '../values/lazy.ts'

export const CreateInvitation = lazy(() =>
  z
    .strictObject({ email: EmailInput(), name: DisplayName().optional(), role: Role().default('user') })
    .meta({ id: 'CreateInvitation' }),
)
export type CreateInvitation = Of<typeof CreateInvitation>

export const Invitation = lazy(() =>
  z
    .object({
      id: Id(),
      email: z.string(),
      name: z.string().nullable(),
      role: Role(),
      status: z.enum(['pending', 'accepted', 'withdrawn', 'expired']),
      invited_by: Id(),
      created_at: Time(),
      expires_at: Time(),
      user_id: Id().nullable(),
    })
    .meta({ id: 'Invitation' }),
)
export type Invitation = Of<typeof Invitation>
export const InvitationList = lazy(() => listOf(Invitation()).meta({ id: 'InvitationList' }))
export const ListInvitations = lazy(() => z.strictObject(pageQuery()))

export const AcceptInvitation = lazy(() =>
  withProof({ password: NewPassword(), name: DisplayName().optional() }).meta({
    id: 'AcceptInvitation',
  }),
)

export type AcceptInvitation = Of<typeof AcceptInvitation>
