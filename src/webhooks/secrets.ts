import { createHmac, randomBytes } from 'node:crypto'
import { and, eq, type SQL, sql } from 'drizzle-orm'
import type { Config } from '../config/main.ts'
import type { Resources } from '../context.ts'
import { decryptJson, encryptJson, keyIdIn, keyIdOf } from '../crypto/encryption.ts'
import { build, type Statement } from '../database/statements.ts'
import { type Webhook, webhooks } from './models.ts'

/** Standard Webhooks 1.0: messages are signed by HMAC-SHA256, with a secret shared with the receiver. */

const PREFIX = 'whsec_'
const SECRET_BYTES = 32

export const newSecret = () => PREFIX + randomBytes(SECRET_BYTES).toString('base64')

type Sealed = Pick<Webhook, 'id' | 'secret' | 'former_secret' | 'former_secret_until'>

/** Sealed for this webhook: copied to the row of another, it cannot be opened. */
export const sealSecret = ({ keys }: Config, webhookId: string, secret: string) =>
  encryptJson(keys.webhook_secret, { secret }, webhookId)

const open = async ({ keys }: Config, webhookId: string, sealed: string) =>
  (await decryptJson<{ secret: string }>(keys.webhook_secret, sealed, webhookId))?.secret

/** The secrets valid now, newest first; none if they are under a key that was removed. */
export async function secretsOf(config: Config, row: Sealed, now: number): Promise<string[]> {
  const isFormerGood = row.former_secret !== null && (row.former_secret_until ?? 0) > now
  const sealed = [row.secret, ...(isFormerGood ? [row.former_secret!] : [])]
  const opened = await Promise.all(sealed.map((one) => open(config, row.id, one)))
  return opened.filter((secret) => secret !== undefined)
}

/**
 * The headers of a message, with a signature by each secret, so that a receiver that has either accepts it.
 */
export function signedHeaders(secrets: readonly string[], messageId: string, now: number, body: string) {
  const timestamp = String(Math.floor(now / 1000))
  const signatures = secrets.map((secret) => {
    const key = Buffer.from(secret.slice(PREFIX.length), 'base64')
    return `v1,${createHmac('sha256', key).update(`${messageId}.${timestamp}.${body}`).digest('base64')}`
  })
  return {
    'webhook-id': messageId,
    'webhook-timestamp': timestamp,
    'webhook-signature': signatures.join(' '),
  }
}

/** A condition on a webhook: that one of its secrets is under a former key of ours. */
const isOutdated = ({ keys }: Config): SQL => {
  const former = keys.webhook_secret.slice(1).map(keyIdOf)
  return former.length === 0
    ? sql`0`
    : sql`(${sql.raw(keyIdIn('secret'))} IN ${former} OR ${sql.raw(keyIdIn('former_secret'))} IN ${former})`
}

/** Re-encrypts secrets under the newest key, each on the condition that it has not changed meanwhile. */
export async function renewSecrets({ db, config }: Resources): Promise<void> {
  if (config.keys.webhook_secret.length === 1) return
  const { rows } = await db.read({ rows: build.select().from(webhooks).where(isOutdated(config)) })
  const renewals = rows.map(async (row): Promise<Statement[]> => {
    const again = async (sealed: string | null) => {
      const secret = sealed === null ? undefined : await open(config, row.id, sealed)
      return secret === undefined ? null : sealSecret(config, row.id, secret)
    }
    const [secret, former_secret] = await Promise.all([again(row.secret), again(row.former_secret)])
    // A secret under an unknown key cannot be re-encrypted.
    if (secret === null) return []
    const isAsRead = and(eq(webhooks.id, row.id), eq(webhooks.secret, row.secret))
    return [build.update(webhooks).set({ secret, former_secret }).where(isAsRead)]
  })
  const renewed = (await Promise.all(renewals)).flat()
  if (renewed.length > 0) await db.writeBatch({ renewed })
}
