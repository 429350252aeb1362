import { and, eq } from 'drizzle-orm'
import type { Proof } from '../access/assurance.ts'
import { CHALLENGE_SECONDS, makeChallenge } from '../challenges/service.ts'
import type { Resources } from '../context.ts'
import { build } from '../database/statements.ts'
import { methodsOf } from '../factors/state.ts'
import type { AppError } from '../http/problem.ts'
import { users } from '../users/models.ts'
import { secondFactorRequired } from './errors.ts'
import type { Proven } from './start-session.ts'

/** What a challenge says of the password that was right: the account's epoch, so a new password ends it. */
const aboutOf = (epoch: number, proofs: readonly Proof[]) => `${epoch}.${proofs.join('-')}`

export function openAbout(about: string): { epoch: number; proofs: Proof[] } {
  const [epoch, proofs] = about.split('.') as [string, string]
  return { epoch: Number(epoch), proofs: proofs.split('-') as Proof[] }
}

/**
 * The password was right, and a factor is due: no session, no cookie, no token but the challenge. The attempt was no
 * failure and is taken back; it is no sign-in either, so no count begins anew.
 */
export async function askForSecondFactor(resources: Resources, proven: Proven): Promise<AppError> {
  const { user, newHash } = proven
  const isAsRead = and(eq(users.id, user.id), eq(users.password_hash, user.password_hash ?? ''))
  await resources.db.writeBatch({
    attempt: proven.takeBack,
    hash: newHash ? [build.update(users).set({ password_hash: newHash }).where(isAsRead)] : [],
  })
  return secondFactorRequired({
    challenge: makeChallenge(resources.config, {
      kind: 'login',
      userId: user.id,
      about: aboutOf(user.token_epoch, proven.proofs),
    }),
    methods: methodsOf(proven.factors).filter(
      (method) => method !== 'passkey' || !proven.proofs.includes('doubtful_passkey'),
    ),
    expires_in: CHALLENGE_SECONDS,
  })
}
