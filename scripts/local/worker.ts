import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { unstable_startWorker } from 'wrangler'

/** What `dev.ts` writes for this process, into a file that nobody else can read. */
export interface WorkerOptions {
  /** The configuration file of an app other than Roster. */
  config?: string
  entrypoint?: string
  port: number
  /** Where the runtime keeps what it simulates. */
  persist: string
  /** Whether V8's inspector listens. It obeys every page that finds its port, so only those who ask for it get it. */
  inspect: boolean
  vars: Record<string, string>
}

/** Calls `wrangler dev` as a function: its command always opens an inspector. */
const ROOT = resolve(import.meta.dirname, '../..')
const { port, persist, inspect, vars, config, entrypoint }: WorkerOptions = JSON.parse(
  readFileSync(process.argv[2] ?? '', 'utf8'),
)

const worker = await unstable_startWorker({
  config: config ?? resolve(ROOT, 'wrangler.toml'),
  entrypoint: entrypoint ?? resolve(import.meta.dirname, 'worker-entry.ts'),
  bindings: Object.fromEntries(
    Object.entries(vars).map(([name, value]) => [name, { type: 'secret_text', value }]),
  ),
  envFiles: [],
  dev: {
    server: { hostname: '127.0.0.1', port },
    inspector: inspect ? { hostname: '127.0.0.1', port: 0 } : false,
    persist,
    watch: true,
    liveReload: false,
  },
})
await worker.ready
if (inspect) console.log(`Inspector  ${await worker.inspectorUrl}`)
