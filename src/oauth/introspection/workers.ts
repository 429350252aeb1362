import { and, eq, isNull } from 'drizzle-orm'
import { hasPermission, isPermission } from '../../access/permissions.ts'
import type { Resources } from '../../context.ts'
import { build } from '../../database/statements.ts'
import { profileColumns, users } from '../../users/models.ts'
import { toUser, type User } from '../../users/schemas.ts'
import { describeToken, type Introspection } from './service.ts'

export interface Wanted {
  /** A scope that the token must have; for a token of a login, a permission of the user's role. */
  scope?: string
  /** The URL of the service that the token must be for, if that is not Roster itself. */
  resource?: string
  /** Not to rely on copies, for what somebody who was shut out a moment ago must not do. */
  isFresh?: boolean
}

/** Whether a token is valid now for this purpose. Only Workers of ours call this, so nobody has to prove who asks. */
export async function verifyFor(
  resources: Resources,
  token: string,
  { scope, resource, isFresh = false }: Wanted = {},
): Promise<Introspection> {
  const said = await describeToken(resources, token, { isFresh, resource })
  return said.active && (scope === undefined || mayDo(said, scope)) ? said : { active: false }
}

function mayDo(said: Introspection & { active: true }, scope: string): boolean {
  const { role } = said as { role?: User['role'] }
  if (role !== undefined) return isPermission(scope) && hasPermission(role, scope)
  return String(said.scope).split(' ').includes(scope)
}

/** A user by id; null if there is none, or if they are deleted. */
export async function findUserFor({ db }: Pick<Resources, 'db'>, id: string): Promise<User | null> {
  const { found } = await db.read({
    found: build
      .select(profileColumns)
      .from(users)
      .where(and(eq(users.id, id), isNull(users.deleted_at))),
  })
  return found[0] ? toUser(found[0]) : null
}
