import { encodeBase32NoPadding } from '@oslojs/encoding'
import { createTOTPKeyURI, verifyHOTP } from '@oslojs/otp'
import type { Config } from '../config/main.ts'
import { digestOf } from '../crypto/digest.ts'
import { decrypt, encrypt, keyIdOf } from '../crypto/encryption.ts'
import { unavailable } from '../http/problem.ts'
import type { Totp } from './models.ts'
import type { TotpSeed } from './schemas.ts'

/** RFC 6238 as all apps implement it: SHA-1, 30 seconds, six digits. */
const STEP_SECONDS = 30
const CODE_DIGITS = 6
/** RFC 4226 section 4, R6: 160 bits. */
const SEED_BYTES = 20

export const makeSeed = () => crypto.getRandomValues(new Uint8Array(SEED_BYTES))

/** What an app is given: the seed to type in, and the URI of the QR code. */
export const shownSeed = (seed: Uint8Array, { ORGANISATION }: Config, account: string) => ({
  secret: encodeBase32NoPadding(seed),
  // Apps show a plus literally.
  uri: createTOTPKeyURI(ORGANISATION, account, seed, STEP_SECONDS, CODE_DIGITS).replaceAll('+', '%20'),
})

/** Names a seed in the form of the page that shows it, so that the page confirms no other one. */
export const seedDigest = ({ secret }: Pick<TotpSeed, 'secret'>) => digestOf(secret)

/**
 * The step of a code: the present one or the one before, as people type slowly and clocks are late. Undefined
 * for any other code. The write has to make sure that each step counts once.
 *
 * @param now epoch ms, by our own clock.
 */
export function stepOfCode(seed: Uint8Array, code: string, now: number): number | undefined {
  const current = Math.floor(now / 1000 / STEP_SECONDS)
  return [current, current - 1].find((step) => verifyHOTP(seed, BigInt(step), CODE_DIGITS, code))
}

export const sealSeed = ({ keys }: Config, userId: string, seed: Uint8Array) =>
  encrypt(keys.totp_seed, seed, userId)

export const isSeedOutdated = ({ keys }: Config, { key_id }: Pick<Totp, 'key_id'>) =>
  key_id !== keyIdOf(keys.totp_seed[0])

/** Throws 503 `misconfigured` if no key of ours opens it: that is not a wrong code. */
export async function openSeed(
  { keys }: Config,
  { user_id, seed, key_id }: Pick<Totp, 'user_id' | 'seed' | 'key_id'>,
): Promise<Uint8Array> {
  const opened = await decrypt(keys.totp_seed, { keyId: key_id, text: seed }, user_id)
  if (!opened) {
    const cause = new Error('A TOTP seed is under a key that is not among SECRET_KEYS, or was moved.')
    throw unavailable('misconfigured', 'Settings missing or unfit: SECRET_KEYS', cause, 60)
  }
  return opened
}
