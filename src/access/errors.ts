import { AppError, RECENT_LOGIN } from '../http/problem.ts'

export const forbidden = () => new AppError(403, 'forbidden', 'Your role does not allow this.')

export const insufficientScope = (detail = 'This app token or key was not granted this.') =>
  new AppError(403, 'insufficient_scope', detail)

export const factorEnrolmentRequired = () =>
  new AppError(403, 'factor_enrolment_required', 'Your account needs a second factor. Add one, then go on.')

export const reauthenticationRequired = () =>
  new AppError(
    403,
    'reauthentication_required',
    `Log in again: this needs a login in the last ${RECENT_LOGIN}.`,
  )
