import { type SQL, sql } from 'drizzle-orm'
import type { Config } from '../../config/main.ts'
import { type FactorState, selectFactorState } from '../../factors/state.ts'
import { type User, users } from '../../users/models.ts'

/** A user, with the factors of their account. */
export type Holder = User & FactorState

/** Reads a user by id; the id may be a subquery. Gives one row of nulls if there is none. */
export const selectHolder = (config: Config, id: SQL) =>
  sql<
    Holder | Record<keyof User, null>
  >`SELECT ${users}.*, state.* FROM (${selectFactorState(config, id)}) AS state
    LEFT JOIN ${users} ON ${users.id} = ${id}`

export const isThere = (row: Holder | Record<keyof User, null>): row is Holder => row.id !== null
