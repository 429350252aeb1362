import { setTimeout as delay } from 'node:timers/promises'
import type { startProcess } from './process.ts'

const QUIET_MS = 400

export function printTable(rows: string[][]) {
  const lines = rows.map(
    ([name = '', value = '', note = '']) => `  ${name.padEnd(15)}${value.padEnd(30)}${note && `  ${note}`}`,
  )
  console.log(`\n${lines.map((line) => line.trimEnd()).join('\n')}\n`)
}

/** Until the stack is ready, only wrangler's errors are shown; after that, everything. */
export function forwardLogs(worker: ReturnType<typeof startProcess>) {
  let isOn = false
  let lastLineMs = performance.now()
  worker.onLine((line) => {
    lastLineMs = performance.now()
    if (isOn || /\bERROR\b|^Inspector /.test(line)) console.log(line.replace('[wrangler:info] ', ''))
  })
  return {
    /** Waits for the last output of wrangler and the Worker about starting, so that it does not come later. */
    async untilQuiet() {
      while (performance.now() - lastLineMs < QUIET_MS) await delay(50)
    },
    start() {
      isOn = true
    },
  }
}
