import { createHash } from 'node:crypto'
import type { Config } from '../config/main.ts'
import { callOut } from '../http/outbound.ts'

/**
 * Whether a password is known from a breach. The service gets the first five digits of the SHA-1, and answers
 * with all hashes that begin so (https://haveibeenpwned.com/API/v3#PwnedPasswords); it does not learn which
 * one was meant.
 *
 * @returns undefined if it does not answer. The password is then accepted, as the list of common ones was
 *   checked.
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
    // Padding has a count of zero. A mirror may use lower case.
    return text
      .split('\n')
      .some((line) => line.toUpperCase().startsWith(`${digest.slice(5)}:`) && !/:0\s*$/.test(line))
  } catch {
    return undefined
  }
}
