import { sql } from 'drizzle-orm'
import type { Recipient } from '../mail/outbox.ts'
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
