import type { SQL } from 'drizzle-orm'
import type { Resources } from '../context.ts'
import { openDeviceNotices } from '../mail/limits.ts'
import { enqueueNotice } from '../mail/outbox.ts'
import type { OwedMail } from '../users/consequences.ts'
import type { Keeping } from './keep-signed-in.ts'
import type { Proven } from './start-session.ts'

/**
 * Mails a user about a sign-in from a device that their account does not know, with a link that ends the
 * session. The very first sign-in is not reported. Clients that send no device token always look new, so
 * their sign-ins are reported once a day.
 */
export function tellOfNewDevice(
  resources: Resources,
  { user, device, knowsTokens }: Pick<Proven, 'user' | 'device' | 'knowsTokens'>,
  { cookie }: Keeping,
  sessionId: string,
  isStarted: SQL,
): OwedMail[] {
  if (device || user.last_login_at === null || user.email_verified_at === null || !resources.send) return []
  // A browser keeps its device token in a cookie.
  const told = openDeviceNotices(resources, user.id, { knowsTokens: knowsTokens || cookie === true })
  return [enqueueNotice(resources, 'new_device', user, isStarted, { about: sessionId, told })]
}
