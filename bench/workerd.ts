import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { unstable_readConfig } from 'wrangler'
import { freePort, startProcess, untilReady } from '../scripts/local/process.ts'
import type { Modules } from './bundle.ts'

const ROOT = join(import.meta.dirname, '..')
/** The binary that wrangler installs. Not `.bin/workerd`, a script that starts it and would leave it behind. */
const WORKERD: string = createRequire(import.meta.url)('workerd').default

export interface WorkerOptions {
  modules: Modules
  bindings: Record<string, string>
  /** Port of V8's inspector. */
  inspectorPort?: number
}

/**
 * A rate limit that always says yes, bound in the same way. The platform keeps this count beside the isolate, so it
 * is not ours to measure; the stand-in of `wrangler dev` costs a call of a Durable Object.
 */
const RATE_LIMIT = 'export default () => ({ limit: async () => ({ success: true }) })'

/** The cron trigger calls `scheduled`, which in workerd only another Worker can do. */
const CRON = `export default {
  async fetch(_request, env) {
    const { outcome } = await env.WORKER.scheduled({ scheduledTime: new Date(), cron: '*/15 * * * *' })
    return new Response(outcome)
  },
}`

/** A Worker in workerd itself: the binary that serves it at the edge, with nothing between it and the socket. */
export async function startWorker({ modules, bindings, inspectorPort }: WorkerOptions) {
  const home = mkdtempSync(join(tmpdir(), 'roster-workerd-'))
  const [port, cronPort] = [await freePort(), await freePort()]
  const { compatibility_date, compatibility_flags, ratelimits } = unstable_readConfig({
    config: join(ROOT, 'wrangler.toml'),
  })
  const files = { ...modules, 'rate-limit.js': RATE_LIMIT, 'cron.js': CRON }
  for (const [name, code] of Object.entries(files)) writeFileSync(join(home, name), code)
  const text = (value: string | undefined) => JSON.stringify(value)
  const kindOf = (name: string, index: number) =>
    name.endsWith('.wasm') ? 'wasm' : index === 0 || name.endsWith('.mjs') ? 'esModule' : 'text'
  const module = (name: string, index = 0) =>
    `(name = ${text(name)}, ${kindOf(name, index)} = embed ${text(name)})`
  const common = `compatibilityDate = ${text(compatibility_date)}`
  writeFileSync(
    join(home, 'config.capnp'),
    `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "worker", worker = .worker),
    (name = "cron", worker = .cron),
    (name = "internet", network = (allow = ["public", "private"])),
  ],
  sockets = [
    (name = "http", address = "127.0.0.1:${port}", http = (), service = "worker"),
    (name = "cron", address = "127.0.0.1:${cronPort}", http = (), service = "cron"),
  ],
  extensions = [(modules = [(name = "bench:rate-limit", internal = true, esModule = embed "rate-limit.js")])],
);
const worker :Workerd.Worker = (
  modules = [${Object.keys(modules).map(module).join(', ')}],
  ${common},
  compatibilityFlags = ${JSON.stringify(compatibility_flags)},
  bindings = [
    ${Object.entries(bindings)
      .map(([name, value]) => `(name = ${text(name)}, text = ${text(value)}),`)
      .join('\n    ')}
    ${ratelimits.map(({ name }: { name: string }) => `(name = ${text(name)}, wrapped = (moduleName = "bench:rate-limit")),`).join('\n    ')}
  ],
);
const cron :Workerd.Worker = (
  modules = [${module('cron.js')}],
  ${common},
  compatibilityFlags = ["service_binding_extra_handlers"],
  bindings = [(name = "WORKER", service = "worker")],
);
`,
  )
  const inspector = inspectorPort ? [`--inspector-addr=127.0.0.1:${inspectorPort}`] : []
  const startedAt = performance.now()
  const worker = startProcess(WORKERD, ['serve', '--experimental', ...inspector, join(home, 'config.capnp')])
  const url = `http://127.0.0.1:${port}`
  const close = async () => {
    await worker.close()
    rmSync(home, { recursive: true, force: true })
  }
  try {
    await untilReady(worker, async () => void (await fetch(`${url}/health`)))
  } catch (error) {
    await close()
    throw error
  }
  return {
    url,
    /** From the start of the process to the first answer. */
    firstAnswerMs: performance.now() - startedAt,
    /** CPU time that the process has used so far. */
    cpuMs: () => cpuMsOf(home),
    /** Runs the cron job, and waits for it. */
    async runCron() {
      const answer = await (await fetch(`http://127.0.0.1:${cronPort}`)).text()
      if (answer !== 'ok') throw new Error(`The cron job ended with ${answer}.\n${worker.lastWords()}`)
    },
    close,
  }
}

export type Worker = Awaited<ReturnType<typeof startWorker>>

/**
 * Kernel ticks of a hundredth of a second, which Linux counts for every process. The one with `text` in its command
 * is read.
 */
const TICK_MS = 10

/** NaN if there is no /proc. */
function cpuMsOf(text: string): number {
  try {
    for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
      const command = readIfThere(`/proc/${pid}/cmdline`).split('\0')
      if (!command[0]?.endsWith('workerd') || !command.some((part) => part.startsWith(text))) continue
      const fields = readIfThere(`/proc/${pid}/stat`).split(') ').at(-1)!.split(' ')
      return (Number(fields[11]) + Number(fields[12])) * TICK_MS
    }
  } catch {
    // Not Linux.
  }
  return Number.NaN
}

function readIfThere(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
