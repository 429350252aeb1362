import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { relative, resolve } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { createAdmin } from './create-admin.ts'
import { generate, newSecret } from './keys.ts'
import { startMailbox } from './local/mailbox.ts'
import { freePort, startProcess, untilReady } from './local/process.ts'
import { startSqld } from './local/sqld.ts'
import { startUpstash } from './local/upstash.ts'
import { migrate } from './migrate.ts'

const ROOT = resolve(import.meta.dirname, '..')
/** Everything the local stack keeps. A second stack beside the first needs a directory of its own. */
const STATE = resolve(ROOT, process.env.ROSTER_STATE ?? '.roster')
const SECRETS = resolve(STATE, 'secrets.json')
const MAILBOX_PORT = 8788
const READY_TIMEOUT_MS = 60_000
const QUIET_MS = 400
/** As in wrangler.toml, each with its minutes. */
const CRONS = [
  ['* * * * *', 1],
  ['*/15 * * * *', 15],
] as const

interface Part {
  exited: Promise<number>
  lastWords(): string
  close(): Promise<void>
}

const running: Array<[name: string, part: Part]> = []
let stopping: Promise<never> | undefined

function stop(exitCode: number): Promise<never> {
  stopping ??= (async () => {
    for (const [, part] of running.toReversed()) await part.close()
    process.exit(exitCode)
  })()
  return stopping
}

/** Ends with everything else, and ends everything else when it ends by itself. */
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
  mkdirSync(STATE, { recursive: true, mode: 0o700 })
  await claimState()
  const secrets = await keptSecrets()
  const wantedPort = Number(process.env.PORT || 8787)
  if (!Number.isInteger(wantedPort) || wantedPort < 1 || wantedPort > 65_535)
    throw new Error('PORT is not a port.')

  const database = supervise('The libSQL server', await startSqld({ dir: resolve(STATE, 'database') }))
  const token = secrets.UPSTASH_REDIS_REST_TOKEN
  const redisDir = resolve(STATE, 'redis')
  const redis = supervise('Redis', await startUpstash({ token, engine: 'auto', dir: redisDir }))
  const mailbox = await startMailbox({
    apiKey: secrets.MAILBOX_KEY,
    file: resolve(STATE, 'mails.jsonl'),
    port: MAILBOX_PORT,
  })
  const port = await freePort(wantedPort)
  const api = `http://127.0.0.1:${port}`
  const bindings = {
    TURSO_DATABASE_URL: database.url,
    TURSO_AUTH_TOKEN: 'local',
    UPSTASH_REDIS_REST_URL: redis.url,
    UPSTASH_REDIS_REST_TOKEN: token,
    JWT_KEYS: secrets.JWT_KEYS,
    SECRET_KEYS: secrets.SECRET_KEYS,
    ISSUER: api,
    MAIL_FROM: 'Roster <roster@example.com>',
    RESEND_API_KEY: secrets.MAILBOX_KEY,
    EMAIL_VERIFICATION: 'optional', // A first login needs no mailbox.
    RESEND_URL: mailbox.url,
  }
  for (const name of await migrate(database.url)) console.log(`Migrated: ${name}`)
  const email = process.env.ADMIN_EMAIL || 'admin@example.com'
  const password = await prepareAdmin(email, secrets, bindings)

  const wrangler = supervise('wrangler', startWrangler(port, bindings))
  const printLogs = forwardLogs(wrangler)
  await untilReady(wrangler, () => expectReady(api), READY_TIMEOUT_MS)
  await printLogs.untilQuiet()

  printTable([
    ['API', api, port === wantedPort ? '' : `port ${wantedPort} is taken`],
    ['Docs', `${api}/docs`],
    ['Database', database.url, `libSQL server, data in ${relative(ROOT, STATE)}/database`],
    [
      'Redis',
      redis.url,
      redis.engine === 'server' ? 'over redis-server' : 'embedded, in memory: no redis-server',
    ],
    ['Mailbox', mailbox.url, 'what Roster mails'],
    ['Administrator', email],
    ['Password', password],
  ])
  console.log(`ready ${api}`)
  printLogs.start()
  for (const [cron, minutes] of CRONS) setInterval(() => fireCron(api, cron), minutes * 60_000).unref()
}

/** `wrangler dev` fires no cron trigger by itself. */
const fireCron = (api: string, cron: string) =>
  fetch(`${api}/cdn-cgi/handler/scheduled?cron=${encodeURIComponent(cron)}`).catch(() => {})

/** One stack per directory: two libSQL servers on one set of files would ruin it, and neither would notice. */
async function claimState() {
  process.chdir(STATE) // A short name for the socket: systems allow about a hundred bytes.
  const isTaken = await new Promise<boolean>((answer) => {
    const knock = connect('lock')
      .on('connect', () => answer(true))
      .on('error', () => answer(false))
    knock.unref().on('connect', () => knock.destroy())
  })
  if (isTaken) {
    throw new Error(
      `Roster is already running from ${STATE}.\nFor a second one beside it: ROSTER_STATE=.roster-2 npm run dev`,
    )
  }
  rmSync('lock', { force: true })
  await new Promise<void>((resolve, reject) =>
    createServer().on('error', reject).listen('lock', resolve).unref(),
  )
  process.chdir(ROOT)
}

/** Made at the first start, then the same at every start: or all tokens would be void, and all passwords. */
async function keptSecrets() {
  const kept: Record<string, string> = existsSync(SECRETS) ? JSON.parse(readFileSync(SECRETS, 'utf8')) : {}
  const fresh = {
    ...(await generate()),
    UPSTASH_REDIS_REST_TOKEN: newSecret(),
    MAILBOX_KEY: newSecret(),
    ADMIN_PASSWORD: newSecret().slice(0, 20),
  }
  return keep({ ...fresh, ...kept })
}

function keep<Secrets extends object>(secrets: Secrets): Secrets {
  writePrivately(SECRETS, JSON.stringify(secrets, null, 2))
  return secrets
}

const writePrivately = (path: string, text: string) => writeFileSync(path, text, { mode: 0o600 })

/** Answers the password that works. `ADMIN_PASSWORD` replaces that of an administrator who has another. */
async function prepareAdmin(email: string, secrets: { ADMIN_PASSWORD: string }, env: object) {
  const password = process.env.ADMIN_PASSWORD || secrets.ADMIN_PASSWORD
  const resetPassword = password !== secrets.ADMIN_PASSWORD
  await createAdmin({ env, email, name: 'Administrator', password: () => password, resetPassword })
  if (resetPassword) keep({ ...secrets, ADMIN_PASSWORD: password })
  return password
}

function startWrangler(port: number, bindings: Record<string, string>) {
  const envFile = resolve(STATE, 'dev.env')
  writePrivately(
    envFile,
    Object.entries(bindings)
      .map(([name, value]) => `${name}='${value}'\n`)
      .join(''),
  )
  // Settings of your own may stand in `.dev.vars`; what this stack decides wins.
  const envFiles = [resolve(ROOT, '.dev.vars'), envFile].filter(existsSync)
  const options = {
    ip: '127.0.0.1',
    port: String(port),
    'inspector-port': '0',
    'show-interactive-dev-session': 'false',
  }
  return startProcess(
    process.execPath,
    [
      resolve(ROOT, 'node_modules/wrangler/bin/wrangler.js'),
      'dev',
      ...Object.entries(options).map(([name, value]) => `--${name}=${value}`),
      ...envFiles.flatMap((file) => ['--env-file', file]),
    ],
    // No telemetry, no news of other versions, no question, and no look-up of where this machine is.
    {
      WRANGLER_SEND_METRICS: 'false',
      WRANGLER_HIDE_BANNER: 'true',
      CI: 'true',
      CLOUDFLARE_CF_FETCH_ENABLED: 'false',
    },
  )
}

async function expectReady(api: string) {
  const answer = await fetch(`${api}/ready`, { signal: AbortSignal.timeout(5_000) })
  const text = await answer.text()
  if (answer.status !== 200) throw new Error(`/ready answers ${answer.status} ${text}`)
}

function printTable(rows: string[][]) {
  const lines = rows.map(
    ([name = '', value = '', note = '']) => `  ${name.padEnd(15)}${value.padEnd(30)}${note}`,
  )
  console.log(`\n${lines.map((line) => line.trimEnd()).join('\n')}\n`)
}

/** Before the stack is ready, only wrangler's errors are worth a line; after that, everything. */
function forwardLogs(wrangler: ReturnType<typeof startProcess>) {
  let isOn = false
  let lastLineMs = performance.now()
  wrangler.onLine((line) => {
    lastLineMs = performance.now()
    if (isOn || /\bERROR\b/.test(line)) console.log(line.replace('[wrangler:info] ', ''))
  })
  return {
    /** Waits for what wrangler and the Worker still have to say about starting, so that it is not said after. */
    async untilQuiet() {
      while (performance.now() - lastLineMs < QUIET_MS) await delay(50)
    },
    start() {
      isOn = true
    },
  }
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => void stop(0))
// npm may be killed without a word to us; whoever started the stack by other means may well leave before it.
const starter = process.ppid
if (process.env.npm_lifecycle_event) setInterval(() => process.ppid !== starter && void stop(0), 500).unref()

main().catch(async (error: Error) => {
  if (stopping) return
  console.error(`\n${error.message}`)
  if (error.cause instanceof Error) console.error(error.cause.message)
  await stop(1)
})
