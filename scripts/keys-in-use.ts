import { type SQL, sql } from 'drizzle-orm'
import type { Resources } from '../src/context.ts'
import { seedsAreLost } from '../src/factors/renewal.ts'
import { foreignHashesAreLost } from '../src/passwords/foreign/renewal.ts'
import { hasKeyOf } from '../src/passwords/hashing.ts'
import { sessions } from '../src/sessions/models.ts'
import { users } from '../src/users/models.ts'
import { webhookSecretsAreLost } from '../src/webhooks/models.ts'

/** Of the oldest passwords, and as many of the newest. */
const LOOKED_AT = 100

/**
 * Which keys SECRET_KEYS lacks that protect secrets in this database. `lacksAny`: at least one, which may have been
 * retired. `lacksSealed`: one that protects an authenticator app or a webhook; those are moved to the signing key
 * soon after a rotation. `lacksCurrent`: the one that signed when somebody last signed in with a password or, if
 * nobody has a password, one of those above.
 */
export async function lookForKeys({ config, db }: Pick<Resources, 'config' | 'db'>) {
  const { keys } = config
  const hashes = (order: SQL) => sql<{ hash: string }>`SELECT password_hash AS hash FROM ${users}
    WHERE password_hash IS NOT NULL ORDER BY ${order} LIMIT ${LOOKED_AT}`
  const { lost, first, last, current } = await db.readPrimary({
    lost: sql<{ sealed: 0 | 1; imported: 0 | 1 }>`SELECT
      ${seedsAreLost(config)} OR ${webhookSecretsAreLost(keys.webhook_secret)} AS sealed,
      ${foreignHashesAreLost(config)} AS imported`,
    first: hashes(sql`id`),
    last: hashes(sql`id DESC`),
    // Signing in puts the password under the key that signs. Sessions of apps are left out: their sign-in was
    // earlier.
    current: sql<{ hash: string }>`SELECT password_hash AS hash FROM (SELECT id, user_id FROM ${sessions}
        WHERE parent_id IS NULL AND amr LIKE '%"pwd"%' ORDER BY id DESC LIMIT ${LOOKED_AT}) AS latest
      CROSS JOIN ${users} ON users.id = latest.user_id WHERE password_hash IS NOT NULL ORDER BY latest.id DESC LIMIT 1`,
  })
  const lacks = ({ hash }: { hash: string }) => !hasKeyOf(hash, keys)
  const lacksSealed = lost[0]!.sealed === 1
  const [inUse = last[0]] = current
  return {
    lacksSealed,
    lacksCurrent: inUse ? lacks(inUse) : lacksSealed,
    lacksAny: lacksSealed || lost[0]!.imported === 1 || [...first, ...last].some(lacks),
  }
}
