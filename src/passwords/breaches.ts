import { createHash } from 'node:crypto'
import type { Config } from '../config/main.ts'
import { callOut } from '../http/outbound.ts'

/**
 * Whether a password is known from a breach. The service is given the first five digits of the SHA-1, and answers with
 * all that begin so (https://haveibeenpwned.com/API/v3#PwnedPasswords); which of them was meant it does not learn.
 *
 * @returns undefined where it does not answer: a password is then taken, as the list of common ones has been asked.
 */
export async function isBreached(
  { BREACHED_PASSWORDS_URL }: Pick<Config, 'BREACHED_PASSWORDS_URL'>,
  password: string,
): Promise<boolean | undefined> {
  const digest = createHash('sha1').update(password).digest('hex').toUpperCase()
  const url = new URL(`range/${digest.slice(0, 5)}`, `${BREACHED_PASSWORDS_URL}/`)
  try {
    const { status, text } = await callOut('breached_passwords', url, { headers: { 'add-padding': 'true' } })
    if (status !== 200) return undefined
    // Padding has a count of zero. A mirror may write small letters.
    return text
      .split('\n')
      .some((line) => line.toUpperCase().startsWith(`${digest.slice(5)}:`) && !/:0\s*$/.test(line))
  } catch {
    return undefined
  }
}
