import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { unstable_readConfig } from 'wrangler'

interface Outcome {
  code: number
  stdout: string
  /** Both streams, as a terminal would have shown them. */
  all: string
}

/** Runs somebody else's command. Secrets go in by standard input: arguments are for all to read. */
function run(command: string, args: string[], { input = '', env = {} } = {}): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { env: { ...process.env, ...env }, stdio: 'pipe' })
    let stdout = ''
    let all = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text
      all += text
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      all += text
    })
    child.once('error', reject)
    child.once('close', (code) => resolve({ code: code ?? 1, stdout, all }))
    child.stdin.on('error', () => {})
    child.stdin.end(input)
  })
}

async function succeed(command: string, args: string[], options = {}): Promise<string> {
  const { code, stdout, all } = await run(command, args, options)
  if (code !== 0) throw new Error(`${command} ${args.join(' ')} has failed:\n${all.trim()}`)
  return stdout
}

interface WranglerConfig {
  name?: string
  routes?: (string | { pattern: string; custom_domain?: boolean })[]
  send_email: { name: string }[]
}

/** What wrangler.toml says, as far as setting up has to know. */
export function readWranglerConfig(path: string) {
  const {
    name,
    routes = [],
    send_email,
  } = unstable_readConfig({ config: path }, { hideWarnings: true }) as WranglerConfig
  if (!name) throw new Error(`${path} names no Worker.`)
  const domains = routes.flatMap((route) =>
    typeof route === 'object' && route.custom_domain ? [route.pattern] : [],
  )
  return { name, domains, bindsMail: send_email.some((binding) => binding.name === 'EMAIL') }
}

/** The line of wrangler.toml that says where the Worker answers, which is a comment before somebody has said so. */
const ROUTES = /^# routes = .*$/m

/** Writes a domain into wrangler.toml, where every later deployment finds it. */
export function writeDomain(path: string, domain: string): void {
  const line = `routes = [{ pattern = "${domain}", custom_domain = true }]`
  const text = readFileSync(path, 'utf8')
  if (!ROUTES.test(text))
    throw new Error(`${path} names no routes yet, and has no place for them. Add: ${line}`)
  writeFileSync(path, text.replace(ROUTES, line))
}

interface Account {
  id: string
  name: string
}

/** Cloudflare's own command, for one Worker. */
export function openWrangler(config: string, accountId: () => string | undefined) {
  const env = () => ({
    WRANGLER_SEND_METRICS: 'false',
    WRANGLER_HIDE_BANNER: 'true',
    ...(accountId() && { CLOUDFLARE_ACCOUNT_ID: accountId() }),
  })
  const of = ['--config', config]
  return {
    /** The accounts that whoever is logged in may use. */
    async accounts(): Promise<Account[]> {
      const { code, stdout } = await run('wrangler', ['whoami', '--json'], { env: env() })
      if (code !== 0)
        throw new Error(
          'Nobody is logged in at Cloudflare. Run `npx wrangler login`, or set CLOUDFLARE_API_TOKEN, and then this again.',
        )
      return (JSON.parse(stdout) as { accounts: Account[] }).accounts
    },
    /** All of them in one request: one version of the Worker, not one for each. */
    putSecrets: (secrets: Record<string, string>) =>
      succeed('wrangler', ['secret', 'bulk', ...of], { input: JSON.stringify(secrets), env: env() }),
    /** Answers where it is: URLs and domains, as wrangler writes them down for programs. */
    async deploy(): Promise<string[]> {
      const dir = mkdtempSync(join(tmpdir(), 'roster-setup-'))
      const report = join(dir, 'wrangler.ndjson')
      try {
        writeFileSync(report, '')
        await succeed('wrangler', ['deploy', '--minify', ...of], {
          env: { ...env(), WRANGLER_OUTPUT_FILE_PATH: report },
        })
        const events = readFileSync(report, 'utf8').split('\n').filter(Boolean)
        const deployed = events.map((line) => JSON.parse(line)).filter(({ type }) => type === 'deploy')
        return deployed.flatMap(({ targets }: { targets?: string[] }) => targets ?? [])
      } finally {
        rmSync(dir, { recursive: true, force: true })
      }
    },
  }
}

/** Turso's command, where it is installed: undefined where it is not. */
export async function openTurso() {
  const isThere = await run('turso', ['--version']).catch(() => undefined)
  if (isThere?.code !== 0) return undefined
  const urlOf = async (name: string) => {
    const { code, stdout } = await run('turso', ['db', 'show', name, '--url'])
    return code === 0 ? stdout.trim() : undefined
  }
  return {
    /** A database of this name, which is made where there is none. */
    async database(name: string) {
      const found = await urlOf(name)
      if (!found) await succeed('turso', ['db', 'create', name])
      const url = found ?? (await urlOf(name))
      if (!url) throw new Error(`turso db show ${name} --url says nothing of a database that was just made.`)
      const token = (await succeed('turso', ['db', 'tokens', 'create', name])).trim()
      return { url, token, isNew: found === undefined }
    },
  }
}
