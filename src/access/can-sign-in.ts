import { and, isNotNull, lt, or, type SQL, sql } from 'drizzle-orm'
import type { Config } from '../config/main.ts'
import { factors, recoveryCodes } from '../factors/models.ts'
import { identities } from '../identities/models.ts'
import { passkeys } from '../passkeys/models.ts'
import { MAX_FAILURES_IN_A_ROW } from '../throttle/limits.ts'
import { userIsActive, users } from '../users/models.ts'

type Settings = Pick<
  Config,
  'EMAIL_CODE_SIGNIN' | 'EMAIL_VERIFICATION' | 'IDENTITY_PROVIDERS' | 'WEBAUTHN_RP_ID'
>

/** A condition: that a user has a passkey that works on this deployment. */
export const hasUsablePasskey = (
  { WEBAUTHN_RP_ID }: Settings,
  userId: SQL | string,
  exceptId?: string,
): SQL =>
  sql`EXISTS (SELECT 1 FROM ${passkeys} WHERE ${passkeys.user_id} = ${userId} AND rp_id = ${WEBAUTHN_RP_ID}${
    exceptId === undefined ? sql`` : sql` AND ${passkeys.id} <> ${exceptId}`
  })`

/** A condition on a user: that a provider which is still configured signs them in. */
const hasUsableIdentity = ({ IDENTITY_PROVIDERS }: Settings, exceptId = ''): SQL =>
  IDENTITY_PROVIDERS.length === 0
    ? sql`0`
    : sql`EXISTS (SELECT 1 FROM ${identities} WHERE ${identities.user_id} = ${users.id}
        AND provider IN ${IDENTITY_PROVIDERS.map(({ id }) => id)} AND ${identities.id} <> ${exceptId})`

/** A factor or identity that the condition treats as already removed. */
export type Without = { passkeyId: string } | { totp: true } | { identityId: string }

/**
 * A condition on a user: there is a way into their account as it is now. A passkey is one. A password that is
 * not locked, a mailed code or a provider is one too, if no second factor is required or a factor works: an
 * authenticator app that is not locked, or a recovery code.
 */
const hasWayIn = (config: Settings, without?: Without): SQL => {
  const exceptId = without && 'passkeyId' in without ? without.passkeyId : undefined
  const isTheirs = sql`${passkeys.user_id} = ${users.id}${
    exceptId === undefined ? sql`` : sql` AND ${passkeys.id} <> ${exceptId}`
  }`
  const hasApp =
    without && 'totp' in without
      ? sql`0`
      : sql`EXISTS (SELECT 1 FROM ${factors} WHERE ${factors.user_id} = ${users.id} AND confirmed_at IS NOT NULL)`
  const hasCode = sql`EXISTS (SELECT 1 FROM ${recoveryCodes} WHERE ${recoveryCodes.user_id} = ${users.id})`
  const asksForNone = sql`NOT (${hasApp} OR EXISTS (SELECT 1 FROM ${passkeys} WHERE ${isTheirs}))`
  const appWorks = sql`(${hasApp} AND ${lt(users.failed_factors, MAX_FAILURES_IN_A_ROW)})`
  return or(
    hasUsablePasskey(config, sql`${users.id}`, exceptId),
    and(
      or(
        and(isNotNull(users.password_hash), lt(users.failed_logins, MAX_FAILURES_IN_A_ROW)),
        config.EMAIL_CODE_SIGNIN === 'on' ? isNotNull(users.email_verified_at) : undefined,
        hasUsableIdentity(config, without && 'identityId' in without ? without.identityId : undefined),
      ),
      sql`(${asksForNone} OR ${appWorks} OR ${hasCode})`,
    ),
  )!
}

/** A condition: that a user who can get in now still can without one of their factors. */
export const canStillSignIn = (config: Settings, userId: string, without: Without): SQL =>
  sql`EXISTS (SELECT 1 FROM ${users} WHERE ${users.id} = ${userId}
    AND (NOT ${hasWayIn(config)} OR ${hasWayIn(config, without)}))`

/**
 * A condition on a user: that they can sign in. They are neither deleted nor (still) disabled, have a way in
 * that works, and have confirmed their address where that is required.
 */
const canSignIn = (config: Settings, now: number): SQL =>
  and(
    userIsActive(now),
    hasWayIn(config),
    config.EMAIL_VERIFICATION === 'required' ? isNotNull(users.email_verified_at) : undefined,
  )!

/**
 * A condition: that an administrator who can sign in remains besides this one. The index begins with role and
 * state, so it reads administrators only.
 */
export const anotherAdminRemains = (config: Settings, now: number, id: string): SQL =>
  sql`EXISTS (SELECT 1 FROM ${users} WHERE role = 'admin' AND state IN ('active', 'disabled') AND ${users.id} <> ${id}
    AND ${canSignIn(config, now)})`

/** Users who are left without a way in because a provider was removed. */
export interface LeftWithout {
  id: string
  name: string
}

/**
 * Finds users of a provider that is no longer configured, and who have no other way into their account. A
 * reset lets them in. It goes from one provider to the next by the index, so it costs nothing where none was
 * removed.
 *
 * @param looked how many users of such providers are looked at. There may be more.
 */
export function selectLockedOut(config: Settings, now: number, looked: number) {
  const asked = config.IDENTITY_PROVIDERS.map(({ id }) => id)
  const isGone = asked.length === 0 ? sql`1` : sql`named.provider NOT IN ${asked}`
  return sql<LeftWithout>`WITH RECURSIVE named (provider) AS (
      SELECT min(provider) FROM ${identities}
      UNION ALL
      SELECT (SELECT min(provider) FROM ${identities} WHERE provider > named.provider) FROM named
      WHERE named.provider IS NOT NULL)
    SELECT id, name FROM ${users} WHERE id IN (
      SELECT user_id FROM named CROSS JOIN ${identities} AS known ON known.provider = named.provider
      WHERE ${isGone} LIMIT ${looked})
    AND ${userIsActive(now)} AND NOT (${hasWayIn(config)})`
}
