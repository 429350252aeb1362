import { CHALLENGE_SECONDS } from '../challenges/service.ts'
import type { Method } from '../factors/state.ts'
import { AppError, type Refusal } from '../http/problem.ts'

export const invalidCredentials = (cause?: Refusal) =>
  new AppError(401, 'invalid_credentials', 'The e-mail address or password is wrong.', { cause })
export const emailNotVerified = (cause?: Refusal) =>
  new AppError(403, 'email_not_verified', 'Confirm your e-mail address first: a link is in your mail.', {
    cause,
  })
/** Only after the right password. The reason is shown to those who manage users only. */
export const accountDisabled = (until: string | null) =>
  new AppError(403, 'account_disabled', 'This account is disabled.', { members: { disabled_until: until } })
export const signupClosed = () => new AppError(403, 'signup_closed', 'Accounts are made by invitation only.')
export const invitationOpen = () =>
  new AppError(
    409,
    'invitation_open',
    'This address has been invited: accept the invitation by the link in its mail.',
  )
/** Only after the provider has confirmed who it is. */
export const accountDeleted = () => new AppError(403, 'account_deleted', 'This account was deleted.')
/** Only after the right code. */
export const nameNeeded = () =>
  new AppError(
    422,
    'name_needed',
    'This address has no account yet. Send this again with a name to make one: the code stays valid.',
  )
export const otherProofNeeded = () =>
  new AppError(
    409,
    'other_proof_needed',
    'This account confirms with its password or a passkey, not by mail.',
  )
/** The same for a signed-in user: they repeat the request with a code. */
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
/** An example, for the API document. */
export const factorDue = () =>
  secondFactorRequired({
    challenge: 'ch_…',
    methods: ['totp', 'recovery_code'],
    expires_in: CHALLENGE_SECONDS,
  })
