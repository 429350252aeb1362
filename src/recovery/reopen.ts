import type { Resources } from '../context.ts'
import { invalidLink } from '../links/errors.ts'
import { requireToken } from '../links/service.ts'
import { applyChange, byToken, isSamePerson } from '../users/change.ts'
import { selectSubject } from './mail-link.ts'

/**
 * Reopens an account that its user has closed, for whoever reads its mail. Its password no longer opens it:
 * if a thief closed it, they know the password. Throws 400 `invalid_link`; 409 `email_taken`.
 */
export async function reopenAccount(resources: Resources, input: { token: string }): Promise<void> {
  const { token, subject: user } = await requireToken(resources, 'reopen_account', input, selectSubject)
  if (user.deleted_at === null || token.email_normalized !== user.email_normalized) throw invalidLink()
  await applyChange(resources, byToken(token, resources.now), user, {
    action: 'user.restored',
    reliesOn: isSamePerson(user),
    set: { deleted_at: null, password_hash: null },
    endsTokens: true,
  })
}
