import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { unstable_readConfig } from 'wrangler'

interface Outcome {
  code: number
  stdout: string
  /** Both streams together, as in a terminal. */
  all: string
}

/** Runs another tool's command. Secrets go to standard input: anybody can read arguments. */
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

/** What setup needs to know from wrangler.toml. */
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

/** The line of wrangler.toml with the Worker's domain; a comment until somebody sets it. */
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

/** Cloudflare's command, for one Worker. */
export function openWrangler(config: string, accountId: () => string | undefined) {
  const env = () => ({
    WRANGLER_SEND_METRICS: 'false',
    WRANGLER_HIDE_BANNER: 'true',
    ...(accountId() && { CLOUDFLARE_ACCOUNT_ID: accountId() }),
  })
  const of = ['--config', config]
  return {
    /** The accounts that the logged-in user may use. */
    async accounts(): Promise<Account[]> {
      const { code, stdout } = await run('wrangler', ['whoami', '--json'], { env: env() })
      if (code !== 0)
        throw new Error(
          'Nobody is logged in at Cloudflare. Run `npx wrangler login`, or set CLOUDFLARE_API_TOKEN, and then this again.',
        )
      return (JSON.parse(stdout) as { accounts: Account[] }).accounts
    },
    /** The names of the Worker's secrets; or why they cannot be read, unless there is no Worker yet. */
    async secretNames(): Promise<{ names: string[]; why?: string }> {
      const { code, stdout, all } = await run('wrangler', ['secret', 'list', ...of], { env: env() })
      if (code !== 0) return /Worker .* not found/.test(all) ? { names: [] } : { names: [], why: all.trim() }
      return { names: (JSON.parse(stdout) as { name: string }[]).map(({ name }) => name) }
    },
    /**
     * All in one request, which makes one version of the Worker instead of one for each. `null` removes one: two ways to send
     * mail at once, even for a moment, would be a contradiction.
     */
    putSecrets: (secrets: Record<string, string | null>) =>
      succeed('wrangler', ['secret', 'bulk', ...of], { input: JSON.stringify(secrets), env: env() }),
    /** Returns the URLs and domains that wrangler reports for programs. */
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

/** Turso's command; undefined if it is not installed. */
export async function openTurso() {
  const isThere = await run('turso', ['--version']).catch(() => undefined)
  if (isThere?.code !== 0) return undefined
  const urlOf = async (name: string) => {
    const { code, stdout } = await run('turso', ['db', 'show', name, '--url'])
    return code === 0 ? stdout.trim() : undefined
  }
  return {
    /** The database with this name; it is created if there is none. */
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
