import { AppError } from '../http/problem.ts'
import { DEEPEST_ROW_BY_PAGE } from './schemas.ts'

export const emailTaken = () =>
  new AppError(409, 'email_taken', 'An account with this e-mail address already exists.')
export const externalIdTaken = () =>
  new AppError(409, 'external_id_taken', 'Another user, perhaps a deleted one, has this external id.')
export const signupDomainRefused = () =>
  new AppError(403, 'signup_domain_refused', 'Accounts are not made for this mail domain.')
export const signupBlocked = () =>
  new AppError(403, 'signup_blocked', 'Accounts are not made for this address, or from this network.')
export const userNotFound = () => new AppError(404, 'user_not_found', 'There is no such user.')
export const lastAdmin = () =>
  new AppError(409, 'last_admin', 'This is the last active administrator. Make somebody else one first.')
export const ownAccount = () =>
  new AppError(
    403,
    'own_account',
    'This is for managing others. Your own account is at /v1/users/me; POST /v1/auth/logout_all ends your sessions.',
  )
export const addressNotVerified = () =>
  new AppError(409, 'address_not_verified', 'The address of this account has to be verified first.')
export const outranked = () => new AppError(403, 'outranked', 'That takes a higher rank than yours.')
export const userDeleted = () =>
  new AppError(409, 'user_deleted', 'This user is deleted. Restore them first.')
export const noEarlierEmail = () =>
  new AppError(
    409,
    'no_earlier_email',
    'No earlier address can take this account back any more. Restore the user without it.',
  )
export const untilInThePast = () => new AppError(422, 'until_in_the_past', 'The time given is in the past.')
export const pageTooDeep = () =>
  new AppError(400, 'page_too_deep', `Pages end at row ${DEEPEST_ROW_BY_PAGE}. Follow next_cursor instead.`)
export const writeConflict = () =>
  new AppError(409, 'write_conflict', 'Others keep changing this user. Try again.', {
    headers: { 'retry-after': '1' },
  })
