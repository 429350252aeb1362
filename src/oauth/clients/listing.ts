import { and, asc, desc, gt, lt } from 'drizzle-orm'
import type { Resources } from '../../context.ts'
import { build } from '../../database/statements.ts'
import { type List, openPlace, toPage } from '../../http/pagination.ts'
import { type Client as ClientRow, isOfOurs, oauthClients } from '../models.ts'
import { type Client, toClient } from './schemas.ts'

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
