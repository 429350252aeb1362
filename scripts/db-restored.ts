import { type SQL, sql } from 'drizzle-orm'
import { activityLogs, HAS_TIME } from '../src/activity/models.ts'
import { sealRestore } from '../src/activity/seals.ts'
import { apiKeys } from '../src/api-keys/models.ts'
import type { Resources } from '../src/context.ts'
import { databaseNow, type Statement } from '../src/database/statements.ts'
import { oneTimeTokens } from '../src/links/models.ts'
import { outbox } from '../src/mail/models.ts'
import { enqueueNotice } from '../src/mail/outbox.ts'
import { oauthClients } from '../src/oauth/models.ts'
import { sessions } from '../src/sessions/models.ts'
import { systemState } from '../src/system/models.ts'
import { selectAdminsToTell } from '../src/users/managing/notices.ts'
import { users } from '../src/users/models.ts'
import { DAY_MS } from '../src/values/durations.ts'
import { timeOfId, toTime } from '../src/values/ids.ts'
import { IS_OPEN, webhookDeliveries, webhooks } from '../src/webhooks/models.ts'
import { patiently, readArguments, runCommand, withPauses } from './command.ts'
import { withResources } from './create-admin.ts'
import { RESTORE_STATES } from './db-restore.ts'
import { lookForKeys } from './keys-in-use.ts'
import { countMoved, findLost, type Lost, undoAgain } from './restored/undo.ts'

const USAGE = `npm run db:restored -- --yes [--again] [--without-keys]

Run this after the database was restored from a backup, by npm run db:restore or by Turso, and before anybody uses it. It
undoes what must not come back. Every session and link ends; API keys and the secrets of apps and webhooks are off until they are
renewed. Users whom the ledger in Redis names as erased are erased again; others whom it names since the backup choose a new
password by mail and get the role user; those whose address was changed are disabled, too, until an administrator decides.
Administrators are told by mail, and a new chain of seals begins. If it stops, run it again: it continues. Once it is done, a
further run ends nothing again, and only handles what was not handled yet, however old that is.

  --yes           does it. Without it, this only says which database it is and what would be done, as --dry-run does
  --again         the database was restored once more since this was done, for instance by Turso to a later day. Everything
                  ends again. If it is interrupted, run it without --again, unless that says that this was done already
  --without-keys  continues although SECRET_KEYS lacks a key that the database uses. Users whom the ledger names as erased
                  under a missing key are not found, and stay
  --dry-run       says what would be done, and does nothing`

const ROWS_PER_STATEMENT = 1000
const NO_KEYS = '{"keys":[]}'
const [BEGUN, ENDED, DONE] = RESTORE_STATES

interface Restored {
  /** When it was completed before (epoch ms): only losses found since are handled. */
  doneAt: number | undefined
  /** An earlier run stopped after it had ended everything, at this time or later (epoch ms): that is not repeated. */
  endedAt: number | undefined
  /** What is ended for everybody, counted before it is done. */
  ends: { sessions: number; keys: number; apps: number; hooks: number } | undefined
  erased: number
  setBack: number
  /** How many of them had another address since: they are disabled. */
  moved: number
  consents: number
  /** What the operator must know about the ledger, as sentences. */
  warnings: string[]
  /** `SECRET_KEYS` lacks a key that the database was last used with: the script stops unless told to go on. */
  lacksKey: boolean
  /** The newest seal that was lost with the database. */
  lostHead?: string | undefined
}

interface Asked {
  isDryRun?: boolean
  isAgain?: boolean
  /** Goes on although the newest key is missing. */
  withoutKeys?: boolean
  /** Receives the warnings before anything is changed. */
  warn?: (warnings: string[]) => void
}

/**
 * Undoes what a backup has brought back. Throws if Redis is unavailable, or if the key that identifies the erased
 * users is missing: without the ledger nothing is done.
 */
export async function afterRestore(
  given: Resources,
  { isDryRun = false, isAgain = false, withoutKeys = false, warn = () => {} }: Asked = {},
): Promise<Restored> {
  const resources = patiently(given)
  const { db } = resources
  const lost = await findLost(resources)
  const { state } = await db.readPrimary({
    state: sql<{ name: string; at: number }>`SELECT name, at FROM ${systemState}
      WHERE name IN ${[...RESTORE_STATES]} AND ${isAgain ? 0 : 1}`,
  })
  const stands = new Map(state.map(({ name, at }) => [name, at]))
  const doneAt = stands.has(BEGUN) ? undefined : stands.get(DONE)
  const isWhole = doneAt === undefined
  const endedAt = isWhole ? stands.get(ENDED) : undefined
  const isEnding = isWhole && endedAt === undefined
  const ends = isEnding ? await whatEnds(resources) : undefined
  const found = {
    doneAt,
    endedAt,
    ends,
    ...(await warningsOf(resources, lost)),
    erased: lost.erased.length,
    setBack: lost.changes.size,
    moved: countMoved(lost),
    consents: lost.consents.length,
  }
  warn(found.warnings)
  if (isDryRun) return found
  if (found.lacksKey && !withoutKeys)
    throw new Error(
      'SECRET_KEYS lacks a key that is in use in this database: users whom the ledger names as erased under it would not be found, and stay. Nothing was done. Give the SECRET_KEYS of its time, or --without-keys.',
    )
  if (isEnding) {
    await begin(resources, isAgain)
    await endEverything(resources)
  }
  await undoAgain(resources, lost)
  if (!isWhole) return found
  const lostHead = await withPauses(() => sealRestore(resources))
  await db.writeBatch({
    done: [
      sql`INSERT INTO ${systemState} (name, at) VALUES (${DONE}, ${Date.now()})
        ON CONFLICT (name) DO UPDATE SET at = excluded.at`,
      sql`DELETE FROM ${systemState} WHERE name IN (${BEGUN}, ${ENDED})`,
    ],
  })
  return { ...found, lostHead }
}

/** An empty ledger may mean that nothing was recorded. */
async function warningsOf(
  { config, db }: Resources,
  { isSilent }: Lost,
): Promise<Pick<Restored, 'warnings' | 'lacksKey'>> {
  const { BACKUPS_KEPT_DAYS } = config
  const { lacksCurrent, lacksAny } = await lookForKeys({ config, db })
  const { newest } = await db.readPrimary({
    // Only rows with an actor: those that this script writes have none, and are not from the backup.
    newest: sql<{ id: string }>`SELECT id FROM ${activityLogs} WHERE actor_id IS NOT NULL AND ${HAS_TIME}
      ORDER BY id DESC LIMIT 1`,
  })
  const newestAt = newest[0] ? timeOfId(newest[0].id) : Date.now()
  const isOlder = newestAt < Date.now() - BACKUPS_KEPT_DAYS * DAY_MS
  const warnings = [
    ...(lacksAny
      ? [
          'SECRET_KEYS lacks a key that passwords, authenticator apps or webhooks are under: with another key, nobody is found in the ledger as erased.',
        ]
      : []),
    ...(isSilent
      ? [
          `The ledger in Redis has nothing that this database does not have${newest[0] ? `, whose newest change is of ${toTime(newestAt)}` : ''}: if something was undone since, only the log has it (code ledger).`,
        ]
      : []),
    ...(isOlder
      ? [
          `The newest change in the database is of ${toTime(newestAt)}, and the ledger goes back ${BACKUPS_KEPT_DAYS} days (BACKUPS_KEPT_DAYS): what was undone in between is not known.`,
        ]
      : []),
  ]
  return { warnings, lacksKey: lacksCurrent }
}

async function whatEnds({ db }: Resources) {
  const { counted } = await db.readPrimary({
    counted: sql<NonNullable<Restored['ends']>>`SELECT
      (SELECT count(*) FROM ${sessions}) AS sessions,
      (SELECT count(*) FROM ${apiKeys} WHERE secret_hash <> '') AS keys,
      (SELECT count(*) FROM ${oauthClients} WHERE secret_hash <> '' OR jwks <> ${NO_KEYS}) AS apps,
      (SELECT count(*) FROM ${webhooks} WHERE secret <> '') AS hooks`,
  })
  return counted[0]!
}

/**
 * What the backup still had to send was sent long ago. So its mails are deleted, and its webhook deliveries are given
 * up; whoever misses one can send it by hand. New deliveries are numbered from the present time, which is above every
 * lost number, as there are never a thousand a second: receivers ignore numbers that they have seen. The row that
 * does this belongs to no webhook, and clean-up keeps it until there is a newer one. Administrators are told once,
 * including those who are about to lose the role.
 */
async function begin(resources: Resources, isAgain: boolean): Promise<void> {
  const { db } = resources
  const { admins } = await db.readPrimary({ admins: selectAdminsToTell() })
  const isNew = sql`NOT EXISTS (SELECT 1 FROM ${systemState} WHERE name = ${BEGUN})`
  // A backup that was made during an earlier restore has these rows as well.
  if (isAgain)
    await db.writeBatch({ forgotten: [sql`DELETE FROM ${systemState} WHERE name IN ${[...RESTORE_STATES]}`] })
  await changeAll(
    resources,
    sql`${outbox} WHERE sent_at IS NULL AND dead_at IS NULL AND ${isNew}`,
    (those) => sql`DELETE FROM ${outbox} WHERE id IN ${those}`,
  )
  await changeAll(
    resources,
    sql`${webhookDeliveries} WHERE ${IS_OPEN} AND ${isNew}`,
    (those) => sql`UPDATE ${webhookDeliveries} SET dead_at = ${databaseNow} WHERE id IN ${those}`,
  )
  const mails = resources.send
    ? admins.map((admin) => enqueueNotice(resources, 'database_restored', admin, isNew))
    : []
  await db.writeBatch({
    numbers: [
      sql`INSERT INTO ${webhookDeliveries}
          (id, webhook_id, event_id, type, is_fixed, owed_at, next_attempt_at, delivered_at)
        SELECT max(${databaseNow}, coalesce((SELECT max(id) FROM ${webhookDeliveries}), 0) + 1), '', '', 'webhook.tested', 1,
          ${databaseNow}, ${databaseNow}, ${databaseNow} WHERE ${isNew}`,
    ],
    mails: mails.flatMap(({ statements }) => statements),
    state: [
      sql`INSERT INTO ${systemState} (name, at) VALUES (${BEGUN}, ${Date.now()}) ON CONFLICT DO NOTHING`,
    ],
  })
}

/** Ends sessions and links, raises epochs, and voids the credentials of apps, webhooks and API keys. */
async function endEverything(resources: Resources): Promise<void> {
  const { db } = resources
  for (const table of [sessions, oneTimeTokens])
    await changeAll(resources, sql`${table}`, (those) => sql`DELETE FROM ${table} WHERE id IN ${those}`)
  // Higher than any epoch in a token from the lost days.
  const epoch = Math.floor(Date.now() / 1000)
  for (let after = 0; ; ) {
    const { last } = await db.readPrimary({
      last: sql<{ seq: number | null }>`SELECT max(seq) AS seq FROM
        (SELECT seq FROM ${users} WHERE seq > ${after} ORDER BY seq LIMIT ${ROWS_PER_STATEMENT})`,
    })
    const until = last[0]?.seq
    if (!until) break
    await db.writeBatch({
      epochs: [
        sql`UPDATE ${users} SET token_epoch = ${epoch}, device_epoch = ${epoch}, version = version + 1
          WHERE seq > ${after} AND seq <= ${until} AND token_epoch < ${epoch}`,
      ],
    })
    after = until
  }
  await db.writeBatch({
    off: [
      sql`UPDATE ${oauthClients} SET epoch = ${epoch}, secret_hash = CASE WHEN secret_hash IS NOT NULL THEN '' END,
        jwks = CASE WHEN jwks IS NOT NULL THEN ${NO_KEYS} END, former_secret_hash = NULL, former_secret_until = NULL,
        version = version + 1 WHERE epoch < ${epoch}`,
      sql`UPDATE ${webhooks} SET secret = '', former_secret = NULL, former_secret_until = NULL, rested_at = ${Date.now()},
        version = version + 1`,
      sql`UPDATE ${apiKeys} SET secret_hash = '', former_secret_hash = NULL, former_secret_until = NULL`,
      sql`INSERT INTO ${systemState} (name, at) VALUES (${ENDED}, ${Date.now()}) ON CONFLICT DO NOTHING`,
    ],
  })
}

/** Works in pages until nothing is left: rows that were changed no longer match. */
async function changeAll({ db }: Resources, which: SQL, change: (those: SQL) => Statement): Promise<void> {
  for (;;) {
    const { found } = await db.readPrimary({
      found: sql<{ id: string | number }>`SELECT id FROM ${which} LIMIT ${ROWS_PER_STATEMENT}`,
    })
    if (found.length === 0) return
    const ids = JSON.stringify(found.map(({ id }) => id))
    await db.writeBatch({ page: [change(sql`(SELECT value FROM json_each(${ids}))`)] })
  }
}

async function main() {
  const options = {
    again: { type: 'boolean' },
    yes: { type: 'boolean' },
    'without-keys': { type: 'boolean' },
  } as const
  const { values, isDryRun } = readArguments({ usage: USAGE, options, ofDeployment: true })
  const isAsking = isDryRun || values.yes !== true
  const said = await withResources({ EMAIL: 'perhaps', ...process.env }, (resources) => {
    const { TURSO_DATABASE_URL, UPSTASH_REDIS_REST_URL, ISSUER } = resources.config
    const [database, ledger] = [TURSO_DATABASE_URL, UPSTASH_REDIS_REST_URL].map((url) => new URL(url).host)
    console.log(`The database at ${database}, of ${ISSUER}, and its ledger at ${ledger}:`)
    return afterRestore(resources, {
      isDryRun: isAsking,
      isAgain: values.again === true,
      withoutKeys: values['without-keys'] === true,
      warn: (warnings) => {
        for (const warning of warnings) console.log(`Mind: ${warning}`)
      },
    })
  })
  const { doneAt, endedAt, ends, erased, setBack, moved, consents, lacksKey, lostHead } = said
  const would = isAsking ? 'would be ' : ''
  if (ends)
    console.log(
      `${ends.sessions} sessions ${would}ended, and every link; ${ends.keys} API keys and the secrets of ${ends.apps} apps and ${ends.hooks} webhooks ${would}off until they are renewed`,
    )
  else if (endedAt !== undefined)
    console.log(
      `This goes on where it stopped: everything ended at ${toTime(endedAt)}, and does not end again. If the database was restored since: --again`,
    )
  else
    console.log(
      `This was done at ${toTime(doneAt!)}, and is not done twice. If the database was restored since: --again`,
    )
  console.log(
    `${erased} ${would}erased again; ${setBack} ${would}set back: a new password by mail, the role user; of them ${moved}, whose address was another one, ${would}disabled until an administrator decides`,
  )
  if (consents > 0) console.log(`${consents} consents to apps ${would}taken back again`)
  if (isAsking)
    return console.log(
      `Nothing was done. If that is the database that was restored: --yes${lacksKey ? ', with the SECRET_KEYS of its time, or with --without-keys' : ''}`,
    )
  if (lostHead) console.log(`A new chain of seals begins. Lost with the database: ${lostHead}`)
  console.log(
    'Nearby copies expire by themselves within a minute. If no administrator is left: npm run admin:create',
  )
}

if (import.meta.main) runCommand(main)
