import * as z from 'zod'
import { Accepted } from '../../links/schemas.ts'
import { AskForMail } from '../../recovery/schemas.ts'
import { DisplayName, TermsVersion } from '../../users/schemas.ts'
import { lazy, type Of } from '../../values/lazy.ts'
import { text } from '../../values/text.ts'
import { keeping } from '../keep-signed-in.ts'

const token = () => text(256, 1)

const challengeToken = () =>
  text(2048).optional().meta({
    description: 'Of Cloudflare Turnstile, for the action `signup`, where the deployment asks for it.',
  })

/**
 * Where the deployment uses a bot challenge, an address without an account is mailed nothing without its
 * token.
 */
export const AskForCode = lazy(() =>
  AskForMail().extend({ challenge_token: challengeToken() }).meta({ id: 'AskForCode' }),
)
export type AskForCode = Of<typeof AskForCode>

export const CodeRequested = lazy(() =>
  Accepted()
    .extend({ login_token: z.string().meta({ description: 'The mailed code works only with it.' }) })
    .meta({ id: 'CodeRequested' }),
)
export type CodeRequested = Of<typeof CodeRequested>

/** For sign-up, if the address has no account yet. */
const joiner = () => ({
  name: DisplayName().optional().meta({
    description: 'Makes an account where the address has none; ignored otherwise.',
  }),
  terms_version: TermsVersion().optional(),
  challenge_token: challengeToken(),
})

export const joining = lazy(() => z.strictObject(joiner()))

export const EmailCodeLogIn = lazy(() =>
  z
    .strictObject({
      login_token: token().meta({ description: 'From the answer to the request for the code.' }),
      code: text(8)
        .regex(/^\d{8}$/, 'Has eight digits.')
        .meta({ example: '04718152' }),
      signup_token: token().optional().meta({
        description:
          'From signing up: shows that you made the account, which otherwise loses its password and every other way in when its address is first proved.',
      }),
      device_token: token().optional().meta({ description: 'From an earlier sign-in on this device.' }),
      ...joiner(),
      ...keeping(),
    })
    .meta({ id: 'EmailCodeLogIn' }),
)
export type EmailCodeLogIn = Of<typeof EmailCodeLogIn>
