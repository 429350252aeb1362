import { getTableColumns, type SQL, sql } from 'drizzle-orm'
import * as z from 'zod'
import { lazy } from '../values/lazy.ts'
import { type Action, type ActivityLog, activityLogs } from './models.ts'

/** `{ from, to }`. */
const change = () => z.looseObject({ from: z.string().nullable(), to: z.string().nullable() }).optional()
const id = () => z.string().optional()
const word = () => z.string().optional()
/** Says that it was changed; the value is private. */
const untold = () => z.literal(true).optional()
const count = () => z.int().optional()
const counts = () => z.record(z.string(), z.int()).optional()

const changes = () => ({
  name: change(),
  email: change(),
  locale: change(),
  external_id: change(),
  metadata: untold(),
  admin_metadata: untold(),
})

/** Erasure removes members that identify somebody, so each may be missing. */
const shapes = () => ({
  role: { role: word() },
  created: { role: word(), import_id: id() },
  /** `ids` is only sent to webhooks: see addImportedIds. */
  import: { count: count(), ids: word() },
  exported: { list: word(), hashes: untold() },
  changes: { ...changes(), role: change() },
  address: { ...changes(), role: change(), revoke_old: z.boolean().optional() },
  undone: { email: change(), restored: z.boolean().optional() },
  disabled: { reason: word(), until: z.string().nullable().optional() },
  reason: { reason: word() },
  /** After a restore: the lost rows of history to which this reset responds. */
  password: { reason: word(), answers: z.array(z.string()).optional() },
  terms: { terms_version: word() },
  invitation: { invitation_id: id(), role: word(), reason: word() },
  session: { session_id: id(), reason: word() },
  failure: { reason: word(), count: count(), session_id: id() },
  factor: { kind: word(), id: id(), name: word(), reason: word() },
  identity: { provider: word(), id: id(), reason: word() },
  left: { left: count() },
  mail: { mail_id: id() },
  client: {
    client_id: id(),
    name: word(),
    scopes: z.array(z.string()).optional(),
    session_id: id(),
    reason: word(),
  },
  key: { key_id: id(), name: word(), permissions: z.array(z.string()).optional() },
  webhook: { webhook_id: id(), host: word(), sequence: count(), reason: word() },
  blocks: { added: count(), removed: count(), entry: word() },
  run: { run: id(), removed: counts(), failed: z.array(z.string()).optional() },
})

/** What `details` may hold, by action. */
const SHAPE_OF: Record<Action, keyof ReturnType<typeof shapes> | 'none'> = {
  'user.signed_up': 'role',
  'user.created': 'created',
  'user.updated': 'changes',
  'user.role_changed': 'changes',
  'user.terms_accepted': 'terms',
  'user.disabled': 'disabled',
  'user.enabled': 'reason',
  'user.deleted': 'reason',
  'user.restored': 'reason',
  'user.purged': 'reason',
  'user.exported': 'exported',
  'users.imported': 'import',
  'user.unlocked': 'reason',
  'password.changed': 'password',
  'password.reset_requested': 'reason',
  'password.reset': 'reason',
  'password.failed': 'failure',
  'password.not_checked': 'none',
  'email.verification_requested': 'reason',
  'email.verified': 'reason',
  'email.change_requested': 'address',
  'email.changed': 'address',
  'email.change_undone': 'undone',
  'email.change_withdrawn': 'address',
  'invitation.created': 'invitation',
  'invitation.resent': 'invitation',
  'invitation.withdrawn': 'invitation',
  'invitation.accepted': 'invitation',
  'session.started': 'session',
  'session.refreshed': 'session',
  'session.ended': 'session',
  'session.reuse_detected': 'session',
  'session.repeated': 'session',
  'sessions.ended': 'reason',
  'login.failed': 'failure',
  'factor.added': 'factor',
  'factor.removed': 'factor',
  'factor.failed': 'failure',
  'factors.reset': 'factor',
  'recovery_codes.renewed': 'left',
  'recovery_code.used': 'left',
  'identity.linked': 'identity',
  'identity.unlinked': 'identity',
  'passkey.renamed': 'factor',
  'passkey.counter_went_back': 'factor',
  'mail.retried': 'mail',
  'client.created': 'client',
  'client.updated': 'client',
  'client.secret_rotated': 'client',
  'client.deleted': 'client',
  'client.logouts_retried': 'client',
  'consent.given': 'client',
  'consent.withdrawn': 'client',
  'api_key.created': 'key',
  'api_key.rotated': 'key',
  'api_key.revoked': 'key',
  'webhook.created': 'webhook',
  'webhook.updated': 'webhook',
  'webhook.secret_rotated': 'webhook',
  'webhook.deleted': 'webhook',
  'webhook.tested': 'webhook',
  'webhook.retried': 'webhook',
  'webhook.rested': 'webhook',
  'signup_blocks.changed': 'blocks',
  'cleanup.ran': 'run',
}

const membersByShape = lazy(() =>
  Object.fromEntries(Object.entries(shapes()).map(([shape, members]) => [shape, Object.keys(members)])),
)

/** The members that `details` of this action may have. */
export const membersOfDetails = (action: Action): readonly string[] =>
  membersByShape()[SHAPE_OF[action]] ?? []

/**
 * A row of history with the given members, as a union over the kinds of details, each with the actions that
 * have it.
 */
export const withDetails = <S extends z.core.$ZodLooseShape>(members: () => S) =>
  lazy(() => {
    const shapeOf = shapes()
    const kinds = Map.groupBy(Object.keys(SHAPE_OF) as Action[], (action) => SHAPE_OF[action])
    const [first, ...others] = [...kinds].map(([kind, actions]) =>
      z.object({
        ...members(),
        action: z.enum(actions as [Action, ...Action[]]),
        details: kind === 'none' ? z.null() : z.looseObject(shapeOf[kind]).nullable(),
      }),
    )
    return z.union([first!, ...others])
  })

/** Undefined for anything but a JSON object: such a row was not written by this program. */
export function membersOf({ details }: Pick<ActivityLog, 'details'>): Record<string, unknown> | undefined {
  try {
    const members: unknown = JSON.parse(details ?? '{}')
    return typeof members === 'object' && members !== null ? (members as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}

/**
 * For a query: details as bytes. Invalid UTF-8, written to the database by something else, would make the whole
 * read fail, along with all other rows.
 */
export const detailsAsBytes = sql<ArrayBuffer | null>`CAST(${activityLogs.details} AS BLOB)`

/** Null for invalid UTF-8 as well, as it says nothing. */
export function detailsIn(bytes: ArrayBuffer | null): string | null {
  const text = textIn(bytes)
  return text?.isWellFormed() ? text : null
}

/**
 * Marks invalid UTF-8, which is returned in hex behind half a surrogate pair: no valid text can look like
 * that.
 */
const NO_TEXT = '\ud800'
function textIn(bytes: ArrayBuffer | null): string | null {
  if (bytes === null) return null
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    return NO_TEXT + Buffer.from(bytes).toString('hex')
  }
}

/** The bytes of a text that was read this way, in hex as the database writes it. */
export const hexOf = (text: string) =>
  (text.startsWith(NO_TEXT) ? text.slice(NO_TEXT.length) : Buffer.from(text).toString('hex')).toUpperCase()

/** Without the id: in our own rows that is always plain ASCII (HAS_TIME). */
const { id: _, ...texts } = getTableColumns(activityLogs)
type Text = keyof typeof texts
const TEXTS = Object.keys(texts) as Text[]

/** For a query that must read every row, whatever it contains: all its texts as bytes. */
export const textsAsBytes = sql.raw(TEXTS.map((name) => `CAST(${name} AS BLOB) AS ${name}`).join(', '))
/** The same for a query with joins. */
export const columnsAsBytes = Object.fromEntries(
  TEXTS.map((name) => [name, sql`CAST(${texts[name]} AS BLOB)`.as(name)]),
) as Record<Text, SQL.Aliased<ArrayBuffer | null>>

/** Decodes a row whose texts were read as bytes. */
export const withTexts = <Row extends object>(row: Row) =>
  Object.fromEntries(
    Object.entries(row).map(([name, value]) => [name, value instanceof ArrayBuffer ? textIn(value) : value]),
  ) as { [K in keyof Row]: Row[K] extends ArrayBuffer | null ? string | null : Row[K] }
