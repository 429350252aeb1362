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
    .extend({ login_token: z.string().meta({ description: 'The code in the mail works with it alone.' }) })
    .meta({ id: 'CodeRequested' }),
)
export type CodeRequested = Of<typeof CodeRequested>

/** For sign-up, if the address has no account yet. */
const joiner = () => ({
  name: DisplayName().optional().meta({
    description: 'Where the address has no account: makes one. It is not looked at else.',
  }),
  terms_version: TermsVersion().optional(),
  challenge_token: challengeToken(),
})

export const joining = lazy(() => z.strictObject(joiner()))

export const EmailCodeLogIn = lazy(() =>
  z
    .strictObject({
      login_token: token().meta({ description: 'What asking for the code has answered.' }),
      code: text(8)
        .regex(/^\d{8}$/, 'Has eight digits.')
        .meta({ example: '04718152' }),
      signup_token: token().optional().meta({
        description:
          'From signing up: who shows it made the account, which else loses its password and all that opens it when its address is proved for the first time.',
      }),
      device_token: token().optional().meta({ description: 'From an earlier sign-in on this device.' }),
      ...joiner(),
      ...keeping(),
    })
    .meta({ id: 'EmailCodeLogIn' }),
)
export type EmailCodeLogIn = Of<typeof EmailCodeLogIn>
