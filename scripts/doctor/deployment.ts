import type { Config } from '../../src/config/main.ts'
import type { CheckName } from '../../src/system/checks.ts'
import { type Finding, look, note, ok, wrong } from './findings.ts'

const TIMEOUT_MS = 15_000

/** What to do if a check of /ready fails. */
const CURES: Record<CheckName, string> = {
  bindings: 'A counter of wrangler.toml is not bound: deploy with the wrangler.toml of this version.',
  keys: 'A key is missing that passwords, authenticator apps or webhooks are still under: put it back, after the first. If it was retired because it leaked, the owners of those passwords need a reset by mail.',
  database:
    'The Worker gets no answer from the database: see its log for the cause, and the status of Turso.',
  schema: 'The database lacks what this version reads: npm run db:migrate.',
  clock:
    'The clocks of Worker and database differ: writes will be refused as late. The status of Turso may say why.',
  disk: 'The database takes no writes: its quota may be used up.',
  redis: 'Redis does not answer the Worker, so everybody is read from the database: right, and slower.',
  cron: 'No clean-up has run for three quarters of an hour: are the cron triggers deployed? The log says cron_failed where it broke off.',
  mail: 'Mails wait for ten minutes and more, or the mails of this hour are used up (MAILS_PER_HOUR): /admin/system shows them.',
  mail_service:
    'The mail service has refused the last mail: is its key valid, and MAIL_FROM a sender that it knows?',
}

async function ask(issuer: string, path: string) {
  const answer = await fetch(new URL(path, issuer), {
    redirect: 'manual',
    signal: AbortSignal.timeout(TIMEOUT_MS),
  })
  const text = await answer.text()
  try {
    return { status: answer.status, body: JSON.parse(text) as Record<string, unknown> }
  } catch {
    return { status: answer.status, body: {} as Record<string, unknown> }
  }
}

/** What a deployment tells everybody about itself. */
export const lookAtDeployment = (config: Config): Promise<Finding[]> =>
  look('deployment', async () => {
    const { ISSUER: issuer } = config
    const health = await ask(issuer, '/health')
    if (health.status !== 200 || health.body.status !== 'ok')
      return wrong('deployment', `${issuer} answers ${health.status} at /health, which is not Roster.`)
    return [
      ok('deployment', `${issuer} answers.`),
      ...(await look('keys', () => keysOf(config))),
      ...(await look('readiness', () => readinessOf(issuer))),
    ]
  })

/** Compares the deployed keys with those in the settings at hand. */
async function keysOf({ ISSUER, JWT_KEYS, OPENID_KEYS }: Config): Promise<Finding[]> {
  const { body } = await ask(ISSUER, '/.well-known/jwks.json')
  const deployed = (body.keys as { kid: string }[] | undefined)?.map(({ kid }) => kid) ?? []
  const here = [...JWT_KEYS.verifying, ...(OPENID_KEYS?.verifying ?? [])].map(({ kid }) => kid)
  const lacking = here.filter((kid) => !deployed.includes(kid))
  const others = deployed.filter((kid) => !here.includes(kid))
  const isSame = lacking.length + others.length === 0
  return [
    isSame
      ? ok('keys', 'Those that are published are those of the settings here.')
      : wrong(
          'keys',
          `The deployment publishes other keys than the settings here have (${others.length} more, ${lacking.length} fewer): one of the two is older.`,
        ),
    OPENID_KEYS
      ? ok('openid', 'Apps can sign in by OpenID.')
      : note('openid', 'OPENID_KEYS is not set, so no app signs in by OpenID.'),
  ]
}

async function readinessOf(issuer: string): Promise<Finding[]> {
  const { status, body } = await ask(issuer, '/ready')
  const checks = body.checks as { name: CheckName; status: string }[] | undefined
  if (!checks)
    return [wrong('readiness', `/ready answers ${status} ${body.code ?? ''}. ${body.detail ?? ''}`.trim())]
  const bad = checks.filter((check) => check.status !== 'ok')
  if (bad.length === 0) return [ok('readiness', `${checks.map(({ name }) => name).join(', ')}: all well.`)]
  return bad.map(({ name, status: verdict }) => wrong(name, `${verdict}. ${CURES[name]}`))
}
