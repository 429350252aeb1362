import * as z from 'zod'
import { CHALLENGE_LIFETIME } from '../challenges/service.ts'
import { CODES_AT_ONCE } from '../factors/recovery-codes.ts'
import { mailProof, Passkey } from '../factors/schemas.ts'
import { lazy, type Of } from '../values/lazy.ts'
import { line, text } from '../values/text.ts'

const base64url = (maxLength: number) => text(maxLength, 1).regex(/^[A-Za-z0-9_-]+$/, 'Is not base64url.')

/** WebAuthn's own JSON (level 3 section 5.1): further members that browsers send are ignored. */
const credential = <S extends z.ZodRawShape>(response: S) =>
  z.object({
    id: base64url(1364),
    type: z.literal('public-key'),
    response: z.object({ clientDataJSON: base64url(4096), ...response }),
  })

const NewCredential = lazy(() =>
  credential({
    attestationObject: base64url(16_384),
    transports: z.array(text(32)).max(10).optional(),
  }).meta({ id: 'NewCredential', description: 'RegistrationResponseJSON of WebAuthn level 3.' }),
)

export const PasskeyAssertion = lazy(() =>
  credential({
    authenticatorData: base64url(4096),
    signature: base64url(2048),
    userHandle: base64url(128).nullish(),
  }).meta({ id: 'PasskeyAssertion', description: 'AuthenticationResponseJSON of WebAuthn level 3.' }),
)
export type PasskeyAssertion = Of<typeof PasskeyAssertion>

export const challengeId = () =>
  text(256, 1).meta({ description: `From the options; works once, for ${CHALLENGE_LIFETIME}.` })

const passkeyName = () => line(60).meta({ example: 'Laptop' })

export const RegisterPasskey = lazy(() =>
  z
    .strictObject({
      challenge_id: challengeId(),
      credential: NewCredential(),
      name: passkeyName().optional(),
      ...mailProof(),
    })
    .meta({ id: 'RegisterPasskey' }),
)
export type RegisterPasskey = Of<typeof RegisterPasskey>

export const RenamePasskey = lazy(() => z.strictObject({ name: passkeyName() }).meta({ id: 'RenamePasskey' }))
export type RenamePasskey = Of<typeof RenamePasskey>

export const PasskeyAdded = lazy(() =>
  Passkey()
    .extend({
      recovery_codes: z.array(z.string()).meta({
        description: `${CODES_AT_ONCE}, shown once, with the first factor of an account; else none.`,
      }),
    })
    .meta({ id: 'PasskeyAdded' }),
)
export type PasskeyAdded = Of<typeof PasskeyAdded>

/** The input of `PublicKeyCredential.parseCreationOptionsFromJSON`, or its counterpart for requests. */
export const PasskeyOptions = lazy(() =>
  z
    .object({ challenge_id: z.string(), options: z.record(z.string(), z.unknown()) })
    .meta({ id: 'PasskeyOptions' }),
)
export type PasskeyOptions = Of<typeof PasskeyOptions>

export const RelatedOrigins = lazy(() =>
  z.object({ origins: z.array(z.string()) }).meta({ id: 'RelatedOrigins' }),
)
export const PasskeyEndpoints = lazy(() =>
  z.object({ enroll: z.string(), manage: z.string() }).meta({ id: 'PasskeyEndpoints' }),
)
