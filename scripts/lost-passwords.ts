import { createClient } from '@libsql/client/web'
import { keyIdOf } from '../src/crypto/encryption.ts'
import { keyring } from '../src/crypto/keyring.ts'
import { pepperId } from '../src/passwords/hashing.ts'

/** So many are named; of the others the number is said. */
const NAMED = 20

/**
 * Says whose passwords nobody could check any more without the entries of SECRET_KEYS that go: hashes that name one of
 * them as their pepper. Asks the database that the environment names.
 *
 * @throws where seeds of authenticator apps are still under one of them: no reset by mail would bring those back, and
 *   clean-up puts them under the key that signs.
 */
export async function findPasswordsLost(gone: string[], kept: string[]): Promise<string> {
  const { TURSO_DATABASE_URL: url, TURSO_AUTH_TOKEN: authToken } = process.env
  if (!url)
    return 'NOBODY WAS ASKED whose passwords and authenticator apps would be lost, and only the database knows: put TURSO_DATABASE_URL into the environment.'
  const idsOf = (secrets: string[]) => keyring(secrets, 'password_pepper').map(pepperId)
  const stay = idsOf(kept)
  const lost = idsOf(gone).filter((id) => !stay.includes(id))
  const seedKeys = (secrets: string[]) => keyring(secrets, 'totp_seed').map(keyIdOf)
  const lostSeedKeys = seedKeys(gone).filter((id) => !seedKeys(kept).includes(id))
  // Those that were imported, until their owners sign in; clean-up puts them under the key that signs.
  const foreignKeys = (secrets: string[]) => keyring(secrets, 'foreign_hash').map(keyIdOf)
  const foreign = foreignKeys(gone).filter((id) => !foreignKeys(kept).includes(id))
  const client = createClient(authToken ? { url, authToken } : { url })
  try {
    const isLost = [
      ...lost.map(() => "instr(password_hash, ',k=' || ? || '$') > 0"),
      ...foreign.map(() => "instr(password_hash, '$foreign$' || ? || '$') = 1"),
    ].join(' OR ')
    const args = [...lost, ...foreign]
    const [seeds, counted, named] = await client.batch(
      [
        {
          sql: `SELECT count(*) AS total FROM factors WHERE key_id IN (${lostSeedKeys.map(() => '?')})`,
          args: lostSeedKeys,
        },
        { sql: `SELECT count(*) AS total FROM users WHERE ${isLost}`, args },
        { sql: `SELECT email FROM users WHERE ${isLost} ORDER BY email LIMIT ${NAMED}`, args },
      ],
      'read',
    )
    const apps = Number(seeds?.rows[0]?.total ?? 0)
    if (apps > 0) throw new SeedsLost(apps)
    const total = Number(counted?.rows[0]?.total ?? 0)
    if (total === 0) return 'No password would be lost.'
    const names = (named?.rows ?? []).map(({ email }) => String(email))
    const others = total - names.length
    return `${total} ${total === 1 ? 'password' : 'passwords'} would be lost, until a reset by mail: ${names.join(', ')}${others > 0 ? `, and ${others} more` : ''}`
  } catch (error) {
    if (error instanceof SeedsLost) throw error
    throw new Error(
      `the database did not say whose passwords and authenticator apps would be lost, so nothing is retired (${(error as Error).message}). To retire without asking, leave TURSO_DATABASE_URL out of the environment.`,
      { cause: error },
    )
  } finally {
    client.close()
  }
}

class SeedsLost extends Error {
  constructor(apps: number) {
    super(
      `${apps} ${apps === 1 ? 'authenticator app is' : 'authenticator apps are'} still under what goes, and would be lost for good, so nothing is retired. Clean-up puts them under the entry that signs, within a quarter of an hour of its deployment: wait for it, and look at /ready whether cron runs. To retire all the same, leave TURSO_DATABASE_URL out of the environment.`,
    )
  }
}
