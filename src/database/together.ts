import { type SQL, sql } from 'drizzle-orm'
import { AppError } from '../http/problem.ts'
import type { Database } from './main.ts'
import type { Batch } from './statements.ts'

/**
 * A change as statements, the condition that it was made, and a function that reads its results: it returns a
 * value, or throws.
 */
export interface Prepared<T> {
  batch: Batch
  isDone: SQL
  conclude(results: never): T | Promise<T>
}

/** The result of one of many: a value, or its problem. */
export type OneOfMany<T> = { key: string; value: T; problem?: undefined } | { key: string; problem: AppError }

/** Errors that concern only one of many. Anything else would hit all of them, and is thrown. */
const isOfOne = (error: unknown): error is AppError =>
  error instanceof AppError &&
  error.status < 500 &&
  error.status !== 401 &&
  error.code !== 'reauthentication_required'

/**
 * Makes many changes in one batch, each on its own conditions and with its own result. `prepare` gives the
 * statements of one change; it throws if the change is refused, or gives a value if there is nothing to do.
 */
export async function writeTogether<T>(
  db: Database,
  keys: readonly string[],
  prepare: (key: string) => Promise<Prepared<T> | { value: T }> | Prepared<T> | { value: T },
): Promise<OneOfMany<T>[]> {
  const plans = await Promise.all(
    keys.map(async (key) => ({ key, ...(await tell(async () => prepare(key))) })),
  )
  const writes = plans.flatMap((plan, at) =>
    plan.value && 'batch' in plan.value ? [{ at, ...plan.value }] : [],
  )
  const named = writes.flatMap(({ at, batch }) =>
    Object.entries(batch).map(([name, statements]) => [`${at} ${name}`, statements] as const),
  )
  const isAnyDone = sql.join(
    writes.map(({ isDone }) => isDone),
    sql` OR `,
  )
  const results =
    writes.length === 0 ? {} : await db.writeBatch(Object.fromEntries(named) as Batch, sql`(${isAnyDone})`)
  return Promise.all(
    plans.map(async ({ key, value: plan, problem }, at): Promise<OneOfMany<T>> => {
      if (!plan) return { key, problem: problem! }
      if (!('batch' in plan)) return { key, value: plan.value }
      const own = Object.keys(plan.batch).map((name) => [name, (results as Batch)[`${at} ${name}`]])
      const told = await tell(async () => plan.conclude(Object.fromEntries(own) as never))
      return told.problem ? { key, problem: told.problem } : { key, value: told.value as T }
    }),
  )
}

async function tell<T>(work: () => Promise<T>): Promise<{ value?: T; problem?: AppError }> {
  try {
    return { value: await work() }
  } catch (error) {
    if (!isOfOne(error)) throw error
    return { problem: error }
  }
}
