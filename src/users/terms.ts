import type { Config } from '../config/main.ts'
import { invalidInput } from '../http/problem.ts'
import type { Decision } from './change.ts'

/** Terms are agreed to as they are now. Throws 422 `terms_not_accepted` for any others, and for none. */
export function assertTermsOfNow({ TERMS_VERSION }: Config, given: string | undefined): void {
  if (TERMS_VERSION !== given)
    throw invalidInput([
      {
        pointer: '/terms_version',
        code: 'terms_not_accepted',
        detail: 'Is not the version of the terms that is asked about now.',
      },
    ])
}

/** Agrees to the terms of now, as a decision for `changeUser`: kept with its time, and in the history. */
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
