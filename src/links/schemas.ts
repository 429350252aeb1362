import * as z from 'zod'
import { lazy, type Of } from '../values/lazy.ts'
import { text } from '../values/text.ts'

const code = () =>
  text(8)
    .regex(/^\d{8}$/, 'Has eight digits.')
    .optional()
    .meta({ example: '04718152', description: 'With the token of who asked for the mail, or their session.' })
const sealed = (description: string) => text(256, 1).optional().meta({ description })

const proof = () => ({
  token: sealed('The one in the link of the mail.'),
  code: code(),
  request_token: sealed('What asking for the mail has answered.'),
})

/** What a mail lets its reader show: the token in its link, or its code and who asked for it. */
export interface Proof {
  token?: string | undefined
  code?: string | undefined
  request_token?: string | undefined
  signup_token?: string | undefined
}

const isProof = ({ token, code, request_token }: Proof) =>
  (token === undefined) !== (code === undefined) && !(token !== undefined && request_token !== undefined)

/** A body with such a proof, and what else the route asks for. */
export const withProof = <S extends z.ZodRawShape>(shape: S) =>
  z.strictObject({ ...proof(), ...shape }).refine((input) => isProof(input as Proof), {
    message: 'Give token, or code with request_token.',
  })

/** A body with the token of a link: nobody asked for the mail, so there is no code in it. */
export const withLink = <S extends z.ZodRawShape>(shape: S) =>
  z.strictObject({ token: text(256, 1), ...shape })

export const MailedLink = lazy(() => withLink({}).meta({ id: 'MailedLink' }))

/** What is answered where the answer must not tell whether there is an account. */
export const Accepted = lazy(() => z.object({ status: z.literal('accepted') }).meta({ id: 'Accepted' }))
export const ACCEPTED: Of<typeof Accepted> = { status: 'accepted' }

/** The same, with what makes the code in the mail work, if one is sent. */
export const MailRequested = lazy(() =>
  Accepted().extend({ request_token: z.string() }).meta({ id: 'MailRequested' }),
)
export type MailRequested = Of<typeof MailRequested>
