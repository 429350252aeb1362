import { sql } from 'drizzle-orm'
import { anotherAdminRemains, selectLockedOut } from '../../src/access/can-sign-in.ts'
import type { Resources } from '../../src/context.ts'
import { AppError } from '../../src/http/problem.ts'
import { passkeys } from '../../src/passkeys/models.ts'
import { lookAtChecks } from '../../src/system/checks.ts'
import { lookForKeys } from '../keys-in-use.ts'
import { migrate } from '../migrate.ts'
import { MIGRATIONS } from '../migrations.ts'
import { type Finding, look, note, ok, wrong } from './findings.ts'

/** How many users are looked at who could only sign in by a provider that was removed. */
const LOOKED_AT = 1000
const NAMED = 5

/** What only the database knows. Nothing is written. */
export const lookAtDatabase = async (resources: Resources): Promise<Finding[]> => [
  ...(await look('schema', () => schemaOf(resources))),
  ...(await look('database', () => stateOf(resources))),
  ...(await look('secret keys', () => keysOf(resources))),
  ...(await look('ways in', () => waysIn(resources))),
  ...(await look('passkeys', () => passkeysOf(resources))),
]

async function schemaOf({ config }: Resources): Promise<Finding> {
  const { TURSO_DATABASE_URL: url, TURSO_AUTH_TOKEN: token } = config
  const pending = await migrate(url, token, MIGRATIONS, true)
  return pending.length === 0
    ? ok('schema', 'Every migration of this version is applied.')
    : wrong('schema', `${pending.length} migrations are missing, from ${pending[0]} on: npm run db:migrate.`)
}

/** Clock, clean-up and mail, as seen from here. */
async function stateOf(resources: Resources): Promise<Finding[]> {
  const { config, send, rateLimits } = resources
  const { checks, counts } = await lookAtChecks(resources, rateLimits, { writes: false }).catch(
    (error: unknown) => {
      throw error instanceof AppError ? new Error(error.message) : error
    },
  )
  const { mail, cleanup } = counts
  return [
    checks.some(({ name, status }) => name === 'clock' && status === 'ok')
      ? ok('clock', "This machine's and the database's agree.")
      : wrong(
          'clock',
          "This machine's clock differs from the database's by more than 5 s: scripts run here write late.",
        ),
    cleanup.overdue
      ? wrong(
          'cron',
          `The clean-up last finished ${cleanup.last_finished ?? 'never'}: are the cron triggers deployed?`,
        )
      : ok('cron', `The clean-up last finished ${cleanup.last_finished ?? 'never, and is not due yet'}.`),
    ...(mail.last_refusal
      ? [
          wrong(
            'mail',
            `The mail service refused at ${mail.last_refusal.at}${mail.last_refusal.status ? ` with ${mail.last_refusal.status}` : ''}, and has taken none since.`,
          ),
        ]
      : []),
    ...(mail.dead > 0
      ? [
          note(
            'mail',
            `${mail.dead >= 100 ? '100 or more' : mail.dead} mails were given up: /admin/system has them.`,
          ),
        ]
      : []),
    send
      ? ok('mail', `Mail is set up; ${mail.waiting} ${mail.waiting === 1 ? 'waits' : 'wait'}.`)
      : note('mail', 'No mail is set up (MAIL_FROM): nobody confirms an address, and nobody gets a reset.'),
    config.HISTORY_KEY.length > 0
      ? ok('history', 'It is sealed. npm run history:verify compares it with its seals.')
      : note(
          'history',
          'HISTORY_KEY is not set, so whoever can write in the database can rewrite the history.',
        ),
  ]
}

/** A key that leaked is retired although some passwords are still under it. */
async function keysOf(resources: Resources): Promise<Finding> {
  const { lacksCurrent, lacksSealed, lacksAny } = await lookForKeys(resources)
  if (lacksCurrent || lacksSealed)
    return wrong(
      'secret keys',
      'SECRET_KEYS lacks the key that passwords, authenticator apps or webhooks are under.',
    )
  return lacksAny
    ? note(
        'secret keys',
        'SECRET_KEYS lacks a key that some passwords are under: put it back, or, if it leaked, have their owners reset them.',
      )
    : ok('secret keys', 'Passwords, authenticator apps and webhooks are under keys that are here.')
}

async function waysIn({ db, config, now }: Resources): Promise<Finding[]> {
  const { admin, left } = await db.read({
    // Excepts nobody: any administrator counts.
    admin: sql<{ remains: 0 | 1 }>`SELECT ${anotherAdminRemains(config, now, '')} AS remains`,
    left: selectLockedOut(config, now, LOOKED_AT),
  })
  const names = left.slice(0, NAMED).map(({ id }) => id)
  const others = left.length - names.length
  return [
    admin[0]?.remains === 1
      ? ok('administrators', 'At least one can sign in.')
      : wrong('administrators', 'None can sign in: npm run admin:create -- --email … --new-password.'),
    left.length === 0
      ? ok('ways in', 'No provider that was removed has left anybody outside.')
      : wrong(
          'ways in',
          `${left.length} signed in with a provider that IDENTITY_PROVIDERS no longer names, and have nothing else; a reset lets them in: ${names.join(', ')}${others > 0 ? ` and ${others} more` : ''}.`,
        ),
  ]
}

/** A passkey only works at the domain it was made for. */
async function passkeysOf({ db, config }: Resources): Promise<Finding> {
  const { WEBAUTHN_RP_ID: here } = config
  const { others } = await db.read({
    others: sql<{ rp_id: string; total: number }>`SELECT rp_id, count(*) AS total FROM ${passkeys}
      WHERE rp_id <> ${here} GROUP BY rp_id ORDER BY total DESC LIMIT ${NAMED}`,
  })
  return others.length === 0
    ? ok('passkeys', `They are made for ${here}, and none for another domain.`)
    : wrong(
        'passkeys',
        `${others.map(({ rp_id, total }) => `${total} made for ${rp_id}`).join(', ')} no longer work: WEBAUTHN_RP_ID is ${here}. Set it back, or have their owners add new ones.`,
      )
}
