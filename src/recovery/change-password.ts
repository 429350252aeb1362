import { and, eq } from 'drizzle-orm'
import type { Resources } from '../context.ts'
import { build, databaseNow } from '../database/statements.ts'
import { openNotices } from '../mail/limits.ts'
import { enqueueNotice } from '../mail/outbox.ts'
import { unchangedPassword } from '../passwords/errors.ts'
import { normalizePassword } from '../passwords/policy.ts'
import { hashNewPassword, withOwnPassword } from '../passwords/service.ts'
import type { Claims } from '../sessions/access-tokens.ts'
import { makeDeviceToken, newDevice } from '../sessions/device-tokens.ts'
import { type Session, sessions } from '../sessions/models.ts'
import { ROTATIONS_PAST_COPIES } from '../sessions/refresh-tokens.ts'
import { relyOnTurn, TURNS_PAST_COPIES } from '../sessions/turns.ts'
import { hasherOfSession } from '../throttle/limits.ts'
import { forgetAttempts } from '../throttle/service.ts'
import { applyChange, byActor, isSamePerson } from '../users/change.ts'
import type { User } from '../users/models.ts'
import type { ChangePassword } from './schemas.ts'

/**
 * Sets a new password: the other sessions end, every access token becomes void, and known devices count as
 * strangers again. This session goes on, but its refresh token and its cookie are replaced, so copies of
 * either are useless; the answer has the new ones. This device stays known, by a new token.
 *
 * @throws 403 `wrong_password`; 422 for a weak new password, or the same again; 429 `too_many_attempts`.
 */
export const changePassword = (
  resources: Resources,
  actor: Claims,
  input: ChangePassword,
): Promise<{ session: Session; user: User; deviceToken: string }> =>
  withOwnPassword(resources, actor, input.current_password, async ({ row, session, clearAttempts }) => {
    if (normalizePassword(input.new_password) === normalizePassword(input.current_password)) {
      throw unchangedPassword()
    }
    const passwordHash = await hashNewPassword(resources, input.new_password, row, {
      pointer: '/new_password',
      hasher: hasherOfSession(actor),
    })
    const rotated = {
      ...session,
      counter: session.counter + ROTATIONS_PAST_COPIES,
      turn: session.turn + TURNS_PAST_COPIES,
    }
    relyOnTurn(actor)
    const told = openNotices(resources, 'password_changed', actor.sid, row.id)
    const user = await applyChange(resources, byActor(actor, resources.now), row, {
      action: 'password.changed',
      // Strangers' guesses were at the old password.
      set: { password_hash: passwordHash, password_is_given: 0, failed_logins: 0 },
      reliesOn: isSamePerson(row),
      endsTokens: true,
      endsSessions: { reason: 'password_changed', exceptId: actor.sid },
      mails: (isDone) => [enqueueNotice(resources, 'password_changed', row, isDone, { told })],
      alsoWrite: (isDone) => [
        ...clearAttempts,
        forgetAttempts(resources, row.email_normalized, isDone),
        build
          .update(sessions)
          .set({ counter: rotated.counter, rotated_at: databaseNow })
          .where(and(eq(sessions.id, session.id), isDone)),
      ],
    })
    const deviceToken = makeDeviceToken(resources.config, newDevice(user), resources.now)
    return { session: rotated, user, deviceToken }
  })
