import { setTimeout as sleep } from 'node:timers/promises'
import { type Call, quantile, run } from './load.ts'
import { operationsOf } from './ratios.ts'
import type { Stage } from './stage.ts'

/** How long reads take while others log in, measured with the bundle that is deployed. */
export interface Hashing {
  /** Who logs in meanwhile. */
  meanwhile: string
  loginsPerSecond: number
  /** Of the reads that were answered. */
  readP50Ms: number
  readP95Ms: number
  /** If too many wait for a hash, workerd closes connections without an answer. */
  readsLost: number
}

const READ_EVERY_MS = 10

/** How many log in all the time, each again as soon as they are in. */
const CALLERS = { nobody: 0, one: 1, three: 3, eight: 8 }

/**
 * Reads of oneself at fixed times, beside logins in a closed loop, of Roster and of the floor, which hashes whatever
 * comes at once. If each read waited for the previous one, most would be sent when nobody waits for a hash.
 */
export async function measureHashing(
  stage: Stage,
  urls: Record<'roster' | 'floor', string>,
  seconds: number,
): Promise<Hashing[]> {
  const found: Hashing[] = []
  const [login, read] = ['login', 'read of oneself'].map(
    (name) => operationsOf(stage).find((it) => it.name === name)!,
  )
  for (const side of ['roster', 'floor'] as const) {
    const index = side === 'roster' ? 0 : 1
    const readCall = (await read!.pair(500))[index].next()!
    for (const [meanwhile, callers] of Object.entries(CALLERS)) {
      const pairs = await Promise.all(
        Array.from({ length: callers }, (_, number) => login!.pair(600 + number)),
      )
      const logins = run(
        urls[side],
        pairs.map((pair) => pair[index]),
        seconds,
      )
      const reads = await readByTheClock(urls[side], readCall, seconds)
      found.push({
        meanwhile: `${side === 'roster' ? 'Roster' : 'the floor'}, ${meanwhile}`,
        loginsPerSecond: (await logins).answered / seconds,
        readP50Ms: quantile(reads.answered, 0.5),
        readP95Ms: quantile(reads.answered, 0.95),
        readsLost: reads.lost,
      })
    }
  }
  return found
}

async function readByTheClock(url: string, { path, headers }: Call, seconds: number) {
  const until = performance.now() + seconds * 1000
  const reads: Promise<number | undefined>[] = []
  const timed = async () => {
    const askedAt = performance.now()
    try {
      await (await fetch(url + path, headers ? { headers } : {})).arrayBuffer()
    } catch {
      return undefined
    }
    return performance.now() - askedAt
  }
  for (; performance.now() < until; await sleep(READ_EVERY_MS)) reads.push(timed())
  const answered = (await Promise.all(reads)).filter((ms) => ms !== undefined)
  return { answered, lost: reads.length - answered.length }
}
