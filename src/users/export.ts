import { type Column, getTableColumns, type SQL, sql, type Table } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import * as z from 'zod'
import { requireRecentLogin } from '../access/guards.ts'
import { textsAsBytes } from '../activity/details.ts'
import { activityLogs, HAS_TIME, IS_OF_OTHERS } from '../activity/models.ts'
import { Activity } from '../activity/schemas.ts'
import { decodeRow, type Read, record, toActivity } from '../activity/service.ts'
import { ownReader, visibleTo, withoutOthers } from '../activity/visibility.ts'
import { apiKeys } from '../api-keys/models.ts'
import type { Resources } from '../context.ts'
import { rowExists } from '../database/statements.ts'
import { factors, recoveryCodes } from '../factors/models.ts'
import { toStream } from '../http/stream.ts'
import { idempotencyKeys } from '../idempotency/models.ts'
import { identities } from '../identities/models.ts'
import { invitations } from '../invitations/models.ts'
import { oneTimeTokens } from '../links/models.ts'
import { outbox } from '../mail/models.ts'
import { oauthClients, oauthGrants } from '../oauth/models.ts'
import { passkeys } from '../passkeys/models.ts'
import type { Claims } from '../sessions/access-tokens.ts'
import { invalidToken } from '../sessions/errors.ts'
import { sessions } from '../sessions/models.ts'
import { checkStillLive, tokenIsLive } from '../sessions/revocation.ts'
import { assertMayExport } from '../throttle/limits.ts'
import { toTime } from '../values/ids.ts'
import { lazy, type Of } from '../values/lazy.ts'
import { webhookDeliveries, webhooks } from '../webhooks/models.ts'
import type { Acting } from './change.ts'
import { userNotFound } from './errors.ts'
import { selectUsers, users } from './models.ts'

/** The schema of a table's row in an export: its columns, except those that are withheld. */
function rowOf(table: Table) {
  const columns = Object.entries(getTableColumns(table)).filter(([name]) => !WITHHELD.has(name))
  const typeOf = (name: string, { dataType }: Column) =>
    isTime(name) || !['number', 'boolean'].includes(dataType) ? z.string() : z.number()
  const members = columns.map(([name, column]) => [name, typeOf(name, column).nullable().optional()])
  return z.looseObject(Object.fromEntries(members) as Record<string, z.ZodType<string | number | null>>)
}
const rowsOf = (table: Table) => z.array(rowOf(table))

/** Everything that is held about a person, by table (GDPR articles 15 and 20). */
export const UserExport = lazy(() =>
  z
    .object({
      exported_at: z.iso.datetime(),
      user: rowOf(users),
      sessions: rowsOf(sessions),
      activity: z.array(Activity()),
      invitations: rowsOf(invitations),
      mails: rowsOf(outbox),
      one_time_tokens: rowsOf(oneTimeTokens),
      idempotency_keys: rowsOf(idempotencyKeys),
      factors: rowsOf(factors),
      recovery_codes: rowsOf(recoveryCodes),
      passkeys: rowsOf(passkeys),
      identities: rowsOf(identities),
      oauth_grants: rowsOf(oauthGrants),
      oauth_clients: rowsOf(oauthClients),
      api_keys: rowsOf(apiKeys),
      webhooks: rowsOf(webhooks),
      webhook_deliveries: rowsOf(webhookDeliveries),
    })
    .meta({ id: 'UserExport' }),
)
export type UserExport = Of<typeof UserExport>

/** Columns that hold a secret, or that have a meaning only inside this system. */
const WITHHELD = new Set([
  'password_hash',
  'body_hash',
  'response',
  'seq',
  'facets',
  'name_fold',
  'name_key',
  'token_epoch',
  'device_epoch',
  'devices',
  'failed_attempts',
  'counter',
  'cursor',
  'seed',
  'key_id',
  'hash',
  'secret_hash',
  'former_secret_hash',
  'epoch',
  'client_epoch',
  'secret',
  'former_secret',
  // The URL of a webhook: its path may be a secret, and its creator may no longer be an administrator.
  'url',
  // The same data is in `user` and `activity`, as the user may see it.
  'snapshot',
  'event_details',
  'caused_by',
])

const ROWS_PER_PAGE = 500

type Row = Record<string, unknown>
type Member = Exclude<keyof UserExport, 'exported_at' | 'user'>

/** Rows of one table, read by an index: `where` selects them, and `key` is their order. */
interface Source {
  member: Member
  table: Table
  /** If the columns are not read as they are. */
  columns?: SQL
  where: SQL
  key: readonly string[]
  /** Which rows are about somebody else. */
  isAboutOthers?: (row: Row) => boolean
}

/** Rows about a user, rows they created, and rows with their address. Each row is in exactly one source. */
function sourcesOf(id: string): Source[] {
  // An unproved address may be somebody else's, and so is what was sent to it.
  const email = sql`(SELECT email_normalized FROM ${users} WHERE ${users.id} = ${id} AND email_verified_at IS NOT NULL)`
  const isOthers = sql`coalesce(user_id, '') <> ${id}`
  const history = (where: SQL): Source => ({
    member: 'activity',
    table: activityLogs,
    columns: sql`id, ${textsAsBytes}`,
    where: sql`${where} AND ${HAS_TIME}`,
    key: ['id'],
  })
  const of = (member: Member, table: Table, where: SQL, key = ['rowid']): Source => ({
    member,
    table,
    where,
    key,
  })
  const ofOthers = (source: Source, isAboutOthers = (_: Row) => true): Source => ({
    ...source,
    isAboutOthers,
  })
  // What they made as an administrator says that they did, and not how others run it now.
  const made = (source: Source, ...more: string[]): Source => {
    const shown = ['id', 'created_at', ...more].map(sql.identifier)
    const makers = ['created_by', 'secret_by']
      .map(sql.identifier)
      .map((name) => sql`iif(${name} = ${id}, ${id}, NULL) AS ${name}`)
    return { ...source, columns: sql.join([...shown, ...makers], sql`, `) }
  }
  return [
    of('sessions', sessions, sql`user_id = ${id} AND revoked_at IS NULL`, ['id']),
    of('sessions', sessions, sql`user_id = ${id} AND revoked_at IS NOT NULL`, ['revoked_at', 'id']),
    history(sql`user_id = ${id}`),
    history(sql`actor_id = ${id} AND ${IS_OF_OTHERS}`),
    of('invitations', invitations, sql`user_id = ${id}`),
    of('invitations', invitations, sql`email_normalized = ${email} AND ${isOthers}`),
    ofOthers(
      of(
        'invitations',
        invitations,
        sql`invited_by = ${id} AND ${isOthers} AND email_normalized IS NOT ${email}`,
      ),
    ),
    ofOthers(of('mails', outbox, sql`user_id = ${id}`), ({ kind }) => kind === 'address_replaced_by_admin'),
    of('one_time_tokens', oneTimeTokens, sql`subject_id = ${id}`, ['purpose', 'rowid']),
    of('idempotency_keys', idempotencyKeys, sql`subject_id = ${id}`),
    ofOthers(
      of('idempotency_keys', idempotencyKeys, sql`principal = ${id} AND subject_id <> ${id}`, [
        'route',
        'key',
      ]),
    ),
    of('factors', factors, sql`user_id = ${id}`, ['user_id']),
    of('recovery_codes', recoveryCodes, sql`user_id = ${id}`, ['hash']),
    of('passkeys', passkeys, sql`user_id = ${id}`, ['rp_id', 'id']),
    of('api_keys', apiKeys, sql`user_id = ${id}`, ['id']),
    of('identities', identities, sql`user_id = ${id}`, ['id']),
    of('oauth_grants', oauthGrants, sql`user_id = ${id}`, ['client_id']),
    of('oauth_clients', oauthClients, sql`owner_id = ${id}`, ['id']),
    made(
      of('oauth_clients', oauthClients, sql`created_by = ${id} AND owner_id IS NOT ${id}`, ['id']),
      'name',
    ),
    made(
      of(
        'oauth_clients',
        oauthClients,
        sql`secret_by = ${id} AND created_by IS NOT ${id} AND owner_id IS NOT ${id}`,
        ['id'],
      ),
      'name',
    ),
    made(of('webhooks', webhooks, sql`(created_by = ${id} OR secret_by = ${id})`, ['id'])),
    of('webhook_deliveries', webhookDeliveries, sql`user_id = ${id} AND snapshot IS NOT NULL`),
  ]
}

/** A page of a source, after the given row. Each row's position is selected as `cursor`. */
function selectPage({ table, columns = sql`*`, where, key }: Source, after?: Row) {
  const names = sql.join(key.map(sql.identifier), sql`, `)
  const values = after && JSON.parse(after.cursor as string)
  const place =
    values &&
    sql`AND (${names}) > (${sql.join(
      values.map((value: unknown) => sql`${value}`),
      sql`, `,
    )})`
  return sql<Row>`SELECT ${columns}, json_array(${names}) AS cursor FROM ${table} WHERE ${where} ${place ?? sql``}
    ORDER BY ${names} LIMIT ${ROWS_PER_PAGE}`
}

/**
 * Everything held about a user, except secrets, as the text of one JSON object. It is read page by page while
 * it is sent, and breaks off when its reader loses access. The first trip writes the row of history, and
 * reads the first pages.
 *
 * @throws 403 `reauthentication_required`; 404 `user_not_found`.
 */
export async function exportUser(resources: Resources, actor: Claims, id: string): Promise<ReadableStream> {
  const { db, now } = resources
  requireRecentLogin(actor, now)
  await assertMayExport(resources, actor.sub)
  const event = { id: uuidv7(), action: 'user.exported', userId: id, actorId: actor.sub } as const
  const isDone = rowExists(activityLogs, event.id)
  const sources = sourcesOf(id)
  const { user, verdict, ...pages } = await db.writeBatch(
    {
      history: record(resources, event, sql`${tokenIsLive(actor, now)} AND ${rowExists(users, id)}`),
      user: selectUsers().where(sql`${users.id} = ${id}`),
      verdict: sql<{ is_done: 0 | 1 }>`SELECT ${isDone} AS is_done`,
      ...Object.fromEntries(sources.map((source, index) => [`page${index}`, selectPage(source)])),
    },
    isDone,
  )
  if (!user[0]) throw userNotFound()
  if (!verdict[0]!.is_done) throw invalidToken(new Error('revoked during the request'))
  const head = { exported_at: toTime(now), user: readable(user[0]) }
  const first = sources.map((_, index) => (pages as Record<string, Row[]>)[`page${index}`]!)
  const acting = { ...resources, actor }
  return toStream(acting, write(acting, id, head, sources, first))
}

/** The text, in chunks of a page. */
async function* write(acting: Acting, id: string, head: object, sources: Source[], first: Row[][]) {
  let member: Member | undefined
  let isFirst = true
  let text = JSON.stringify(head).slice(0, -1)
  for (const [index, source] of sources.entries()) {
    if (source.member !== member) {
      text += `${member ? ']' : ''},"${source.member}":[`
      isFirst = true
      member = source.member
    }
    for await (const page of pagesOf(acting, source, first[index]!)) {
      for (const row of page) {
        const seen = shown(source, row, id)
        if (!seen) continue
        text += (isFirst ? '' : ',') + JSON.stringify(readable(seen))
        isFirst = false
      }
      yield text
      text = ''
    }
  }
  yield `${text}]}`
}

/** The pages of a source. A failed page is not retried: the reader starts a new export. */
async function* pagesOf(acting: Acting, source: Source, first: Row[]) {
  let page = first
  yield page
  while (page.length === ROWS_PER_PAGE) {
    const assertLive = checkStillLive(acting, acting.actor)
    page = (await acting.db.readOnce({ page: selectPage(source, page.at(-1)) })).page
    await assertLive()
    yield page
  }
}

/** A row as the user may see it; undefined if they may not. */
function shown({ member, isAboutOthers }: Source, row: Row, id: string): Row | undefined {
  if (member !== 'activity') return isAboutOthers?.(row) ? withoutOthers(row) : row
  const seen = visibleTo(ownReader(id), decodeRow(row as Row & Read))
  return seen && toActivity(seen)
}

const isTime = (name: string) => /_(at|until)$/.test(name)

/** Without withheld columns, and with times as everywhere else in the API. */
const readable = (row: object): Row =>
  Object.fromEntries(
    Object.entries(row)
      .filter(([name]) => !WITHHELD.has(name))
      .map(([name, value]) => [name, isTime(name) && typeof value === 'number' ? toTime(value) : value]),
  )
