import * as z from 'zod'
import { Id, Time } from '../values/ids.ts'
import { lazy, type Of } from '../values/lazy.ts'
import { text } from '../values/text.ts'
import { CODES_AT_ONCE } from './recovery-codes.ts'

export const TotpCode = lazy(() =>
  text(6)
    .regex(/^\d{6}$/, 'Has six digits.')
    .meta({ example: '043918', description: 'What the authenticator app shows.' }),
)
export const RecoveryCode = lazy(() =>
  text(64, 1).meta({ example: 'mfrgg-zdfmz-twq2l-knnwg-2zlnn5', description: 'Works once.' }),
)

/** What an account's first factor also requires, where mail is configured. */
export const mailProof = () => ({
  request_token: text(256, 1)
    .optional()
    .meta({ description: 'From the answer to the request for the code.' }),
  mail_code: text(8)
    .regex(/^\d{8}$/, 'Has eight digits.')
    .optional()
    .meta({ description: 'With `request_token`, for the first factor of an account.' }),
})
export interface MailProof {
  request_token?: string | undefined
  mail_code?: string | undefined
}

export const ConfirmTotp = lazy(() =>
  z.strictObject({ code: TotpCode(), ...mailProof() }).meta({ id: 'ConfirmTotp' }),
)
export type ConfirmTotp = Of<typeof ConfirmTotp>

export const TotpSeed = lazy(() =>
  z
    .object({
      secret: z.string().meta({ description: 'Shown once; in base32, for who types it.' }),
      uri: z.string().meta({ description: 'The same for a QR code: `otpauth://totp/…`.' }),
    })
    .meta({ id: 'TotpSeed' }),
)
export type TotpSeed = Of<typeof TotpSeed>

/** For the document, wherever a factor is added. */
export const ADDING_A_FACTOR = `Ends the other sessions. The first factor of an account takes a mailed code as well, where mail is set up, and gives ${CODES_AT_ONCE} recovery codes.`

const codes = () =>
  z.array(z.string()).meta({
    description: `${CODES_AT_ONCE}, shown once: with the first factor of an account, and when they are renewed. Else empty.`,
  })
export const RecoveryCodes = lazy(() => z.object({ recovery_codes: codes() }).meta({ id: 'RecoveryCodes' }))
export type RecoveryCodes = Of<typeof RecoveryCodes>

export const Passkey = lazy(() =>
  z
    .object({
      id: Id(),
      name: z.string(),
      created_at: Time(),
      last_used_at: Time().nullable(),
      synced: z.boolean().meta({ description: 'Whether other devices of its owner have it as well.' }),
      usable: z
        .boolean()
        .meta({ description: 'False for one that was made for another domain: it does not work here.' }),
    })
    .meta({ id: 'Passkey' }),
)
export type Passkey = Of<typeof Passkey>

export const Factors = lazy(() =>
  z
    .object({
      totp: z.object({ confirmed_at: Time() }).nullable(),
      recovery_codes_left: z.int(),
      passkeys: z.array(Passkey()),
    })
    .meta({ id: 'Factors' }),
)
export type Factors = Of<typeof Factors>
