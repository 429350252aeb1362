import * as z from 'zod'
import { lazy } from '../values/lazy.ts'
import { PASSWORD_MAX_LENGTH, PASSWORD_MIN_LENGTH } from './policy.ts'

/** Half a character (a lone surrogate) can be neither stored nor hashed as what it is. */
export const text = lazy(() =>
  z.string().refine((value) => value.isWellFormed(), { message: 'Is not valid Unicode.' }),
)

/** A password that is being checked: only kept from being absurd. */
export const Password = lazy(() =>
  text().min(1).max(1024).meta({ format: 'password', example: 'seven brown foxes read' }),
)

/** A password that is being set. Lengths are in code points; nothing is ever cut off. */
export const NewPassword = lazy(() =>
  z
    .string()
    .refine((value) => value.isWellFormed(), { message: 'Is not valid Unicode.' })
    .refine((value) => [...value].length >= PASSWORD_MIN_LENGTH, {
      message: `Has fewer than ${PASSWORD_MIN_LENGTH} characters.`,
      params: { code: 'too_small' },
    })
    .refine((value) => [...value].length <= PASSWORD_MAX_LENGTH, {
      message: `Has more than ${PASSWORD_MAX_LENGTH} characters.`,
      params: { code: 'too_big' },
    })
    .meta({
      minLength: PASSWORD_MIN_LENGTH,
      maxLength: PASSWORD_MAX_LENGTH,
      format: 'password',
      example: 'seven brown foxes read',
    }),
)
