import { and, asc, eq, type SQL, sql } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import { type Amr, owesFactor } from '../access/assurance.ts'
import { canStillSignIn } from '../access/can-sign-in.ts'
import { factorEnrolmentRequired } from '../access/errors.ts'
import { record } from '../activity/service.ts'
import type { IdentityProvider } from '../config/providers.ts'
import type { Resources } from '../context.ts'
import { build, insertWhere, type Statement } from '../database/statements.ts'
import { readOwn } from '../factors/enrol.ts'
import { lastWayIn } from '../factors/errors.ts'
import { addedAt } from '../links/service.ts'
import { openNotices } from '../mail/limits.ts'
import { enqueueNotice } from '../mail/outbox.ts'
import type { Claims } from '../sessions/access-tokens.ts'
import { tokenIsLive } from '../sessions/revocation.ts'
import { applyChange, byActor, isSamePerson } from '../users/change.ts'
import { addressNotVerified } from '../users/errors.ts'
import { users } from '../users/models.ts'
import { normalizeEmail } from '../values/email.ts'
import { toTime } from '../values/ids.ts'
import { identityNotFound, identityTaken } from './errors.ts'
import { type Identity, identities } from './models.ts'
import type { Profile } from './profiles.ts'
import type { Identity as IdentityView } from './schemas.ts'

/** The user's own identities, oldest first. */
export async function listIdentities(
  { config, db }: Resources,
  userId: string,
): Promise<{ data: IdentityView[] }> {
  const { rows } = await db.read({
    rows: build.select().from(identities).where(eq(identities.user_id, userId)).orderBy(asc(identities.id)),
  })
  return {
    data: rows.map(({ id, provider, email, created_at }) => {
      const known = config.IDENTITY_PROVIDERS.find((one) => one.id === provider)
      return {
        id,
        provider: { id: provider, name: known?.name ?? provider },
        email,
        created_at: toTime(created_at),
        usable: known !== undefined,
      }
    }),
  }
}

/** The address of the user who connects an identity; undefined once their session has ended. */
export async function emailOf({ db, now }: Resources, actor: Claims): Promise<string | undefined> {
  const { rows } = await db.readPrimary({
    rows: build
      .select({ email: users.email })
      .from(users)
      .where(and(eq(users.id, actor.sub), tokenIsLive(actor, now))),
  })
  return rows[0]?.email
}

export const newIdentity = (
  { now }: Pick<Resources, 'now'>,
  provider: Pick<IdentityProvider, 'id'>,
  { subject, email }: Pick<Profile, 'subject' | 'email'>,
  userId: string,
): Identity => ({
  id: uuidv7(),
  provider: provider.id,
  subject,
  user_id: userId,
  email: email ?? null,
  created_at: now,
})

/** A condition: that this identity belongs to no account. */
export const identityIsUnclaimed = ({ provider, subject }: Pick<Identity, 'provider' | 'subject'>): SQL =>
  sql`NOT EXISTS (SELECT 1 FROM ${identities} WHERE provider = ${provider} AND subject = ${subject})`

/** A condition: the same, and its user has no other at the same provider. */
export const identityIsFree = (identity: Identity): SQL =>
  sql`(${identityIsUnclaimed(identity)} AND NOT EXISTS (SELECT 1 FROM ${identities}
    WHERE user_id = ${identity.user_id} AND provider = ${identity.provider}))`

/** A condition: that this identity is still connected to this user. */
export const identityIsOf = (id: string, userId: string): SQL =>
  sql`EXISTS (SELECT 1 FROM ${identities} WHERE id = ${id} AND user_id = ${userId})`

/** Connects an identity: as any addition does, it counts as later than an undo that is already there. */
export const insertIdentity = ({ now }: Pick<Resources, 'now'>, identity: Identity, isDone: SQL) =>
  insertWhere(identities, { ...identity, created_at: addedAt(identity.user_id, now) }, isDone)

/** Connects an identity as soon as its account exists, or as its address is proved. */
export const addIdentity = (resources: Resources, identity: Identity, isDone: SQL): Statement[] => [
  insertIdentity(resources, identity, isDone),
  record(
    resources,
    {
      action: 'identity.linked',
      userId: identity.user_id,
      actorId: identity.user_id,
      details: { provider: identity.provider, id: identity.id },
    },
    isDone,
  ),
]

/**
 * Whether the policy requires a factor of this session, and it has only proved a password. To enrol a first
 * factor then takes a mailed code; to connect a provider, whose word may count as two factors, takes no less.
 */
export const owesProof = ({ config }: Pick<Resources, 'config'>, { role }: Claims, amr: Amr): boolean =>
  owesFactor(config.SECOND_FACTOR, role, amr) && !amr.includes('email')

/**
 * Connects the identity that somebody has just proved at a provider to the account they are signed in to.
 * Other sessions end, and the owner is told, with a link to undo it.
 *
 * @throws 403 `reauthentication_required`, `factor_enrolment_required`; 409 `identity_taken`,
 *   `address_not_verified`; 429 `too_many_attempts`.
 */
export async function linkIdentity(
  resources: Resources,
  actor: Claims,
  provider: IdentityProvider,
  profile: Pick<Profile, 'subject' | 'email' | 'isProved'>,
): Promise<void> {
  const { now, send } = resources
  const { user, amr, added } = await readOwn(resources, actor)
  const provesMailbox = profile.isProved && normalizeEmail(profile.email ?? '') === user.email_normalized
  if (!provesMailbox && owesProof(resources, actor, amr)) throw factorEnrolmentRequired()
  if (send && user.email_verified_at === null) throw addressNotVerified()
  added.assertMayAdd()
  const identity = newIdentity(resources, provider, profile, user.id)
  // Whoever is signed out by now does not learn that the identity is taken: the token is judged first.
  await applyChange(resources, byActor(actor, now), user, {
    action: 'identity.linked',
    details: { provider: provider.id, id: identity.id },
    set: {},
    leavesUser: true,
    reliesOn: isSamePerson(user),
    unless: {
      taken: { is: sql`(NOT ${identityIsFree(identity)})`, refused: identityTaken },
      told: added.obstacle,
    },
    endsSessions: { reason: 'factors_changed', exceptId: actor.sid },
    alsoWrite: (isDone) => [insertIdentity(resources, identity, isDone)],
    mails: (isDone) => [
      enqueueNotice(resources, 'identity_added', user, isDone, {
        about: `identity.${identity.id}`,
        told: added.told,
      }),
    ],
  })
}

/**
 * Disconnects an identity, unless it is the last way to sign in, even if two are disconnected at once. Other
 * sessions end.
 *
 * @throws 403 `reauthentication_required`, `factor_enrolment_required`; 404 `identity_not_found`; 409
 *   `last_way_in`.
 */
export async function unlinkIdentity(resources: Resources, actor: Claims, id: string): Promise<void> {
  const { config, db, now } = resources
  const isThis = and(eq(identities.id, id), eq(identities.user_id, actor.sub))!
  const [{ user, amr }, { found }] = await Promise.all([
    readOwn(resources, actor),
    db.readPrimary({ found: build.select().from(identities).where(isThis) }),
  ])
  if (owesProof(resources, actor, amr)) throw factorEnrolmentRequired()
  if (!found[0]) throw identityNotFound()
  const isGone = sql`(NOT EXISTS (SELECT 1 FROM ${identities} WHERE ${isThis}))`
  const isLast = sql`(NOT ${canStillSignIn(config, actor.sub, { identityId: id })})`
  const told = openNotices(resources, 'identity_removed', actor.sid, user.id)
  await applyChange(resources, byActor(actor, now), user, {
    action: 'identity.unlinked',
    details: { provider: found[0].provider, id },
    set: {},
    leavesUser: true,
    reliesOn: isSamePerson(user),
    unless: {
      gone: { is: isGone, refused: identityNotFound },
      last: { is: isLast, refused: lastWayIn },
    },
    endsSessions: { reason: 'factors_changed', exceptId: actor.sid },
    alsoWrite: (isDone) => [build.delete(identities).where(and(isThis, isDone))],
    mails: (isDone) => [enqueueNotice(resources, 'identity_removed', user, isDone, { told })],
  })
}
