import { and, eq } from 'drizzle-orm'
import type { Proof } from '../../access/assurance.ts'
import type { Resources } from '../../context.ts'
import { build, type Statement } from '../../database/statements.ts'
import { wrongCode } from '../../factors/errors.ts'
import { factors, recoveryCodes } from '../../factors/models.ts'
import { hashRecoveryCode } from '../../factors/recovery-codes.ts'
import { hasFactor, methodsOf, selectFactorState } from '../../factors/state.ts'
import { Refusal } from '../../http/problem.ts'
import type { Claims } from '../../sessions/access-tokens.ts'
import { tokenIsLive } from '../../sessions/revocation.ts'
import { openOwnAttempt } from '../../throttle/service.ts'
import type { User } from '../../users/models.ts'
import { factorNeededAgain } from '../errors.ts'
import type { Reauthenticate } from '../schemas.ts'
import { proveByRecoveryCode, proveByTotp } from '../second-factor.ts'
import type { Used } from '../start-session.ts'

export interface OwnFactor {
  proof: Proof
  used: Used
  /** Clears the attempts, in the batch that uses up the proof. */
  clear: readonly Statement[]
}

/**
 * Checks the second factor of a signed-in user, beside their password. The codes are counted by session, so
 * strangers' failures do not matter. The factor is read while the password is checked, and costs no trip of
 * its own.
 *
 * @returns a function to call once the password is right. It gives undefined for an account without a factor.
 */
export function proveOwnFactor(
  resources: Resources,
  actor: Claims,
  input: Exclude<Reauthenticate, { credential: unknown }>,
): (user: User) => Promise<OwnFactor | undefined> {
  const { db, config, now } = resources
  const isGiven = 'code' in input || 'recovery_code' in input
  // Not the counter of passwords: a right password resets that one.
  const attempt = openOwnAttempt(resources, `${actor.sid} factor`, tokenIsLive(actor, now))
  const hash = hashRecoveryCode(actor.sub, 'recovery_code' in input ? input.recovery_code : '')
  const reading = {
    state: selectFactorState(config, actor.sub),
    totp: build.select().from(factors).where(eq(factors.user_id, actor.sub)),
    recovery: build
      .select({ hash: recoveryCodes.hash })
      .from(recoveryCodes)
      .where(and(eq(recoveryCodes.user_id, actor.sub), eq(recoveryCodes.hash, hash))),
  }
  const read = isGiven
    ? db.writeBatch({ ...attempt.count, ...reading })
    : db.readPrimary(reading).then((results) => ({ ...results, ofSession: undefined, token: undefined }))
  read.catch(() => {}) // The caller that awaits it gets the error.

  return async (user) => {
    const results = await read
    const state = results.state[0]!
    if (!hasFactor(state)) return undefined
    if (!isGiven) throw factorNeededAgain(methodsOf(state))
    const isOpen = attempt.isOpen({ ofSession: results.ofSession ?? [] })
    const proved = !isOpen
      ? new Refusal('locked')
      : 'code' in input
        ? await proveByTotp(resources, user, { ...state, is_totp_locked: 0 }, results.totp[0], input.code)
        : proveByRecoveryCode(resources, user, state, results.recovery.length > 0 ? hash : undefined)
    if (proved instanceof Refusal) throw wrongCode(proved)
    return { ...proved, clear: attempt.clear }
  }
}
