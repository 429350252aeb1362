import { Client } from 'undici'

export interface Call {
  method: 'GET' | 'POST' | 'PATCH' | 'DELETE'
  path: string
  headers?: Record<string, string>
  body?: string
}

/** What one connection does, request after request. */
export interface Caller {
  /** Undefined if there is nothing left to ask. */
  next(): Call | undefined
  /** Receives the body of a good answer. */
  took?(body: string): void
}

export interface Load {
  answered: number
  /** Refused with 503 and Retry-After, which is obeyed. */
  refused: number
  seconds: number
  /** Of the answered requests, in ms. */
  latencies: number[]
}

/** A closed loop: each caller has its own connection, and asks again as soon as it has been answered. */
export async function run(url: string, callers: Caller[], seconds: number): Promise<Load> {
  const load: Load = { answered: 0, refused: 0, seconds: 0, latencies: [] }
  const startedAt = performance.now()
  const deadline = startedAt + seconds * 1000
  await Promise.all(callers.map((caller) => converse(url, caller, deadline, load)))
  load.seconds = (performance.now() - startedAt) / 1000
  if (load.answered === 0 && load.refused > 0) throw new Error('Whatever was asked was refused with 503.')
  return load
}

async function converse(url: string, caller: Caller, deadline: number, load: Load): Promise<void> {
  const client = new Client(url)
  try {
    while (performance.now() < deadline) {
      const call = caller.next()
      if (!call) return
      const askedAt = performance.now()
      const answer = await client.request(call)
      const body = await answer.body.text()
      if (answer.statusCode < 300) {
        load.answered++
        load.latencies.push(performance.now() - askedAt)
        caller.took?.(body)
      } else if (answer.statusCode === 503 && answer.headers['retry-after']) {
        load.refused++
        const waitMs = Number(answer.headers['retry-after']) * 1000
        // Not beyond the end: the wait of whoever is refused last would count as time in which nothing was answered.
        const leftMs = Math.max(0, deadline - performance.now())
        await new Promise((resolve) => setTimeout(resolve, Math.min(waitMs, leftMs)))
      } else {
        throw new Error(`${call.method} ${call.path} answered ${answer.statusCode}: ${body}`)
      }
    }
  } finally {
    await client.close()
  }
}

/** The value below which this share (0 to 1) of the values lies. */
export function quantile(values: number[], part: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN
}

/** How long each of these sequential calls took (ms). */
export async function time(url: string, times: number, call: () => Call): Promise<number[]> {
  let left = times
  const { latencies } = await run(url, [{ next: () => (left-- > 0 ? call() : undefined) }], 600)
  return latencies
}
