import { createHash } from 'node:crypto'
import type { Keyring } from './keyring.ts'

/**
 * For values that must be readable again, but not plain in the database: AES-256-GCM (NIST SP 800-38D) under the
 * newest key of a purpose, with a fresh nonce. `about` is authenticated as well, so a value that is copied into
 * another user's row cannot be decrypted.
 */
export interface Encrypted {
  /** The id of its key. */
  keyId: string
  /** Nonce and ciphertext, as base64url. */
  text: string
}

const NONCE_BYTES = 12
const KEY_ID_LENGTH = 11

/**
 * Cached per isolate, because each read of one's own profile opens a copy with the same key. The caches hold plain
 * values, not promises: a promise belongs to one request.
 */
const ids = new WeakMap<Uint8Array, string>()
const imported = new WeakMap<Uint8Array, CryptoKey>()

/** A name for a key that reveals nothing about it. */
export function keyIdOf(key: Uint8Array): string {
  const id = ids.get(key) ?? createHash('sha256').update(key).digest('base64url').slice(0, KEY_ID_LENGTH)
  ids.set(key, id)
  return id
}

export async function encrypt(keys: Keyring, plain: Uint8Array, about: string): Promise<Encrypted> {
  const keyId = keyIdOf(keys[0])
  const nonce = crypto.getRandomValues(new Uint8Array(NONCE_BYTES))
  const key = await importKey(keys[0])
  const sealed = await crypto.subtle.encrypt(parameters(nonce, keyId, about), key, new Uint8Array(plain))
  return { keyId, text: Buffer.concat([nonce, new Uint8Array(sealed)]).toString('base64url') }
}

/** Undefined if no key of ours decrypts it: the key was removed, or the value was moved to another place. */
export async function decrypt(
  keys: Keyring,
  { keyId, text }: Encrypted,
  about: string,
): Promise<Uint8Array | undefined> {
  const key = keys.find((one) => keyIdOf(one) === keyId)
  if (!key) return undefined
  const bytes = new Uint8Array(Buffer.from(text, 'base64url'))
  const nonce = bytes.slice(0, NONCE_BYTES)
  try {
    const opened = await crypto.subtle.decrypt(
      parameters(nonce, keyId, about),
      await importKey(key),
      bytes.slice(NONCE_BYTES),
    )
    return new Uint8Array(opened)
  } catch {
    return undefined
  }
}

/** A JSON value encrypted into one text that can be sent: `<key id>.<nonce and ciphertext>`. */
export async function encryptJson(keys: Keyring, value: object, about: string): Promise<string> {
  const { keyId, text } = await encrypt(keys, Buffer.from(JSON.stringify(value)), about)
  return `${keyId}.${text}`
}

/** In SQL: the key id in such a text. */
export const keyIdIn = (column: string) => `substr(${column}, 1, ${KEY_ID_LENGTH})`

/** The value in such a text; undefined if we did not encrypt it, or it is about something else. */
export async function decryptJson<T extends object>(
  keys: Keyring,
  given: string,
  about: string,
): Promise<T | undefined> {
  const [, keyId, text] = /^([\w-]{11})\.([\w-]{38,})$/.exec(given) ?? []
  const plain = keyId && text ? await decrypt(keys, { keyId, text }, about) : undefined
  return plain && (JSON.parse(Buffer.from(plain).toString()) as T)
}

async function importKey(key: Uint8Array): Promise<CryptoKey> {
  const uses = ['encrypt', 'decrypt']
  const made =
    imported.get(key) ?? (await crypto.subtle.importKey('raw', new Uint8Array(key), 'AES-GCM', false, uses))
  imported.set(key, made)
  return made
}

const parameters = (nonce: Uint8Array, keyId: string, about: string) => ({
  name: 'AES-GCM',
  iv: new Uint8Array(nonce),
  additionalData: new TextEncoder().encode(JSON.stringify([keyId, about])),
})
