import { createHash } from 'node:crypto'
import { eq, type SQL, sql } from 'drizzle-orm'
import { record } from '../activity/service.ts'
import { CHALLENGE_SECONDS } from '../challenges/service.ts'
import type { Config } from '../config/main.ts'
import type { Resources } from '../context.ts'
import { build, type Statement } from '../database/statements.ts'
import { Refusal } from '../http/problem.ts'
import type { User } from '../users/models.ts'
import { type Passkey, passkeys } from './models.ts'
import type { PasskeyAssertion } from './schemas.ts'
import { ALGORITHMS, type Expected, PasskeyRefusal, verifyAssertion } from './webauthn.ts'

/** The challenge of a ceremony: nobody can know it before its token is made, as there is a MAC in that. */
const bytesOfChallenge = (token: string) =>
  new Uint8Array(createHash('sha256').update(`webauthn.${token}`).digest())

/** The user's handle for authenticators: 16 bytes that reveal nothing about them. */
export const userHandleOf = (userId: string) =>
  Buffer.from(userId.replaceAll('-', ''), 'hex').toString('base64url')

/** Where passkeys of ours may be used, exactly. */
export const originsOf = ({ WEBAUTHN_ORIGINS, ISSUER, LINK_ORIGIN }: Config): string[] => [
  ...new Set([ISSUER, ...(LINK_ORIGIN ? [LINK_ORIGIN] : []), ...WEBAUTHN_ORIGINS]),
]

export const expectedOf = (config: Config, token: string): Expected => ({
  challenge: bytesOfChallenge(token),
  rpId: config.WEBAUTHN_RP_ID,
  origins: originsOf(config),
})

const challengeOf = (token: string) => ({
  challenge: Buffer.from(bytesOfChallenge(token)).toString('base64url'),
  timeout: CHALLENGE_SECONDS * 1000,
})

type Known = Pick<Passkey, 'credential_id' | 'transports'>
const descriptorOf = ({ credential_id: id, transports }: Known) => ({
  type: 'public-key',
  id,
  transports: JSON.parse(transports) as string[],
})

/** PublicKeyCredentialCreationOptionsJSON: a discoverable credential, with user verification, and no attestation. */
export const creationOptions = (config: Config, token: string, user: User, known: readonly Known[]) => ({
  ...challengeOf(token),
  rp: { id: config.WEBAUTHN_RP_ID, name: config.ORGANISATION },
  user: { id: userHandleOf(user.id), name: user.email, displayName: user.name },
  pubKeyCredParams: ALGORITHMS.map((alg) => ({ type: 'public-key', alg })),
  excludeCredentials: known.map(descriptorOf),
  authenticatorSelection: {
    residentKey: 'required',
    requireResidentKey: true,
    userVerification: 'required',
  },
  attestation: 'none',
})

/** PublicKeyCredentialRequestOptionsJSON. Without `known`, any passkey of ours will do: no address is typed. */
export const requestOptions = (config: Config, token: string, known: readonly Known[] = []) => ({
  ...challengeOf(token),
  rpId: config.WEBAUTHN_RP_ID,
  userVerification: 'required',
  allowCredentials: known.map(descriptorOf),
})

export interface ProvedPasskey {
  /** Its counter went back: somebody may have a copy, so it counts for less. */
  isDoubtful: boolean
  /** A condition: that the passkey is as it was read. */
  isGood: SQL
  /** Notes the use, and what the history has to say of it. */
  spend: (isDone: SQL) => readonly Statement[]
}

/**
 * Checks that a passkey has answered a challenge; else the refusal says for the log, and nobody else, what was wrong.
 *
 * @param token the sealed challenge, which has been found to be good and unused.
 * @param isNamed whether who answers was known before; else the passkey itself has to say.
 */
export function checkPasskey(
  resources: Resources,
  token: string,
  sent: PasskeyAssertion,
  row: Passkey | undefined,
  { isNamed }: { isNamed: boolean },
): ProvedPasskey | Refusal {
  const { config, now } = resources
  if (!row || row.credential_id !== sent.id) return new Refusal('unknown')
  if (row.rp_id !== config.WEBAUTHN_RP_ID) return new Refusal('passkey_rp_id')
  const { userHandle } = sent.response
  const isTheirs = userHandle ? userHandle === userHandleOf(row.user_id) : isNamed
  if (!isTheirs) return new Refusal('passkey_user_handle')
  try {
    const { signCount, isSynced } = verifyAssertion(sent.response, expectedOf(config, token), row.public_key)
    const isDoubtful = (signCount > 0 || row.sign_count > 0) && signCount <= row.sign_count
    return {
      isDoubtful,
      isGood: sql`EXISTS (SELECT 1 FROM ${passkeys} WHERE id = ${row.id} AND sign_count = ${row.sign_count})`,
      spend: (isDone) => [
        build
          .update(passkeys)
          .set({
            last_used_at: now,
            is_synced: isSynced ? 1 : 0,
            // The genuine one goes on from here.
            sign_count: Math.max(signCount, row.sign_count),
          })
          .where(sql`${eq(passkeys.id, row.id)} AND ${isDone}`),
        ...(isDoubtful ? [tellOfCounter(resources, row, isDone)] : []),
      ],
    }
  } catch (error) {
    if (error instanceof PasskeyRefusal) return refusalOf(error)
    throw error
  }
}

/** One word for the log: what of the ceremony was not as it has to be. */
export const refusalOf = ({ message }: PasskeyRefusal) => new Refusal(`passkey_${message}`)

/** The row of history for a counter that went back. */
const tellOfCounter = (resources: Resources, { user_id, name }: Passkey, condition: SQL): Statement =>
  record(
    resources,
    { action: 'passkey.counter_went_back', userId: user_id, actorId: null, details: { name } },
    condition,
  )

export const selectPasskey = (credentialId: string) =>
  build.select().from(passkeys).where(eq(passkeys.credential_id, credentialId))

/** Those of a user that work here. */
export const selectUsablePasskeys = ({ WEBAUTHN_RP_ID }: Config, userId: string) =>
  build
    .select()
    .from(passkeys)
    .where(sql`${eq(passkeys.user_id, userId)} AND ${eq(passkeys.rp_id, WEBAUTHN_RP_ID)}`)
