import { AppError, type Refusal } from '../http/problem.ts'

/** The state belongs to another browser or provider, or has expired; or the attempt is over. */
export const invalidCallback = (cause?: Refusal) =>
  new AppError(400, 'invalid_callback', 'This sign-in was started elsewhere, or is over. Start again.', {
    cause,
  })
/** The provider did not answer, or answered something invalid. */
export const providerFailed = (cause?: unknown) =>
  new AppError(502, 'provider_failed', 'The provider did not say who you are. Nothing was changed.', {
    cause,
  })
export const providerRefused = (cause?: Refusal) =>
  new AppError(403, 'provider_refused', 'The provider did not approve the sign-in.', { cause })
export const addressMissing = () =>
  new AppError(403, 'address_missing', 'The provider gave no address, and an account needs one.')
export const identityNotFound = () => new AppError(404, 'identity_not_found', 'There is no such identity.')
export const identityTaken = () =>
  new AppError(409, 'identity_taken', 'This identity is on another account, or yours has another one there.')
