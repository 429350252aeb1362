import { and, isNotNull, lt, type SQL, sql } from 'drizzle-orm'
import type { Config } from '../config/main.ts'
import { MAX_FAILURES_IN_A_ROW } from '../throttle/limits.ts'
import { userIsActive, users } from '../users/models.ts'

/**
 * A condition on a user: that they can sign in. Neither deleted nor disabled (or no longer), with a password that is
 * not locked, and an address that is confirmed where it has to be.
 */
export const canSignIn = (config: Pick<Config, 'EMAIL_VERIFICATION'>, now: number): SQL =>
  and(
    userIsActive(now),
    isNotNull(users.password_hash),
    lt(users.failed_logins, MAX_FAILURES_IN_A_ROW),
    config.EMAIL_VERIFICATION === 'required' ? isNotNull(users.email_verified_at) : undefined,
  )!

/**
 * A condition: that an administrator who can sign in remains beside this one. Roles and states are what the index
 * begins with, so it reads administrators alone.
 */
export const anotherAdminRemains = (
  config: Pick<Config, 'EMAIL_VERIFICATION'>,
  now: number,
  id: string,
): SQL =>
  sql`EXISTS (SELECT 1 FROM ${users} WHERE role = 'admin' AND state IN ('active', 'disabled') AND ${users.id} <> ${id}
    AND ${canSignIn(config, now)})`
