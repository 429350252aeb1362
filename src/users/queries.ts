import { eq } from 'drizzle-orm'
import type { Activity, ListActivity } from '../activity/schemas.ts'
import { pageOfHistory } from '../activity/service.ts'
import { NO_ORIGIN, readerOf, seesOriginOf, seesUser } from '../activity/visibility.ts'
import type { Resources } from '../context.ts'
import { build, type Places, prepare } from '../database/statements.ts'
import type { List } from '../http/pagination.ts'
import type { Claims } from '../sessions/access-tokens.ts'
import type { Session as SessionRow } from '../sessions/models.ts'
import type { Session } from '../sessions/schemas.ts'
import { openSessionsOf, toSessionList } from '../sessions/service.ts'
import { findEarlierEmail } from './earlier-email.ts'
import { userNotFound } from './errors.ts'
import {
  type ManagedProfile,
  managedColumns,
  type Profile,
  selectUsers,
  type User as UserRow,
  users,
} from './models.ts'

const readUser = prepare(({ id }: Places<{ id: string }>) => ({
  user: selectUsers().where(eq(users.id, id)),
}))

/** Reads a user, deleted or not. Throws 404. */
export async function requireUser(
  { db }: Resources,
  id: string,
  { ofPrimary = false } = {},
): Promise<UserRow> {
  const asked = readUser({ id })
  const {
    user: [row],
  } = await (ofPrimary ? db.readPrimary(asked) : db.read(asked))
  if (!row) throw userNotFound()
  return row
}

export const readProfile = prepare(({ id }: Places<{ id: string }>) => ({
  profile: build.select(managedColumns).from(users).where(eq(users.id, id)),
}))

/** Throws 404 if the actor must not know of the user. */
export function assertVisible(actor: Claims, row: Pick<UserRow, 'deleted_at'>): void {
  if (!seesUser(readerOf(actor), row)) throw userNotFound()
}

/** A user, for those who manage users. A deleted one comes with the address that a restore would give back. Throws 404. */
export async function findUser(
  resources: Resources,
  actor: Claims,
  id: string,
): Promise<{ row: ManagedProfile; earlierEmail: string | undefined }> {
  const {
    profile: [row],
  } = await resources.db.read(readProfile({ id }))
  if (!row) throw userNotFound()
  assertVisible(actor, row)
  return { row, earlierEmail: (await findEarlierEmail(resources, row))?.email }
}

/** A user's open sessions. Where they are used from is only for those who outrank the user. Throws 404. */
export async function listSessionsOf({ db }: Resources, actor: Claims, id: string): Promise<List<Session>> {
  const {
    rows,
    profile: [user],
  } = await db.read({ rows: openSessionsOf(id), ...readProfile({ id }) })
  if (!user) throw userNotFound()
  assertVisible(actor, user)
  return sessionsAsSeenBy(actor, user, rows)
}

/** A user's open sessions, as a reader may see them. */
export function sessionsAsSeenBy({ sub, role }: Claims, user: Profile, rows: SessionRow[]): List<Session> {
  const list = toSessionList(rows)
  if (seesOriginOf({ id: sub, role }, user)) return list
  return { ...list, data: list.data.map((session) => ({ ...session, ...NO_ORIGIN })) }
}

/** A user's history, for those who manage users. A deleted user's is only for those who may see deleted users. Throws 404. */
export async function listActivityOf(
  resources: Resources & { actor: Claims },
  id: string,
  filter: Omit<ListActivity, 'user_id'>,
): Promise<List<Activity>> {
  const { actor } = resources
  const page = pageOfHistory(resources, readerOf(actor), { ...filter, user_id: id })
  const {
    rows,
    profile: [user],
  } = await resources.db.read({ rows: page.rows, ...readProfile({ id }) })
  // Of a purged user, only the history is left.
  assertVisible(actor, user ?? { deleted_at: 0 })
  return page.toPage(rows)
}
