import { type SQL, type SQLWrapper, sql } from 'drizzle-orm'
import { databaseNow } from '../database/statements.ts'
import type { Claims } from './access-tokens.ts'
import { type Session, sessions } from './models.ts'

/**
 * The turn of a session in a cookie goes up by one when its owner proves again who they are: a cookie of the
 * turn before is still valid for requests that were under way, but never has a recent login. It goes up by
 * two when everything but this session ends, so copies of the older cookie end too.
 */
export const FORMER_TURN_MS = 30_000
export const TURNS_PAST_COPIES = 2

/** The claims of requests that rely on a recent login. */
const needPresentTurn = new WeakSet<object>()

/** From now on, this request is refused unless its cookie is of the present turn. */
export const relyOnTurn = (claims: object) => needPresentTurn.add(claims)
export const reliesOnTurn = (claims: object) => needPresentTurn.has(claims)

export const isGoodTurn = (row: Pick<Session, 'turn' | 'proved_at'> & { now: number }, turn: number) =>
  row.turn === turn || (row.turn === turn + 1 && row.now < (row.proved_at ?? 0) + FORMER_TURN_MS)

/**
 * The same as a condition of a write. Built when the write is, as only then it is known what the request
 * relies on.
 */
export const isOfTurn = (claims: Claims): SQLWrapper => ({
  getSQL(): SQL {
    const { sid, turn } = claims
    if (turn === undefined) return sql`1`
    const isFormer = sql`(turn = ${turn + 1} AND proved_at > ${databaseNow} - ${FORMER_TURN_MS})`
    return sql`EXISTS (SELECT 1 FROM ${sessions} WHERE id = ${sid}
      AND (turn = ${turn} OR ${reliesOnTurn(claims) ? sql`0` : isFormer}))`
  },
})
