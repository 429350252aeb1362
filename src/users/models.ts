import { and, eq, getTableColumns, isNull, lte, or, type SQL, sql } from 'drizzle-orm'
import {
  customType,
  index,
  integer,
  primaryKey,
  sqliteTable,
  text,
  uniqueIndex,
} from 'drizzle-orm/sqlite-core'
import { type Action, activityLogs } from '../activity/models.ts'
import { build } from '../database/statements.ts'
import { MAX_FAILURES_IN_A_ROW } from '../throttle/limits.ts'

export const ROLES = ['user', 'manager', 'admin'] as const
export type Role = (typeof ROLES)[number]

/** Whether the second role is higher than the first. */
export const isRaise = (from: Role, to: Role) => ROLES.indexOf(to) > ROLES.indexOf(from)

/** A user's state as others see it. `deleted` hides the other two; restoring the user shows them again. */
export const STATES = ['active', 'disabled', 'deleted'] as const
export type State = (typeof STATES)[number]

/**
 * A condition: nobody has proved the account's address, and nobody has used the account: a squatter's, or a mistake.
 * Any role above `user` was given by somebody who manages, so such accounts stay. Word for word the condition of an
 * index.
 */
export const NEVER_PROVED = sql`email_verified_at IS NULL AND last_login_at IS NULL AND deleted_at IS NULL
  AND role = 'user' AND status = 'active' AND password_is_given = 0`

/** A condition: the hash was made by other software. Word for word the condition of an index. */
export const IS_FOREIGN_HASH = sql`password_hash GLOB '$foreign$*'`

/** A condition: the name needs a search key and has none yet (names.ts). Word for word the condition of an index. */
export const HAS_NO_KEY = sql`name GLOB '*[^ -~]*' AND name_fold IS NULL`

/** What is locked, as text: word for word the conditions of two indexes, and of the second without the first. */
const TOTP_LOCKED = `failed_factors >= ${MAX_FAILURES_IN_A_ROW}`
export const LOCKED = {
  password: `failed_logins >= ${MAX_FAILURES_IN_A_ROW}`,
  totp: TOTP_LOCKED,
  totpAlone: `${TOTP_LOCKED} AND failed_logins < ${MAX_FAILURES_IN_A_ROW}`,
}

/** Somebody else typed the password, so the user replaces it when they prove their address. */
export const TYPED = 1
/** The password the user had in another system, or none. So the account is not a stranger's, and waits for its user. */
export const IMPORTED = 2

const textIgnoringCase = customType<{ data: string }>({ dataType: () => 'text COLLATE NOCASE' })

/**
 * Users. Times are epoch milliseconds. Column names are the field names everywhere, so a row needs no mapping.
 *
 * `seq` exists because the search index refers to rows by rowid, and only an INTEGER PRIMARY KEY survives VACUUM.
 * `state` and `facets` are computed by SQLite: one column to list by, one that lets a search also filter.
 */
export const users = sqliteTable(
  'users',
  {
    seq: integer().primaryKey({ autoIncrement: true }),
    id: text().notNull().unique(),
    email: text().notNull(),
    email_normalized: text().notNull(),
    name: textIgnoringCase().notNull(),
    password_hash: text(),
    role: text({ enum: ROLES }).notNull(),
    status: text({ enum: ['active', 'disabled'] }).notNull(),
    disabled_reason: text(),
    disabled_until: integer(),
    email_verified_at: integer(),
    version: integer().notNull(),
    token_epoch: integer().notNull(),
    failed_logins: integer().notNull(),
    /** The most recent of them: see throttle/counters.ts. */
    failed_attempts: text(),
    /** Raised by whatever makes the account's known devices strangers again. */
    device_epoch: integer().notNull().default(0),
    /** How many devices have become known. Only the newest of them count as known (sessions/device-tokens.ts). */
    devices: integer().notNull().default(0),
    /** TYPED or IMPORTED, for an account made by somebody who manages, until its address is proved. */
    password_is_given: integer().notNull().default(0),
    /** Wrong codes of a second factor in a row. Only a complete sign-in, or somebody who manages, clears them. */
    failed_factors: integer().notNull().default(0),
    /** The second factors, kept by triggers: 1 for an authenticator app, 2 for passkeys, 3 for both. */
    factors: integer().notNull().default(0),
    /** 1: came with a hash that cannot be verified here, so there is no password until the user chooses one. */
    needs_reset: integer().notNull().default(0),
    created_at: integer().notNull(),
    updated_at: integer().notNull(),
    last_login_at: integer(),
    deleted_at: integer(),
    /** The language of pages and mails; null: the browser's choice. */
    locale: text(),
    /** Which terms the user has agreed to, and when; null: none yet (TERMS_VERSION). */
    terms_version: text(),
    terms_accepted_at: integer(),
    /** JSON, or null if empty. The first is the user's own; the second is for those who manage. */
    metadata: text(),
    admin_metadata: text(),
    /** The user's id in another system. A deleted user keeps it. */
    external_id: text(),
    /** The name, followed by its key for search and sorting; null if the name is its own key (names.ts). */
    name_fold: text(),
    name_key: textIgnoringCase()
      .notNull()
      .generatedAlwaysAs(
        sql`CASE WHEN substr(name_fold, 1, length(name) + 1) = name || char(31) THEN substr(name_fold, length(name) + 2) ELSE name END`,
        { mode: 'virtual' },
      ),
    state: text({ enum: STATES })
      .notNull()
      .generatedAlwaysAs(sql`CASE WHEN deleted_at IS NULL THEN status ELSE 'deleted' END`, {
        mode: 'virtual',
      }),
    facets: text()
      .notNull()
      .generatedAlwaysAs(
        sql`'r=' || substr(role, 1, 1) || ' s=' || CASE WHEN deleted_at IS NULL THEN substr(status, 1, 1) ELSE 'x' END`,
        { mode: 'virtual' },
      ),
  },
  (table) => [
    uniqueIndex('users_live_email').on(table.email_normalized).where(sql`deleted_at IS NULL`),
    // One index per sort of the list. Role and state come first: a list without these filters is a merge of
    // the (at most nine) combinations, each already in order, so it reads its page and no more.
    index('users_by_id').on(table.role, table.state, table.id),
    index('users_by_email').on(table.role, table.state, table.email_normalized, table.id),
    index('users_by_name').on(table.role, table.state, table.name_key, table.id),
    index('users_without_key').on(table.id).where(HAS_NO_KEY),
    // For clean-up.
    index('users_deleted').on(table.deleted_at).where(sql`deleted_at IS NOT NULL`),
    index('users_never_proved').on(table.updated_at).where(NEVER_PROVED),
    // For the filters of the list. A missing factor is only listed for those who manage, so a sign-up adds no row to that index.
    index('users_locked').on(table.role, table.state, table.id).where(sql.raw(LOCKED.password)),
    index('users_locked_factor').on(table.role, table.state, table.id).where(sql.raw(LOCKED.totp)),
    index('users_verified').on(table.role, table.state, table.id).where(sql`email_verified_at IS NOT NULL`),
    index('users_unverified').on(table.role, table.state, table.id).where(sql`email_verified_at IS NULL`),
    index('users_without_factor')
      .on(table.role, table.state, table.id)
      .where(sql`factors = 0 AND role <> 'user'`),
    index('users_needing_reset').on(table.role, table.state, table.id).where(sql`needs_reset = 1`),
    // Hashes of other software, until their owners sign in. Those under a former key are found through it.
    index('users_foreign_hash').on(table.password_hash).where(IS_FOREIGN_HASH),
    uniqueIndex('users_by_external_id').on(table.external_id).where(sql`external_id IS NOT NULL`),
    index('users_disabled_until').on(table.disabled_until).where(sql`disabled_until IS NOT NULL`),
  ],
)

/** How many users who are not deleted have a locked password or second factor; counts no further than `most`. */
export const countLocked = (most: number): SQL<number> => {
  const isLiving = sql`role IN ${ROLES} AND state IN ('active', 'disabled')`
  return sql<number>`(SELECT count(*) FROM (
    SELECT 1 FROM ${users} INDEXED BY users_locked WHERE ${sql.raw(LOCKED.password)} AND ${isLiving} UNION ALL
    SELECT 1 FROM ${users} INDEXED BY users_locked_factor
      WHERE ${sql.raw(LOCKED.totpAlone)} AND ${isLiving} LIMIT ${sql.raw(String(most))}))`
}

/** How many users who are not deleted have no password that can be verified here; counts no further than `most`. */
export const countNeedingReset = (most: number): SQL<number> =>
  sql<number>`(SELECT count(*) FROM (SELECT 1 FROM ${users} INDEXED BY users_needing_reset
    WHERE needs_reset = 1 AND role IN ${ROLES} AND state IN ('active', 'disabled') LIMIT ${sql.raw(String(most))}))`

const { seq: _seq, facets: _facets, name_fold: _fold, name_key: _key, ...columns } = getTableColumns(users)
/** All columns of users except those that only serve search and sorting. */
export const userColumns = columns

const {
  password_hash,
  email_normalized,
  status,
  token_epoch,
  failed_attempts: _failedAttempts,
  device_epoch,
  devices,
  password_is_given,
  terms_version: _termsVersion,
  terms_accepted_at: _termsAcceptedAt,
  admin_metadata,
  external_id,
  ...shown
} = columns
/** What a reader may see of a user. Secrets are not even read for it. */
export const profileColumns = shown
/** What those who manage may see. */
export const managedColumns = { ...shown, admin_metadata, external_id }

export type User = Omit<typeof users.$inferSelect, 'seq' | 'facets' | 'name_fold' | 'name_key'>
export type Profile = Pick<User, keyof typeof profileColumns>
export type ManagedProfile = Pick<User, keyof typeof managedColumns>
export const profileNames = Object.keys(profileColumns) as (keyof Profile)[]
/** The profile in a row that has more. */
export const profileOf = (row: Profile): Profile =>
  Object.fromEntries(profileNames.map((name): unknown[] => [name, row[name]])) as Profile
export const managedNames = Object.keys(managedColumns) as (keyof ManagedProfile)[]
/**
 * The managed columns as one value of a row, for lists: the client takes longer to read a column than libSQL to build
 * the JSON.
 */
export const managedAsJson = {
  select: `json_array(${managedNames.map((name) => `users.${name}`).join(', ')})`,
  read(json: string): ManagedProfile {
    const values = JSON.parse(json) as unknown[]
    return Object.fromEntries(managedNames.map((name, index): unknown[] => [name, values[index]]))
  },
}
/** What is set when a user is enabled again. */
export const ENABLED = { status: 'active', disabled_reason: null, disabled_until: null } as const

export type NewUser = Omit<typeof users.$inferInsert, 'seq'>

/** How many users there are of each role and state. Kept by triggers, so a total never counts rows. */
export const userTotals = sqliteTable(
  'user_totals',
  {
    role: text({ enum: ROLES }).notNull(),
    state: text({ enum: STATES }).notNull(),
    total: integer().notNull(),
  },
  (table) => [primaryKey({ columns: [table.role, table.state] })],
)

/** A condition on a user: neither deleted nor disabled, or no longer disabled. */
export const userIsActive = (now: number | SQL) =>
  and(isNull(users.deleted_at), or(eq(users.status, 'active'), lte(users.disabled_until, now)))

export const selectUsers = () => build.select(userColumns).from(users)

/** Neither deleted nor disabled, or no longer disabled. In SQL: `userIsActive`. */
export const isActive = (row: User, now: number) =>
  row.state === 'active' ||
  (row.state === 'disabled' && row.disabled_until !== null && row.disabled_until <= now)

/**
 * A condition on a user: nobody has vouched for the address, neither its owner nor somebody who manages. Such an
 * account gives way to whoever proves the address, even if it is disabled.
 */
export const isUnproved = sql`(email_verified_at IS NULL AND role = 'user')`

/**
 * A condition on a user: they signed up with an address that nobody proved, and nobody has used the account or
 * changed its address since. It also gives way to an account that somebody who manages makes for the address: that
 * proves no more, but a stranger must not be able to prevent it.
 */
export const isUnclaimed = sql`(${isUnproved} AND last_login_at IS NULL AND password_is_given = 0
  AND EXISTS (SELECT 1 FROM ${activityLogs} WHERE user_id = ${users.id} AND action = 'user.signed_up')
  AND NOT EXISTS (SELECT 1 FROM ${activityLogs} WHERE user_id = ${users.id} AND action = 'email.changed'))`

/** What proves the address that a user has, or gives them another. */
const PROVE: Action[] = ['email.verified', 'email.changed', 'password.reset', 'invitation.accepted']
/** A condition: the user signed up with an address, and nothing in their history before `until` proves it. */
export const addressIsUnproved = (userId: string, until?: SQL) =>
  sql`(EXISTS (SELECT 1 FROM ${activityLogs} WHERE user_id = ${userId} AND action = 'user.signed_up')
    AND NOT EXISTS (SELECT 1 FROM ${activityLogs} WHERE user_id = ${userId} AND action IN ${PROVE}
      ${until ? sql`AND id < ${until}` : sql``}))`

/** A condition: somebody who is not deleted has this address, other than `exceptId`. */
export const emailIsTaken = (emailNormalized: string, exceptId?: string): SQL =>
  sql`EXISTS (SELECT 1 ${livingOwner(emailNormalized, exceptId)})`

/** A condition: somebody has this address and does not give way; `givesWay` is one of the two conditions above. */
export const emailIsHeld = (emailNormalized: string | SQL, givesWay: SQL, exceptId?: string): SQL =>
  sql`EXISTS (SELECT 1 ${livingOwner(emailNormalized, exceptId)} AND NOT ${givesWay})`

/** A condition: somebody has this address, and it is proved. */
export const emailIsProved = (emailNormalized: string | SQL, exceptId?: string): SQL =>
  emailIsHeld(emailNormalized, isUnproved, exceptId)

/** A condition: somebody has this external id, deleted or not. */
export const externalIdIsTaken = (externalId: string, exceptId = ''): SQL =>
  sql`EXISTS (SELECT 1 FROM ${users} WHERE external_id = ${externalId} AND id <> ${exceptId})`

const livingOwner = (emailNormalized: string | SQL, exceptId?: string) =>
  sql`FROM ${users} WHERE email_normalized = ${emailNormalized} AND deleted_at IS NULL${
    exceptId === undefined ? sql`` : sql` AND id <> ${exceptId}`
  }`

/** Digests of erasures that are not in the ledger yet (activity/ledger.ts). */
export const ledgerOwed = sqliteTable('ledger_owed', { digest: text().primaryKey() })

/**
 * Users whose row is gone, and whose traces are being removed in steps: see erasure.ts. `user_id` no longer
 * identifies anybody; `sought` does, so it is emptied as soon as nothing is left for it to find.
 */
export const erasures = sqliteTable(
  'erasures',
  {
    user_id: text().primaryKey(),
    /** Up to this time, what has their address may be theirs: when they were deleted or, if they never were, erased. */
    ended_at: integer().notNull(),
    began_at: integer().notNull(),
    /** The addresses they had, as JSON. */
    sought: text(),
    /** What is being searched, and how far. */
    stage: text().notNull(),
    cursor: text().notNull(),
    /** Up to this time the history keeps where they acted from, as they had a role above `user`. */
    origin_until: integer(),
    due_at: integer().notNull(),
  },
  (table) => [index('erasures_due').on(table.due_at)],
)
