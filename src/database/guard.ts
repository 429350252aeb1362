import { LibsqlBatchError } from '@libsql/client/http'
import { type SQL, sql } from 'drizzle-orm'
import { resends } from './models.ts'
import { type Given, type Places, prepare, type Statement } from './statements.ts'

/** How far the clocks of the Worker and the database may differ. */
const CLOCK_SKEW_MS = 30_000

/** One send of a write batch. A batch that got no answer is sent again, under the next number. */
export interface Send {
  batchId: string
  /** From 1. */
  number: number
  /** When its caller stops waiting (epoch ms). */
  deadline: number
  /** A condition: the batch has already been applied. */
  marker: SQL | undefined
}

/**
 * The statements before every write. A send can be delayed, and arrive after the next send was answered,
 * after its caller was told 503, or after other people's writes. It must then change nothing:
 *
 * - `inTime`: a write that was answered with a 503 does not happen later.
 * - `resend`: every send after the first records that it was sent, in a row of its own.
 * - `first`: the batch has not been applied, and no later send of it has arrived. So an earlier send cannot
 *   change what a later one was answered.
 *
 * The marker is the first row that a batch inserts, under all of the batch's conditions, and one that nothing
 * deletes within a day: its row of history, or the session of a login. test/faults/late-sends.test.ts tries
 * all orders.
 */
export function guard({ batchId, number, deadline, marker }: Send): Record<string, Statement> {
  const { inTime, first, resend } = written({ batchId, number, tooLateAt: deadline + CLOCK_SKEW_MS })
  return {
    inTime,
    first: marker ? refuseIf(sql`${isOvertaken({ batchId, number })} OR ${marker}`) : first,
    ...(number > 1 && { resend }),
  }
}

type Sent = Pick<Send, 'batchId' | 'number'>

const isOvertaken = ({ batchId, number }: Given<Sent>) =>
  sql`EXISTS (SELECT 1 FROM ${resends} WHERE batch_id = ${batchId} AND number > ${number})`

/**
 * A statement that fails, and with it the batch, if the condition holds: text that is not JSON is an error.
 */
const refuseIf = (condition: SQL) =>
  sql`SELECT json(CASE WHEN ${condition} THEN 'refused' ELSE '"go on"' END)`

const written = prepare((at: Places<Sent & { tooLateAt: number }>) => ({
  inTime: refuseIf(sql`unixepoch('subsec') * 1000 >= ${at.tooLateAt}`),
  first: refuseIf(isOvertaken(at)),
  resend: sql`INSERT INTO ${resends} (batch_id, number) VALUES (${at.batchId}, ${at.number}) ON CONFLICT DO NOTHING`,
}))

/** The positions of the guards in a batch. */
const FIRST = 1

/** Whether a batch was refused because it has been applied, or was sent again since. */
export const isDoneAlready = (error: unknown) =>
  error instanceof LibsqlBatchError &&
  error.statementIndex === FIRST &&
  error.message.includes('malformed JSON')
