import { and, eq, type SQL, sql } from 'drizzle-orm'
import type { Resources } from '../../context.ts'
import { keyIdOf } from '../../crypto/encryption.ts'
import { build, type Statement } from '../../database/statements.ts'
import { IS_FOREIGN_HASH, users } from '../../users/models.ts'
import { PREFIX, prefixOf, sealForeignHash, unsealForeignHash } from './sealing.ts'

const HASHES_PER_BATCH = 50

type Settings = Pick<Resources['config'], 'keys'>

/**
 * A condition on a user: a foreign hash under this key, found by a range of the index. Written as BETWEEN, or
 * SQLite would take the range of the index's own condition, and read all of it. A tilde sorts after
 * everything in base64url.
 */
const isUnder = (keyId: string) =>
  sql`${IS_FOREIGN_HASH} AND password_hash BETWEEN ${prefixOf(keyId)} AND ${`${prefixOf(keyId)}~`}`

/** Hashes under none of our keys cannot be renewed. */
const formerKeys = ({ keys }: Settings) => keys.foreign_hash.slice(1).map(keyIdOf)

/** A condition: that a foreign hash is under a former key of ours. */
export function foreignHashesAreOutdated(config: Settings): SQL {
  const among = formerKeys(config).map((key) => sql`EXISTS (SELECT 1 FROM ${users} WHERE ${isUnder(key)})`)
  return among.length === 0 ? sql`0` : sql`(${sql.join(among, sql` OR `)})`
}

/**
 * A condition: that a foreign hash is under none of our keys, so its owner cannot sign in. It looks between
 * our keys in the index, so it reads no more rows if there are more hashes.
 */
export function foreignHashesAreLost({ keys }: Settings): SQL {
  const known = keys.foreign_hash.map((key) => prefixOf(keyIdOf(key))).sort()
  const gaps = [PREFIX, ...known.map((prefix) => `${prefix}~`)].map(
    (below, at) => sql`EXISTS (SELECT 1 FROM ${users} WHERE ${IS_FOREIGN_HASH}
      AND password_hash BETWEEN ${below} AND ${known[at] ?? `${PREFIX}~`})`,
  )
  return sql`(${sql.join(gaps, sql` OR `)})`
}

interface Row {
  id: string
  hash: string
}

/** Re-encrypts a batch of them under the newest key, each on condition that it has not changed meanwhile. */
export async function renewForeignHashes(resources: Resources, fence: SQL): Promise<[Statement][]> {
  const { db, config } = resources
  const ofEach = formerKeys(config).map(
    (key) =>
      sql`SELECT * FROM (SELECT id, password_hash AS hash FROM ${users} WHERE ${isUnder(key)} LIMIT ${HASHES_PER_BATCH})`,
  )
  const { rows } = await db.read({
    rows: sql<Row>`${sql.join(ofEach, sql` UNION ALL `)} LIMIT ${HASHES_PER_BATCH}`,
  })
  const renewals = rows.map(async ({ id, hash }): Promise<[Statement]> => {
    const renewed = await sealForeignHash(config, id, await unsealForeignHash(config, id, hash))
    return [
      build
        .update(users)
        .set({ password_hash: renewed })
        .where(and(eq(users.id, id), eq(users.password_hash, hash), fence)),
    ]
  })
  // A hash that was moved to another row cannot be opened; it must not keep the others from being renewed.
  const settled = await Promise.allSettled(renewals)
  return settled.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []))
}
