import { eq } from 'drizzle-orm'
import type { Resources } from '../context.ts'
import { openDeviceToken } from '../sessions/device-tokens.ts'
import { isKnownTo } from '../throttle/devices.ts'
import { openAttempt } from '../throttle/service.ts'
import { isActive, type User, users } from '../users/models.ts'
import { toTimeOrNull } from '../values/ids.ts'
import { accountDisabled, emailNotVerified } from './errors.ts'
import type { Proven } from './start-session.ts'

/**
 * A user who has proved who they are without a password, with their device, and the counters that this
 * clears.
 */
export function arriving(
  resources: Resources,
  user: User,
  deviceToken: string | undefined,
): Pick<Proven, 'user' | 'newHash' | 'device' | 'knowsTokens' | 'clearAttempts'> {
  const device = openDeviceToken(resources.config, deviceToken, resources.now)
  return {
    user,
    newHash: undefined,
    device: device && isKnownTo(user, device) ? device : undefined,
    knowsTokens: deviceToken !== undefined,
    clearAttempts: openAttempt(resources, user.email_normalized, eq(users.id, user.id), device).clear,
  }
}

/** Call only after a right proof. Throws 403 `account_disabled`. */
export function assertActive({ now }: Pick<Resources, 'now'>, user: User): void {
  if (!isActive(user, now)) throw accountDisabled(toTimeOrNull(user.disabled_until))
}

/**
 * The same, where the proof does not confirm the address. Throws 403 `account_disabled`,
 * `email_not_verified`.
 */
export function assertMayEnter(resources: Pick<Resources, 'config' | 'now'>, user: User): void {
  assertActive(resources, user)
  if (resources.config.EMAIL_VERIFICATION === 'required' && user.email_verified_at === null)
    throw emailNotVerified()
}
