import { type SQL, sql } from 'drizzle-orm'
import { forbidden } from '../auth/errors.ts'
import { hasPermission } from '../auth/permissions.ts'
import type { Claims } from '../auth/tokens.ts'
import type { Resources } from '../context.ts'
import { type List, makeCursor, openCursor } from '../pagination.ts'
import { pageTooDeep } from './errors.ts'
import { ROLES, STATES, type User as UserRow, userColumns, users, userTotals } from './models.ts'
import { DEEPEST_ROW_BY_PAGE, type ListUsers, type ManagedUser, type SORTS } from './schemas.ts'
import { toManagedUser } from './service.ts'

type Row = UserRow & { seq: number }

/** The index of each sort, and the columns of it that follow role and state; ids settle what is equal. */
const ORDERS = {
  created_at: { index: 'users_by_id', columns: ['id'] },
  email: { index: 'users_by_email', columns: ['email_normalized', 'id'] },
  name: { index: 'users_by_name', columns: ['name', 'id'] },
} as const satisfies Record<(typeof SORTS)[number], { index: string; columns: (keyof UserRow)[] }>

/** What a query asks for: which roles and states, in which order, from where. */
interface Selection {
  filter: ListUsers
  roles: readonly string[]
  states: readonly string[]
  sort: (typeof SORTS)[number]
  isDescending: boolean
  position: unknown[] | undefined
  offset: number
}

/**
 * A page of people. Whatever the filters, it reads about as many rows as it gives: see `browse` and `search`. The
 * deleted are only in the list that asks for them.
 *
 * @throws 400 `invalid_cursor`, `page_too_deep`; 403 for the deleted without the permission to delete.
 */
export async function listUsers(
  { db, config }: Resources,
  actor: Claims,
  filter: ListUsers,
): Promise<List<ManagedUser>> {
  const { limit, cursor, page, ...filters } = filter
  if (filter.status === 'deleted' && !hasPermission(actor.role, 'users:delete')) throw forbidden()
  if (page !== undefined && page * limit > DEEPEST_ROW_BY_PAGE) throw pageTooDeep()
  const list = `users ${JSON.stringify(filters)}`
  const selection: Selection = {
    filter,
    roles: filter.role ? [filter.role] : ROLES,
    states: filter.status ? [filter.status] : STATES.filter((state) => state !== 'deleted'),
    sort: filter.sort.replace('-', '') as Selection['sort'],
    isDescending: filter.sort.startsWith('-'),
    position: cursor === undefined ? undefined : openCursor(config, list, cursor),
    offset: page === undefined ? 0 : (page - 1) * limit,
  }
  const isSearch = filter.q !== undefined
  const [found, [counted]] = await db.read(
    isSearch ? search(selection) : browse(selection),
    countOf(selection),
  )
  const rows = found.slice(0, limit)
  const last = rows.at(-1)
  const hasNext = found.length > limit && last !== undefined
  const position = last && (isSearch ? [last.seq] : ORDERS[selection.sort].columns.map((name) => last[name]))
  const total = isSearch || filter.email ? null : (counted?.total ?? 0)
  return {
    data: rows.map(toManagedUser),
    pagination: {
      limit,
      next_cursor: hasNext ? makeCursor(config, list, position!) : null,
      total,
      ...(page !== undefined && { page }),
      ...(page !== undefined && total !== null && { pages: Math.ceil(total / limit) }),
    },
  }
}

const columnsOf = (table: string) =>
  sql.join(
    Object.values(userColumns).map((column) => sql.raw(`${table}.${column.name}`)),
    sql`, `,
  )

/**
 * One branch for each combination of role and state, each already in order in its index; SQLite merges them, and
 * stops at the limit. So a page costs its rows and one more for each branch (at most nine).
 */
export function browse({ filter, roles, states, sort, isDescending, position, offset }: Selection): SQL<Row> {
  const { index, columns } = ORDERS[sort]
  const beyond = sql.raw(isDescending ? '<' : '>')
  const order = sql.raw(columns.map((name) => `${name} ${isDescending ? 'DESC' : 'ASC'}`).join(', '))
  // By e-mail, the e-mail index finds the few there are, whatever the sort.
  const source = sql.raw(`users INDEXED BY ${filter.email ? 'users_by_email' : index}`)
  const emailIs = filter.email ? sql` AND email_normalized = ${filter.email}` : sql``
  const after = position ? sql` AND (${sql.raw(columns.join(', '))}) ${beyond} ${position}` : sql``
  const branches = roles.flatMap((role) =>
    states.map(
      (state) =>
        sql`SELECT seq, ${columnsOf('users')} FROM ${source} WHERE role = ${role} AND state = ${state}${emailIs}${after}`,
    ),
  )
  return sql<Row>`${sql.join(branches, sql` UNION ALL `)}
    ORDER BY ${order} LIMIT ${filter.limit + 1} OFFSET ${offset}`
}

/**
 * Substrings of at least three characters, by the trigram index; role and state are in the index too, so filters
 * cost no rows. In the order in which people were made, which is the index's own.
 */
export function search({ filter, roles, states, isDescending, position, offset }: Selection): SQL<Row> {
  const anyOf = (facet: string, values: readonly string[]) =>
    `facets : (${values.map((value) => `"${facet}=${value === 'deleted' ? 'x' : value[0]}"`).join(' OR ')})`
  const contains = (columns: string, value: string) => `${columns} : "${value.replaceAll('"', '""')}"`
  const match = [
    contains('{email_normalized name}', filter.q!),
    // Not only compared below: the index would go through everybody that the search finds.
    ...(filter.email ? [contains('email_normalized', filter.email)] : []),
    ...(filter.role ? [anyOf('r', roles)] : []),
    anyOf('s', states),
  ].join(' AND ')
  const beyond = sql.raw(isDescending ? '<' : '>')
  const after = position ? sql` AND users_fts.rowid ${beyond} ${position[0]}` : sql``
  const emailIs = filter.email ? sql` AND users.email_normalized = ${filter.email}` : sql``
  return sql<Row>`SELECT users.seq, ${columnsOf('users')} FROM users_fts CROSS JOIN ${users} ON users.seq = users_fts.rowid
    WHERE users_fts MATCH ${match}${after}${emailIs}
    ORDER BY users_fts.rowid ${sql.raw(isDescending ? 'DESC' : 'ASC')} LIMIT ${filter.limit + 1} OFFSET ${offset}`
}

/** From the kept totals: never counts people. */
const countOf = ({ roles, states }: Selection) =>
  sql<{
    total: number
  }>`SELECT sum(total) AS total FROM ${userTotals} WHERE role IN ${roles} AND state IN ${states}`
