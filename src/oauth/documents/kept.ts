import { and, eq, getTableColumns, type SQL, sql } from 'drizzle-orm'
import type { Resources } from '../../context.ts'
import { build } from '../../database/statements.ts'
import { sessions } from '../../sessions/models.ts'
import { selectClient } from '../clients/service.ts'
import { isByDocument, oauthClients, oauthGrants } from '../models.ts'

const kept = (member: string) => sql`json_extract(${oauthGrants.document}, ${`$.${member}`})`

/** The document stored with the user's grant. */
const selectKept = (id: string, userId: SQL | string) =>
  build
    .select({
      ...getTableColumns(oauthClients),
      name: kept('name').as('name'),
      type: kept('type').as('type'),
      token_endpoint_auth_method: kept('token_endpoint_auth_method').as('token_endpoint_auth_method'),
      grants: kept('grants').as('grants'),
      redirect_uris: kept('redirect_uris').as('redirect_uris'),
      id_token_signed_response_alg: kept('id_token_signed_response_alg').as('id_token_signed_response_alg'),
      logo_uri: kept('logo_uri').as('logo_uri'),
      jwks: kept('jwks').as('jwks'),
    })
    .from(oauthClients)
    .innerJoin(oauthGrants, eq(oauthGrants.client_id, oauthClients.id))
    .where(and(eq(oauthClients.id, id), eq(oauthGrants.user_id, sql`${userId}`)))

/**
 * A client as a user knows it: as it is registered or, if it has a document, as that was when the user gave consent.
 * A later document only applies to users who are asked after it.
 */
export const selectClientOf = (id: string, userId: SQL | string): ReturnType<typeof selectClient> =>
  isByDocument(id) ? (selectKept(id, userId) as never) : selectClient(id)

/** The user of a session. */
export const userOf = (sid: string) => sql`(SELECT user_id FROM ${sessions} WHERE id = ${sid})`

/**
 * The grant may be a moment old, and unknown to a lagging replica. `isProof`: whether the caller holds something that
 * we issued for it.
 */
export const readerFor = (
  { db }: Pick<Resources, 'db'>,
  clientId: string,
  isProof: boolean,
): Resources['db']['read'] => (isProof && isByDocument(clientId) ? db.readPrimary : db.read)
