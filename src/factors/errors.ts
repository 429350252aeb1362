import { AppError, type Refusal } from '../http/problem.ts'

/** `triesLeft`: those of the challenge, if the try was counted. */
export const invalidSecondFactor = (cause?: Refusal, triesLeft?: number) =>
  new AppError(401, 'invalid_second_factor', 'That code is not right, or was used already.', {
    cause,
    ...(triesLeft !== undefined && { members: { tries_left: triesLeft } }),
  })
/** For a signed-in user: a 401 would mean that the session is over. */
export const wrongCode = (cause?: Refusal) =>
  new AppError(403, 'wrong_code', 'That code is not right, or was used already.', { cause })
export const totpExists = () =>
  new AppError(409, 'totp_exists', 'There is an authenticator app already. Remove it first.')
export const nothingToConfirm = () =>
  new AppError(409, 'nothing_to_confirm', 'No authenticator app awaits its first code. Start again.')
export const factorNotFound = () =>
  new AppError(404, 'factor_not_found', 'There is no such factor on this account.')
export const noFactor = () =>
  new AppError(409, 'no_factor', 'Recovery codes belong to a second factor. Add one first.')
export const mailCodeRequired = () =>
  new AppError(
    403,
    'mail_code_required',
    'Adding the first factor to an account takes a code mailed to its address.',
  )
export const lastWayIn = () =>
  new AppError(409, 'last_way_in', 'This is the last way into this account. Add another first.')
