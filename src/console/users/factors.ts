import type { FactorState } from '../../factors/state.ts'
import type { View } from '../../pages/view.ts'

/** Which second factors somebody has, in a few words. */
export function factorsOf(view: View, { has_totp, passkeys, recovery_codes }: FactorState): string {
  const { factors } = view.texts
  const parts = [
    ...(has_totp ? [factors.app] : []),
    ...(passkeys > 0 ? [factors.passkeyCount(passkeys)] : []),
    ...(recovery_codes > 0 ? [`${factors.codes}: ${factors.codesLeft(recovery_codes)}`] : []),
  ]
  return parts.length === 0 ? factors.none : parts.join(' · ')
}
