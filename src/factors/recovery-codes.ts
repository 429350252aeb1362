import { createHash } from 'node:crypto'
import { encodeBase32LowerCaseNoPadding } from '@oslojs/encoding'
import { type SQL, sql } from 'drizzle-orm'
import type { Statement } from '../database/statements.ts'
import { addedAt } from '../links/service.ts'
import { recoveryCodes } from './models.ts'

export const CODES_AT_ONCE = 10
/** 128 bits, so storing a plain digest is safe. */
const CODE_BYTES = 16
/** Below this number their owner is told. */
export const FEW_CODES = 3

/** New codes, in the form that is shown once: `abcde-fghij-klmno-pqrst-uvwxyz`. */
export const makeRecoveryCodes = () =>
  Array.from({ length: CODES_AT_ONCE }, () =>
    encodeBase32LowerCaseNoPadding(crypto.getRandomValues(new Uint8Array(CODE_BYTES))).replace(
      /^(.{5})(.{5})(.{5})(.{5})/,
      '$1-$2-$3-$4-',
    ),
  )

/** The stored digest. Spaces and hyphens are ignored, and letters that look alike are the same. */
export function hashRecoveryCode(userId: string, code: string): string {
  const plain = code.toLowerCase().replace(/[\s-]/g, '').replaceAll('0', 'o').replaceAll('1', 'l')
  return createHash('sha256').update(`${userId}.${plain}`).digest('base64url')
}

/** Replaces older codes by these. */
export const storeRecoveryCodes = (
  userId: string,
  codes: readonly string[],
  now: number,
  condition: SQL,
): Statement[] => {
  const hashes = JSON.stringify(codes.map((code) => hashRecoveryCode(userId, code)))
  return [
    removeRecoveryCodes(userId, condition),
    sql`INSERT INTO ${recoveryCodes} (user_id, hash, created_at)
      SELECT ${userId}, value, ${addedAt(userId, now)} FROM json_each(${hashes}) WHERE ${condition}`,
  ]
}

export const removeRecoveryCodes = (userId: string, condition: SQL): Statement =>
  sql`DELETE FROM ${recoveryCodes} WHERE user_id = ${userId} AND ${condition}`
