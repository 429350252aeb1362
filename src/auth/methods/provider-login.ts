import { and, eq, isNull, type SQL, sql } from 'drizzle-orm'
import { spendOnce } from '../../challenges/service.ts'
import type { IdentityProvider } from '../../config/providers.ts'
import type { Resources } from '../../context.ts'
import { build, rowExists } from '../../database/statements.ts'
import { accountHasFactor, hasFactor, NO_FACTORS } from '../../factors/state.ts'
import { Refusal } from '../../http/problem.ts'
import { invalidCallback } from '../../identities/errors.ts'
import { type Identity, identities } from '../../identities/models.ts'
import type { Profile } from '../../identities/profiles.ts'
import {
  addIdentity,
  identityIsFree,
  identityIsOf,
  identityIsUnclaimed,
  insertIdentity,
  newIdentity,
} from '../../identities/service.ts'
import { enqueueNotice } from '../../mail/outbox.ts'
import { type Authority, applyChange, isSamePerson } from '../../users/change.ts'
import { erasures, type User, users } from '../../users/models.ts'
import { normalizeEmail } from '../../values/email.ts'
import { arriving, assertActive, assertMayEnter } from '../arrival.ts'
import { accountDeleted, signupClosed } from '../errors.ts'
import type { Proven } from '../start-session.ts'
import { type Holder, isThere, selectHolder } from './holder.ts'
import { assertMayJoin, type Joining, join, takeOver } from './join.ts'

/**
 * What follows from an identity at a provider. `proven`: it belongs to an account. `joins`: there is no
 * account, and one may be made. `links`: an account has that address; the identity is linked once they have
 * signed in to it. `confirms`: the provider does not prove the address, so a mail has to.
 */
export type Outcome =
  | { kind: 'proven'; proven: Proven }
  | { kind: 'joins' }
  | { kind: 'links' }
  | { kind: 'confirms' }

/** The result of a callback is valid once, whatever follows from it. Throws 400 `invalid_callback`. */
export async function spendAttempt(resources: Resources, id: string): Promise<void> {
  if (!(await spendOnce(resources, id))) throw invalidCallback(new Refusal('used'))
}

/**
 * Finds the account of an identity by provider and subject only. If both sides have verified an address, its
 * account is linked after its owner signs in to it, or at once if the provider is trusted for that. An
 * address that nobody has verified here becomes the prover's, and nothing else opens that account then.
 *
 * @throws 403 `account_disabled`, `account_deleted`, `email_not_verified`; for a new account what `join`
 *   throws.
 */
export async function enterByProvider(
  resources: Resources,
  provider: IdentityProvider,
  profile: Profile,
  device: { device_token?: string },
): Promise<Outcome> {
  const { config, db } = resources
  const { subject, email, isProved } = profile
  const isThis = and(eq(identities.provider, provider.id), eq(identities.subject, subject))
  const address = isProved && email !== undefined ? normalizeEmail(email) : ''
  const asked = {
    byIdentity: selectHolder(config, sql`(SELECT user_id FROM ${identities} WHERE ${isThis})`),
    byAddress: selectHolder(
      config,
      sql`(SELECT ${users.id} FROM ${users} WHERE ${and(eq(users.email_normalized, address), isNull(users.deleted_at))})`,
    ),
    identity: build.select({ id: identities.id }).from(identities).where(isThis),
  }
  const read = await db.read(asked)
  const isUnknown = !isThere(read.byIdentity[0]!)
  // Whoever has just joined or connected this identity must not be asked to do so.
  const { byIdentity, byAddress, identity: found } = isUnknown ? await db.readPrimary(asked) : read
  const [known, addressee] = [byIdentity[0]!, byAddress[0]!]
  if (isThere(known)) {
    if (known.deleted_at !== null) throw accountDeleted()
    assertMayEnter(resources, known)
    const identityId = found[0]!.id
    return {
      kind: 'proven',
      proven: {
        ...provenBy(resources, profile, device, known, known),
        identityId,
        used: [{ isGood: identityIsOf(identityId, known.id), spend: () => [] }],
        refused: () => invalidCallback(new Refusal('meanwhile')),
      },
    }
  }
  if (!isProved) return { kind: 'confirms' }
  if (!isThere(addressee)) {
    if (provider.signup === 'deny') throw signupClosed()
    await assertMayJoin(resources, email!)
    return { kind: 'joins' }
  }
  assertActive(resources, addressee)
  // A second factor is asked for before anything in the account changes.
  const isTrusted = provider.trusted_for_linking && (profile.isTwofold || !hasFactor(addressee))
  if (addressee.email_verified_at !== null && !isTrusted) return { kind: 'links' }
  const identity = newIdentity(resources, provider, profile, addressee.id)
  const isSquatted = addressee.email_verified_at === null
  const user = isSquatted
    ? // Whatever somebody else has connected there is removed with every other way in, so it is no obstacle.
      await takeOver(resources, byProof(identity, identityIsUnclaimed(identity)), addressee, {
        alsoWrite: (isDone) => addIdentity(resources, identity, isDone),
      })
    : await linkTrusted(
        resources,
        byProof(
          identity,
          profile.isTwofold
            ? identityIsFree(identity)
            : sql`(${identityIsFree(identity)} AND NOT ${accountHasFactor(addressee.id)})`,
        ),
        addressee,
        identity,
      )
  return {
    kind: 'proven',
    proven: provenBy(resources, profile, device, user, isSquatted ? NO_FACTORS : addressee),
  }
}

/** Makes the account of a provider's user whose address the provider has proved. Throws as `join` does. */
export async function joinByProvider(
  resources: Resources,
  provider: IdentityProvider,
  profile: Profile,
  joining: Joining,
  device: { device_token?: string },
): Promise<Proven> {
  if (provider.signup === 'deny') throw signupClosed()
  const identity = newIdentity(resources, provider, profile, joining.userId)
  const user = await join(resources, joining, {
    // The account may already have been made, and have since lost its address and provider, or been erased.
    isGood: sql`(${identityIsFree(identity)} AND NOT ${rowExists(users, joining.userId)}
      AND NOT EXISTS (SELECT 1 FROM ${erasures} WHERE user_id = ${joining.userId}))`,
    spend: () => [],
    isChallenged: false,
    alsoWrite: (isDone) => addIdentity(resources, identity, isDone),
    refused: () => invalidCallback(new Refusal('meanwhile')),
  })
  return provenBy(resources, profile, device, user, NO_FACTORS)
}

/** The provider's word, as long as the identity may be connected. */
const byProof = (identity: Identity, holds: SQL): Authority => ({
  actorId: identity.user_id,
  holds,
  refused: () => invalidCallback(new Refusal('meanwhile')),
})

/**
 * A provider that is trusted for the addresses of its domains: its user owns the account with that address
 * here.
 */
const linkTrusted = (resources: Resources, by: Authority, user: User, identity: Identity) =>
  applyChange(resources, by, user, {
    action: 'identity.linked',
    details: { provider: identity.provider, id: identity.id, reason: 'trusted' },
    set: {},
    leavesUser: true,
    reliesOn: isSamePerson(user),
    endsSessions: { reason: 'factors_changed' },
    alsoWrite: (isDone) => [insertIdentity(resources, identity, isDone)],
    mails: (isDone) => [
      enqueueNotice(resources, 'identity_added', user, isDone, { about: `identity.${identity.id}` }),
    ],
  })

function provenBy(
  resources: Resources,
  { isTwofold, authTime }: Profile,
  { device_token }: { device_token?: string },
  user: User,
  factors: Holder | typeof NO_FACTORS,
): Proven {
  return {
    ...arriving(resources, user, device_token),
    factors,
    proofs: [isTwofold ? 'provider_mfa' : 'provider'],
    // A provider that does not say when it asked them may have done so long ago: that is no recent login.
    provenAt: Math.min(Math.floor((authTime ?? 0) * 1000), resources.now),
    takeBack: [],
  }
}
