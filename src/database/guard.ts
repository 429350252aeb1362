import { LibsqlBatchError } from '@libsql/client/http'
import { type SQL, sql } from 'drizzle-orm'
import { resends } from './models.ts'
import type { Statement } from './statements.ts'

/** How far the Worker's clock and the database's may be apart. */
const CLOCK_SKEW_MS = 30_000

/** One sending of a write batch: a batch that got no answer is sent again, under the next number. */
export interface Send {
  batchId: string
  /** From 1 on. */
  number: number
  /** When its caller stops waiting (epoch ms). */
  deadline: number
  /** A condition: that the batch has been done. */
  marker: SQL | undefined
}

/**
 * What stands before every write. A send can be held up on its way and arrive after the next one was answered, after
 * its caller was told 503, after other people's writes. It must then change nothing:
 *
 * - `inTime`: what was answered with a 503 does not happen later.
 * - `resend`: a send after the first says so, in a row of its own.
 * - `first`: the batch has not been done yet, and no later send of it has come. So what a later send was answered,
 *   yes or no, is not changed by an earlier one.
 *
 * The marker is the first row that a batch makes, on all of its conditions, and one that nothing removes within a
 * day: its row of history, or the session of a login. test/faults/late-sends.test.ts goes through all orders.
 */
export function guard({ batchId, number, deadline, marker }: Send): Record<string, Statement> {
  const isTooLate = sql`unixepoch('subsec') * 1000 >= ${deadline + CLOCK_SKEW_MS}`
  const isOvertaken = sql`EXISTS (SELECT 1 FROM ${resends} WHERE batch_id = ${batchId} AND number > ${number})`
  return {
    inTime: refuseIf(isTooLate),
    first: refuseIf(marker ? sql`${isOvertaken} OR ${marker}` : isOvertaken),
    ...(number > 1 && {
      resend: sql`INSERT INTO ${resends} (batch_id, number) VALUES (${batchId}, ${number}) ON CONFLICT DO NOTHING`,
    }),
  }
}

/** A statement that fails, and the batch with it: text that is no JSON is an error. */
const refuseIf = (condition: SQL) =>
  sql`SELECT json(CASE WHEN ${condition} THEN 'refused' ELSE '"go on"' END)`

/** The places of guards in a batch. */
const FIRST = 1

/** Whether a batch was refused because it has been done, or was sent again since. */
export const isDoneAlready = (error: unknown) =>
  error instanceof LibsqlBatchError &&
  error.statementIndex === FIRST &&
  error.message.includes('malformed JSON')
