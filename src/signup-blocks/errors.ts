import { AppError } from '../http/problem.ts'
import { MAX_SIGNUP_BLOCKS } from './models.ts'

export const tooManySignupBlocks = () =>
  new AppError(
    409,
    'too_many_signup_blocks',
    `The limit is ${MAX_SIGNUP_BLOCKS.toLocaleString('en')}. Remove some, or name a domain instead of its addresses.`,
  )
