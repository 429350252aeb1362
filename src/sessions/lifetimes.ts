import { sql } from 'drizzle-orm'
import type { Config } from '../config/main.ts'
import { databaseNow, type Given } from '../database/statements.ts'
import { type Role, users } from '../users/models.ts'
import { DAY_MS, HOUR_MS, MINUTE_MS } from '../values/durations.ts'
import { ACCESS_TOKEN_SECONDS } from './access-tokens.ts'
import { sessions } from './models.ts'

/** A session unused for so long ends; one is renewed by each refresh, up to its absolute end. */
const IDLE_MS = 14 * DAY_MS
export const ABSOLUTE_MS = 30 * DAY_MS

/** A session that ends with the browser ends by itself too. */
export const SHORT_MS = 12 * HOUR_MS

type Settings = Pick<Config, 'PRIVILEGED_IDLE_MINUTES' | 'PRIVILEGED_HOURS'>

/** Sessions of whoever has a role above `user`. */
export const privileged = ({ PRIVILEGED_IDLE_MINUTES, PRIVILEGED_HOURS }: Settings) => ({
  idleMs: PRIVILEGED_IDLE_MINUTES * MINUTE_MS,
  absoluteMs: PRIVILEGED_HOURS * HOUR_MS,
})

type Lifetime = ReturnType<typeof privileged>

/** How long a session lives unused, and in all. */
export const lifetimeOf = (settings: Settings, role: Role) =>
  role === 'user' ? { idleMs: IDLE_MS, absoluteMs: ABSOLUTE_MS } : privileged(settings)

/**
 * How long an access token is good (seconds): for ten minutes, and no longer than its session. Of a session that ends
 * sooner unused it is half of that, so that whoever refreshes when the token is over comes in time.
 *
 * @param leftMs of the session.
 */
export const accessTokenSeconds = (settings: Settings, role: Role, leftMs: number) =>
  Math.max(
    1,
    Math.floor(Math.min(ACCESS_TOKEN_SECONDS * 1000, lifetimeOf(settings, role).idleMs / 2, leftMs) / 1000),
  )

/**
 * Of a session: until when it lives unused, if it is used now. Its user's role is the one at the moment of the write, and
 * settings that were lowered count from here on.
 */
export const idleEndOnUse = ({ idleMs, absoluteMs }: Given<Lifetime>) => {
  const isUsers = sql`(SELECT ${users.role} FROM ${users} WHERE ${users.id} = ${sessions.user_id}) = 'user'`
  return sql`CASE WHEN ${isUsers} THEN min(${databaseNow} + ${IDLE_MS}, ${sessions.expires_at})
    ELSE min(${databaseNow} + ${idleMs}, ${sessions.created_at} + ${absoluteMs}, ${sessions.expires_at}) END`
}

/**
 * What becomes of the open sessions of a user who gets a role above `user`: they end as if they had begun with it, so one
 * that was left somewhere has no power.
 */
export const endsOfPrivileged = ({ idleMs, absoluteMs }: Lifetime) => {
  const end = sql`min(${sessions.expires_at}, ${sessions.created_at} + ${absoluteMs})`
  return {
    expires_at: end,
    idle_expires_at: sql`min(${sessions.idle_expires_at}, ${sessions.last_seen_at} + ${idleMs}, ${end})`,
  }
}
