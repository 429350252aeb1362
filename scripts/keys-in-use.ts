import { type SQL, sql } from 'drizzle-orm'
import type { Resources } from '../src/context.ts'
import { seedsAreLost } from '../src/factors/renewal.ts'
import { foreignHashesAreLost } from '../src/passwords/foreign/renewal.ts'
import { hasKeyOf } from '../src/passwords/hashing.ts'
import { sessions } from '../src/sessions/models.ts'
import { users } from '../src/users/models.ts'
import { webhookSecretsAreLost } from '../src/webhooks/models.ts'

/** Of the oldest passwords, and of the newest. */
const LOOKED_AT = 100

/**
 * What SECRET_KEYS lacks of the keys that this database's secrets are under. `lacksAny`: one at least, which may have been
 * retired. `lacksCurrent`: one that signed when somebody last signed in by a password or, where nobody has one, that an
 * authenticator app or a webhook is under.
 */
export async function lookForKeys({ config, db }: Pick<Resources, 'config' | 'db'>) {
  const { keys } = config
  const hashes = (order: SQL, limit = LOOKED_AT) => sql<{
    hash: string
  }>`SELECT password_hash AS hash FROM ${users}
    WHERE password_hash IS NOT NULL ORDER BY ${order} LIMIT ${limit}`
  const signedInAt = sql`(SELECT max(created_at) FROM ${sessions} WHERE user_id = users.id AND amr LIKE '%pwd%')`
  const { lost, first, last, current } = await db.readPrimary({
    lost: sql<{ current: 0 | 1; imported: 0 | 1 }>`SELECT
      ${seedsAreLost(config)} OR ${webhookSecretsAreLost(keys.webhook_secret)} AS current,
      ${foreignHashesAreLost(config)} AS imported`,
    first: hashes(sql`id`),
    last: hashes(sql`id DESC`),
    // A sign-in puts the password under the key that signs.
    current: hashes(sql`${signedInAt} DESC NULLS LAST, created_at DESC`, 1),
  })
  const lacks = ({ hash }: { hash: string }) => !hasKeyOf(hash, keys)
  const { current: isLost, imported } = lost[0]!
  return {
    lacksCurrent: current.length > 0 ? current.some(lacks) : isLost === 1,
    lacksAny: isLost === 1 || imported === 1 || [...first, ...last].some(lacks),
  }
}
