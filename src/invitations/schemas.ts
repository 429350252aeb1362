import * as z from 'zod'
import { Id, Time } from '../ids.ts'
import { listOf, pageQuery } from '../pagination.ts'
import { DisplayName, EmailInput, Role } from '../users/schemas.ts'

export const CreateInvitation = z
  .strictObject({ email: EmailInput, name: DisplayName.optional(), role: Role.default('user') })
  .meta({ id: 'CreateInvitation' })
export type CreateInvitation = z.infer<typeof CreateInvitation>

export const Invitation = z
  .object({
    id: Id,
    email: z.string(),
    name: z.string().nullable(),
    role: Role,
    status: z.enum(['pending', 'accepted', 'withdrawn', 'expired']),
    invited_by: Id,
    created_at: Time,
    expires_at: Time,
    user_id: Id.nullable(),
  })
  .meta({ id: 'Invitation' })
export type Invitation = z.infer<typeof Invitation>
export const InvitationList = listOf(Invitation).meta({ id: 'InvitationList' })
export const ListInvitations = z.strictObject(pageQuery)
