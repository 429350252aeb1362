import type { Role } from '../users/models.ts'

/** How somebody proved who they are, in the words of RFC 8176. */
export const PROOFS = ['pwd'] as const
export type Proof = (typeof PROOFS)[number]
export type Amr = readonly string[]

/** What stands in a session and its tokens: each proof once, in one order. */
export const amrOf = (proofs: readonly Proof[]): Amr => PROOFS.filter((proof) => proofs.includes(proof))

/** What suffices to sign in, by role: all of one of the lists. */
const SUFFICES: Record<Role, readonly (readonly Proof[])[]> = {
  user: [['pwd']],
  manager: [['pwd']],
  admin: [['pwd']],
}

/**
 * What is missing for a role, of the list that lacks least; nothing when it suffices. A token of the version before does
 * not say by what it was given: that was a password.
 */
export function missingProofs(role: Role, amr: Amr = ['pwd']): readonly Proof[] {
  const missing = SUFFICES[role].map((needed) => needed.filter((proof) => !amr.includes(proof)))
  return missing.sort((one, other) => one.length - other.length)[0] ?? []
}
