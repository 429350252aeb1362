import { and, eq, sql } from 'drizzle-orm'
import { alias } from 'drizzle-orm/sqlite-core'
import { hasPermission } from '../access/permissions.ts'
import { oauthClients } from '../oauth/models.ts'
import { mayOwnServices } from '../sessions/client-tokens.ts'
import { ROLES, users } from '../users/models.ts'
import { invitations } from './models.ts'

const OF_OWNERS = ROLES.filter((role) => mayOwnServices(role) && hasPermission(role, 'users:create'))

/** The service that made an invitation, if a service made it and could still do so. */
export const service = alias(oauthClients, 'service')
export const isInvitingService = and(
  eq(service.id, invitations.invited_by),
  sql`instr(${service.scopes}, '"users:create"') > 0`,
)!

/** Joined after it: the user who answers for an invitation. That is its inviter or, for a service, its owner. */
export const answersForInvitation = and(
  sql`${users.id} = coalesce(${service.owner_id}, ${invitations.invited_by})`,
  sql`(${service.id} IS NULL OR ${users.role} IN ${OF_OWNERS})`,
)!
