import { and, asc, desc, gt, lt } from 'drizzle-orm'
import type { Resources } from '../../context.ts'
import { replicaMayMiss } from '../../database/lag.ts'
import { build } from '../../database/statements.ts'
import { type List, openPlace, toPage } from '../../http/pagination.ts'
import { timeOfId } from '../../values/ids.ts'
import { type Client as ClientRow, isByDocument, isOfOurs, oauthClients } from '../models.ts'
import { type Client, toClient } from './schemas.ts'
import { selectClient } from './service.ts'

type Asked = { limit: number; cursor?: string | undefined }

/** A page of all clients, newest first: its query, and the function that turns the rows into a page. */
export function pageOfClients({ config }: Pick<Resources, 'config'>, { limit, cursor }: Asked) {
  const place = openPlace(config, 'oauth_clients', cursor)
  const at = place?.position[0] as string | undefined
  const isBackwards = place?.isBackwards === true
  const rows = build
    .select()
    .from(oauthClients)
    .where(
      and(
        isOfOurs,
        at === undefined ? undefined : isBackwards ? gt(oauthClients.id, at) : lt(oauthClients.id, at),
      ),
    )
    .orderBy(isBackwards ? asc(oauthClients.id) : desc(oauthClients.id))
    .limit(limit + 1)
  const positionOf = ({ id }: ClientRow) => [id]
  const toList = (read: ClientRow[]): List<Client> => {
    const { rows, pagination } = toPage(config, 'oauth_clients', { read, limit, place, positionOf })
    return { data: rows.map(toClient), pagination }
  }
  return { rows, toList }
}

export async function listClients(resources: Resources, asked: Asked): Promise<List<Client>> {
  const page = pageOfClients(resources, asked)
  const { rows } = await resources.db.read({ rows: page.rows })
  return page.toList(rows)
}

/** The app of the scripts has an id without a time, so it is unknown when it was added, or added again. */
const mayBeNew = (id: string, now: number) => timeOfId(id) === 0 || replicaMayMiss(timeOfId(id), now)

/**
 * A client as it was read; from the primary if a lagging replica may not have it yet, as a new client is used
 * at once.
 */
export const clientWithPrimaryFallback = async (
  { db, now }: Pick<Resources, 'db' | 'now'>,
  row: ClientRow | undefined,
  id: string,
): Promise<ClientRow | undefined> =>
  row || isByDocument(id) || !mayBeNew(id, now)
    ? row
    : (await db.readPrimary({ client: selectClient(id) })).client[0]
