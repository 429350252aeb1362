import type { Config } from '../../config/main.ts'
import { decrypt, encrypt, keyIdOf } from '../../crypto/encryption.ts'
import type { Keyring } from '../../crypto/keyring.ts'
import { unavailable } from '../../http/problem.ts'
import type { Foreign } from './schemes.ts'
import { parseForeignHash } from './spellings.ts'

/*
 * A foreign hash takes the place of one of ours, in `users.password_hash`, until its owner signs in: as
 * `$foreign$<key id>$<nonce and ciphertext>`. It has no pepper and may be quick to guess at, so a stolen
 * database must not reveal it. Its user is sealed with it: moved to another user it cannot be opened.
 */

const FORMAT = /^\$foreign\$([\w-]{11})\$([\w-]{38,2048})$/

/**
 * What `users.password_hash` holds for a hash that `readForeignHash` calls `verified`.
 *
 * @param text the hash as imported.
 */
export async function sealForeignHash(
  { keys }: Pick<Config, 'keys'>,
  userId: string,
  text: string,
): Promise<string> {
  const { keyId, text: sealed } = await encrypt(keys.foreign_hash, Buffer.from(text), userId)
  return `${prefixOf(keyId)}${sealed}`
}

export const PREFIX = '$foreign$'
/** The prefix of all hashes under a key. */
export const prefixOf = (keyId: string) => `${PREFIX}${keyId}$`

export const isForeign = (stored: string | null): stored is string => stored?.startsWith(PREFIX) ?? false

/** Whether SECRET_KEYS have the key of a foreign hash. */
export const hasForeignKeyOf = (stored: string, keys: Keyring) =>
  keys.some((key) => stored.startsWith(prefixOf(keyIdOf(key))))

/**
 * The text of a foreign hash. Throws 503 `misconfigured` when no key of ours opens it: that is not a wrong password.
 */
export async function unsealForeignHash(
  { keys }: Pick<Config, 'keys'>,
  userId: string,
  stored: string,
): Promise<string> {
  const [, keyId, text] = FORMAT.exec(stored) ?? []
  const opened = keyId && text ? await decrypt(keys.foreign_hash, { keyId, text }, userId) : undefined
  if (!opened) {
    const cause = new Error('an imported hash is under a key that is not among SECRET_KEYS, or was moved')
    throw unavailable('misconfigured', 'Settings missing or unfit: SECRET_KEYS', cause, 60)
  }
  return Buffer.from(opened).toString()
}

/** The parsed hash. Undefined if this version no longer reads it: then no password is right. */
export async function openForeignHash(
  config: Pick<Config, 'keys'>,
  userId: string,
  stored: string,
): Promise<Foreign | undefined> {
  const hash = parseForeignHash(await unsealForeignHash(config, userId, stored))
  return hash === 'never_verified' ? undefined : hash
}
