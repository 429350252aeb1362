import { createClient } from '@libsql/client/web'
import { keyIdIn, keyIdOf } from '../src/crypto/encryption.ts'
import { keyring } from '../src/crypto/keyring.ts'
import { pepperId } from '../src/passwords/hashing.ts'

/** How many users are named; the others are only counted. */
const NAMED = 20

/**
 * Reports whose passwords could no longer be verified once these entries are removed from SECRET_KEYS: their hashes
 * name one of them as their pepper. Asks the database that the environment names.
 *
 * @throws if the seed of an authenticator app or the secret of a webhook still uses one of them: no reset by mail
 *   would bring those back, and the cron jobs move them to the signing key.
 */
export async function findPasswordsLost(gone: string[], kept: string[]): Promise<string> {
  const { TURSO_DATABASE_URL: url, TURSO_AUTH_TOKEN: authToken } = process.env
  if (!url)
    return 'NOT CHECKED whose passwords and authenticator apps would be lost; only the database knows: put TURSO_DATABASE_URL into the environment.'
  const idsOf = (secrets: string[]) => keyring(secrets, 'password_pepper').map(pepperId)
  const stay = idsOf(kept)
  const lost = idsOf(gone).filter((id) => !stay.includes(id))
  const seedKeys = (secrets: string[]) => keyring(secrets, 'totp_seed').map(keyIdOf)
  const lostSeedKeys = seedKeys(gone).filter((id) => !seedKeys(kept).includes(id))
  // Imported ones, until their owners sign in; clean-up moves them to the signing key.
  const foreignKeys = (secrets: string[]) => keyring(secrets, 'foreign_hash').map(keyIdOf)
  const foreign = foreignKeys(gone).filter((id) => !foreignKeys(kept).includes(id))
  // Former secrets are not counted: they end by themselves.
  const hookKeys = (secrets: string[]) => keyring(secrets, 'webhook_secret').map(keyIdOf)
  const lostHookKeys = hookKeys(gone).filter((id) => !hookKeys(kept).includes(id))
  const client = createClient(authToken ? { url, authToken } : { url })
  try {
    const isLost = [
      ...lost.map(() => "instr(password_hash, ',k=' || ? || '$') > 0"),
      ...foreign.map(() => "instr(password_hash, '$foreign$' || ? || '$') = 1"),
    ].join(' OR ')
    const args = [...lost, ...foreign]
    const [seeds, hooks, counted, named] = await client.batch(
      [
        {
          sql: `SELECT count(*) AS total FROM factors WHERE key_id IN (${lostSeedKeys.map(() => '?')})`,
          args: lostSeedKeys,
        },
        {
          sql: `SELECT count(*) AS total FROM webhooks WHERE ${keyIdIn('secret')} IN (${lostHookKeys.map(() => '?')})`,
          args: lostHookKeys,
        },
        { sql: `SELECT count(*) AS total FROM users WHERE ${isLost}`, args },
        { sql: `SELECT email FROM users WHERE ${isLost} ORDER BY email LIMIT ${NAMED}`, args },
      ],
      'read',
    )
    for (const [found, one, more, soon] of [
      [
        seeds,
        'authenticator app is',
        'authenticator apps are',
        'Clean-up puts them under the entry that signs, within a quarter of an hour of its deployment',
      ],
      [
        hooks,
        'secret of a webhook is',
        'secrets of webhooks are',
        'The cron job puts them under the entry that signs, within a minute of its deployment',
      ],
    ] as const) {
      const total = Number(found?.rows[0]?.total ?? 0)
      if (total > 0) throw new StillNeeded(total === 1 ? one : more, total, soon)
    }
    const total = Number(counted?.rows[0]?.total ?? 0)
    if (total === 0) return 'No password would be lost.'
    const names = (named?.rows ?? []).map(({ email }) => String(email))
    const others = total - names.length
    return `${total} ${total === 1 ? 'password' : 'passwords'} would be lost, until a reset by mail: ${names.join(', ')}${others > 0 ? `, and ${others} more` : ''}`
  } catch (error) {
    if (error instanceof StillNeeded) throw error
    if (/no such (table|column)/.test((error as Error).message))
      throw new Error(
        'the database is of an older version than this script, so nothing is retired. First: npm run db:migrate',
        { cause: error },
      )
    throw new Error(
      `the database did not say whose passwords and authenticator apps would be lost, so nothing is retired (${(error as Error).message}). To retire without asking, leave TURSO_DATABASE_URL out of the environment.`,
      { cause: error },
    )
  } finally {
    client.close()
  }
}

class StillNeeded extends Error {
  constructor(what: string, count: number, remedy: string) {
    super(
      `${count} ${what} still under a key that goes, and would be lost for good, so nothing is retired. ${remedy}: wait for it, and check at /ready that cron runs. To retire all the same, leave TURSO_DATABASE_URL out of the environment.`,
    )
  }
}
