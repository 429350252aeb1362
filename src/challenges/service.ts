import { eq, type SQL, sql } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import type { Config } from '../config/main.ts'
import { openSealed, seal } from '../crypto/sealed.ts'
import type { Database } from '../database/main.ts'
import { build, insertWhere, type Statement } from '../database/statements.ts'
import { inWords } from '../values/durations.ts'
import { timeOfId } from '../values/ids.ts'
import { challenges } from './models.ts'

/** What somebody is asked to prove, and within what time. */
export const CHALLENGE_SECONDS = 300
export const CHALLENGE_LIFETIME = inWords(CHALLENGE_SECONDS * 1000)

/**
 * What a challenge is for, and how often it may be tried. `login`: a second factor after a right password. `signin`: a
 * passkey and nothing else. `enrol`: a new passkey. `again`: a passkey of somebody who is signed in.
 */
export const MAX_TRIES = { login: 5, signin: 1, enrol: 1, again: 1 } as const
export type ChallengeKind = keyof typeof MAX_TRIES

export interface Challenge {
  id: string
  kind: ChallengeKind
  /** Whose it is; null if anybody may answer it. */
  userId: string | null
  /** What else it is bound to, in words of ours: a session, or an epoch and what was proved before. */
  about: string
}

const NOBODY = '-'

/** Makes a challenge: `ch_<kind>.<id>.<user>.<about>.<mac>`. Nothing is written for it. */
export function makeChallenge(
  { keys }: Pick<Config, 'keys'>,
  { kind, userId, about }: Omit<Challenge, 'id'>,
): string {
  return seal(keys.challenge, `ch_${kind}.${uuidv7()}.${userId ?? NOBODY}.${about}`)
}

/** Undefined for what is not one of ours of this kind, or is over. */
export function openChallenge(
  { keys }: Pick<Config, 'keys'>,
  kind: ChallengeKind,
  token: string,
  now: number,
): Challenge | undefined {
  const [, named, id, userId, about] =
    /^ch_([a-z]+)\.([0-9a-f-]{36})\.([0-9a-f-]{36}|-)\.([\w-]+(?:\.[\w-]+)*)$/.exec(
      openSealed(keys.challenge, token) ?? '',
    ) ?? []
  if (named !== kind || !id || !userId || about === undefined) return undefined
  if (timeOfId(id) + CHALLENGE_SECONDS * 1000 <= now) return undefined
  return { id, kind, userId: userId === NOBODY ? null : userId, about }
}

/**
 * A try at a challenge. It is counted before it is looked at, so that many at once are no more tries than one after
 * another. `count` goes first in the batch, and `counted` says whether it was.
 *
 * @param isNoGuess a condition on which it is not counted: that what was brought is right, and cannot be guessed.
 */
export function openTry({ id, kind }: Pick<Challenge, 'id' | 'kind'>, now: number, isNoGuess = sql`0`) {
  const attemptId = uuidv7()
  const isNew = sql`coalesce(attempt_id, '') NOT IN (${attemptId}, ${`${attemptId}-`})`
  const isThis = sql`id = ${id} AND attempt_id = ${attemptId}`
  return {
    count:
      sql`INSERT INTO ${challenges} (id, tries, attempt_id) SELECT ${id}, 1, ${attemptId} WHERE NOT ${isNoGuess}
      ON CONFLICT (id) DO UPDATE SET tries = tries + 1, attempt_id = ${attemptId}
      WHERE ${isNew} AND spent_at IS NULL AND tries < ${MAX_TRIES[kind]}` as Statement,
    /** A condition. */
    isCounted: sql`EXISTS (SELECT 1 FROM ${challenges} WHERE ${isThis})`,
    counted: sql<{ tries: number }>`SELECT tries FROM ${challenges} WHERE ${isThis}`,
    /** Where it takes no tries any more. */
    closed: sql<{ id: string }>`SELECT id FROM ${challenges}
      WHERE id = ${id} AND (spent_at IS NOT NULL OR tries >= ${MAX_TRIES[kind]})`,
    /** It was no try: what failed was ours. */
    takeBack: sql`UPDATE ${challenges} SET tries = tries - 1, attempt_id = ${`${attemptId}-`}
      WHERE ${isThis}` as Statement,
    /** A condition for the write that uses it up. */
    isUnspent: sql`NOT EXISTS (SELECT 1 FROM ${challenges} WHERE id = ${id} AND spent_at IS NOT NULL)`,
    spend: (isDone: SQL): Statement => sql`INSERT INTO ${challenges} (id, tries, attempt_id, spent_at)
      SELECT ${id}, 1, ${attemptId}, ${now} WHERE ${isDone}
      ON CONFLICT (id) DO UPDATE SET spent_at = ${now}`,
  }
}

/**
 * Uses up what is good once, and was made elsewhere: an assertion, a pushed request, what somebody comes back with from
 * an identity provider. The id is a UUIDv7 whose time is less than an hour before its end, as clean-up goes by it.
 *
 * @returns whether this was the first.
 */
export async function spendOnce({ db, now }: { db: Database; now: number }, id: string): Promise<boolean> {
  const attempt = crypto.randomUUID()
  const { spent } = await db.writeBatch({
    spending: insertWhere(challenges, { id, tries: 1, attempt_id: attempt, spent_at: now }, sql`1`),
    spent: build.select().from(challenges).where(eq(challenges.id, id)),
  })
  return spent[0]?.attempt_id === attempt
}

/** Asks whether something of that kind has been used up: the row is there then. */
export const selectSpent = (id: string) =>
  build.select({ id: challenges.id }).from(challenges).where(eq(challenges.id, id))
