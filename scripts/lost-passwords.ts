import { createClient } from '@libsql/client/web'
import { keyring } from '../src/crypto/keyring.ts'
import { pepperId } from '../src/passwords/hashing.ts'

/** So many are named; of the others the number is said. */
const NAMED = 20

/**
 * Says whose passwords nobody could check any more without the entries of SECRET_KEYS that go: hashes that name one of
 * them as their pepper. Asks the database that the environment names.
 */
export async function findPasswordsLost(gone: string[], kept: string[]): Promise<string> {
  const { TURSO_DATABASE_URL: url, TURSO_AUTH_TOKEN: authToken } = process.env
  if (!url)
    return 'NOBODY WAS ASKED whose passwords would be lost, and only the database knows: put TURSO_DATABASE_URL into the environment.'
  const idsOf = (secrets: string[]) => keyring(secrets, 'password_pepper').map(pepperId)
  const stay = idsOf(kept)
  const lost = idsOf(gone).filter((id) => !stay.includes(id))
  const client = createClient(authToken ? { url, authToken } : { url })
  try {
    const isLost = lost.map(() => "instr(password_hash, ',k=' || ? || '$') > 0").join(' OR ')
    const [counted, named] = await client.batch(
      [
        { sql: `SELECT count(*) AS total FROM users WHERE ${isLost}`, args: lost },
        { sql: `SELECT email FROM users WHERE ${isLost} ORDER BY email LIMIT ${NAMED}`, args: lost },
      ],
      'read',
    )
    const total = Number(counted?.rows[0]?.total ?? 0)
    if (total === 0) return 'No password would be lost.'
    const names = (named?.rows ?? []).map(({ email }) => String(email))
    const others = total - names.length
    return `${total} ${total === 1 ? 'password' : 'passwords'} would be lost, until a reset by mail: ${names.join(', ')}${others > 0 ? `, and ${others} more` : ''}`
  } catch (error) {
    throw new Error(
      `the database did not say whose passwords would be lost, so nothing is retired (${(error as Error).message}). To retire without asking, leave TURSO_DATABASE_URL out of the environment.`,
      { cause: error },
    )
  } finally {
    client.close()
  }
}
