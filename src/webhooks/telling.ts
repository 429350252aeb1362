import { type SQL, sql } from 'drizzle-orm'
import type { Resources } from '../context.ts'
import type { Statement } from '../database/statements.ts'
import type { MailKind } from '../mail/kinds.ts'
import type { Notices } from '../mail/limits.ts'
import { type Event, enqueueNotice, type Recipient } from '../mail/outbox.ts'
import { users } from '../users/models.ts'
import { webhooks } from './models.ts'

/** Who is told of changes to webhooks, and why: a webhook sends what everybody does to an outside system. */

/** What the history and mails say of an address; its path may be a secret. */
export const hostOf = (url: string) => new URL(url).host

/** The creator of a webhook, if they are not an administrator any more. */
export const selectMaker = (webhookId: string) =>
  sql<Recipient>`SELECT id, email, email_normalized, email_verified_at FROM ${users}
    WHERE id = (SELECT created_by FROM ${webhooks} WHERE id = ${webhookId})
    AND state = 'active' AND role <> 'admin'`

type Told = Extract<MailKind, `webhook_${string}`>

/**
 * For the batch of the change: a mail to each recipient that names who did it and where, and the ids of those
 * mails. `notices` counts them as one.
 */
export function tellAll(
  resources: Resources,
  kind: Told,
  recipients: readonly Recipient[],
  event: Event,
  isDone: SQL,
  notices?: Notices,
): { statements: Statement[]; mailIds: string[] } {
  const isTold = notices ? sql`${isDone} AND ${notices.isDue}` : isDone
  const mails = recipients.map((recipient) => enqueueNotice(resources, kind, recipient, isTold, { event }))
  return {
    statements: [
      ...(notices ? [notices.count(isDone)] : []),
      ...mails.flatMap(({ statements }) => statements),
    ],
    mailIds: mails.map(({ mailId }) => mailId),
  }
}
