import { and, eq, sql } from 'drizzle-orm'
import type { IdentityProvider } from '../../config/providers.ts'
import type { Resources } from '../../context.ts'
import { accountHasFactor } from '../../factors/state.ts'
import { Refusal } from '../../http/problem.ts'
import { invalidCallback } from '../../identities/errors.ts'
import { identities } from '../../identities/models.ts'
import type { Profile } from '../../identities/profiles.ts'
import type { Claims } from '../../sessions/access-tokens.ts'
import { otherProofNeeded } from '../errors.ts'
import { readUserWithoutOtherProof } from './mailed-proof.ts'
import { finish, type ProvenAgain } from './reauthenticate.ts'

/**
 * Proves again who a user is by a provider that signs them in and has just asked them again (`max_age=0`).
 * Only for an account with neither password nor factor, and only by an identity that it already has: nothing
 * is linked here.
 *
 * @throws 400 `invalid_callback`; 409 `other_proof_needed`.
 */
export async function reauthenticateByProvider(
  resources: Resources,
  actor: Claims,
  provider: IdentityProvider,
  { subject, isTwofold }: Profile,
): Promise<ProvenAgain> {
  const { user, turn } = await readUserWithoutOtherProof(resources, actor)
  const isTheirs = sql`EXISTS (SELECT 1 FROM ${identities} WHERE ${and(
    eq(identities.provider, provider.id),
    eq(identities.subject, subject),
    eq(identities.user_id, user.id),
  )})`
  const { verdict } = await resources.db.readPrimary({
    verdict: sql<Record<'is_theirs' | 'has_factor', 0 | 1>>`SELECT ${isTheirs} AS is_theirs,
      ${accountHasFactor(user.id)} AS has_factor`,
  })
  if (!verdict[0]!.is_theirs) throw invalidCallback(new Refusal('unknown'))
  if (verdict[0]!.has_factor) throw otherProofNeeded()
  const isGood = sql`(${isTheirs} AND NOT ${accountHasFactor(user.id)})`
  return {
    user,
    proofs: [isTwofold ? 'provider_mfa' : 'provider'],
    ...(await finish(resources, actor, turn, [{ isGood, spend: () => [] }], [])),
  }
}
