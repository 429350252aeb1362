import { and, desc, eq, type SQL, sql } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import { formerSecretColumns } from '../access/former-secrets.ts'
import { requireRecentLogin } from '../access/guards.ts'
import { makeApiKey } from '../access/key-tokens.ts'
import { hasPermission } from '../access/permissions.ts'
import { activityLogs } from '../activity/models.ts'
import { record } from '../activity/service.ts'
import type { Resources } from '../context.ts'
import { build, insertWhere, rowExists } from '../database/statements.ts'
import type { List } from '../http/pagination.ts'
import { invalidInput, Refusal } from '../http/problem.ts'
import { addedAt, readAddedAt } from '../links/service.ts'
import { openAddedNotices } from '../mail/limits.ts'
import { enqueueNotice } from '../mail/outbox.ts'
import type { Claims } from '../sessions/access-tokens.ts'
import { invalidToken } from '../sessions/errors.ts'
import { sessions } from '../sessions/models.ts'
import { tokenIsLive } from '../sessions/revocation.ts'
import { applyChange, byActor, isSamePerson } from '../users/change.ts'
import { addressNotVerified, writeConflict } from '../users/errors.ts'
import { selectUsers, users } from '../users/models.ts'
import { toTime, toTimeOrNull } from '../values/ids.ts'
import { apiKeyExpired, apiKeyNotFound, tooManyApiKeys } from './errors.ts'
import { type ApiKey as ApiKeyRow, apiKeys, FORMER_MS } from './models.ts'
import type { ApiKey, ApiKeyWithSecret, CreateApiKey } from './schemas.ts'

const MAX_KEYS = 50

const toApiKey = (row: ApiKeyRow, now: number): ApiKey => ({
  id: row.id,
  name: row.name,
  permissions: JSON.parse(row.permissions) as string[],
  expires_at: toTimeOrNull(row.expires_at),
  created_at: toTime(row.created_at),
  rotated_at: toTime(row.rotated_at),
  former_until:
    row.former_secret_until !== null && row.former_secret_until > now
      ? toTime(row.former_secret_until)
      : null,
  last_used_at: toTimeOrNull(row.last_used_at),
})

const ofUser = (userId: string) =>
  build.select().from(apiKeys).where(eq(apiKeys.user_id, userId)).orderBy(desc(apiKeys.id)).limit(MAX_KEYS)

/** The user's own keys, newest first: at most 50, so the list is one page. */
export async function listApiKeys(
  { db, now }: Pick<Resources, 'db' | 'now'>,
  userId: string,
): Promise<List<ApiKey>> {
  const { keys } = await db.read({ keys: ofUser(userId) })
  const data = keys.map((row) => toApiKey(row, now))
  return { data, pagination: { limit: MAX_KEYS, next_cursor: null, prev_cursor: null, total: data.length } }
}

/** The user who makes a secret, their session, and the key if it exists already. */
async function readOwn(resources: Resources, actor: Claims, keyId = '') {
  requireRecentLogin(actor, resources.now)
  const notices = openAddedNotices(resources, 'keys made', actor.sid, actor.sub)
  // From the primary: a lagging replica may not have the session or the key yet.
  const { user, session, key, spent } = await resources.db.readPrimary({
    user: selectUsers().where(eq(users.id, actor.sub)),
    session: build.select({ amr: sessions.amr }).from(sessions).where(eq(sessions.id, actor.sid)),
    key: build
      .select()
      .from(apiKeys)
      .where(and(eq(apiKeys.id, keyId), eq(apiKeys.user_id, actor.sub))),
    spent: notices.spent,
  })
  if (!user[0] || !session[0]) throw invalidToken(new Refusal('unknown'))
  // An unproved address may be somebody else's, and then so may the account.
  if (resources.send && user[0].email_verified_at === null) throw addressNotVerified()
  notices.assertMayAdd(spent)
  return { user: user[0], amr: session[0].amr, key: key[0], notices }
}

/**
 * Makes a key for oneself. The owner is notified by mail.
 *
 * @throws 403 `reauthentication_required`; 409 `too_many_api_keys`, `address_not_verified`; 422 for a
 *   permission that the user lacks or an expiry in the past; 429 `too_many_attempts`.
 */
export async function createApiKey(
  resources: Resources,
  actor: Claims,
  input: CreateApiKey,
): Promise<ApiKeyWithSecret> {
  const { config, now } = resources
  const { user, amr, notices } = await readOwn(resources, actor)
  const lacking = input.permissions.flatMap((permission, at) =>
    hasPermission(user.role, permission)
      ? []
      : [{ pointer: `/permissions/${at}`, code: 'not_yours', detail: 'Is a permission that you lack.' }],
  )
  if (lacking.length > 0) throw invalidInput(lacking)
  if (input.expires_at !== null && input.expires_at <= now)
    throw invalidInput([{ pointer: '/expires_at', code: 'in_the_past', detail: 'Is in the past.' }])
  const id = uuidv7()
  const { key, digest } = makeApiKey(config, id, actor.sub)
  const row: ApiKeyRow = {
    id,
    user_id: actor.sub,
    name: input.name,
    permissions: JSON.stringify(input.permissions),
    secret_hash: digest,
    former_secret_hash: null,
    former_secret_until: null,
    expires_at: input.expires_at,
    session_id: actor.sid,
    amr,
    created_at: now,
    rotated_at: now,
    last_used_at: null,
  }
  const isFull = sql`((SELECT count(*) FROM ${apiKeys} WHERE user_id = ${actor.sub}) >= ${MAX_KEYS})`
  const added = readAddedAt(resources, actor.sub)
  await applyChange(resources, byActor(actor, now), user, {
    action: 'api_key.created',
    details: { key_id: id, name: row.name, permissions: input.permissions },
    set: {},
    leavesUser: true,
    reliesOn: isSamePerson(user),
    unless: { full: { is: isFull, refused: tooManyApiKeys }, told: notices.obstacle },
    alsoWrite: (isDone) => [insertWhere(apiKeys, { ...row, rotated_at: addedAt(actor.sub, now) }, isDone)],
    mails: (isDone) => [enqueueNotice(resources, 'api_key_added', user, isDone, { told: notices.told })],
  })
  return { ...toApiKey({ ...row, rotated_at: (await added.rows)[0]!.at }, now), key }
}

/**
 * Makes a new secret for a key; the former one stays valid for another day, so that no program is
 * interrupted. If rotated again within ten minutes, that former secret stays valid and the one in between
 * ends. The owner is notified by mail.
 *
 * @throws 403 `reauthentication_required`; 404 `api_key_not_found`; 409 `api_key_expired`, `write_conflict`;
 *   429 `too_many_attempts`.
 */
export async function rotateApiKey(
  resources: Resources,
  actor: Claims,
  id: string,
): Promise<ApiKeyWithSecret> {
  const { config, now } = resources
  const { user, amr, key: row, notices } = await readOwn(resources, actor, id)
  if (!row) throw apiKeyNotFound()
  if (row.expires_at !== null && row.expires_at <= now) throw apiKeyExpired()
  const { key, digest } = makeApiKey(config, id, actor.sub)
  const set = {
    secret_hash: digest,
    ...formerSecretColumns(row, FORMER_MS, now),
    session_id: actor.sid,
    amr,
    rotated_at: now,
  }
  const isThis = eq(apiKeys.id, id)
  const isOther = sql`(NOT EXISTS (SELECT 1 FROM ${apiKeys} WHERE ${isThis} AND user_id = ${actor.sub}
    AND secret_hash = ${row.secret_hash}))`
  const added = readAddedAt(resources, actor.sub)
  await applyChange(resources, byActor(actor, now), user, {
    action: 'api_key.rotated',
    details: { key_id: id, name: row.name },
    set: {},
    leavesUser: true,
    reliesOn: isSamePerson(user),
    unless: { other: { is: isOther, refused: writeConflict }, told: notices.obstacle },
    alsoWrite: (isDone) => [
      build
        .update(apiKeys)
        .set({ ...set, rotated_at: addedAt(actor.sub, now) })
        .where(and(isThis, isDone)),
    ],
    mails: (isDone) => [enqueueNotice(resources, 'api_key_rotated', user, isDone, { told: notices.told })],
  })
  return { ...toApiKey({ ...row, ...set, rotated_at: (await added.rows)[0]!.at }, now), key }
}

/** Revokes one of the user's own keys at once. Throws 404 `api_key_not_found`. */
export async function revokeApiKey(resources: Resources, actor: Claims, id: string): Promise<void> {
  const { db, now } = resources
  const isTheirs: SQL = and(eq(apiKeys.id, id), eq(apiKeys.user_id, actor.sub))!
  const asked = { found: build.select({ name: apiKeys.name }).from(apiKeys).where(isTheirs) }
  // From the primary: a lagging replica may not have the key yet, and it would stay valid.
  const [key] = (await db.readPrimary(asked)).found
  if (!key) throw apiKeyNotFound()
  const event = {
    id: uuidv7(),
    action: 'api_key.revoked',
    userId: actor.sub,
    actorId: actor.sub,
    details: { key_id: id, name: key.name },
  } as const
  const isDone = rowExists(activityLogs, event.id)
  const isThere = sql`EXISTS (SELECT 1 FROM ${apiKeys} WHERE ${isTheirs})`
  const { verdict } = await db.writeBatch(
    {
      history: record(resources, event, sql`${tokenIsLive(actor, now)} AND ${isThere}`),
      ending: build.delete(apiKeys).where(and(isTheirs, isDone)),
      verdict: sql<{ is_done: 0 | 1; is_there: 0 | 1 }>`SELECT ${isDone} AS is_done, ${isThere} AS is_there`,
    },
    isDone,
  )
  const { is_done, is_there } = verdict[0]!
  if (!is_done) throw is_there ? invalidToken(new Refusal('meanwhile')) : apiKeyNotFound()
}
