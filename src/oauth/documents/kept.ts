import { and, eq, getTableColumns, type SQL, sql } from 'drizzle-orm'
import type { Resources } from '../../context.ts'
import { build } from '../../database/statements.ts'
import { sessions } from '../../sessions/models.ts'
import { selectClient } from '../clients/service.ts'
import { isByDocument, oauthClients, oauthGrants } from '../models.ts'

const kept = (member: string) => sql`json_extract(${oauthGrants.document}, ${`$.${member}`})`

/** What is said anew by a document, as the grant has kept it. */
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
 * A client as it is to somebody: as it is registered, or as it said of itself when they let it. What it says by now is for
 * the next who are asked.
 */
export const selectClientOf = (id: string, userId: SQL | string): ReturnType<typeof selectClient> =>
  isByDocument(id) ? (selectKept(id, userId) as never) : selectClient(id)

/** Whose a session is. */
export const userOf = (sid: string) => sql`(SELECT user_id FROM ${sessions} WHERE id = ${sid})`

/** What a grant keeps was kept a moment ago: a replica that lags would not know the app. Only for a proof of ours. */
export const readerFor = (
  { db }: Pick<Resources, 'db'>,
  clientId: string,
  isProof: boolean,
): Resources['db']['read'] => (isProof && isByDocument(clientId) ? db.readPrimary : db.read)
