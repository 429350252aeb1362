import { eq, type SQL, sql } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import type { Config } from '../config/main.ts'
import { openSealed, seal } from '../crypto/sealed.ts'
import type { Database } from '../database/main.ts'
import { build, insertWhere, type Statement } from '../database/statements.ts'
import { inWords } from '../values/durations.ts'
import { timeOfId } from '../values/ids.ts'
import { challenges } from './models.ts'

/** How long somebody has to answer a challenge. */
export const CHALLENGE_SECONDS = 300
export const CHALLENGE_LIFETIME = inWords(CHALLENGE_SECONDS * 1000)

/**
 * What a challenge is for, and how many tries it allows. `login`: a second factor after a right password.
 * `signin`: a passkey alone. `enrol`: a new passkey. `again`: a passkey of a signed-in user.
 */
export const MAX_TRIES = { login: 5, signin: 1, enrol: 1, again: 1 } as const
export type ChallengeKind = keyof typeof MAX_TRIES

export interface Challenge {
  id: string
  kind: ChallengeKind
  /** The user who may answer it; null if anybody may. */
  userId: string | null
  /** What else it is bound to: a session, or an epoch and the proofs so far. */
  about: string
}

const NOBODY = '-'

/** Makes a challenge: `ch_<kind>.<id>.<user>.<about>.<mac>`. Nothing is stored. */
export function makeChallenge(
  { keys }: Pick<Config, 'keys'>,
  { kind, userId, about }: Omit<Challenge, 'id'>,
): string {
  return seal(keys.challenge, `ch_${kind}.${uuidv7()}.${userId ?? NOBODY}.${about}`)
}

/** Undefined unless it is an unexpired challenge of ours, of this kind. */
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
 * A try at a challenge. It is counted before it is checked, so many at once get no more tries than one after
 * another. `count` goes first in the batch, and `counted` says whether it was counted.
 *
 * @param isNoGuess a condition on which it is not counted: the answer is right, and cannot be guessed.
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
    /** A row if no more tries are allowed. */
    closed: sql<{ id: string }>`SELECT id FROM ${challenges}
      WHERE id = ${id} AND (spent_at IS NOT NULL OR tries >= ${MAX_TRIES[kind]})`,
    /** Not a try after all: the failure was ours. */
    takeBack: sql`UPDATE ${challenges} SET tries = tries - 1, attempt_id = ${`${attemptId}-`}
      WHERE ${isThis}` as Statement,
    /** A condition for the write that uses up the challenge. */
    isUnspent: sql`NOT EXISTS (SELECT 1 FROM ${challenges} WHERE id = ${id} AND spent_at IS NOT NULL)`,
    spend: (isDone: SQL): Statement => sql`INSERT INTO ${challenges} (id, tries, attempt_id, spent_at)
      SELECT ${id}, 1, ${attemptId}, ${now} WHERE ${isDone}
      ON CONFLICT (id) DO UPDATE SET spent_at = ${now}`,
  }
}

/**
 * Uses up something that is valid once and was made elsewhere: an assertion, a pushed request, the callback
 * of an identity provider. Its id must be a UUIDv7 made less than an hour before it expires, as clean-up
 * relies on that.
 *
 * @returns whether this was the first use.
 */
export async function spendOnce({ db, now }: { db: Database; now: number }, id: string): Promise<boolean> {
  const attempt = crypto.randomUUID()
  const { spent } = await db.writeBatch({
    spending: insertWhere(challenges, { id, tries: 1, attempt_id: attempt, spent_at: now }, sql`1`),
    spent: build.select().from(challenges).where(eq(challenges.id, id)),
  })
  return spent[0]?.attempt_id === attempt
}

/** Selects a row if such an id has been used up. */
export const selectSpent = (id: string) =>
  build.select({ id: challenges.id }).from(challenges).where(eq(challenges.id, id))
