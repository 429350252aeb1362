import type { ChangePassword } from '../auth/schemas.ts'
import type { Resources } from '../context.ts'
import { sendAfterwards } from '../mail/outbox.ts'
import { hashNewPassword, requireOwnPassword } from '../passwords/service.ts'
import type { Claims } from '../sessions/access-tokens.ts'
import { applyChange, byActor, isSamePerson } from '../users/change.ts'
import { enqueuePasswordNotice } from './reset.ts'

/**
 * Sets a new password: the other sessions end, and every access token dies; this session goes on by its refresh
 * token.
 *
 * @throws 403 `wrong_password`; 422 for a weak new one; 429 `too_many_attempts`.
 */
export async function changePassword(
  resources: Resources,
  actor: Claims,
  input: ChangePassword,
): Promise<void> {
  const own = await requireOwnPassword(resources, actor, input.current_password)
  const passwordHash = await hashNewPassword(resources, input.new_password, own.row, '/new_password').catch(
    async (refusal) => {
      await resources.db.writeBatch({ clear: own.clearAttempts })
      throw refusal
    },
  )
  const notice = enqueuePasswordNotice(resources, own.row)
  await applyChange(resources, byActor(actor, resources.now), own.row, {
    action: 'password.changed',
    set: { password_hash: passwordHash },
    reliesOn: isSamePerson(own.row),
    endsTokens: true,
    endsSessions: { reason: 'password_changed', exceptId: actor.sid },
    alsoWrite: (isDone) => [...own.clearAttempts, notice.when(isDone)],
  })
  sendAfterwards(resources, notice.id)
}
