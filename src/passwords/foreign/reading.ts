import { type Foreign, type Verdict, verdictOn } from './schemes.ts'
import { parseForeignHash } from './spellings.ts'

/**
 * What to do with the hash of an import:
 * `verified`: it is kept (`sealForeignHash`), and the next right login replaces it by one of ours;
 * `needs_reset`: it is not kept, and its user has `needs_reset` until they choose a password;
 * `none`: there is no password (empty, and Django's `!…`);
 * `invalid`: it is not a hash, or costs more than any software uses.
 */
export type ReadHash =
  | { verdict: 'verified'; hash: Foreign }
  | { verdict: 'needs_reset' | 'none' }
  | { verdict: 'invalid'; reason: 'unknown' | 'too_costly' }

export function readForeignHash(text: string): ReadHash {
  if (text === '' || text.startsWith('!')) return { verdict: 'none' }
  const hash = parseForeignHash(text)
  if (hash === undefined) return { verdict: 'invalid', reason: 'unknown' }
  const verdict: Verdict = hash === 'never_verified' ? 'needs_reset' : verdictOn(hash)
  if (verdict === 'invalid') return { verdict, reason: 'too_costly' }
  return verdict === 'verified' && hash !== 'never_verified' ? { verdict, hash } : { verdict: 'needs_reset' }
}
