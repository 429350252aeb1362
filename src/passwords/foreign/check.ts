import { eq } from 'drizzle-orm'
import type { Resources } from '../../context.ts'
import { build } from '../../database/statements.ts'
import { users } from '../../users/models.ts'
import { inForeignTurn, pause } from './queue.ts'
import { bookedMsOf } from './schemes.ts'
import { isForeign, openForeignHash } from './sealing.ts'

export interface ForeignCheck {
  isRight: boolean
  /** The account's present hash, read again after a wait. */
  stored: string | null
}

/**
 * Checks a password against a foreign hash, in its turn. If the hash was replaced meanwhile, nothing is
 * checked: `stored` is then one of ours.
 *
 * @throws 503 `hashing_busy`; 503 `misconfigured` where SECRET_KEYS lack the key of the hash.
 */
export async function checkForeign(
  resources: Resources,
  { password, stored, userId }: { password: string; stored: string; userId: string },
): Promise<ForeignCheck> {
  const { config, origin } = resources
  const hash = await openForeignHash(config, userId, stored)
  // A hash that this version no longer reads cannot be verified.
  if (!hash) return { isRight: false, stored }
  const by = { userId, ip: origin.ip, bookedMs: bookedMsOf(hash) }
  return inForeignTurn(by, async (hasWaited) => {
    const now = hasWaited ? await readHash(resources, userId) : stored
    if (!isForeign(now)) return { isRight: false, stored: now }
    // Loaded only for foreign hashes: logins with our own hashes do not pay for it.
    const { verifyForeign } = await import('./verification.ts')
    return { isRight: await verifyForeign(hash, password, pause), stored: now }
  })
}

async function readHash({ db }: Resources, userId: string): Promise<string | null> {
  const { user } = await db.read({
    user: build.select({ hash: users.password_hash }).from(users).where(eq(users.id, userId)),
  })
  return user[0]?.hash ?? null
}
