import { eq } from 'drizzle-orm'
import type { Config } from '../config/main.ts'
import { build, type RowsOf } from '../database/statements.ts'
import { invalidTarget } from './errors.ts'
import { oauthClients, oauthResources } from './models.ts'

/**
 * Other services that tokens are made for (RFC 8707). Each is owned by one client, which defines its scopes.
 */

/** A resource in its owner's settings. */
interface OwnResource {
  url: string
  scopes: string[]
}

/** A resource that an app asks for, with the name of the client that owns it. */
export interface Resource extends OwnResource {
  name: string
}

/** Browsers turn `https://notes.example` into `https://notes.example/`. */
const written = (url: string) => url.replace(/^(https?:\/\/[^/?#]+)\/$/, '$1')

/** The service that a request wants a token for; null for Roster itself. */
export function targetOf({ ISSUER }: Pick<Config, 'ISSUER'>, resource: string | null | undefined) {
  const url = written(resource || ISSUER)
  return url === ISSUER ? null : url
}

export const selectResource = (url: string | null | undefined) =>
  build
    .select({ url: oauthResources.url, name: oauthClients.name, resources: oauthClients.resources })
    .from(oauthResources)
    .innerJoin(oauthClients, eq(oauthClients.id, oauthResources.client_id))
    .where(eq(oauthResources.url, url ?? ''))
type Row = RowsOf<ReturnType<typeof selectResource>>[number]

export function toResource(row: Row | undefined): Resource | undefined {
  const own = row && resourcesOf(row).find(({ url }) => url === row.url)
  return own && { ...own, name: row.name }
}

export const resourcesOf = ({ resources }: { resources: string }) => JSON.parse(resources) as OwnResource[]

/** Whether a client may introspect tokens for this service. */
export const owns = (client: { resources: string }, url: string | undefined) =>
  url !== undefined && resourcesOf(client).some((own) => own.url === url)

/** A token is only for the service that was allowed. Asking for another throws 400 `invalid_target`. */
export function assertSameTarget(
  config: Pick<Config, 'ISSUER'>,
  { resource }: Record<string, string>,
  target: string | null,
): void {
  if (resource && targetOf(config, resource) !== target) throw invalidTarget()
}
