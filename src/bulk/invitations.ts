import { inArray } from 'drizzle-orm'
import * as z from 'zod'
import type { Resources } from '../context.ts'
import { build } from '../database/statements.ts'
import { type OneOfMany, writeTogether } from '../database/together.ts'
import { invitations } from '../invitations/models.ts'
import { CreateInvitation } from '../invitations/schemas.ts'
import { assertManages, prepareInvitation, prepareResend, prepareWithdrawal } from '../invitations/service.ts'
import { assertMayWriteAll } from '../throttle/limits.ts'
import type { Acting } from '../users/change.ts'
import { normalizeEmail } from '../values/email.ts'
import { Id } from '../values/ids.ts'
import { lazy, type Of } from '../values/lazy.ts'
import { MAX_AT_ONCE, ManyIds } from './schemas.ts'

const InviteMany = lazy(() =>
  z
    .strictObject({ invitations: z.array(CreateInvitation()).min(1).max(MAX_AT_ONCE) })
    .meta({ id: 'InviteMany' }),
)
const ChangeInvitations = lazy(() =>
  z
    .strictObject({ action: z.enum(['resend', 'withdraw']), ids: ManyIds() })
    .meta({ id: 'ChangeInvitations' }),
)
export const InvitationsInBulk = lazy(() => z.union([InviteMany(), ChangeInvitations()]))
export type InvitationsInBulk = Of<typeof InvitationsInBulk>

export const BulkInvitations = lazy(() =>
  z
    .object({
      data: z.array(
        z.object({
          email: z.string().optional(),
          id: Id().optional(),
          status: z.enum(['done', 'refused']),
          code: z
            .string()
            .optional()
            .meta({ description: 'What stood in the way, as the `code` of a problem.' }),
        }),
      ),
    })
    .meta({ id: 'BulkInvitations' }),
)
export type BulkInvitations = Of<typeof BulkInvitations>

/**
 * Sends, sends again or withdraws many invitations, each by the rules of the single one. Throws 403
 * `reauthentication_required`; 503 if no mail is set up.
 */
export async function inviteInBulk(acting: Acting, input: InvitationsInBulk): Promise<BulkInvitations> {
  const changes = 'invitations' in input ? input.invitations.length : input.ids.length
  await assertMayWriteAll(acting, acting.actor, changes)
  return 'invitations' in input ? inviteMany(acting, input.invitations) : changeMany(acting, input)
}

async function inviteMany(acting: Acting, asked: CreateInvitation[]): Promise<BulkInvitations> {
  // Of several with the same address the last counts, as if they had come one after another.
  const byAddress = new Map(asked.map((one) => [normalizeEmail(one.email), one]))
  const outcomes = await writeTogether(acting.db, [...byAddress.keys()], (address) =>
    prepareInvitation(acting, acting.actor, byAddress.get(address)!),
  )
  return {
    data: outcomes.map((outcome) => ({
      email: byAddress.get(outcome.key)!.email,
      ...(outcome.problem ? {} : { id: outcome.value.id }),
      ...verdictOn(outcome),
    })),
  }
}

async function changeMany(
  acting: Acting,
  { action, ids }: Of<typeof ChangeInvitations>,
): Promise<BulkInvitations> {
  const { rows } = await acting.db.readPrimary({
    rows: build.select().from(invitations).where(inArray(invitations.id, ids)),
  })
  const known = new Map(rows.map((row) => [row.id, row]))
  const prepare = action === 'resend' ? prepareResend : prepareWithdrawal
  const outcomes = await writeTogether<unknown>(acting.db, ids, (id) =>
    prepare(acting as Resources, acting.actor, assertManages(acting.actor, known.get(id))),
  )
  return { data: outcomes.map((outcome) => ({ id: outcome.key, ...verdictOn(outcome) })) }
}

const verdictOn = ({ problem }: OneOfMany<unknown>) =>
  problem ? { status: 'refused' as const, code: problem.code } : { status: 'done' as const }
