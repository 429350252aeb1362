import { chmodSync, copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { join, resolve } from 'node:path'
import { freePort, listen, untilReady } from '../../scripts/local/process.ts'
import { startWorker } from '../../scripts/local/start-worker.ts'

const ROOT = resolve(import.meta.dirname, '../..')

/** One call of a stand-in. Secrets come in `input`. */
export interface Call {
  tool: string
  args: string[]
  input: string
}

interface Asked extends Call {
  /** Where wrangler reports what it has done, for programs. */
  report: string | undefined
}

/** A command of that name that asks us what to answer: standard output, standard error and exit code. */
const commandFor = (tool: string, url: string) => `#!${process.execPath}
const chunks = []
for await (const chunk of process.stdin) chunks.push(chunk)
const body = JSON.stringify({ tool: ${JSON.stringify(tool)}, args: process.argv.slice(2),
  input: Buffer.concat(chunks).toString(), report: process.env.WRANGLER_OUTPUT_FILE_PATH })
const { stdout = '', stderr = '', code = 0 } = await (await fetch(${JSON.stringify(url)}, { method: 'POST', body })).json()
process.stdout.write(stdout)
process.stderr.write(stderr)
process.exitCode = code
`

interface Said {
  stdout?: string
  stderr?: string
  code?: number
}

/**
 * Stand-ins for `wrangler` and `turso`, on the PATH of a script. They record their calls. What wrangler deploys is a
 * real Worker on this machine, with the secrets that were put.
 */
export async function startStandIns(dir: string, databaseUrl: string) {
  const calls: Call[] = []
  const secrets: Record<string, string> = {}
  /** Calls that fail once, by how they begin. */
  const failing: string[] = []
  const databases = new Set<string>()
  let worker: ReturnType<typeof startWorker> | undefined
  const port = await freePort()
  const address = `http://localhost:${port}`

  async function deploy() {
    await worker?.close()
    worker = startWorker(
      {
        port,
        persist: join(dir, 'worker'),
        inspect: false,
        vars: { ...secrets, LOCAL_CRON_KEY: 'nobody-calls-it' },
      },
      join(dir, 'worker.json'),
    )
    const isAlive = async () => {
      const { status } = await fetch(`${address}/health`)
      if (status !== 200) throw new Error(`health ${status}`)
    }
    await untilReady(worker, isAlive, 120_000)
  }

  async function answer({ tool, args, input, report }: Asked): Promise<Said> {
    calls.push({ tool, args, input })
    const said = `${tool} ${args.join(' ')}`
    const fails = failing.findIndex((one) => said.startsWith(one))
    if (fails >= 0) {
      failing.splice(fails, 1)
      return { code: 1, stderr: 'the network is away' }
    }
    if (said.startsWith('wrangler whoami'))
      return { stdout: JSON.stringify({ loggedIn: true, accounts: [{ id: 'a1', name: 'Ours' }] }) }
    if (said.startsWith('wrangler secret bulk')) {
      for (const [name, value] of Object.entries<string | null>(JSON.parse(input)))
        if (value === null) delete secrets[name]
        else secrets[name] = value
      return {}
    }
    if (said.startsWith('wrangler secret list')) {
      if (!worker && Object.keys(secrets).length === 0)
        return { code: 1, stderr: '✘ [ERROR] Worker "roster" not found.' }
      return {
        stdout: JSON.stringify(Object.keys(secrets).map((name) => ({ name, type: 'secret_text' }))),
      }
    }
    if (said.startsWith('wrangler deploy')) {
      await deploy()
      writeFileSync(report!, `${JSON.stringify({ type: 'deploy', version: 1, targets: [address] })}\n`)
      return { stdout: 'Deployed' }
    }
    if (said === 'turso --version') return { stdout: 'turso version v1' }
    if (said.startsWith('turso db show'))
      return databases.has(args[2]!) ? { stdout: `${databaseUrl}\n` } : { code: 1, stderr: 'not found' }
    if (said.startsWith('turso db create')) {
      databases.add(args[2]!)
      return {}
    }
    if (said.startsWith('turso db tokens create')) return { stdout: 'token-of-the-database\n' }
    return { code: 1, stderr: `nobody has taught the stand-in: ${said}` }
  }

  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk)
    const asked = JSON.parse(Buffer.concat(chunks).toString()) as Asked
    const said = await answer(asked).catch((error: Error) => ({ code: 1, stderr: error.message }))
    response.end(JSON.stringify(said))
  })
  const url = `http://127.0.0.1:${await listen(server)}`
  const bin = join(dir, 'bin')
  mkdirSync(bin, { recursive: true })
  writeFileSync(join(bin, 'package.json'), '{"type":"module"}')
  for (const tool of ['wrangler', 'turso']) {
    writeFileSync(join(bin, tool), commandFor(tool, url))
    chmodSync(join(bin, tool), 0o755)
  }
  return {
    bin,
    calls,
    secrets,
    failing,
    address,
    /** A wrangler.toml of its own, in its own directory. */
    makeConfig(name: string) {
      const home = join(dir, name)
      mkdirSync(home, { recursive: true })
      const config = join(home, 'wrangler.toml')
      copyFileSync(join(ROOT, 'wrangler.toml'), config)
      writeFileSync(config, readFileSync(config, 'utf8').replace('name = "roster"', `name = "${name}"`))
      return { config, kept: join(home, `.roster-${name}.env`) }
    },
    async close() {
      server.close()
      server.closeAllConnections()
      await worker?.close()
    },
  }
}
