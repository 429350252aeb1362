import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { relative, resolve } from 'node:path'
import { parseEnv } from 'node:util'
import { ConfigError, configOf } from '../src/config/main.ts'
import { isEmail } from '../src/values/email.ts'
import { readArguments } from './command.ts'
import { createAdmin, findAdmin, findByEmail, refuseWeakPassword, withResources } from './create-admin.ts'
import { DEMO_ADMIN, DEMO_PASSWORD, DEMO_SETTINGS, DOMAIN, inventUsers } from './demo.ts'
import { generate, newSecret } from './keys.ts'
import { claimDirectory } from './local/claim.ts'
import { startCrons } from './local/crons.ts'
import { newDatabaseKey, startDatabase } from './local/database.ts'
import { prepareExample } from './local/example.ts'
import { placeExamples, rowsOf, serviceWorker, startReact } from './local/examples.ts'
import { startMailbox } from './local/mailbox.ts'
import { forwardLogs, printTable } from './local/output.ts'
import { findPort, PORT } from './local/port.ts'
import { type ChildProcess, untilReady } from './local/process.ts'
import { prepareProvider } from './local/provider/start.ts'
import { startWorker, writePrivately } from './local/start-worker.ts'
import { startUpstash } from './local/upstash.ts'
import { migrate } from './migrate.ts'

const USAGE = `npm run dev [-- --reset] [-- --demo] [-- --examples] [-- --inspect]

Starts everything that Roster needs on this machine, and Roster. Ctrl-C ends it.

  --reset     starts afresh: everything that the local stack keeps is removed first
  --demo      invents a hundred users with a history, where there are none yet; an app and a provider to sign in with
  --examples  starts that app, a React app that has its users signed in by cookie, and a service that takes tokens
  --inspect   opens the runtime's inspector, for a debugger. Every page in a browser of this machine could use it.
  --dry-run   checks the settings, says what would be started, and starts nothing

PORT, ADMIN_EMAIL and ADMIN_PASSWORD choose port and administrator, ROSTER_STATE the directory (.roster). Your own
settings may be in .dev.vars.`

const ROOT = resolve(import.meta.dirname, '..')
/** Everything the local stack keeps. A second stack needs its own directory. */
const STATE = resolve(ROOT, process.env.ROSTER_STATE ?? '.roster')
const PATHS = {
  secrets: resolve(STATE, 'secrets.json'),
  database: resolve(STATE, 'database'),
  redis: resolve(STATE, 'redis'),
  mails: resolve(STATE, 'mails.jsonl'),
  worker: resolve(STATE, 'worker'),
  workerOptions: resolve(STATE, 'worker.json'),
  example: resolve(STATE, 'example'),
  exampleOptions: resolve(STATE, 'example.json'),
  service: resolve(STATE, 'service'),
  serviceOptions: resolve(STATE, 'service.json'),
  providerOptions: resolve(STATE, 'provider.json'),
}
const SETTINGS = resolve(ROOT, '.dev.vars')
/** A path as it is written from the project's directory. */
const named = (path: string) => (path.startsWith(`${ROOT}/`) ? relative(ROOT, path) : path)
const MAILBOX_PORT = 8788
const READY_TIMEOUT_MS = 240_000
type Part = Pick<ChildProcess, 'exited' | 'lastWords' | 'close'>

type Secrets = ReturnType<typeof keptSecrets> extends Promise<infer Kept> ? Kept : never

const running: Array<[name: string, part: Part]> = []
let stopping: Promise<never> | undefined

function stop(exitCode: number): Promise<never> {
  stopping ??= (async () => {
    for (const [, part] of running.toReversed()) await part.close()
    process.exit(exitCode)
  })()
  return stopping
}

/** Ends it together with the other parts, and ends the others if it ends by itself. */
function supervise<P extends Part>(name: string, part: P): P {
  running.push([name, part])
  void part.exited.then((code) => {
    if (stopping) return
    console.error(`\n${name} ended by itself (code ${code}).\n${part.lastWords()}`)
    void stop(1)
  })
  return part
}

async function main() {
  const options = {
    reset: { type: 'boolean' },
    demo: { type: 'boolean' },
    examples: { type: 'boolean' },
    inspect: { type: 'boolean' },
  } as const
  const { values, isDryRun } = readArguments({ usage: USAGE, options })
  const admin = readAdmin({ ...(values.demo && DEMO_SETTINGS), ...givenSettings() })
  const port = await findPort()
  if (isDryRun) return sayWhatWouldStart(port, admin.email)

  mkdirSync(STATE, { recursive: true, mode: 0o700 })
  await claimState()
  if (values.reset) for (const path of Object.values(PATHS)) rmSync(path, { recursive: true, force: true })
  const secrets = await keptSecrets()
  const api = `http://127.0.0.1:${port}`
  const apps = values.examples ? await placeExamples() : undefined
  // A name, not an IP address: a passkey is bound to a name.
  const issuer = `http://localhost:${port}`
  const provider = values.demo ? await prepareProvider({ issuer, domains: [DOMAIN] }) : undefined
  const demo = { ...(values.demo && DEMO_SETTINGS), ...provider?.settings }
  const own = { ...demo, ...ownSettings(issuer, secrets, apps?.react) }
  checkSettings({ ...own, ...PLACEHOLDERS })

  const database = await keptIn(PATHS.database, async () => {
    const { DATABASE_KEY: key, DATABASE_ADMIN_KEY: adminKey } = secrets
    const started = supervise(
      'The libSQL server',
      await startDatabase({ dir: PATHS.database, key, adminKey }),
    )
    for (const name of await migrate(started.url, started.token)) console.log(`Migrated: ${name}`)
    return started
  })
  const redisToken = secrets.UPSTASH_REDIS_REST_TOKEN
  const redis = await keptIn(PATHS.redis, async () =>
    supervise('Redis', await startUpstash({ token: redisToken, engine: 'auto', dir: PATHS.redis })),
  )
  const mailbox = await keptIn(PATHS.mails, () =>
    startMailbox({ apiKey: secrets.MAILBOX_KEY, file: PATHS.mails, port: MAILBOX_PORT }),
  )
  const settings = {
    ...own,
    TURSO_DATABASE_URL: database.url,
    TURSO_AUTH_TOKEN: database.token,
    UPSTASH_REDIS_REST_URL: redis.url,
    RESEND_URL: mailbox.url,
  }
  await provider?.isUp(supervise('The provider', provider.start(PATHS.providerOptions)))
  const example =
    values.demo || apps ? await prepareExample(settings, secrets.EXAMPLE, PATHS.example) : undefined
  if (example) secrets.EXAMPLE = example.kept
  const [password, note] = await prepareAdmin(
    { ...admin, name: values.demo ? DEMO_ADMIN : ADMIN_NAME },
    secrets,
    settings,
  )
  const isDemo = values.demo === true && (await inventInto(settings, admin.email))

  const worker = supervise(
    'The Worker',
    startWorker(
      {
        port,
        persist: PATHS.worker,
        inspect: values.inspect ?? false,
        vars: { ...settings, LOCAL_CRON_KEY: secrets.CRON_KEY },
      },
      PATHS.workerOptions,
    ),
  )
  if (example) supervise('The example', startWorker(example.options, PATHS.exampleOptions))
  if (apps) {
    supervise('The React app', startReact(apps, settings.ISSUER))
    supervise('The service', startWorker(serviceWorker(apps, settings, PATHS.service), PATHS.serviceOptions))
  }
  const printLogs = forwardLogs(worker)
  await untilReady(worker, () => expectReady(api), READY_TIMEOUT_MS)
  await printLogs.untilQuiet()

  printTable([
    ['API', settings.ISSUER, port === PORT || process.env.PORT ? '' : `port ${PORT} is taken`],
    ['Docs', `${settings.ISSUER}/docs`],
    [
      'Redis',
      redis.url,
      redis.engine === 'server' ? 'over redis-server' : 'embedded, in memory: no redis-server',
    ],
    ['Administrator', admin.email, note],
    ['Password', password],
    ...(isDemo ? [['Demo', 'a hundred users', `each with the password ${DEMO_PASSWORD}`]] : []),
    ...(provider ? [['Provider', provider.url, 'Nordlys, to sign in with']] : []),
    ...(example ? [['Example', example.url, 'an app to sign in to: examples/sign-in']] : []),
    ...(apps ? rowsOf(apps) : []),
    ['Data', named(STATE), 'npm run dev -- --reset starts afresh'],
  ])
  console.log(`Database  ${database.url}  token=${database.token}`)
  console.log(`Mailbox  ${mailbox.url}/?key=${secrets.MAILBOX_KEY}`)
  console.log(`\nready ${api}`)
  printLogs.start()
  startCrons(api, secrets.CRON_KEY)
}

interface Admin {
  email: string
  /** The password in the environment, if there is one. */
  password: string | undefined
}

/** The administrator that the environment names. */
function readAdmin({ ORGANISATION: organisation }: { ORGANISATION?: string }): Admin {
  const email = process.env.ADMIN_EMAIL?.trim() || 'admin@example.com'
  if (!isEmail(email)) throw new Error(`ADMIN_EMAIL: ${email} is not an e-mail address.`)
  const password = process.env.ADMIN_PASSWORD || undefined
  const owner = { email, name: ADMIN_NAME, organisation }
  if (password !== undefined) refuseWeakPassword(password, owner, 'ADMIN_PASSWORD')
  return { email, password }
}
const ADMIN_NAME = 'Administrator'

async function claimState() {
  process.chdir(STATE)
  const isOurs = await claimDirectory()
  process.chdir(ROOT)
  if (isOurs) return
  throw new Error(
    `Roster is already running from ${STATE}.\nFor a second one beside it: ROSTER_STATE=.roster-2 npm run dev`,
  )
}

/** If a kept file is broken, the error names it, and says how to start without it. */
async function keptIn<T>(path: string, open: () => Promise<T> | T): Promise<T> {
  try {
    return await open()
  } catch (cause) {
    throw new Error(
      `${named(path)} cannot be used: ${(cause as Error).message}\nTo start afresh, without it: npm run dev -- --reset`,
      { cause },
    )
  }
}

/** Made at the first start and kept: new ones would void all tokens and passwords. */
async function keptSecrets() {
  const kept: Record<string, string> = await keptIn(PATHS.secrets, () => {
    const read: unknown = existsSync(PATHS.secrets) ? JSON.parse(readFileSync(PATHS.secrets, 'utf8')) : {}
    const isRecord = typeof read === 'object' && read !== null && !Array.isArray(read)
    if (!isRecord || !Object.values(read).every((value) => typeof value === 'string'))
      throw new Error('it has to be an object of strings.')
    return read as Record<string, string>
  })
  const fresh = {
    ...(await generate()),
    UPSTASH_REDIS_REST_TOKEN: newSecret(),
    MAILBOX_KEY: newSecret(),
    CRON_KEY: newSecret(),
    DATABASE_KEY: newDatabaseKey(),
    DATABASE_ADMIN_KEY: newSecret(),
    ADMIN_EMAIL: '',
    EXAMPLE: '',
    ADMIN_PASSWORD: newSecret().slice(0, 20),
  }
  return keep({ ...fresh, ...kept })
}

function keep<Kept extends object>(secrets: Kept): Kept {
  writePrivately(PATHS.secrets, JSON.stringify(secrets, null, 2))
  return secrets
}

const givenSettings = () =>
  existsSync(SETTINGS) ? (parseEnv(readFileSync(SETTINGS, 'utf8')) as Record<string, string>) : {}

/** Your own settings. They override the defaults of this stack; what it must decide overrides them. */
function ownSettings(ISSUER: string, secrets: Secrets, app: string | undefined) {
  const own = givenSettings()
  return {
    // So that a first login needs no mailbox. With a list of domains addresses must be proved, so it is not set then.
    ...(own.SIGNUP_DOMAINS ? {} : { EMAIL_VERIFICATION: 'optional' }),
    ...own,
    ...(app && { COOKIE_ORIGINS: [own.COOKIE_ORIGINS, app].filter(Boolean).join() }),
    JWT_KEYS: secrets.JWT_KEYS,
    OPENID_KEYS: secrets.OPENID_KEYS,
    SECRET_KEYS: secrets.SECRET_KEYS,
    UPSTASH_REDIS_REST_TOKEN: secrets.UPSTASH_REDIS_REST_TOKEN,
    ISSUER,
    MAIL_FROM: 'Roster <roster@example.com>',
    RESEND_API_KEY: secrets.MAILBOX_KEY,
  }
}

/** Only known once the parts have started. */
const PLACEHOLDERS = {
  TURSO_DATABASE_URL: 'http://127.0.0.1',
  TURSO_AUTH_TOKEN: 'made-at-the-start',
  UPSTASH_REDIS_REST_URL: 'http://127.0.0.1',
  RESEND_URL: 'http://127.0.0.1',
}

/** Checked before anything starts: the Worker would answer 503 to everything until somebody reads its log. */
function checkSettings(settings: object) {
  try {
    configOf(settings)
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    const fileOf = (name: string) =>
      ['JWT_KEYS', 'OPENID_KEYS', 'SECRET_KEYS'].includes(name) ? PATHS.secrets : SETTINGS
    const files = [...new Set(error.names.map((name) => named(fileOf(name))))]
    throw new Error(`${error.sentences.join('\n')}\nHere they come from ${files.join(' and ')}.`)
  }
}

/** The password to print, and what else to say. `ADMIN_PASSWORD` replaces an administrator's other password. */
async function prepareAdmin(
  { email, password: asked, name }: Admin & { name: string },
  secrets: Secrets,
  env: object,
) {
  const password = asked ?? secrets.ADMIN_PASSWORD
  const before = await findAdmin(env, email, password)
  const resetPassword = asked !== undefined && before !== undefined && !before.isPassword
  const { done } = await createAdmin({
    env,
    email,
    name,
    password: () => password,
    resetPassword,
  })
  keep({ ...secrets, ADMIN_EMAIL: email, ...(asked && { ADMIN_PASSWORD: asked }) })
  const former = secrets.ADMIN_EMAIL
  const note =
    former && former !== email ? `${former} stays an administrator, with the password they had` : ''
  const isKnown = done.includes('created') || done.includes('password replaced') || before?.isPassword
  return [isKnown ? password : 'unchanged since you last set it', note] as const
}

const inventInto = (settings: object, email: string) =>
  withResources(settings, async (resources) =>
    inventUsers(resources, (await findByEmail(resources, email))!.id),
  )

async function expectReady(api: string) {
  const answer = await fetch(`${api}/ready`, { signal: AbortSignal.timeout(5_000) })
  const text = await answer.text()
  if (answer.status !== 200) throw new Error(`/ready answers ${answer.status} ${text}`)
}

function sayWhatWouldStart(port: number, email: string) {
  const what = existsSync(PATHS.database) ? 'with what is there' : 'and make what is not there yet'
  console.log(`Would start Roster on port ${port} from ${named(STATE)}, ${what}; administrator ${email}.`)
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => void stop(0))
// npm may be killed without telling us. Only npm is watched: any other starter may well leave before us.
const starter = process.ppid
if (process.env.npm_lifecycle_event) setInterval(() => process.ppid !== starter && void stop(0), 500).unref()

main().catch(async (error: Error) => {
  if (stopping) return
  console.error(`\n${error.message}`)
  await stop(1)
})
