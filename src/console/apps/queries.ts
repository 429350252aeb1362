import { sql } from 'drizzle-orm'
import { hasPermission } from '../../access/permissions.ts'
import { pageOfClients } from '../../oauth/clients/listing.ts'
import { selectClient } from '../../oauth/clients/service.ts'
import { clientNotFound } from '../../oauth/errors.ts'
import { isByDocument, NOBODY_ANSWERS, oauthClients } from '../../oauth/models.ts'
import type { Acting } from '../../users/change.ts'
import { ROLES, userIsActive, users } from '../../users/models.ts'
import { webhooks } from '../../webhooks/models.ts'

const MANAGING = ROLES.filter((role) => hasPermission(role, 'clients:manage'))

/** A condition: this person may manage apps now. */
const mayManage = (id: unknown, now: number) =>
  sql`EXISTS (SELECT 1 FROM ${users} WHERE ${users.id} = ${id} AND ${users.role} IN ${MANAGING} AND ${userIsActive(now)})`

type Names = Record<string, string>
const toNames = (rows: { id: string; name: string }[]): Names =>
  Object.fromEntries(rows.map(({ id, name }) => [id, name]))

/** A page of apps, with the names of those who created them, in one trip. */
export async function readApps(acting: Acting, asked: { limit: number; cursor?: string | undefined }) {
  const page = pageOfClients(acting, asked)
  const { rows, makers } = await acting.db.read({
    rows: page.rows,
    makers: sql<{ id: string; name: string }>`SELECT id, name FROM ${users} WHERE id IN
      (SELECT created_by FROM ${oauthClients} WHERE created_by > '') AND deleted_at IS NULL`,
  })
  return { list: page.toList(rows), names: toNames(makers) }
}

/**
 * One app, who created it, and whether the person who answers for it still may, in one trip. Throws 404
 * `client_not_found`.
 */
export async function readApp({ db, now }: Acting, id: string) {
  const owner = sql`(SELECT owner_id FROM ${oauthClients} WHERE id = ${id})`
  const { client, people } = await db.read({
    client: selectClient(id),
    people: sql<{ id: string; name: string; may: 0 | 1 }>`SELECT id, name,
        id = ${owner} AND ${mayManage(owner, now)} AS may
      FROM ${users} AS person WHERE deleted_at IS NULL AND id IN
        ((SELECT created_by FROM ${oauthClients} WHERE id = ${id}), ${owner})`,
  })
  if (!client[0] || isByDocument(id)) throw clientNotFound()
  return { row: client[0], names: toNames(people), isAnsweredFor: people.some(({ may }) => may === 1) }
}

/** Something to do about an app, because somebody no longer manages apps. */
export interface LeftBehind {
  id: string
  name: string
  /** `secret`: somebody who should no longer have it may know it. `owner`: nobody answers for the service. */
  what: 'secret' | 'owner' | 'webhook'
  /** Null for somebody who is gone. */
  who: string | null
}

/** What people who no longer manage apps have left behind; up to twenty of each kind. */
export function selectOrphaned(now: number) {
  const of = (what: LeftBehind['what'], column: 'secret_by' | 'owner_id') => {
    const name = sql.identifier(column)
    return sql`SELECT * FROM (SELECT app.id, app.name, ${what} AS what, person.name AS who
      FROM ${oauthClients} AS app LEFT JOIN ${users} AS person ON person.id = app.${name} AND person.deleted_at IS NULL
      WHERE app.${name} >= ${NOBODY_ANSWERS} AND NOT ${mayManage(sql`app.${name}`, now)} LIMIT 20)`
  }
  const hooks = sql`SELECT * FROM (SELECT hook.id, hook.url AS name, 'webhook' AS what, person.name AS who
    FROM ${webhooks} AS hook LEFT JOIN ${users} AS person ON person.id = hook.secret_by AND person.deleted_at IS NULL
    WHERE hook.secret_by > '' AND NOT ${mayManage(sql`hook.secret_by`, now)} LIMIT 20)`
  return sql<LeftBehind>`${of('secret', 'secret_by')} UNION ALL ${of('owner', 'owner_id')} UNION ALL ${hooks}`
}
