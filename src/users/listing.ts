import { type SQL, sql } from 'drizzle-orm'
import { forbidden } from '../access/errors.ts'
import { allows } from '../access/permissions.ts'
import type { Resources } from '../context.ts'
import { type Places, prepare } from '../database/statements.ts'
import { type List, openPlace, toPage } from '../http/pagination.ts'
import type { Claims } from '../sessions/access-tokens.ts'
import { normalizeEmailPart } from '../values/email.ts'
import { firstIdAt } from '../values/ids.ts'
import { pageTooDeep } from './errors.ts'
import { LOCKED, managedAsJson, ROLES, STATES, users, userTotals } from './models.ts'
import { foldName } from './names.ts'
import {
  DEEPEST_ROW_BY_PAGE,
  type ListUsers,
  type ManagedUser,
  type SORTS,
  toManagedUser,
} from './schemas.ts'

type OrderColumn = 'seq' | 'id' | 'email_normalized' | 'name_key'
/** A profile as JSON, and the columns of the order, from which the cursor is made. */
type Row = { profile: string } & Pick<typeof users.$inferSelect, OrderColumn>
interface Total {
  total: number
}

/** For each sort, its index, and the index columns that follow role and state; ids break ties. */
const ORDERS = {
  created_at: { index: 'users_by_id', columns: ['id'] },
  email: { index: 'users_by_email', columns: ['email_normalized', 'id'] },
  name: { index: 'users_by_name', columns: ['name_key', 'id'] },
} as const satisfies Record<(typeof SORTS)[number], { index: string; columns: OrderColumn[] }>

/** What determines the shape of a query; everything else is a value. */
interface Kind {
  role: ListUsers['role']
  status: ListUsers['status']
  sort: (typeof SORTS)[number]
  isDescending: boolean
  isSearch: boolean
  hasEmail: boolean
  hasExternalId: boolean
  narrowed: Narrowed | undefined
  hasFrom: boolean
  hasTo: boolean
  /** It continues from a cursor. */
  isContinued: boolean
  /** It is a page by number, and not the first. */
  isSkipping: boolean
}

/**
 * The filters that have their own index, with the index condition word for word, as otherwise SQLite would
 * not use it. If a filter reads two indexes, no user is in both.
 */
const NARROWED = {
  locked: [
    { index: 'users_locked', holds: LOCKED.password },
    { index: 'users_locked_factor', holds: LOCKED.totpAlone },
  ],
  verified: [{ index: 'users_verified', holds: 'email_verified_at IS NOT NULL' }],
  unverified: [{ index: 'users_unverified', holds: 'email_verified_at IS NULL' }],
  needs_reset: [{ index: 'users_needing_reset', holds: 'needs_reset = 1' }],
  without_factor: [{ index: 'users_without_factor', holds: "factors = 0 AND role <> 'user'" }],
} as const
type Narrowed = keyof typeof NARROWED

const narrowedBy = ({
  locked,
  needs_reset,
  email_verified,
  second_factor,
}: ListUsers): Narrowed | undefined =>
  locked
    ? 'locked'
    : needs_reset
      ? 'needs_reset'
      : second_factor
        ? 'without_factor'
        : email_verified && (email_verified === 'true' ? 'verified' : 'unverified')

interface Values {
  email: string
  externalId: string
  match: string
  /** The same for the keys of names. */
  matchKey: string
  /** Times of creation as bounds on ids, which contain the time. */
  from: string
  to: string
  /** Where to continue: values of the order columns. */
  first: unknown
  second: unknown
  limit: number
  offset: number
}

/** Throws 403 for deleted users without the permission to delete. */
export function assertMayList(actor: Claims, { status }: Pick<ListUsers, 'status'>): void {
  if (status === 'deleted' && !allows(actor, 'users:delete')) throw forbidden()
}

/**
 * A page of users. Whatever the filters, it reads about as many rows as it returns: see `browse` and
 * `search`. Deleted users are only in the list that asks for them.
 *
 * @throws 400 `invalid_cursor`, `page_too_deep`; 403 for deleted users without the permission to delete.
 */
export async function listUsers(
  { db, config }: Resources,
  actor: Claims,
  filter: ListUsers,
): Promise<List<ManagedUser>> {
  const { limit, cursor, page, ...filters } = filter
  assertMayList(actor, filter)
  if (page !== undefined && page * limit > DEEPEST_ROW_BY_PAGE) throw pageTooDeep()
  const list = `users ${JSON.stringify(filters)}`
  const place = openPlace(config, list, cursor)
  const position = place?.position ?? []
  const isDescending = filter.sort.startsWith('-')
  const kind: Kind = {
    role: filter.role,
    status: filter.status,
    sort: filter.sort.replace('-', '') as Kind['sort'],
    isDescending: isDescending !== (place?.isBackwards ?? false),
    isSearch: filter.q !== undefined,
    hasEmail: filter.email !== undefined,
    hasExternalId: filter.external_id !== undefined,
    narrowed: narrowedBy(filter),
    hasFrom: filter.created_from !== undefined,
    hasTo: filter.created_to !== undefined,
    isContinued: cursor !== undefined,
    isSkipping: page !== undefined && page > 1,
  }
  const { found, counted } = await db.read<ReturnType<Query>>(
    queryOf(kind)({
      email: filter.email ?? '',
      externalId: filter.external_id ?? '',
      match: kind.isSearch ? matchOf(filter, partsOf(filter.q!)) : '',
      matchKey: kind.isSearch ? matchOf(filter, [['name', foldName(filter.q!)]]) : '',
      from: firstIdAt(filter.created_from ?? 0),
      to: firstIdAt(filter.created_to ?? 0),
      first: position[0],
      second: position[1],
      // One more row shows whether there is a next page.
      limit: limit + 1,
      offset: page === undefined ? 0 : (page - 1) * limit,
    }),
  )
  const { rows, pagination } = toPage(config, list, {
    read: found,
    limit,
    // A page by number, after the first, also has a previous page.
    place: place ?? (page !== undefined && page > 1 ? { position: [], isBackwards: false } : undefined),
    positionOf: (row) => orderOf(kind).map((name) => row[name]),
  })
  const total = counted ? (counted[0]?.total ?? 0) : null
  return {
    data: rows.map(({ profile }) => toManagedUser(managedAsJson.read(profile))),
    pagination: {
      ...pagination,
      total,
      ...(page !== undefined && { page }),
      ...(page !== undefined && total !== null && { pages: Math.ceil(total / limit) }),
    },
  }
}

type Query = (values: Values) => { found: SQL<Row>; counted?: SQL<Total> }
/** Holds a few hundred queries at most. */
const queries = new Map<string, Query>()

function queryOf(kind: Kind): Query {
  const name = JSON.stringify(kind)
  const known = queries.get(name)
  if (known) return known
  const query: Query = prepare((at: Places<Values>) => {
    const page = kind.isSearch ? search(kind, at) : browse(kind, at)
    return kind.isSearch || kind.hasEmail || kind.hasExternalId || kind.narrowed || kind.hasFrom || kind.hasTo
      ? { found: page }
      : { found: page, counted: countOf(kind) }
  })
  queries.set(name, query)
  return query
}

const rolesOf = (role: Kind['role']): readonly string[] => (role ? [role] : ROLES)
const statesOf = (status: Kind['status']): readonly string[] =>
  status ? [status] : STATES.filter((state) => state !== 'deleted')

/** A search uses its own index. */
const orderOf = (kind: Kind): readonly OrderColumn[] => (kind.isSearch ? ['seq'] : ORDERS[kind.sort].columns)

const selectedBy = (kind: Kind) => {
  const order = orderOf(kind).map((name) => `users.${name}`)
  return sql.raw(`${managedAsJson.select} AS profile, ${order.join(', ')}`)
}

/**
 * One branch for each combination of role and state, each already sorted by its index; SQLite merges them and
 * stops at the limit. So a page costs its rows and one more for each branch (at most nine).
 */
function browse(kind: Kind, at: Places<Values>): SQL<Row> {
  const { index, columns } = ORDERS[kind.sort]
  const beyond = sql.raw(kind.isDescending ? '<' : '>')
  const order = sql.raw(columns.map((name) => `${name} ${kind.isDescending ? 'DESC' : 'ASC'}`).join(', '))
  const emailIs = kind.hasEmail ? sql` AND email_normalized = ${at.email}` : sql``
  const position = columns.length === 1 ? sql`${at.first}` : sql`${at.first}, ${at.second}`
  const after = kind.isContinued ? sql` AND (${sql.raw(columns.join(', '))}) ${beyond} (${position})` : sql``
  const from = kind.hasFrom ? sql` AND id >= ${at.from}` : sql``
  const to = kind.hasTo ? sql` AND id < ${at.to}` : sql``
  const selected = kind.isSkipping ? sql.raw(['seq', ...columns].join(', ')) : selectedBy(kind)
  if (kind.hasExternalId) {
    return sql<Row>`SELECT ${selectedBy(kind)} FROM users INDEXED BY users_by_external_id
      WHERE external_id = ${at.externalId} AND role IN ${rolesOf(kind.role)} AND state IN ${statesOf(kind.status)}${emailIs}${from}${to}${after}
      ORDER BY ${order} LIMIT ${at.limit} OFFSET ${at.offset}`
  }
  const sources = kind.narrowed ? NARROWED[kind.narrowed] : [{ index, holds: undefined }]
  const branches = sources.flatMap(({ index, holds }) => {
    // With a filter by address, the index by address finds the few matches, whatever the sort.
    const source = sql.raw(`users INDEXED BY ${kind.hasEmail ? 'users_by_email' : index}`)
    const narrowed = sql.raw(holds ? ` AND ${holds}` : '')
    return rolesOf(kind.role).flatMap((role) =>
      statesOf(kind.status).map(
        (state) =>
          sql`SELECT ${selected} FROM ${source} WHERE role = ${role} AND state = ${state}${narrowed}${emailIs}${from}${to}${after}`,
      ),
    )
  })
  // SQLite merges the first two, their result with the third, and so on. Active users are most, and come last: their rows
  // go through one merge.
  const page = sql<Row>`${sql.join(branches.toReversed(), sql` UNION ALL `)}
    ORDER BY ${order} LIMIT ${at.limit} OFFSET ${at.offset}`
  if (!kind.isSkipping) return page
  // Skipped rows are read in the index alone; the rows of the page are then fetched one by one, in its order.
  return sql<Row>`SELECT ${selectedBy(kind)} FROM (${page}) AS place CROSS JOIN ${users} ON users.seq = place.seq`
}

/**
 * Finds substrings of at least three characters by the trigram indexes: in names and addresses, and in the
 * keys of names that have one. The order is that of creation, which is the indexes' own, so their results can
 * be merged.
 */
function search(kind: Kind, at: Places<Values>): SQL<Row> {
  const beyond = sql.raw(kind.isDescending ? '<' : '>')
  const order = sql.raw(kind.isDescending ? 'DESC' : 'ASC')
  const after = kind.isContinued ? sql` AND rowid ${beyond} ${at.first}` : sql``
  const page = sql`LIMIT ${at.limit} OFFSET ${at.offset}`
  const found = sql`SELECT rowid AS place FROM users_fts WHERE users_fts MATCH ${at.match}${after}
    UNION SELECT rowid FROM names_fts WHERE names_fts MATCH ${at.matchKey}${after} ORDER BY place ${order}`
  // The rows are fetched one by one, in the order in which they were found; a subquery with a limit preserves
  // it.
  const rows = (most: SQL) => sql<Row>`SELECT ${selectedBy(kind)} FROM (${found} ${most}) AS found
    CROSS JOIN ${users} ON users.seq = found.place`
  // An address belongs to one user, so few rows are skipped.
  return kind.hasEmail
    ? sql<Row>`${rows(sql`LIMIT -1`)} WHERE users.email_normalized = ${at.email} ${page}`
    : rows(page)
}

type Part = [column: 'name' | 'email_normalized', text: string]
const partsOf = (q: string): Part[] => [
  ['name', q],
  ['email_normalized', normalizeEmailPart(q)],
]

/** The query of a trigram index. Role and state are indexed too, so these filters cost no rows. */
function matchOf(filter: ListUsers, parts: readonly Part[]): string {
  const anyOf = (facet: string, values: readonly string[]) =>
    `facets : (${values.map((value) => `"${facet}=${value === 'deleted' ? 'x' : value[0]}"`).join(' OR ')})`
  const contains = ([column, text]: Part) => `${column} : "${text.replaceAll('"', '""')}"`
  return [
    `(${parts.map(contains).join(' OR ')})`,
    // Also in the match: compared only afterwards, every hit of the search would be read.
    ...(filter.email ? [contains(['email_normalized', filter.email])] : []),
    ...(filter.role ? [anyOf('r', rolesOf(filter.role))] : []),
    anyOf('s', statesOf(filter.status)),
  ].join(' AND ')
}

/**
 * From the stored totals, without counting users; so a search has no total. Without a filter all nine rows
 * are read, which is fewer than an index and its table.
 */
const countOf = (kind: Kind) => {
  const source = sql`${userTotals} ${sql.raw(kind.role || kind.status ? '' : 'NOT INDEXED')}`
  return sql<Total>`SELECT sum(total) AS total FROM ${source}
    WHERE role IN ${rolesOf(kind.role)} AND state IN ${statesOf(kind.status)}`
}
