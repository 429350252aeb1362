import * as z from 'zod'
import { DAY_MS, inWords, MINUTE_MS } from '../values/durations.ts'

/**
 * Digests of the secret of a key or a client and of the one before it, and until when the latter is valid
 * (epoch ms).
 */
interface Secrets {
  secret_hash: string | null
  former_secret_hash: string | null
  former_secret_until: number | null
}

/**
 * A new secret within this time of the last, with the former one kept for as long, is the same change again: a button
 * pressed twice, a page reloaded, an answer lost. So the secret that programs still use is the one before both.
 */
export const SAME_CHANGE_MS = 10 * MINUTE_MS

/**
 * How long the former secret stays valid. `means` describes that, and `stolen` what ends at once if it was
 * stolen.
 */
export const formerSecretSeconds = (means: string, stolen = 'it was stolen') =>
  z
    .int()
    .min(0)
    .max((7 * DAY_MS) / 1000)
    .default(DAY_MS / 1000)
    .meta({
      description: `${means}; the same again within ${inWords(SAME_CHANGE_MS)} keeps that one. 0: ${stolen}.`,
    })

/**
 * Which secret stays valid beside a new one.
 *
 * @param keepMs more than 0.
 * @param now epoch ms.
 */
export function formerSecretColumns(
  { secret_hash, former_secret_hash, former_secret_until: until }: Secrets,
  keepMs: number,
  now: number,
): Pick<Secrets, 'former_secret_hash' | 'former_secret_until'> {
  const ends = now + keepMs
  const isSameChange = until !== null && until > now && until <= ends && until > ends - SAME_CHANGE_MS
  return isSameChange
    ? { former_secret_hash, former_secret_until: until }
    : { former_secret_hash: secret_hash, former_secret_until: ends }
}
