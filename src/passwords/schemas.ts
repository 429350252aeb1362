import { lazy } from '../values/lazy.ts'
import { text } from '../values/text.ts'
import { normalizePassword, PASSWORD_MAX_LENGTH, PASSWORD_MIN_LENGTH } from './policy.ts'

/** In UTF-16 units, before normalisation. */
const MAX_UNITS = 1024

/** A password to check: only its length is limited. */
export const Password = lazy(() =>
  text(MAX_UNITS, 1).meta({ format: 'password', example: 'seven brown foxes read' }),
)

/** Counts what is hashed, in code points: nothing is ever cut off. */
const lengthOf = (password: string) => [...normalizePassword(password)].length

/** A password to set. */
export const NewPassword = lazy(() =>
  text(MAX_UNITS)
    .refine((value) => lengthOf(value) >= PASSWORD_MIN_LENGTH, {
      message: `Has fewer than ${PASSWORD_MIN_LENGTH} characters.`,
      params: { code: 'too_small' },
    })
    .refine((value) => lengthOf(value) <= PASSWORD_MAX_LENGTH, {
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
