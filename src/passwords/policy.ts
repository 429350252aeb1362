import { normalizeText } from '../values/text.ts'
import { COMMON_PASSWORDS } from './common-passwords.ts'

export const PASSWORD_MIN_LENGTH = 12

export const PASSWORD_MAX_LENGTH = 256

/** The one normalisation: the same characters typed on another keyboard are the same password (NIST 63B). */
export const normalizePassword = (password: string) => normalizeText(password, 'NFKC')

export let commonPasswords: Set<string> | undefined

/**
 * Why a password must not be set, or undefined when it may be: a common one, one or two common ones with at most
 * three characters around them, few different characters, or hardly more than the person's own name or address.
 */
export function findPasswordWeakness(
  password: string,
  person: { email: string; name: string },
): string | undefined {
  const folded = normalizePassword(password).toLowerCase()
  if (new Set(folded).size < 5) return 'has too few different characters'
  commonPasswords ??= new Set(COMMON_PASSWORDS.split(/\s+/))
  if (isMadeOfCommon(folded, commonPasswords)) return 'is too common'
  const own = [
    ...person.email.toLowerCase().split(/[@.+_-]/),
    ...person.name.toLowerCase().split(/\s+/),
    'roster',
  ]
  const rest = own
    .filter((word) => word.length >= 3)
    .reduce((left, word) => left.replaceAll(word, ''), folded)
  return rest.length < 8 && rest.length < folded.length
    ? 'is made of the name or the e-mail address'
    : undefined
}

export const SPARE_CHARACTERS = 3

export function isMadeOfCommon(password: string, common: Set<string>): boolean {
  if (common.has(password)) return true
  for (let cut = 4; cut <= password.length; cut++) {
    if (!common.has(password.slice(0, cut))) continue
    const rest = password.slice(cut)
    if (rest.length <= SPARE_CHARACTERS || common.has(rest)) return true
    for (let end = rest.length - SPARE_CHARACTERS; end < rest.length; end++) {
      if (common.has(rest.slice(0, end))) return true
    }
  }
  return false
}
