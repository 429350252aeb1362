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

/**
 * The challenge of a ceremony. It comes from the MAC in its token, so nobody can know it before the token is
 * made.
 */
const bytesOfChallenge = (token: string) =>
  new Uint8Array(createHash('sha256').update(`webauthn.${token}`).digest())

/** The user handle for authenticators: 16 bytes that reveal nothing about the user. */
export const userHandleOf = (userId: string) =>
  Buffer.from(userId.replaceAll('-', ''), 'hex').toString('base64url')

/** The exact origins on which our passkeys may be used. */
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

/**
 * PublicKeyCredentialRequestOptionsJSON. Without `known`, any passkey of ours will do, and no address is
 * typed.
 */
export const requestOptions = (config: Config, token: string, known: readonly Known[] = []) => ({
  ...challengeOf(token),
  rpId: config.WEBAUTHN_RP_ID,
  userVerification: 'required',
  allowCredentials: known.map(descriptorOf),
})

export interface ProvedPasskey {
  /** Its counter went back: there may be a copy, so it does not count as two factors. */
  isDoubtful: boolean
  /** A condition: that the passkey has not changed since it was read. */
  isGood: SQL
  /** Records the use, and in the history what needs to be there. */
  spend: (isDone: SQL) => readonly Statement[]
}

/**
 * Checks that a passkey has answered a challenge; otherwise the refusal says why, for the log only.
 *
 * @param token the sealed challenge, already found to be valid and unused.
 * @param isNamed whether the user was known before; otherwise the passkey itself has to name them.
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
            // Keeps the higher count, so that the genuine passkey goes on from it.
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

/** One word for the log: which check of the ceremony failed. */
export const refusalOf = ({ message }: PasskeyRefusal) => new Refusal(`passkey_${message}`)

/** The row of history about a counter that went back. */
const tellOfCounter = (resources: Resources, { user_id, name }: Passkey, condition: SQL): Statement =>
  record(
    resources,
    { action: 'passkey.counter_went_back', userId: user_id, actorId: null, details: { name } },
    condition,
  )

export const selectPasskey = (credentialId: string) =>
  build.select().from(passkeys).where(eq(passkeys.credential_id, credentialId))

/** Those passkeys of a user that work on this deployment. */
export const selectUsablePasskeys = ({ WEBAUTHN_RP_ID }: Config, userId: string) =>
  build
    .select()
    .from(passkeys)
    .where(sql`${eq(passkeys.user_id, userId)} AND ${eq(passkeys.rp_id, WEBAUTHN_RP_ID)}`)
