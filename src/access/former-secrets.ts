import * as z from 'zod'
import { inWords, MINUTE_MS } from '../values/durations.ts'

/** The secret of a key or a client, and the one before it: digests, and until when the latter is good (epoch ms). */
interface Secrets {
  secret_hash: string | null
  former_secret_hash: string | null
  former_secret_until: number | null
}

/**
 * Another secret within so long of the last is the same change once more: a button pressed twice, the page that shows it
 * loaded again, an answer that was lost. So what programs use is still the one before that.
 */
export const SAME_CHANGE_MS = 10 * MINUTE_MS

/** How long the one before is kept when another is made: what that means, and what of it ends if it was stolen. */
export const keepFormerSeconds = (means: string, stolen = 'it was stolen') =>
  z
    .int()
    .min(0)
    .max(604_800)
    .default(86_400)
    .meta({
      description: `${means}; asked again within ${inWords(SAME_CHANGE_MS)}, that one still is. 0: ${stolen}.`,
    })

/**
 * Which secret goes on beside a new one, for so long.
 *
 * @param keepMs more than 0.
 * @param now epoch ms.
 */
export function formerBeside(
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
