import { v7 as uuidv7 } from 'uuid'
import type { Config } from '../config/main.ts'
import { digestOf } from '../crypto/digest.ts'
import { decryptJson, encryptJson } from '../crypto/encryption.ts'
import { MINUTE_MS } from '../values/durations.ts'
import { timeOfId } from '../values/ids.ts'

/** RFC 6749 section 4.1.2: short, as it travels through a browser. */
const CODE_MS = MINUTE_MS
const MAX_CODE_LENGTH = 4096

/** The content of a code: its client and user, and what was decided when it was given. */
export interface Code {
  /** A UUIDv7, so also when it was made. */
  id: string
  clientId: string
  userId: string
  /** The user's own session, of which the app's will be a child. */
  parentId: string
  epoch: number
  /** The digest of the redirect URI (SHA-256). */
  redirect: string
  /** RFC 7636; null if the client need not use it. */
  challenge: string | null
  nonce: string | null
  scope: string
  /** The service that the tokens are for; null for Roster itself, absent in codes of the version before. */
  resource?: string | null
  /** Epoch seconds. */
  authTime: number
  amr: string[]
  /** Whether the user was asked, and so the code is void without the consent. */
  isByConsent?: true
}

/**
 * A code is sealed and not stored: asking for one writes nothing. Redeeming it inserts its id into the
 * database (see token.ts), so it can be used only once.
 */
export const makeCode = ({ keys }: Pick<Config, 'keys'>, code: Omit<Code, 'id'>): Promise<string> =>
  encryptJson(keys.oauth_code, { id: uuidv7(), ...code }, 'code')

/** Opens a code of ours, expired or not; undefined for anything else, which is found out without a trip. */
export const openCode = ({ keys }: Pick<Config, 'keys'>, given: string): Promise<Code | undefined> =>
  decryptJson(keys.oauth_code, given.slice(0, MAX_CODE_LENGTH), 'code')

/** @param now epoch ms. */
export const isExpired = (code: Code, now: number) => now >= timeOfId(code.id) + CODE_MS

/** RFC 7636 section 4.6, S256 only. A code that was requested without a challenge accepts no verifier. */
export function isVerified({ challenge }: Code, verifier: string | undefined): boolean {
  if (challenge === null || verifier === undefined) return challenge === null && verifier === undefined
  return /^[\w.~-]{43,128}$/.test(verifier) && digestOf(verifier) === challenge
}
