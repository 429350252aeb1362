import { AppError } from '../http/problem.ts'

export const proofNeeded = (
  what = 'a signup_token, a session or the password of the account, or a new password',
) =>
  new AppError(
    422,
    'proof_needed',
    `Reading the mail is not enough: it takes ${what} as well. The link stays good.`,
  )
