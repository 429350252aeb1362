import { type SQL, sql } from 'drizzle-orm'
import type { Config } from '../../config/main.ts'
import { type FactorState, selectFactorState } from '../../factors/state.ts'
import { type User, users } from '../../users/models.ts'

/** A user, with what they have to prove themselves with beside what they have just shown. */
export type Holder = User & FactorState

/** Reads whoever has an id, which may be the query that finds it; one row of nulls for nobody. */
export const selectHolder = (config: Config, id: SQL) =>
  sql<
    Holder | Record<keyof User, null>
  >`SELECT ${users}.*, state.* FROM (${selectFactorState(config, id)}) AS state
    LEFT JOIN ${users} ON ${users.id} = ${id}`

export const isThere = (row: Holder | Record<keyof User, null>): row is Holder => row.id !== null
