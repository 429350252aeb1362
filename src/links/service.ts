import { createHmac, timingSafeEqual } from 'node:crypto'
import { and, eq, gt, inArray, isNull, type SQL, sql } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import type { Config } from '../config/main.ts'
import type { Resources } from '../context.ts'
import { openSealed, seal } from '../crypto/sealed.ts'
import { build, insertWhere, type RowsOf, rowExists, type Statement } from '../database/statements.ts'
import { normalizeEmail } from '../values/email.ts'
import { invalidLink } from './errors.ts'
import { type OneTimeToken, oneTimeTokens, type Purpose } from './models.ts'
import type { Proof } from './schemas.ts'

const MINUTE_MS = 60_000
const DAY_MS = 86_400_000

export const LIFETIME_MS: Record<Purpose, number> = {
  verify_email: DAY_MS,
  reset_password: 30 * MINUTE_MS,
  change_email: DAY_MS,
  undo_email_change: 7 * DAY_MS,
  accept_invitation: 7 * DAY_MS,
  unlock_account: 7 * DAY_MS,
}
const CODE_LIFETIME_MS = 10 * MINUTE_MS
const CODE_TRIES = 5
const CODE_DIGITS = 8

/**
 * The token in the link of a mail: a 256-bit MAC over purpose and id, so one made for one purpose is nothing for
 * another, and none can be made from what the database holds.
 */
export const makeLinkToken = ({ keys }: Config, purpose: Purpose, id: string) =>
  seal(keys.one_time_token, `${purpose}.${id}`)

/** The code that stands beside it, for who reads the mail on another device. */
export const makeCode = ({ keys }: Config, purpose: Purpose, id: string) =>
  codeOf(keys.one_time_token[0], purpose, id)

const codeOf = (key: Uint8Array, purpose: Purpose, id: string) => {
  const digest = createHmac('sha256', key).update(`code.${purpose}.${id}`).digest()
  // 48 bits over 10^8: the bias is under one in a million.
  return String(digest.readUIntBE(0, 6) % 10 ** CODE_DIGITS).padStart(CODE_DIGITS, '0')
}

export interface NewToken {
  purpose: Purpose
  /** A person's or an invitation's id, or the query that finds it. */
  subjectId: string | SQL
  /** Where the mail goes, as it is stored: an address, or the query that finds it. */
  email: string | SQL
  emailNormalized: string | SQL
}

/**
 * Statements that make a token, if `condition` holds, and void what was made before for the same purpose.
 * `isMade` is the condition for whatever else depends on it, the mail above all.
 */
export function issueToken({ now }: Resources, token: NewToken, condition: SQL) {
  const id = uuidv7()
  const isMade = rowExists(oneTimeTokens, id)
  const row = {
    id,
    purpose: token.purpose,
    subject_id: token.subjectId,
    email: token.email,
    email_normalized: token.emailNormalized,
    code_tries: 0,
    created_at: now,
    expires_at: now + LIFETIME_MS[token.purpose],
    spent_at: null,
  } satisfies Record<keyof OneTimeToken, unknown>
  const older = and(sql`${oneTimeTokens.subject_id} = ${token.subjectId}`, sql`id < ${id}`, isMade)
  return {
    id,
    isMade,
    expiresAt: row.expires_at,
    statements: [
      insertWhere(oneTimeTokens, row, condition),
      // An undo stays good: whoever can ask for one more change must not thereby take the first one's undo away.
      ...(token.purpose === 'undo_email_change' ? [] : [voidTokens(now, [token.purpose], older)]),
    ] as Statement[],
  }
}

/** Voids tokens that are still good. */
export const voidTokens = (now: number, purposes: readonly Purpose[], which: SQL | undefined) =>
  build
    .update(oneTimeTokens)
    .set({ spent_at: now })
    .where(and(inArray(oneTimeTokens.purpose, [...purposes]), isNull(oneTimeTokens.spent_at), which))

/** A condition for the write that uses a token: that it is still good at that moment. */
export const linkIsLive = (id: string, now: number): SQL =>
  sql`EXISTS ${build.select({ id: oneTimeTokens.id }).from(oneTimeTokens).where(isGood(id, now))}`

const isGood = (id: string, now: number) =>
  and(eq(oneTimeTokens.id, id), isNull(oneTimeTokens.spent_at), gt(oneTimeTokens.expires_at, now))

/**
 * What a link's token, or an address with a code, stands for, with the user or invitation it is about; one trip.
 * It is only looked at: using it up is a condition of the write it allows (`linkIsLive`).
 *
 * @param selectSubject reads the subject, given its id.
 * @throws 400 `invalid_link`, the same for every reason.
 */
export async function requireToken<S extends Statement>(
  resources: Resources,
  purpose: Purpose,
  proof: Proof,
  selectSubject: (id: SQL) => S,
): Promise<{ token: OneTimeToken; subject: RowsOf<S>[number] }> {
  const found =
    proof.token === undefined
      ? await findByCode(resources, purpose, proof.email!, proof.code!, selectSubject)
      : await findByToken(resources, purpose, proof.token, selectSubject)
  const { token, subject } = found ?? {}
  if (!token || !subject) throw invalidLink()
  return { token, subject }
}

interface Found<Subject> {
  token: OneTimeToken | undefined
  subject: Subject | undefined
}

async function findByToken<S extends Statement>(
  { db, config, now }: Resources,
  purpose: Purpose,
  sealed: string,
  selectSubject: (id: SQL) => S,
): Promise<Found<RowsOf<S>[number]> | undefined> {
  const body = openSealed(config.keys.one_time_token, sealed) ?? ''
  const [, named, id] = /^([a-z_]+)\.([0-9a-f-]{36})$/.exec(body) ?? []
  if (named !== purpose || id === undefined) return undefined
  const subjectId = sql`(SELECT subject_id FROM ${oneTimeTokens} WHERE id = ${id})`
  const { token, subject } = await db.read({
    token: build.select().from(oneTimeTokens).where(isGood(id, now)),
    subject: selectSubject(subjectId),
  })
  return { token: token[0], subject: subject[0] }
}

/** A guess is counted before it is looked at, so that many at once are no more guesses than one after another. */
async function findByCode<S extends Statement>(
  { db, config, now }: Resources,
  purpose: Purpose,
  email: string,
  code: string,
  selectSubject: (id: SQL) => S,
): Promise<Found<RowsOf<S>[number]> | undefined> {
  const newest = sql`(SELECT id FROM ${oneTimeTokens} WHERE email_normalized = ${normalizeEmail(email)}
    AND purpose = ${purpose} AND spent_at IS NULL ORDER BY id DESC LIMIT 1)`
  const isNewest = sql`${oneTimeTokens.id} = ${newest}`
  const {
    token: [token],
    subject,
  } = await db.writeBatch({
    tries: build
      .update(oneTimeTokens)
      .set({ code_tries: sql`min(${oneTimeTokens.code_tries} + 1, ${CODE_TRIES + 1})` })
      .where(isNewest),
    token: build.select().from(oneTimeTokens).where(isNewest),
    subject: selectSubject(sql`(SELECT subject_id FROM ${oneTimeTokens} WHERE ${isNewest})`),
  })
  const isOpen = token && token.code_tries <= CODE_TRIES && token.created_at + CODE_LIFETIME_MS > now
  const isRight = config.keys.one_time_token.some((key) =>
    timingSafeEqual(Buffer.from(codeOf(key, purpose, token?.id ?? '')), Buffer.from(code)),
  )
  return isOpen && isRight ? { token, subject: subject[0] } : undefined
}
