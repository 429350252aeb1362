import * as z from 'zod'
import { lazy, type Of } from '../values/lazy.ts'
import { text } from '../values/text.ts'

const code = () =>
  text(8)
    .regex(/^\d{8}$/, 'Has eight digits.')
    .optional()
    .meta({
      example: '04718152',
      description: 'With the token of whoever asked for the mail, or their session.',
    })
const sealed = (description: string) => text(256, 1).optional().meta({ description })

const proof = () => ({
  token: sealed('The one in the link of the mail.'),
  code: code(),
  request_token: sealed('From the answer to the request for the mail.'),
})

/** What the reader of a mail can show: the token in its link, or its code with the token of whoever asked. */
export interface Proof {
  token?: string | undefined
  code?: string | undefined
  request_token?: string | undefined
  signup_token?: string | undefined
}

const isProof = ({ token, code, request_token }: Proof) =>
  (token === undefined) !== (code === undefined) && !(token !== undefined && request_token !== undefined)

/** A body with such a proof, and further members of the route. */
export const withProof = <S extends z.ZodRawShape>(shape: S) =>
  z.strictObject({ ...proof(), ...shape }).refine((input) => isProof(input as Proof), {
    message: 'Give token, or code with request_token.',
  })

/** A body with the token of a link: nobody asked for the mail, so it has no code. */
export const withLink = <S extends z.ZodRawShape>(shape: S) =>
  z.strictObject({ token: text(256, 1), ...shape })

export const MailedLink = lazy(() => withLink({}).meta({ id: 'MailedLink' }))

/** An answer that does not reveal whether there is an account. */
export const Accepted = lazy(() => z.object({ status: z.literal('accepted') }).meta({ id: 'Accepted' }))
export const ACCEPTED: Of<typeof Accepted> = { status: 'accepted' }

/** The same, with the token that makes the mailed code work, if a mail is sent. */
export const MailRequested = lazy(() =>
  Accepted().extend({ request_token: z.string() }).meta({ id: 'MailRequested' }),
)
export type MailRequested = Of<typeof MailRequested>
