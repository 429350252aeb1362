import { type SQL, sql } from 'drizzle-orm'
import type { Config } from '../config/main.ts'
import { passkeys } from '../passkeys/models.ts'
import { MAX_FAILURES_IN_A_ROW } from '../throttle/limits.ts'
import { users } from '../users/models.ts'
import { factors, recoveryCodes } from './models.ts'

/** The factors of an account, beside its password. */
export interface FactorState {
  has_totp: 0 | 1
  /** After a hundred wrong codes in a row. */
  is_totp_locked: 0 | 1
  passkeys: number
  /** Only those of our relying party: others are no way in. */
  usable_passkeys: number
  recovery_codes: number
}

/** For a new account, or one that has lost all its factors. */
export const NO_FACTORS: FactorState = {
  has_totp: 0,
  is_totp_locked: 0,
  passkeys: 0,
  usable_passkeys: 0,
  recovery_codes: 0,
}

/** Reads it in the caller's own trip. `userId` may be a subquery. */
export const selectFactorState = ({ WEBAUTHN_RP_ID }: Config, userId: string | SQL) =>
  sql<FactorState>`SELECT
    EXISTS (SELECT 1 FROM ${factors} WHERE user_id = ${userId} AND confirmed_at IS NOT NULL) AS has_totp,
    EXISTS (SELECT 1 FROM ${users} WHERE id = ${userId} AND failed_factors >= ${MAX_FAILURES_IN_A_ROW}) AS is_totp_locked,
    (SELECT count(*) FROM ${passkeys} WHERE user_id = ${userId}) AS passkeys,
    (SELECT count(*) FROM ${passkeys} WHERE user_id = ${userId} AND rp_id = ${WEBAUTHN_RP_ID}) AS usable_passkeys,
    (SELECT count(*) FROM ${recoveryCodes} WHERE user_id = ${userId}) AS recovery_codes`

export const hasFactor = ({ has_totp, passkeys }: Pick<FactorState, 'has_totp' | 'passkeys'>) =>
  has_totp === 1 || passkeys > 0

/** A condition: that a user has a factor. */
export const accountHasFactor = (userId: string | SQL): SQL =>
  sql`(EXISTS (SELECT 1 FROM ${factors} WHERE user_id = ${userId} AND confirmed_at IS NOT NULL)
    OR EXISTS (SELECT 1 FROM ${passkeys} WHERE user_id = ${userId}))`

export const METHODS = ['totp', 'recovery_code', 'passkey'] as const
export type Method = (typeof METHODS)[number]

/** The methods that work now. */
export const methodsOf = (state: FactorState): Method[] =>
  METHODS.filter(
    (method) =>
      ({
        totp: state.has_totp === 1 && state.is_totp_locked === 0,
        recovery_code: state.recovery_codes > 0,
        passkey: state.usable_passkeys > 0,
      })[method],
  )
