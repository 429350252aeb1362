import type { SQL } from 'drizzle-orm'
import type { Resources } from '../../context.ts'
import { openAddedNotices } from '../../mail/limits.ts'
import type { Event } from '../../mail/outbox.ts'
import type { Claims } from '../../sessions/access-tokens.ts'
import { selectAdminsToTell, tellAll } from '../../users/managing/notices.ts'
import type { Client as ClientRow } from '../models.ts'
import type { Settings } from './schemas.ts'

export const isService = ({ grants }: Pick<Settings, 'grants'>) => grants.includes('client_credentials')

/** Whether a change lets a service do more, or lets somebody else act as it. */
export const givesPower = (row: ClientRow, { scopes }: Settings, { owner_id, jwks }: Partial<ClientRow>) =>
  (owner_id !== undefined && owner_id !== row.owner_id) ||
  (jwks !== null && jwks !== row.jwks) ||
  scopes.some((scope) => !(JSON.parse(row.scopes) as string[]).includes(scope))

/** Mails about a change of a service, for the batch of the change. */
export type Telling = Awaited<ReturnType<typeof openTelling>>

/**
 * A service acts with a secret of its own, and outlasts the session in which somebody set it up: so every administrator is
 * told, and an actor may make only as many such changes as may be mailed. Throws 429 `too_many_attempts`.
 */
export async function openTelling(resources: Resources & { actor: Claims }) {
  const { db, actor } = resources
  const notices = openAddedNotices(resources, 'services changed', actor.sid, actor.sub)
  const { admins, spent } = await db.read({ admins: selectAdminsToTell(), spent: notices.spent })
  notices.assertMayAdd(spent)
  return {
    mayAdd: notices.mayAdd,
    spent: notices.spent,
    assertMayAdd: notices.assertMayAdd,
    tell: (event: Event, isDone: SQL) =>
      tellAll(resources, 'service_changed', admins, event, isDone, notices.told),
  }
}
