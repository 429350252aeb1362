import { and, eq, gt, inArray, lt, type SQL, sql } from 'drizzle-orm'
import type { Resources } from '../context.ts'
import { keyIdOf } from '../crypto/encryption.ts'
import { build, type Statement } from '../database/statements.ts'
import { factors } from './models.ts'
import { openSeed, sealSeed } from './totp.ts'

const SEEDS_PER_BATCH = 50

const formerKeys = ({ keys }: Resources['config']) => keys.totp_seed.slice(1).map(keyIdOf)

/** A condition: a seed is under a former key of ours. If the key is gone, the seed cannot be renewed. */
export function seedsAreOutdated(config: Resources['config']): SQL {
  const former = formerKeys(config)
  return former.length === 0
    ? sql`0`
    : sql`EXISTS (SELECT 1 FROM ${factors} WHERE ${inArray(factors.key_id, former)})`
}

/**
 * A condition: a seed is under none of our keys, so its owner's codes do not work. It looks between our keys
 * in the index, so it reads no more rows if there are more seeds.
 */
export function seedsAreLost({ keys }: Resources['config']): SQL {
  const known = keys.totp_seed.map(keyIdOf).sort()
  const gaps = [undefined, ...known].map((below, at) => {
    const above = known[at]
    return and(below ? gt(factors.key_id, below) : undefined, above ? lt(factors.key_id, above) : undefined)
  })
  const among = gaps.map((gap) => sql`EXISTS (SELECT 1 FROM ${factors} WHERE ${gap})`)
  return sql`(${sql.join(among, sql` OR `)})`
}

/** Re-encrypts a batch of seeds under the newest key, each on condition that it has not changed meanwhile. */
export async function renewSeeds(resources: Resources, fence: SQL): Promise<[Statement][]> {
  const { db, config } = resources
  const { rows } = await db.read({
    rows: build
      .select()
      .from(factors)
      .where(inArray(factors.key_id, formerKeys(config)))
      .limit(SEEDS_PER_BATCH),
  })
  const renewals = rows.map(async (row): Promise<[Statement]> => {
    const { keyId, text } = await sealSeed(config, row.user_id, await openSeed(config, row))
    return [
      build
        .update(factors)
        .set({ seed: text, key_id: keyId })
        .where(sql`${eq(factors.user_id, row.user_id)} AND ${eq(factors.seed, row.seed)} AND ${fence}`),
    ]
  })
  // A seed that was moved to another row cannot be opened; it must not keep the others from being renewed.
  const settled = await Promise.allSettled(renewals)
  return settled.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []))
}
