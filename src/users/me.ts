import { requireRecentLogin } from '../access/guards.ts'
import type { Config } from '../config/main.ts'
import { invalidInput } from '../http/problem.ts'
import { type Acting, applyChange, byActor, type Decision, isSamePerson } from './change.ts'
import { differences, softDeletion } from './managing/manage.ts'
import { closingNotice, toMails } from './managing/notices.ts'
import { withOwnProof } from './own-proof.ts'
import type { UpdateMe } from './schemas.ts'

/** Changes details of one's own account, as a decision for `changeUser`. */
export const updatingSelf =
  (input: UpdateMe): Decision =>
  (row) => {
    const details = differences(row, input)
    return Object.keys(details).length === 0 ? undefined : { action: 'user.updated', set: input, details }
  }

/**
 * Deletes one's own account, softly, after proof of the password. A proved address is sent a link to reopen
 * the account.
 */
export async function deleteMe(acting: Acting, password: string | undefined): Promise<void> {
  const { actor } = acting
  await withOwnProof(acting, actor, ['password', password], ({ row, clearAttempts }) =>
    applyChange(acting, byActor(actor, acting.now), row, {
      ...softDeletion(row, acting.now),
      alsoWrite: () => clearAttempts,
      mails: toMails(closingNotice(acting, row)),
    }),
  )
}

/** Ends all sessions but the current one, and every access token with them. */
export const endingOtherSessions =
  ({ actor, now }: Acting): Decision =>
  (row) => {
    requireRecentLogin(actor, now)
    return {
      action: 'sessions.ended',
      set: {},
      reliesOn: isSamePerson(row),
      endsTokens: true,
      endsSessions: { reason: 'ended', exceptId: actor.sid },
    }
  }

/** Only the current terms can be agreed to. Throws 422 `terms_not_accepted` for any others, or for none. */
export function assertTermsOfNow({ TERMS_VERSION }: Config, given: string | undefined): void {
  if (TERMS_VERSION !== given)
    throw invalidInput([
      {
        pointer: '/terms_version',
        code: 'terms_not_accepted',
        detail: 'Is not the current version of the terms.',
      },
    ])
}

/** Agrees to the current terms, as a decision for `changeUser`: stored with the time, and in the history. */
export const acceptingTerms =
  (version: string, now: number): Decision =>
  ({ terms_version }) =>
    terms_version === version
      ? undefined
      : {
          action: 'user.terms_accepted',
          set: { terms_version: version, terms_accepted_at: now },
          details: { terms_version: version },
        }
