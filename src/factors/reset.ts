import { requireRecentLogin } from '../access/guards.ts'
import type { Acting, Decision } from '../users/change.ts'
import { isSamePerson } from '../users/change.ts'
import { managingLiving } from '../users/managing/manage.ts'
import { noticeTo, toMails } from '../users/managing/notices.ts'
import { hasFactor, selectFactorState } from './state.ts'

/**
 * Removes every factor of a user who has lost them, and the recovery codes; every session ends, and they are
 * told. Without a factor nothing happens. Needs a recent login.
 */
export function resettingFactors(acting: Acting, userId: string): Decision {
  // Runs beside the read of the user. Reads the primary, so that a factor that was just added counts.
  const read = acting.db.readPrimary({ state: selectFactorState(acting.config, userId) })
  read.catch(() => {}) // The caller that awaits it gets the error.
  return managingLiving(acting, async (row) => {
    requireRecentLogin(acting.actor, acting.now)
    const { state } = await read
    if (!hasFactor(state[0]!) && row.failed_factors === 0) return undefined
    return {
      action: 'factors.reset',
      set: { failed_factors: 0 },
      reliesOn: isSamePerson(row),
      removesFactors: true,
      endsTokens: true,
      endsSessions: { reason: 'factors_changed' },
      mails: toMails(noticeTo(acting, 'factors_reset', row)),
    }
  })
}
