import { createHmac, timingSafeEqual } from 'node:crypto'
import { and, eq, getTableColumns, gt, inArray, isNull, or, type SQL, sql } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import type { Config } from '../config/main.ts'
import type { Resources } from '../context.ts'
import { openSealed, seal } from '../crypto/sealed.ts'
import { replicaMayMiss } from '../database/lag.ts'
import {
  build,
  databaseNow,
  insertWhere,
  type RowsOf,
  rowExists,
  type Statement,
} from '../database/statements.ts'
import { type Reason, Refusal } from '../http/problem.ts'
import { DAY_MS, MINUTE_MS } from '../values/durations.ts'
import { timeOfId } from '../values/ids.ts'
import { openRequestToken } from './askers.ts'
import { invalidLink } from './errors.ts'
import { EACH_STAYS, type OneTimeToken, oneTimeTokens, type Purpose } from './models.ts'
import type { Proof } from './schemas.ts'
import { openSignupToken } from './signup-tokens.ts'

export const LIFETIME_MS: Record<Purpose, number> = {
  verify_email: DAY_MS,
  reset_password: 30 * MINUTE_MS,
  change_email: DAY_MS,
  approve_email_change: DAY_MS,
  undo_email_change: 7 * DAY_MS,
  accept_invitation: 7 * DAY_MS,
  unlock_account: 7 * DAY_MS,
  enrol_factor: 30 * MINUTE_MS,
  reopen_account: 7 * DAY_MS,
  disown_session: 7 * DAY_MS,
  disown_factor: 7 * DAY_MS,
  reauthenticate: 30 * MINUTE_MS,
  sign_in: 30 * MINUTE_MS,
}
export const CODE_LIFETIME_MS = 10 * MINUTE_MS
export const CODE_TRIES = 5
const CODE_DIGITS = 8
/**
 * What a wrong code adds to `code_tries`. Who asked for the mail, and who shows a session or the sign-up, have
 * five tries each: so whoever signed up with somebody else's address uses up none of its owner's.
 */
const TRY_OF = { account: 1, asker: 16 } as const
type Trier = keyof typeof TRY_OF

/**
 * The token in a mailed link: a 256-bit MAC over purpose and id. So a token for one purpose is useless for
 * another, and none can be made from what the database holds.
 */
export const makeLinkToken = ({ keys }: Config, purpose: Purpose, id: string) =>
  seal(keys.one_time_token, `${purpose}.${id}`)

/** What a link's token says; undefined if it is not ours. Costs no trip. */
export function openLinkToken({ keys }: Config, token: string): { purpose: string; id: string } | undefined {
  const body = openSealed(keys.one_time_token, token)
  const [, purpose, id] = /^([a-z_]+)\.([0-9a-f-]{36})$/.exec(body ?? '') ?? []
  return purpose !== undefined && id !== undefined ? { purpose, id } : undefined
}

/**
 * By how much a link may outlive its lifetime: an undo lives from the change on, which takes a day to be confirmed and
 * another to be approved. Mails that went out late prolong each of the two by the life of its code.
 */
export const PROLONGED_MS = LIFETIME_MS.change_email + LIFETIME_MS.approve_email_change + 2 * CODE_LIFETIME_MS

/** Whether it may still be valid, by its age alone. */
export const mayBeLive = ({ purpose, id }: { purpose: string; id: string }, now: number) =>
  timeOfId(id) + (LIFETIME_MS[purpose as Purpose] ?? 0) + PROLONGED_MS > now

/** The code beside the link, for reading the mail on another device. */
export const makeCode = ({ keys }: Config, purpose: Purpose, id: string) =>
  codeOf(keys.one_time_token[0], purpose, id)

const codeOf = (key: Uint8Array, purpose: Purpose, id: string) => {
  const digest = createHmac('sha256', key).update(`code.${purpose}.${id}`).digest()
  // 48 bits over 10^8: the bias is under one in a million.
  return String(digest.readUIntBE(0, 6) % 10 ** CODE_DIGITS).padStart(CODE_DIGITS, '0')
}

export interface NewToken {
  purpose: Purpose
  /** A user's or an invitation's id, or a subquery. */
  subjectId: string | SQL
  /** The mail's recipient, as stored: an address, or a subquery. */
  email: string | SQL
  emailNormalized: string | SQL
  /** The session that asks, if only that one may use it. */
  sessionId?: string | undefined
  /** What it undoes, or a subquery. */
  about?: string | SQL | undefined
}

/** Anybody may ask for these, so a later one does not make an earlier asker's code void. */
const ASKED_BY_ANYBODY: readonly Purpose[] = ['verify_email', 'reset_password', 'sign_in']

/** Each session has its own, and no other session's makes it void. */
const OF_SESSION: readonly Purpose[] = ['enrol_factor', 'reauthenticate']

/**
 * Statements that make a token, if `condition` holds, and void older ones of the same purpose. `isMade` is
 * the condition for whatever depends on it, above all the mail.
 */
export function issueToken({ now }: Resources, token: NewToken, condition: SQL) {
  const { purpose } = token
  const id = uuidv7()
  const isMade = rowExists(oneTimeTokens, id)
  const row = {
    id,
    purpose,
    subject_id: token.subjectId,
    email: token.email,
    email_normalized: token.emailNormalized,
    code_tries: 0,
    created_at: databaseNow,
    expires_at: sql`${databaseNow} + ${LIFETIME_MS[purpose]}`,
    password_tries: 0,
    spent_at: null,
    session_id: token.sessionId ?? null,
    superseded_at: null,
    mailed_after: null,
    clicked_at: null,
    about: token.about ?? null,
  } satisfies Record<keyof OneTimeToken, unknown>
  const older = and(
    sql`${oneTimeTokens.subject_id} = ${token.subjectId}`,
    OF_SESSION.includes(purpose) ? sql`${oneTimeTokens.session_id} IS ${token.sessionId ?? null}` : undefined,
    sql`id < ${id}`,
    isMade,
  )
  const supersede = build
    .update(oneTimeTokens)
    .set({ superseded_at: now })
    .where(and(eq(oneTimeTokens.purpose, purpose), isNull(oneTimeTokens.superseded_at), isOpen, older))
  const voidOlder = ASKED_BY_ANYBODY.includes(purpose) ? supersede : voidTokens(now, [purpose], older)
  return {
    id,
    isMade,
    expiresAt: now + LIFETIME_MS[purpose],
    statements: [
      insertWhere(oneTimeTokens, row, condition),
      // An undo stays valid: a thief who asks for one more change must not void the undo of the first.
      ...(EACH_STAYS.includes(purpose) ? [] : [voidOlder]),
    ] as Statement[],
  }
}

const isOpen = isNull(oneTimeTokens.spent_at)

/** Voids tokens that are still valid. */
export const voidTokens = (now: number, purposes: readonly Purpose[], which: SQL | undefined) =>
  build
    .update(oneTimeTokens)
    .set({ spent_at: now })
    .where(and(inArray(oneTimeTokens.purpose, [...purposes]), isOpen, which))

/** Records when a link was first followed, if the token stays valid because more than the mail is needed. */
export const noteFollowed = ({ now }: { now: number }, { id }: Pick<OneTimeToken, 'id'>, condition: SQL) =>
  build
    .update(oneTimeTokens)
    .set({ clicked_at: now })
    .where(and(eq(oneTimeTokens.id, id), isNull(oneTimeTokens.clicked_at), condition))

/**
 * The time of adding something to an account that undoing a change of address removes if it was added since: `now`,
 * but not before an undo that is already there. So whatever is written after it counts as later, however long its
 * request takes and whatever the clocks of two Workers say. What was added just before, by a Worker whose clock was ahead,
 * may count as later too.
 */
export const addedAt = (userId: string, now: number) =>
  sql<number>`CAST(max(${now}, coalesce((SELECT max(created_at) FROM ${oneTimeTokens}
    WHERE subject_id = ${userId} AND purpose = 'undo_email_change'), 0)) AS INTEGER)`

/** The same, read along with the next call: if that is the write, it is what is stored. */
export const readAddedAt = ({ db, now }: Pick<Resources, 'db' | 'now'>, userId: string) =>
  db.piggyback(sql<{ at: number }>`SELECT ${addedAt(userId, now)} AS at`)

/** A condition for the write that uses a token: that it is still valid at that moment. */
export const linkIsLive = (id: string): SQL =>
  sql`EXISTS ${build.select({ id: oneTimeTokens.id }).from(oneTimeTokens).where(isGood(id))}`

const isGood = (id: string) =>
  and(eq(oneTimeTokens.id, id), isNull(oneTimeTokens.spent_at), gt(oneTimeTokens.expires_at, databaseNow))

/**
 * Looks up the token of a link, or of a code, with its user or invitation; one trip. It is only read: using
 * it up is a condition of the write that it allows (`linkIsLive`).
 *
 * @param selectSubject reads the subject, given its id.
 * @param session of a code's sender, if they got no token for asking.
 * @throws 400 `invalid_link`, the same for every reason.
 */
export async function requireToken<S extends Statement>(
  resources: Resources,
  purpose: Purpose,
  proof: Proof,
  selectSubject: (id: SQL) => S,
  session?: CodeSession,
): Promise<{ token: OneTimeToken; subject: RowsOf<S>[number] }> {
  const isNamed = proof.token === undefined ? findAsked(resources, purpose, proof, session) : undefined
  const found = isNamed
    ? await findByCode(
        resources,
        and(eq(oneTimeTokens.purpose, purpose), isNamed)!,
        { code: proof.code!, by: proof.request_token === undefined ? 'account' : 'asker' },
        selectSubject,
      )
    : await findByToken(resources, purpose, proof.token ?? '', selectSubject)
  if ('refused' in found) throw invalidLink(new Refusal(found.refused))
  const { token, subject } = found
  if (!subject) throw invalidLink(new Refusal('unknown'))
  return { token, subject }
}

/** The session that sends a code, and the condition that it is live: an ended one uses up no tries. */
export interface CodeSession {
  sub: string
  sid: string
  isLive: SQL
}

/** Which tokens somebody has asked for, by their request token; undefined if it is not ours. */
function findAsked(
  { config, now }: Resources,
  purpose: Purpose,
  { request_token, signup_token }: Proof,
  session: CodeSession | undefined,
): SQL | undefined {
  const requested = request_token === undefined ? undefined : openRequestToken(config, request_token)
  if (request_token !== undefined) return requested ? eq(oneTimeTokens.id, requested) : undefined
  const signedUp = openSignupToken(config, signup_token, now)?.userId
  if (signup_token !== undefined)
    return purpose === 'verify_email' && signedUp ? eq(oneTimeTokens.subject_id, signedUp) : undefined
  return (
    session &&
    and(
      eq(oneTimeTokens.subject_id, session.sub),
      session.isLive,
      or(isNull(oneTimeTokens.session_id), eq(oneTimeTokens.session_id, session.sid)),
    )
  )
}

/** A valid token, or why it is not valid. */
type Found<Subject> = { token: OneTimeToken; subject: Subject | undefined } | { refused: Reason }

async function findByToken<S extends Statement>(
  { db, config, now }: Resources,
  purpose: Purpose,
  sealed: string,
  selectSubject: (id: SQL) => S,
): Promise<Found<RowsOf<S>[number]>> {
  const link = openLinkToken(config, sealed)
  if (!link) return { refused: 'signature' }
  if (link.purpose !== purpose) return { refused: 'type' }
  const { id } = link
  const subjectId = sql`(SELECT subject_id FROM ${oneTimeTokens} WHERE id = ${id})`
  const asked = {
    token: build
      .select({ ...getTableColumns(oneTimeTokens), now: databaseNow.as('now') })
      .from(oneTimeTokens)
      .where(eq(oneTimeTokens.id, id)),
    subject: selectSubject(subjectId),
  }
  const read = await db.read(asked)
  const isMissed = read.token.length === 0 && replicaMayMiss(timeOfId(id), now)
  const {
    token: [token],
    subject,
  } = isMissed ? await db.readPrimary(asked) : read
  if (!token) return { refused: 'unknown' }
  if (token.spent_at !== null) return { refused: 'used' }
  if (token.expires_at <= token.now) return { refused: 'expired' }
  if (token.superseded_at !== null) return { refused: 'superseded' }
  return { token, subject: subject[0] }
}

/** A guess is counted before it is checked, so many at once get no more guesses than one after another. */
async function findByCode<S extends Statement>(
  { db, config }: Resources,
  asked: SQL,
  { code, by }: { code: string; by: Trier },
  selectSubject: (id: SQL) => S,
): Promise<Found<RowsOf<S>[number]>> {
  const which = and(asked, isOpen)
  const one = TRY_OF[by]
  const { tokens, subject } = await db.writeBatch({
    tries: build
      .update(oneTimeTokens)
      .set({ code_tries: sql`${oneTimeTokens.code_tries} + ${sql.raw(String(one))}` })
      .where(and(which, sql`${oneTimeTokens.code_tries} / ${sql.raw(String(one))} % 16 <= ${CODE_TRIES}`)),
    // In the order they were made, which is that of the index on a user's tokens.
    tokens: build
      .select({ ...getTableColumns(oneTimeTokens), now: databaseNow.as('now') })
      .from(oneTimeTokens)
      .where(which)
      .orderBy(sql`rowid DESC`)
      .limit(10),
    subject: selectSubject(sql`(SELECT subject_id FROM ${oneTimeTokens} WHERE ${which} LIMIT 1)`),
  })
  const isRight = ({ id, purpose }: OneTimeToken) =>
    config.keys.one_time_token.some((key) =>
      timingSafeEqual(Buffer.from(codeOf(key, purpose, id)), Buffer.from(code)),
    )
  const isInTime = ({ created_at, mailed_after, now }: (typeof tokens)[number]) =>
    created_at + (mailed_after ?? 0) + CODE_LIFETIME_MS > now
  const open = tokens.filter(({ code_tries }) => Math.floor(code_tries / one) % 16 <= CODE_TRIES)
  const token = open.find((row) => isInTime(row) && isRight(row))
  if (token) return { token, subject: subject[0] }
  if (tokens.length === 0) return { refused: 'unknown' }
  if (open.length === 0) return { refused: 'tries' }
  return { refused: open.some(isInTime) ? 'wrong_code' : 'expired' }
}
