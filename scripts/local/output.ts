import { setTimeout as delay } from 'node:timers/promises'
import type { startProcess } from './process.ts'

const QUIET_MS = 400

export function printTable(rows: string[][]) {
  const lines = rows.map(
    ([name = '', value = '', note = '']) => `  ${name.padEnd(15)}${value.padEnd(30)}${note && `  ${note}`}`,
  )
  console.log(`\n${lines.map((line) => line.trimEnd()).join('\n')}\n`)
}

/** Before the stack is ready, only wrangler's errors are worth a line; after that, everything. */
export function forwardLogs(worker: ReturnType<typeof startProcess>) {
  let isOn = false
  let lastLineMs = performance.now()
  worker.onLine((line) => {
    lastLineMs = performance.now()
    if (isOn || /\bERROR\b|^Inspector /.test(line)) console.log(line.replace('[wrangler:info] ', ''))
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
