import { and, isNotNull, lt, or, type SQL, sql } from 'drizzle-orm'
import type { Config } from '../config/main.ts'
import { passkeys } from '../passkeys/models.ts'
import { MAX_FAILURES_IN_A_ROW } from '../throttle/limits.ts'
import { userIsActive, users } from '../users/models.ts'

type Settings = Pick<Config, 'EMAIL_VERIFICATION' | 'WEBAUTHN_RP_ID'>

/** A condition: that a user has a passkey that works here. */
export const hasUsablePasskey = (
  { WEBAUTHN_RP_ID }: Settings,
  userId: SQL | string,
  exceptId?: string,
): SQL =>
  sql`EXISTS (SELECT 1 FROM ${passkeys} WHERE ${passkeys.user_id} = ${userId} AND rp_id = ${WEBAUTHN_RP_ID}${
    exceptId === undefined ? sql`` : sql` AND ${passkeys.id} <> ${exceptId}`
  })`

/**
 * A condition on a user: that they can sign in. Neither deleted nor disabled (or no longer), with a password that is
 * not locked or a passkey of ours, and an address that is confirmed where it has to be.
 */
const canSignIn = (config: Settings, now: number): SQL =>
  and(
    userIsActive(now),
    or(
      and(isNotNull(users.password_hash), lt(users.failed_logins, MAX_FAILURES_IN_A_ROW)),
      hasUsablePasskey(config, sql`${users.id}`),
    ),
    config.EMAIL_VERIFICATION === 'required' ? isNotNull(users.email_verified_at) : undefined,
  )!

/**
 * A condition: that an administrator who can sign in remains beside this one. Roles and states are what the index
 * begins with, so it reads administrators alone.
 */
export const anotherAdminRemains = (config: Settings, now: number, id: string): SQL =>
  sql`EXISTS (SELECT 1 FROM ${users} WHERE role = 'admin' AND state IN ('active', 'disabled') AND ${users.id} <> ${id}
    AND ${canSignIn(config, now)})`
