import type { Resources } from '../context.ts'
import { Refusal } from '../http/problem.ts'
import { invalidLink } from '../links/errors.ts'
import { forgetAttempts } from '../throttle/service.ts'
import { applyChange, byToken, isSamePerson } from '../users/change.ts'
import { requireUserByToken } from './mail-link.ts'

/** Unlocks the password of an account, for whoever reads its mail. Throws 400 `invalid_link`. */
export async function unlockAccount(resources: Resources, input: { token: string }): Promise<void> {
  const { token, user } = await requireUserByToken(resources, 'unlock_account', input)
  if (token.email_normalized !== user.email_normalized) throw invalidLink(new Refusal('other_address'))
  await applyChange(resources, byToken(token, resources.now), user, {
    action: 'user.unlocked',
    set: { failed_logins: 0 },
    reliesOn: isSamePerson(user),
    alsoWrite: (isDone) => [forgetAttempts(resources, user.email_normalized, isDone)],
  })
}
