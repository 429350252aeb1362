import { eq, isNotNull, sql } from 'drizzle-orm'
import { selectLockedOut } from '../access/can-sign-in.ts'
import { hasPermission, outranks } from '../access/permissions.ts'
import { withTexts } from '../activity/details.ts'
import type { ListActivity } from '../activity/schemas.ts'
import { pageOfHistory } from '../activity/service.ts'
import { openStats } from '../activity/stats.ts'
import { readerOf, seesUser } from '../activity/visibility.ts'
import { build } from '../database/statements.ts'
import { selectFactorState } from '../factors/state.ts'
import { identities } from '../identities/models.ts'
import { invitations } from '../invitations/models.ts'
import { openSessionsOf } from '../sessions/service.ts'
import type { Acting } from '../users/change.ts'
import { findEarlierEmail } from '../users/earlier-email.ts'
import { userNotFound } from '../users/errors.ts'
import { countLocked, countNeedingReset, managedColumns, users, userTotals } from '../users/models.ts'
import { assertVisible, readProfile, sessionsAsSeenBy } from '../users/queries.ts'
import { toManagedUser } from '../users/schemas.ts'
import { selectFailing, type Webhook } from '../webhooks/models.ts'
import { type LeftBehind, selectOrphaned } from './apps/queries.ts'

/** How many people there are in each state; `all` leaves out the deleted. */
export type Totals = Record<string, number>

/** A row for each role and state. */
const selectTotals = () => build.select({ state: userTotals.state, total: userTotals.total }).from(userTotals)

const toTotals = (rows: { state: string; total: number }[]): Totals => {
  const totals: Totals = {}
  for (const { state, total } of rows) totals[state] = (totals[state] ?? 0) + total
  return { ...totals, all: (totals.active ?? 0) + (totals.disabled ?? 0) }
}

/** There is no reason to read more. */
const MAX_LOCKED = 100
const selectLocked = () => sql<{ count: number }>`SELECT ${countLocked(MAX_LOCKED)} AS count`

export async function readTotals({ db }: Acting): Promise<Totals> {
  const { totals, counted } = await db.read({
    totals: selectTotals(),
    counted: sql<{ locked: number; needs_reset: number }>`SELECT ${countLocked(MAX_LOCKED)} AS locked,
      ${countNeedingReset(MAX_LOCKED)} AS needs_reset`,
  })
  return { ...toTotals(totals), ...counted[0] }
}

/**
 * All that the page of one user shows, in one trip; one more for a deleted user. Throws 404 `user_not_found`.
 */
export async function readUserPage(acting: Acting, id: string) {
  const { db, config, actor } = acting
  const history = pageOfHistory(acting, readerOf(actor), { limit: 20, user_id: id })
  const {
    profile: [row],
    sessions,
    events,
    factors: [factors],
    password: [password],
    known,
  } = await db.read({
    ...readProfile({ id }),
    sessions: openSessionsOf(id),
    events: history.rows,
    factors: selectFactorState(config, id),
    password: build
      .select({ is_set: isNotNull(users.password_hash) })
      .from(users)
      .where(eq(users.id, id)),
    known: build
      .select({ provider: identities.provider, created_at: identities.created_at })
      .from(identities)
      .where(eq(identities.user_id, id)),
  })
  if (!row) throw userNotFound()
  assertVisible(actor, row)
  return {
    user: toManagedUser(row, (await findEarlierEmail(acting, row))?.email),
    verifiedAt: row.email_verified_at,
    factors: factors!,
    hasPassword: Boolean(password?.is_set),
    identities: known.map(({ provider, created_at }) => ({
      name: config.IDENTITY_PROVIDERS.find(({ id }) => id === provider)?.name ?? provider,
      isAsked: config.IDENTITY_PROVIDERS.some(({ id }) => id === provider),
      created_at,
    })),
    takesMail: acting.send !== undefined,
    sessions: sessionsAsSeenBy(actor, row, sessions).data,
    history: history.toPage(events).data,
    names: namesIn(events),
    mayManage: id !== actor.sub && outranks(actor.role, row.role),
  }
}

/** Names of the people who appear in rows of history, by id. */
const namesIn = (
  rows: {
    user_id: ArrayBuffer | null
    actor_id: ArrayBuffer | null
    subject_name: string | null
    actor_name: string | null
  }[],
): Record<string, string> =>
  Object.fromEntries(
    rows
      .map(withTexts)
      .flatMap(({ user_id, actor_id, subject_name, actor_name }) => [
        ...(user_id && subject_name ? [[user_id, subject_name] as const] : []),
        ...(actor_id && actor_name ? [[actor_id, actor_name] as const] : []),
      ]),
  )

/** A page of everybody's history, with the names of the people in it. */
export async function readActivity(acting: Acting, filter: ListActivity) {
  const history = pageOfHistory(acting, readerOf(acting.actor), filter)
  const { events } = await acting.db.read({ events: history.rows })
  return { list: history.toPage(events), names: namesIn(events) }
}

/** Users by their ids, only those that the actor may see. */
export async function findUsersByIds({ db, actor }: Acting, ids: string[]) {
  const { rows } = await db.read({
    rows: build.select(managedColumns).from(users).where(sql`${users.id} IN ${ids}`),
  })
  return rows.filter((row) => seesUser(readerOf(actor), row)).map((row) => toManagedUser(row))
}

/** Counting stops here: nobody needs more at a glance. */
const MAX_COUNTED = 10_000

/** How many people known at a provider that was removed are checked here; an operator's script checks all. */
const MAX_LOOKED_AT = 500

const NOTHING = sql<never>`SELECT 1 WHERE 0`
type Failing = Pick<Webhook, 'id' | 'url' | 'rested_at'>

/** The administrator's first page, in one trip. Days are in UTC. */
export async function readToday(acting: Acting) {
  const { db, now, actor, config } = acting
  const history = pageOfHistory(acting, readerOf(actor), { limit: 12 })
  const stats = openStats(acting)
  const read = await db.read({
    ...stats.statements,
    locked: selectLocked(),
    invited: sql<{ count: number }>`SELECT count(*) AS count FROM (SELECT 1 FROM ${invitations}
      WHERE accepted_at IS NULL AND withdrawn_at IS NULL AND expires_at > ${now} LIMIT ${MAX_COUNTED})`,
    events: history.rows,
    leftBehind: hasPermission(actor.role, 'clients:manage') ? selectOrphaned(now) : NOTHING,
    leftWithout: selectLockedOut(config, now, MAX_LOOKED_AT),
    failingHooks: hasPermission(actor.role, 'webhooks:manage') ? selectFailing() : NOTHING,
  })
  return {
    leftWithout: read.leftWithout,
    leftBehind: read.leftBehind as LeftBehind[],
    failingHooks: read.failingHooks as Failing[],
    stats: stats.toStats(read),
    locked: read.locked[0]!.count,
    invited: read.invited[0]!.count,
    history: history.toPage(read.events).data,
    names: namesIn(read.events),
  }
}
