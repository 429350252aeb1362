import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import type { Config } from '../config/main.ts'
import { digestOf } from '../crypto/digest.ts'
import { Refusal } from '../http/problem.ts'
import { invalidToken } from '../sessions/errors.ts'

/**
 * A key is `rk_<id>_<secret>_<checksum>`. Its id names the row and the owner, so one trip is enough, and
 * carries a mark that only we can make, so a made-up key causes no work. The checksum refuses a mistyped key,
 * and lets scanners tell a key from what only looks like one. Each part has a fixed length.
 */
const KEY = /^(rk_([\w-]{56})_([\w-]{44}))_([\w-]{8})$/
const UUID_BYTES = 16
const MARK_BYTES = 10
const SECRET_BYTES = 33
const CHECKSUM_BYTES = 6

/** A key as it was sent. Whether it is valid is looked up. */
export interface GivenKey {
  id: string
  userId: string
  /** Digest of its secret. */
  digest: string
  /** Whether its id was made here. Also false if the SECRET_KEYS of that time are gone. */
  isMarked: boolean
}

export const looksLikeKey = (token: string) => token.startsWith('rk_')

const checksumOf = (text: string) =>
  createHash('sha256').update(text).digest().subarray(0, CHECKSUM_BYTES).toString('base64url')
const markOf = (key: Uint8Array, ids: Buffer) =>
  createHmac('sha256', key).update(ids).digest().subarray(0, MARK_BYTES)
const bytesOf = (uuid: string) => Buffer.from(uuid.replaceAll('-', ''), 'hex')
const uuidOf = (bytes: Buffer) =>
  bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')

/**
 * A new secret for a key. It has 264 random bits and cannot be guessed, so a plain digest of it is stored.
 */
export function makeApiKey({ keys }: Pick<Config, 'keys'>, id: string, userId: string) {
  const ids = Buffer.concat([bytesOf(id), bytesOf(userId)])
  const secret = randomBytes(SECRET_BYTES).toString('base64url')
  const text = `rk_${Buffer.concat([ids, markOf(keys.api_key[0], ids)]).toString('base64url')}_${secret}`
  return { key: `${text}_${checksumOf(text)}`, digest: digestOf(secret) }
}

/** Parses a key. Throws 401 `invalid_token` for a mistyped one, without a trip. */
export function readApiKey({ keys }: Pick<Config, 'keys'>, token: string): GivenKey {
  const [, text = '', id = '', secret = '', checksum] = KEY.exec(token) ?? []
  if (checksumOf(text) !== checksum) throw invalidToken(new Refusal('form'))
  const bytes = Buffer.from(id, 'base64url')
  const ids = bytes.subarray(0, 2 * UUID_BYTES)
  const mark = bytes.subarray(2 * UUID_BYTES)
  return {
    id: uuidOf(ids.subarray(0, UUID_BYTES)),
    userId: uuidOf(ids.subarray(UUID_BYTES)),
    digest: digestOf(secret),
    isMarked: keys.api_key.some((key) => timingSafeEqual(markOf(key, ids), mark)),
  }
}
