import { requireRecentLogin } from '../access/guards.ts'
import type { Acting, Decision } from '../users/change.ts'
import { isSamePerson } from '../users/change.ts'
import { managingLiving } from '../users/manage.ts'
import { noticeTo, owed } from '../users/notices.ts'

/**
 * Takes away every factor of somebody who has lost them, with the recovery codes; every session ends, and they are
 * told. Needs a recent login.
 */
export const resettingFactors = (acting: Acting): Decision =>
  managingLiving(acting, (row) => {
    requireRecentLogin(acting.actor, acting.now)
    return {
      action: 'factors.reset',
      set: { failed_factors: 0 },
      reliesOn: isSamePerson(row),
      removesFactors: true,
      endsTokens: true,
      endsSessions: { reason: 'factors_changed' },
      mails: owed(noticeTo(acting, 'factors_reset', row)),
    }
  })
