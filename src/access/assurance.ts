import type { Config } from '../config/main.ts'
import type { Role } from '../users/models.ts'

/** How somebody proves who they are. */
const PROOFS = [
  'pwd',
  'email',
  'otp',
  'recovery_code',
  'passkey',
  'doubtful_passkey',
  'provider',
  'provider_mfa',
] as const
export type Proof = (typeof PROOFS)[number]
/** Values of RFC 8176, plus our own for a mailed code and a provider, as sessions and tokens hold them. */
export type Amr = readonly string[]

/**
 * A passkey is used with user verification only, so it is both factors at once. If its counter went back,
 * there may be a copy of it: then a code is needed as well.
 */
const WORDS: Record<Proof, Amr> = {
  pwd: ['pwd'],
  email: ['email'],
  otp: ['otp'],
  recovery_code: ['otp'],
  passkey: ['pop', 'user', 'mfa'],
  doubtful_passkey: ['pop', 'user'],
  provider: ['fed'],
  // For a provider that is trusted to have asked for two factors (trust_amr).
  provider_mfa: ['fed', 'mfa'],
}
const ORDER = ['pwd', 'email', 'fed', 'otp', 'pop', 'user', 'mfa']

/**
 * The `amr` of a session and its tokens: each word once, in a fixed order. Two different proofs are two
 * factors.
 */
export function amrOf(proofs: readonly Proof[], before: Amr = []): Amr {
  const words = new Set([...before, ...proofs.flatMap((proof) => WORDS[proof])])
  const isTwofold = words.has('otp') && ['pwd', 'email', 'fed', 'pop'].some((word) => words.has(word))
  return ORDER.filter((word) => words.has(word) || (word === 'mfa' && isTwofold))
}

/**
 * Whether two factors were proved. A token of the previous version has no `amr`: it was given for a password.
 */
export const isTwofold = (amr: Amr = ['pwd']) => amr.includes('mfa')

/** Who must have a second factor: nobody, everybody with a role above `user`, or everybody. */
type Policy = Config['SECOND_FACTOR']

export const mustHaveFactor = (policy: Policy, role: Role) =>
  policy === 'everybody' || (policy === 'managers' && role !== 'user')

/**
 * Whether a session lacks the factor that the policy requires of this role. It looks at the session, not at
 * the account.
 */
export const owesFactor = (policy: Policy, role: Role, amr?: Amr) =>
  mustHaveFactor(policy, role) && !isTwofold(amr)

/**
 * The same for a row of an app's session, with its user's present role. If it lacks the factor, nothing is given for
 * it, and nothing said of its user.
 */
export const lacksFactor = (
  { SECOND_FACTOR }: Pick<Config, 'SECOND_FACTOR'>,
  { role, amr }: { role: Role; amr: string },
) => owesFactor(SECOND_FACTOR, role, JSON.parse(amr))
