import { randomBytes } from 'node:crypto'
import { lookup } from 'node:dns/promises'
import { resolve } from 'node:path'
import { sql } from 'drizzle-orm'
import { anotherAdminRemains } from '../src/access/can-sign-in.ts'
import { faultOfHost, faultOfMailbox, faultOfSmtp, faultOfToken, faultOfUrl } from '../src/config/checks.ts'
import { ConfigError, configOf } from '../src/config/main.ts'
import { isEmail } from '../src/values/email.ts'
import { patiently, readArguments, runCommand } from './command.ts'
import { createAdmin, refuseWeakPassword, withResources } from './create-admin.ts'
import { generateAll } from './keys.ts'
import { lookForKeys } from './keys-in-use.ts'
import { migrate } from './migrate.ts'
import { MIGRATIONS } from './migrations.ts'
import { openQuestions, type Question, type Questions } from './setup/ask.ts'
import { type Kept, openKept } from './setup/kept.ts'
import { smokeTest, untilItAnswers } from './setup/smoke.ts'
import { openTurso, openWrangler, readWranglerConfig, writeDomain } from './setup/tools.ts'

const USAGE = `npm run setup [-- --config wrangler.toml]

Leads from nothing to a tested deployment: asks for what it cannot make, makes the rest, deploys, signs in there
and out again, and says what to do next. After a failure, run it again: what was done stays, and it goes on.

  --config    another wrangler.toml: for a second deployment, such as staging
  --dry-run   says what is known already, which of it is unfit and what would be asked, and does nothing

What it knows it keeps in .roster-<name of the Worker>.env, which may be written beforehand, with any setting of
.dev.vars.example. A line that is taken out of it is taken from the Worker too, at the next run. ADMIN_PASSWORD
chooses the administrator's password; without it one is made.`

const ROOT = resolve(import.meta.dirname, '..')

const WHAT_A_MOVE_BREAKS = `Where should Roster answer? Decide now: the address is in every token as "iss", so a later move means
  - every app and service that checks tokens has to be told the new issuer, in the same minute;
  - OpenID clients have to be set up anew, and links in mails that were sent lead to the old address;
  - everybody has to sign in again, and passkeys stay bound to the old domain (WEBAUTHN_RP_ID keeps it).
A domain whose zone is at this Cloudflare account, such as roster.your-domain; empty: an address of workers.dev.`

const isMailServer = (answer: string) => /^smtps?:/.test(answer)

const optional = (faultOf: (answer: string) => string | undefined) => (answer: string) =>
  answer === '' ? undefined : faultOf(answer)

const QUESTIONS = {
  domain: { name: 'DOMAIN', asks: WHAT_A_MOVE_BREAKS, faultOf: optional(faultOfHost) },
  databaseUrl: {
    name: 'TURSO_DATABASE_URL',
    asks: 'The database. The `turso` command is not here to make one: paste the URL of yours (turso db show NAME --url).',
    faultOf: (answer) => faultOfUrl(answer, { libsql: true }),
  },
  databaseToken: {
    name: 'TURSO_AUTH_TOKEN',
    asks: 'Its token (turso db tokens create NAME).',
    faultOf: faultOfToken,
  },
  redisUrl: {
    name: 'UPSTASH_REDIS_REST_URL',
    asks: 'Redis. Make a database at console.upstash.com, without eviction, and paste its REST URL.',
    faultOf: faultOfUrl,
  },
  redisToken: { name: 'UPSTASH_REDIS_REST_TOKEN', asks: 'Its REST token.', faultOf: faultOfToken },
  mailFrom: {
    name: 'MAIL_FROM',
    asks: 'Who should mails be from? `Name <no-reply@your-domain>`. Empty: no mail, so nobody confirms an address or gets a reset.',
    faultOf: optional(faultOfMailbox),
  },
  mailKey: {
    name: 'RESEND_API_KEY',
    asks: 'How is it sent? The API key of Resend, or smtps://user:password@host:465 of your mail server.',
    faultOf: (answer) => (isMailServer(answer) ? faultOfSmtp(answer) : faultOfToken(answer)),
  },
  adminEmail: {
    name: 'ADMIN_EMAIL',
    asks: 'Your address: the first administrator.',
    faultOf: (answer) => (isEmail(answer) ? undefined : 'is not an e-mail address'),
  },
} as const satisfies Record<string, Question>

interface SettingUp {
  config: string
  kept: Kept
  questions: Questions
  wrangler: ReturnType<typeof openWrangler>
}

/** The kept value, else the environment's, else the answer to a question. */
async function known(all: SettingUp, question: Question): Promise<string> {
  const answer = await knownOrAsked(all, question)
  all.kept.keep({ [question.name]: answer })
  return answer
}

/** Keeps nothing: for an answer that has to be checked first. */
async function knownOrAsked({ kept, questions }: SettingUp, question: Question): Promise<string> {
  const { name, faultOf } = question
  const before = kept.values[name] ?? process.env[name]
  const fault = before === undefined ? undefined : faultOf(before)
  if (fault) throw new Error(`${name} ${fault}.`)
  return before ?? (await questions.ask(question))
}

async function main() {
  const { values, isDryRun } = readArguments({ usage: USAGE, options: { config: { type: 'string' } } })
  const config = resolve(ROOT, values.config ?? 'wrangler.toml')
  const { name } = readWranglerConfig(config)
  const path = resolve(config, '..', `.roster-${name}.env`)
  const kept = openKept(path)
  if (isDryRun) return sayWhatIsKnown(config, kept)
  const wrangler = openWrangler(config, () => kept.values.CLOUDFLARE_ACCOUNT_ID)
  const questions = openQuestions()
  const all = { config, kept, questions, wrangler }
  try {
    console.log(`Setting up ${name}. What is known is kept in ${path}.`)
    await chooseAccount(all)
    await chooseDomain(all)
    await findDatabase(all, name)
    await findRedis(all)
    await findMail(all)
    await known(all, QUESTIONS.adminEmail)
    const made = await generateAll()
    const given = Object.keys(made).flatMap((key) => (process.env[key] ? [[key, process.env[key]]] : []))
    kept.keep({ ...made, ...Object.fromEntries(given), ...kept.values })
    await findAddress(all)
    const env = checkSettings(kept, kept.settings(), readWranglerConfig(config).bindsMail)
    await migrateDatabase(env)
    await refuseOtherKeys(env, path)
    const password = await makeAdmin(
      env,
      kept.values.ADMIN_EMAIL!,
      kept.values.ADMIN_PASSWORD ?? process.env.ADMIN_PASSWORD,
    )
    await putSettings(all)
    await wrangler.deploy()
    const { ISSUER } = configOf(env)
    console.log(`Deployed.`)
    await untilItAnswers(ISSUER)
    console.log(`Tried at ${ISSUER}: ${(await smokeTest(env, ISSUER)).join(', ')}.`)
    sayWhatIsNext(all, ISSUER, path, password)
  } catch (error) {
    throw new Error(
      `\n${(error as Error).message}\n\nWhat was done stays. Fix that and run this again: it goes on.`,
      { cause: error },
    )
  } finally {
    questions.close()
  }
}

async function sayWhatIsKnown(config: string, kept: Kept) {
  const { name, bindsMail, domains } = readWranglerConfig(config)
  const given: Record<string, string | undefined> = { DOMAIN: domains[0], ...process.env, ...kept.values }
  const sendsOtherwise = bindsMail || given.MAIL_FROM === '' || given.SMTP_URL !== undefined
  const asked = Object.values(QUESTIONS).filter((one) => one.name !== 'RESEND_API_KEY' || !sendsOtherwise)
  const [known, unknown] = [true, false].map((isKnown) =>
    ['SMTP_URL', ...asked.map((question) => question.name)].filter(
      (one) => (given[one] !== undefined) === isKnown && (isKnown || one !== 'SMTP_URL'),
    ),
  ) as [string[], string[]]
  const say = (names: string[]) => names.join(', ') || 'nothing'
  console.log(`Would set up ${name}. Known: ${say(known)}.`)
  console.log(`Would ask, where it cannot find or make it: ${say(unknown)}.`)
  for (const { name, faultOf } of asked) {
    const fault = given[name] === undefined ? undefined : faultOf(given[name])
    if (fault) throw new Error(`${name} ${fault}.`)
  }
  const answers = Object.fromEntries(known.filter((one) => given[one]).map((one) => [one, given[one]!]))
  const settings = { ...untilKnown(given), ...(await generateAll()), ...answers, ...kept.settings() }
  checkSettings(kept, settings, bindsMail)
}

/** Stands in for values that are only known later, so that those that are written already can be checked. */
function untilKnown({ DOMAIN, MAIL_FROM, SMTP_URL, ...of }: Record<string, string | undefined>) {
  // While the address is not known, it is assumed to be the one that the other settings expect.
  const domain = DOMAIN || of.WEBAUTHN_RP_ID || URL.parse(of.COOKIE_ORIGINS?.split(',')[0] ?? '')?.hostname
  return {
    ISSUER: `https://${domain || 'roster.invalid'}`,
    TURSO_DATABASE_URL: 'libsql://roster.invalid',
    TURSO_AUTH_TOKEN: 'token-of-the-database',
    UPSTASH_REDIS_REST_URL: 'https://roster.invalid',
    UPSTASH_REDIS_REST_TOKEN: 'token-of-redis',
    ...(MAIL_FROM === undefined && { MAIL_FROM: 'no-reply@roster.invalid' }),
    ...(MAIL_FROM !== '' && SMTP_URL === undefined && { RESEND_API_KEY: 'key-of-the-mail-service' }),
  }
}

async function chooseAccount({ kept, questions, wrangler }: SettingUp) {
  const accounts = await wrangler.accounts()
  const chosen = kept.values.CLOUDFLARE_ACCOUNT_ID ?? process.env.CLOUDFLARE_ACCOUNT_ID
  if (chosen || accounts.length < 2) return
  const id = await questions.ask({
    name: 'CLOUDFLARE_ACCOUNT_ID',
    asks: `In which account?\n${accounts.map((account) => `  ${account.id}  ${account.name}`).join('\n')}`,
    faultOf: (answer) =>
      accounts.some((one) => one.id === answer) ? undefined : 'is not one of those accounts',
  })
  kept.keep({ CLOUDFLARE_ACCOUNT_ID: id })
}

/** The first step, as what depends on the domain cannot be moved later. */
async function chooseDomain(all: SettingUp) {
  const { config, kept } = all
  const before = kept.values.DOMAIN
  const { domains } = readWranglerConfig(config)
  if (before && domains.includes(before)) return
  const [written] = domains
  const domain = written ?? (await knownOrAsked(all, QUESTIONS.domain))
  if (domain && domain !== before && (await isInUse(domain)))
    throw new Error(
      `${domain} is in use: DNS knows it, and deploying would take it away from whatever answers there. ${written ? `Name another domain in ${config}` : 'Choose another domain'}. If it is to lead to this deployment all the same, write DOMAIN='${domain}' into the file named above.`,
    )
  // Only now: what the file names is not looked up again, even if this run was stopped meanwhile.
  kept.keep({ DOMAIN: domain })
  if (!domain || written) return
  writeDomain(config, domain)
  console.log(`${config} names ${domain} now: commit it, as every deployment reads it.`)
}

/**
 * Every domain of a Worker has a DNS record, and so has that of another host. Wrangler asks before it replaces either, but
 * only in a terminal, and it does not run in one here.
 */
async function isInUse(domain: string): Promise<boolean> {
  try {
    await lookup(domain)
    return true
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    if (code === 'ENOTFOUND' || code === 'ENODATA') return false
    throw new Error(
      `Whether ${domain} is in use could not be looked up in DNS (${code}), so nothing was deployed there.`,
      { cause },
    )
  }
}

async function findDatabase(all: SettingUp, name: string) {
  const { kept } = all
  const hasUrl = (kept.values.TURSO_DATABASE_URL ?? process.env.TURSO_DATABASE_URL) !== undefined
  const turso = hasUrl ? undefined : await openTurso()
  if (!turso) {
    await known(all, QUESTIONS.databaseUrl)
    await known(all, QUESTIONS.databaseToken)
    return
  }
  const { url, token, isNew } = await turso.database(name)
  kept.keep({ TURSO_DATABASE_URL: url, TURSO_AUTH_TOKEN: token })
  console.log(`Database: ${url}${isNew ? ', made just now' : ''}.`)
}

/** Checked at once, so that a typing error is found where it was made. */
async function findRedis(all: SettingUp) {
  const url = await known(all, QUESTIONS.redisUrl)
  const token = await known(all, QUESTIONS.redisToken)
  const answer = await fetch(url, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}` },
    body: '["PING"]',
    signal: AbortSignal.timeout(10_000),
  }).catch((cause: Error) => cause)
  if (answer instanceof Response && answer.ok) return
  const why = answer instanceof Response ? `answered ${answer.status}` : `did not answer: ${answer.message}`
  // Not kept, so it is asked for again.
  all.kept.forget(['UPSTASH_REDIS_REST_URL', 'UPSTASH_REDIS_REST_TOKEN'])
  throw new Error(`Redis at ${url} ${why}.`)
}

async function findMail(all: SettingUp) {
  const from = await known(all, QUESTIONS.mailFrom)
  if (!from || readWranglerConfig(all.config).bindsMail) return
  const { kept } = all
  const server = kept.values.SMTP_URL ?? process.env.SMTP_URL
  const given = server ?? (await known(all, QUESTIONS.mailKey))
  if (!isMailServer(given)) return
  kept.forget(['RESEND_API_KEY'])
  kept.keep({ SMTP_URL: given })
}

/** An address at workers.dev is only known after a deployment. Without settings, that answers nothing but /health. */
async function findAddress({ kept, wrangler }: SettingUp) {
  if (kept.values.ISSUER) return
  if (kept.values.DOMAIN) return kept.keep({ ISSUER: `https://${kept.values.DOMAIN}` })
  const [target] = await wrangler.deploy()
  if (!target)
    throw new Error('Wrangler has deployed the Worker, but named no address for it. Is workers_dev off?')
  kept.keep({ ISSUER: new URL(/^https?:/.test(target) ? target : `https://${target}`).origin })
  console.log(`Its address: ${kept.values.ISSUER}.`)
}

/**
 * Checks the settings with the Worker's own code, before the Worker could refuse them. It also refuses a name that is
 * almost that of a setting.
 */
function checkSettings(kept: Kept, settings: object, bindsMail: boolean): object {
  const env = { ...settings, ...(bindsMail && { EMAIL: 'bound' }) }
  const strangers = kept.strangers()
  try {
    configOf({ ...strangers, ...env })
  } catch (error) {
    throw error instanceof ConfigError ? new Error(error.sentences.join('\n')) : error
  }
  for (const name of Object.keys(strangers)) console.log(`${name} is not a setting, and is not put there.`)
  return env
}

async function migrateDatabase(env: object) {
  const { TURSO_DATABASE_URL, TURSO_AUTH_TOKEN } = configOf(env)
  const names = await migrate(TURSO_DATABASE_URL, TURSO_AUTH_TOKEN, MIGRATIONS)
  console.log(names.length ? `Migrations applied: ${names.length}.` : 'The database is up to date.')
}

/** Keys from another file, or new ones because the file was lost, would replace those that passwords are under. */
async function refuseOtherKeys(env: object, path: string) {
  const { lacksCurrent, lacksSealed } = await withResources(env, (resources) =>
    lookForKeys(patiently(resources)),
  )
  if (lacksCurrent || lacksSealed)
    throw new Error(
      `Passwords, authenticator apps or webhooks in this database are under a key that is not in ${path}, and would be lost, so nothing was put there. Write the SECRET_KEYS of the deployment into that file, and its JWT_KEYS, OPENID_KEYS and HISTORY_KEY.`,
    )
}

const hasAdmin = (env: object): Promise<boolean> =>
  withResources(env, async (resources) => {
    const { config, now } = resources
    const { admin } = await patiently(resources).db.readPrimary({
      // Excepts nobody: any administrator counts.
      admin: sql<{ remains: 0 | 1 }>`SELECT ${anotherAdminRemains(config, now, '')} AS remains`,
    })
    return admin[0]?.remains === 1
  })

/**
 * Returns the password, if one was made and must be told. Whoever ADMIN_EMAIL names may have been demoted or erased since
 * the first run, so nobody is made an administrator while there is one who can sign in.
 */
async function makeAdmin(
  env: { ORGANISATION?: string },
  email: string,
  given?: string,
): Promise<string | undefined> {
  if (await hasAdmin(env)) {
    console.log('There is an administrator already.')
    return undefined
  }
  const name = 'Administrator'
  const { ORGANISATION: organisation } = env
  if (given) refuseWeakPassword(given, { email, name, organisation }, 'ADMIN_PASSWORD')
  const password = given || randomBytes(15).toString('base64url')
  const { done } = await createAdmin({ env, email, name, password: () => password, resetPassword: false })
  console.log(`${email}: ${done.join(', ') || 'is an administrator already'}.`)
  const isSet = done.some((one) => one === 'created' || one === 'password replaced')
  if (!isSet || given) return undefined
  // Printed at once: it is kept nowhere, and the next steps may fail.
  console.log(`Password: ${password}`)
  return password
}

/**
 * Settings that setup put and the file no longer has are removed. What was put by hand stays, but for a second mail
 * service, which would contradict the one that the file has.
 */
async function putSettings({ kept, wrangler }: SettingUp) {
  const settings = kept.settings()
  const isMailInFile = ['RESEND_API_KEY', 'SMTP_URL'].some((name) => name in settings)
  const before = (kept.values.PUT_BY_SETUP ?? '').split(',').filter(Boolean)
  const ours = [...before, ...(isMailInFile ? ['RESEND_API_KEY', 'SMTP_URL'] : [])]
  const { names, why } = await wrangler.secretNames()
  const removed = names.filter((name) => ours.includes(name) && !(name in settings))
  await wrangler.putSecrets({ ...settings, ...Object.fromEntries(removed.map((name) => [name, null])) })
  // What could not be removed now is removed by a later run.
  const put = new Set([...(why ? before : []), ...Object.keys(settings)])
  kept.keep({ PUT_BY_SETUP: [...put].join(',') })
  console.log(`Secrets put: ${Object.keys(settings).join(', ')}.`)
  if (removed.length > 0)
    console.log(`Secrets removed, as the file does not have them: ${removed.join(', ')}.`)
  if (why) console.log(`Which others the Worker has could not be read, so nothing was removed: ${why}`)
}

function sayWhatIsNext({ kept }: SettingUp, issuer: string, path: string, password: string | undefined) {
  const { ADMIN_EMAIL, MAIL_FROM } = kept.values
  const steps = [
    `Sign in at ${issuer}/signin as ${ADMIN_EMAIL}${password ? ', with the password above,' : ''} and add a passkey or an authenticator app.`,
    `Keep ${path} where you keep secrets, and remove it here. It has the only copy of the keys; running this again needs it.`,
    MAIL_FROM
      ? `Let your domain vouch for mail from ${MAIL_FROM} (SPF, DKIM): the mail service says how.`
      : 'Without mail nobody confirms an address and nobody gets a reset: MAIL_FROM turns it on.',
    'Set what else is yours: ORGANISATION, SIGNUP, IDENTITY_PROVIDERS. .dev.vars.example has every setting; add lines to that file, or take some out, and run this again.',
    `Look at it from time to time: npm run doctor -- --settings ${path}`,
    'docs/operating.md has upgrades, keys, staging, costs and what to watch.',
  ]
  console.log(`\nRoster answers at ${issuer}. What to do next:`)
  for (const [index, step] of steps.entries()) console.log(`${index + 1}. ${step}`)
}

if (import.meta.main) runCommand(main)
