import { sql } from 'drizzle-orm'
import type { Config } from '../config/main.ts'
import { databaseNow, type Given } from '../database/statements.ts'
import { type Role, users } from '../users/models.ts'
import { DAY_MS, HOUR_MS, MINUTE_MS } from '../values/durations.ts'
import { ACCESS_TOKEN_SECONDS } from './access-tokens.ts'
import { sessions } from './models.ts'

/** A session ends after this time without use; each refresh renews it, up to its absolute end. */
const IDLE_MS = 14 * DAY_MS
export const ABSOLUTE_MS = 30 * DAY_MS

/** A session that ends with the browser also ends after this time. */
export const SHORT_MS = 12 * HOUR_MS

type Settings = Pick<Config, 'PRIVILEGED_IDLE_MINUTES' | 'PRIVILEGED_HOURS'>

/** Sessions of roles above `user`. */
export const privileged = ({ PRIVILEGED_IDLE_MINUTES, PRIVILEGED_HOURS }: Settings) => ({
  idleMs: PRIVILEGED_IDLE_MINUTES * MINUTE_MS,
  absoluteMs: PRIVILEGED_HOURS * HOUR_MS,
})

type Lifetime = ReturnType<typeof privileged>

/** How long a session lives without use, and in total. */
export const lifetimeOf = (settings: Settings, role: Role) =>
  role === 'user' ? { idleMs: IDLE_MS, absoluteMs: ABSOLUTE_MS } : privileged(settings)

/**
 * How long an access token is valid (seconds): ten minutes at most, and no longer than its session. If the
 * idle time is short, half of it, so a client that refreshes when its token expires is in time.
 *
 * @param leftMs what is left of the session.
 */
export const accessTokenSeconds = (settings: Settings, role: Role, leftMs: number) =>
  Math.max(
    1,
    Math.floor(Math.min(ACCESS_TOKEN_SECONDS * 1000, lifetimeOf(settings, role).idleMs / 2, leftMs) / 1000),
  )

/**
 * When a session that is used now would end without further use. The role is the user's at the moment of the
 * write, and lowered settings apply from here on.
 */
export const idleEndOnUse = ({ idleMs, absoluteMs }: Given<Lifetime>) => {
  const isUsers = sql`(SELECT ${users.role} FROM ${users} WHERE ${users.id} = ${sessions.user_id}) = 'user'`
  return sql`CASE WHEN ${isUsers} THEN min(${databaseNow} + ${IDLE_MS}, ${sessions.expires_at})
    ELSE min(${databaseNow} + ${idleMs}, ${sessions.created_at} + ${absoluteMs}, ${sessions.expires_at}) END`
}

/**
 * The new ends of a user's open sessions when their role rises above `user`: as if they had begun with that
 * role, so a forgotten session gains no power.
 */
export const endsOfPrivileged = ({ idleMs, absoluteMs }: Lifetime) => {
  const end = sql`min(${sessions.expires_at}, ${sessions.created_at} + ${absoluteMs})`
  return {
    expires_at: end,
    idle_expires_at: sql`min(${sessions.idle_expires_at}, ${sessions.last_seen_at} + ${idleMs}, ${end})`,
  }
}
