import * as z from 'zod'
import { lazy } from '../values/lazy.ts'
import { text } from '../values/text.ts'

/** The token in a mailed link; or the address the mail went to, and the code in it. */
export const proof = () => ({
  token: text(256, 1).optional(),
  email: text(320, 1).optional(),
  code: text(8)
    .regex(/^\d{8}$/, 'Has eight digits.')
    .optional()
    .meta({ example: '04718152' }),
})

export type Proof = { [Member in keyof ReturnType<typeof proof>]?: string | undefined }

export const isProof = ({ token, email, code }: Proof) =>
  token === undefined ? email !== undefined && code !== undefined : (email ?? code) === undefined

export const withProof = <S extends z.ZodRawShape>(shape: S) =>
  z.strictObject({ ...proof(), ...shape }).refine((input) => isProof(input as Proof), {
    message: 'Give token, or email and code.',
  })

export const MailedProof = lazy(() => withProof({}).meta({ id: 'MailedProof' }))

/** The token in the link of a mail that has no code. */
export const LinkToken = lazy(() => z.strictObject({ token: text(256, 1) }).meta({ id: 'LinkToken' }))
