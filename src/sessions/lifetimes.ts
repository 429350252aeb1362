import type { Config } from '../config/main.ts'
import type { Role } from '../users/models.ts'
import { DAY_MS, HOUR_MS, MINUTE_MS } from '../values/durations.ts'

/** A session unused for so long ends; one is renewed by each refresh, up to its absolute end. */
export const IDLE_MS = 14 * DAY_MS
export const ABSOLUTE_MS = 30 * DAY_MS

/** A session that ends with the browser ends by itself too. */
export const SHORT_MS = 12 * HOUR_MS

type Settings = Pick<Config, 'PRIVILEGED_IDLE_MINUTES' | 'PRIVILEGED_HOURS'>

/** Sessions of whoever has a role above `user`. */
export const privileged = ({ PRIVILEGED_IDLE_MINUTES, PRIVILEGED_HOURS }: Settings) => ({
  idleMs: PRIVILEGED_IDLE_MINUTES * MINUTE_MS,
  absoluteMs: PRIVILEGED_HOURS * HOUR_MS,
})

/** How long a session lives unused, and in all. */
export const lifetimeOf = (settings: Settings, role: Role) =>
  role === 'user' ? { idleMs: IDLE_MS, absoluteMs: ABSOLUTE_MS } : privileged(settings)
