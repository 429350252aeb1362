import { AppError } from '../http/problem.ts'

export const invitationNotFound = () =>
  new AppError(404, 'invitation_not_found', 'There is no such invitation.')
export const invitationEnded = () =>
  new AppError(409, 'invitation_ended', 'This invitation has been accepted or withdrawn.')
