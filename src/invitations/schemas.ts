import * as z from 'zod'
import { outranks } from '../access/permissions.ts'
import { listOf, pageQuery } from '../http/pagination.ts'
import { withLink } from '../links/schemas.ts'
import { NewPassword } from '../passwords/schemas.ts'
import type { User as UserRow } from '../users/models.ts'
import { DisplayName, EmailInput, Role, TermsVersion } from '../users/schemas.ts'
import { Id, Time, toTime } from '../values/ids.ts'
import { lazy, type Of } from '../values/lazy.ts'
import type { Invitation as InvitationRow } from './models.ts'

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
      status: z.enum(['pending', 'accepted', 'withdrawn', 'expired', 'void']).meta({
        description: '`void` while the inviter may not invite: it cannot be accepted.',
      }),
      void_reason: z
        .enum(['inviter_gone', 'inviter_disabled', 'inviter_outranked'])
        .nullable()
        .meta({ description: 'Why it is `void`.' }),
      invited_by: Id(),
      created_at: Time(),
      expires_at: Time(),
      user_id: Id().nullable(),
    })
    .meta({ id: 'Invitation' }),
)
export type Invitation = Of<typeof Invitation>

/** The user who answers for an invitation, as they are now. Nulls: they are gone. */
export interface Inviter {
  inviter_role: UserRow['role'] | null
  inviter_state: UserRow['state'] | null
  inviter_disabled_until: number | null
}

type Row = InvitationRow & Inviter

export function toInvitation(row: Row, now: number): Invitation {
  const status = statusOf(row, now)
  const voidReason = status === 'pending' ? voidReasonOf(row, now) : null
  return {
    id: row.id,
    email: row.email,
    name: row.name,
    role: row.role,
    status: voidReason ? 'void' : status,
    void_reason: voidReason,
    invited_by: row.invited_by,
    created_at: toTime(row.created_at),
    expires_at: toTime(row.expires_at),
    user_id: row.user_id,
  }
}

function statusOf(row: Row, now: number) {
  if (row.accepted_at !== null) return 'accepted'
  if (row.withdrawn_at !== null) return 'withdrawn'
  return row.expires_at <= now ? 'expired' : 'pending'
}

/** The same as the condition for accepting it (accept.ts). */
function voidReasonOf(row: Row, now: number): Invitation['void_reason'] {
  if (row.inviter_role === null || row.inviter_state === 'deleted') return 'inviter_gone'
  const isOver = row.inviter_disabled_until !== null && row.inviter_disabled_until <= now
  if (row.inviter_state === 'disabled' && !isOver) return 'inviter_disabled'
  return outranks(row.inviter_role, row.role) ? null : 'inviter_outranked'
}

export const InvitationList = lazy(() => listOf(Invitation()).meta({ id: 'InvitationList' }))
export const ListInvitations = lazy(() => z.strictObject(pageQuery()))

export const AcceptInvitation = lazy(() =>
  withLink({
    password: NewPassword(),
    name: DisplayName().optional(),
    terms_version: TermsVersion().optional(),
  }).meta({
    id: 'AcceptInvitation',
  }),
)

export type AcceptInvitation = Of<typeof AcceptInvitation>
