import type { Method } from '../factors/state.ts'
import { AppError, type Refusal } from '../http/problem.ts'

export const invalidCredentials = (cause?: Refusal) =>
  new AppError(401, 'invalid_credentials', 'E-mail address or password are not right.', { cause })
export const emailNotVerified = (cause?: Refusal) =>
  new AppError(403, 'email_not_verified', 'Confirm your e-mail address first: a link is in your mail.', {
    cause,
  })
/** After the right password alone. The reason stays with those who manage. */
export const accountDisabled = (until: string | null) =>
  new AppError(403, 'account_disabled', 'This account is disabled.', { members: { disabled_until: until } })
export const signupClosed = () => new AppError(403, 'signup_closed', 'Accounts are made by invitation only.')
export const otherProofNeeded = () =>
  new AppError(409, 'other_proof_needed', 'This account confirms by its password or a passkey, not by mail.')
/** The same for whoever is signed in: they answer by the same request, with a code. */
export const factorNeededAgain = (methods: readonly Method[]) =>
  new AppError(
    403,
    'second_factor_required',
    'This account has a second factor: give a code or a passkey as well.',
    {
      members: { methods },
    },
  )
export const secondFactorRequired = (members: {
  challenge: string
  methods: readonly Method[]
  expires_in: number
}) =>
  new AppError(403, 'second_factor_required', 'This account takes a second factor. Answer the challenge.', {
    members,
  })
