import { writeFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { startProcess } from './process.ts'
import type { WorkerOptions } from './worker.ts'

export const writePrivately = (path: string, text: string) => writeFileSync(path, text, { mode: 0o600 })

/** Starts a Worker in a process of its own, which reads its options from `file`. */
export function startWorker(options: WorkerOptions, file: string) {
  writePrivately(file, JSON.stringify(options))
  return startProcess(
    process.execPath,
    [resolve(import.meta.dirname, 'worker.ts'), file],
    // No telemetry, no update notices, no questions, and no look-up of where this machine is.
    {
      WRANGLER_SEND_METRICS: 'false',
      WRANGLER_HIDE_BANNER: 'true',
      CI: 'true',
      CLOUDFLARE_CF_FETCH_ENABLED: 'false',
    },
  )
}
