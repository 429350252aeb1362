import type { LogEntry, Upstream } from '../test/support/proxy.ts'

/** Upstream calls of one request, as the proxy saw them. */
export interface Counted {
  libsql: number
  redis: number
  rowsRead: number
  rowsWritten: number
  /** Of all statements, as reported by libSQL. */
  databaseMs: number
  /** From the first call to the end of the last. */
  spanMs: number
}

/** Long enough to send a mail and mark it as sent. */
const SETTLE_MS = 400

const settle = () => new Promise((resolve) => setTimeout(resolve, SETTLE_MS))

/** Runs an action and counts its calls. `proxyUrl` ends in the label of proxied Workers. */
export async function count(proxyUrl: string, action: () => Promise<unknown>): Promise<Counted> {
  // So that nothing left over from the previous request is counted.
  await settle()
  await fetch(`${proxyUrl}/__log`, { method: 'DELETE' })
  await action()
  // Work after the answer belongs to the request too.
  await settle()
  const calls = (await (await fetch(`${proxyUrl}/__log`)).json()) as LogEntry[]
  const statements = calls.flatMap((call) => call.statements)
  const sum = (of: (statement: (typeof statements)[number]) => number) =>
    statements.reduce((all, statement) => all + of(statement), 0)
  return {
    libsql: calls.filter((call) => call.upstream === 'libsql').length,
    redis: calls.filter((call) => call.upstream === 'redis').length,
    rowsRead: sum((statement) => statement.rowsRead),
    rowsWritten: sum((statement) => statement.rowsWritten),
    databaseMs: sum((statement) => statement.ms),
    spanMs:
      Math.max(0, ...calls.map(({ endMs }) => endMs ?? 0)) - Math.min(...calls.map(({ startMs }) => startMs)),
  }
}

/** Simulates a distance between the Worker and an upstream: each call takes this much longer. */
export async function delay(proxyUrl: string, upstream: Upstream, ms: number): Promise<void> {
  const mode = ms > 0 ? { mode: 'latency', ms } : { mode: 'pass' }
  await fetch(`${proxyUrl}/${upstream}/__mode`, { method: 'PUT', body: JSON.stringify(mode) })
}
