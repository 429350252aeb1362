import { createCipheriv, createHash, createHmac, scrypt as scryptOfNode, timingSafeEqual } from 'node:crypto'
import { hashSync } from 'bcryptjs'
import { normalizePassword } from '../policy.ts'
import { argon2 } from './argon2.ts'
import { pbkdf2 } from './pbkdf2.ts'
import type { Bcrypt, Foreign, Scrypt } from './schemes.ts'

/** 64 MiB for the table, and 2 MiB for the rest: the bounds of schemes.ts. */
const SCRYPT_MEMORY_BYTES = 66 * 2 ** 20
/** An AES-256 key. */
const FIREBASE_KEY_BYTES = 32

/**
 * Whether a foreign hash was made of this password, exactly as typed, except for better-auth, which
 * normalises. PBKDF2 pauses after each slice; the others run in one piece, for a second at most.
 */
export async function verifyForeign(
  hash: Foreign,
  password: string,
  pause: () => Promise<void>,
): Promise<boolean> {
  const typed = Buffer.from(password)
  switch (hash.scheme) {
    case 'bcrypt':
      return isSame(Buffer.from(bcrypt(hash, password)), Buffer.from(hash.hash.slice(BCRYPT_DIGEST_AT)))
    case 'argon2':
      return isSame(await argon2(hash, typed), hash.digest)
    case 'scrypt':
      return isSame(
        await scrypt(hash, hash.isNormalized ? normalizePassword(password) : password),
        hash.digest,
      )
    case 'pbkdf2':
      return beginsSame(await pbkdf2(hash, typed, pause), hash.digest)
    case 'sha512':
      return isSame(createHash('sha512').update(typed).update(hash.salt).digest(), hash.digest)
  }
}

const isSame = (made: Uint8Array, digest: Uint8Array) =>
  made.length === digest.length && timingSafeEqual(made, digest)

/**
 * A digest of PBKDF2 may be shorter than a block, or have further blocks, which prove nothing more about the
 * password.
 */
const beginsSame = (block: Uint8Array, digest: Uint8Array) => {
  const length = Math.min(block.length, digest.length)
  return timingSafeEqual(block.subarray(0, length), digest.subarray(0, length))
}

/** `$2b$12$` and 22 characters of salt. */
const BCRYPT_DIGEST_AT = 29

/** bcrypt uses the first 72 bytes of a longer password, as it did when the hash was made. */
function bcrypt({ hash, of }: Bcrypt, password: string): string {
  const digest = of?.key === undefined ? createHash('sha256') : createHmac('sha256', of.key)
  const hashed = of ? digest.update(password).digest(of.encoding) : password
  return hashSync(hashed, hash.slice(0, BCRYPT_DIGEST_AT)).slice(BCRYPT_DIGEST_AT)
}

async function scrypt({ N, r, p, salt, digest, signerKey }: Scrypt, password: string): Promise<Uint8Array> {
  const length = signerKey ? FIREBASE_KEY_BYTES : digest.length
  const key = await new Promise<Buffer>((resolve, reject) =>
    scryptOfNode(password, salt, length, { N, r, p, maxmem: SCRYPT_MEMORY_BYTES }, (error, made) =>
      error ? reject(error) : resolve(made),
    ),
  )
  if (!signerKey) return key
  const cipher = createCipheriv('aes-256-ctr', key, Buffer.alloc(16))
  return Buffer.concat([cipher.update(signerKey), cipher.final()])
}
