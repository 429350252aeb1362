import * as z from 'zod'
import { NewPassword } from '../auth/schemas.ts'
import { Id, Time, TimeInput } from '../ids.ts'
import { listOf, pageQuery } from '../pagination.ts'
import { isEmail, normalizeEmail } from './email.ts'
import { ROLES, STATES } from './models.ts'

export const EmailInput = z
  .string()
  .max(320)
  .refine(isEmail, { message: 'Is not an e-mail address.', params: { code: 'invalid_email' } })
  .meta({ format: 'email', example: 'ada@example.com' })
