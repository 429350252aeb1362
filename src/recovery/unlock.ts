import type { Resources } from '../context.ts'
import { Refusal } from '../http/problem.ts'
import { invalidLink } from '../links/errors.ts'
import { forgetAttempts } from '../throttle/service.ts'
import { applyChange, byToken, isSamePerson } from '../users/change.ts'
import { requirePersonByToken } from './mail-link.ts'

/** Lets the password be tried again, for whoever reads the mail of an account that was locked. Throws 400 `invalid_link`. */
export async function unlockAccount(resources: Resources, input: { token: string }): Promise<void> {
  const { token, person } = await requirePersonByToken(resources, 'unlock_account', input)
  if (token.email_normalized !== person.email_normalized) throw invalidLink(new Refusal('other_address'))
  await applyChange(resources, byToken(token, resources.now), person, {
    action: 'user.unlocked',
    set: { failed_logins: 0 },
    reliesOn: isSamePerson(person),
    alsoWrite: (isDone) => [forgetAttempts(resources, person.email_normalized, isDone)],
  })
}
