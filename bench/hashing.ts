import { setTimeout as sleep } from 'node:timers/promises'
import { buildBundle } from './bundle.ts'
import { quantile } from './load.ts'
import { startWorker } from './workerd.ts'

/** What reads wait for while passwords are hashed somewhere. */
export interface Hashing {
  place: string
  hashesPerSecond: number
  readP50Ms: number
  readP95Ms: number
}

/** So many want a hash all the time. */
const HASHING_CALLERS = 3
/** What `takeTurn` puts before a hash when others came before it. */
const PAUSE_MS = 150
const READ_EVERY_MS = 10

const PLACES = [
  { place: 'nowhere', path: undefined, pauseMs: 0 },
  { place: 'in the isolate, one after the other', path: '/here', pauseMs: 0 },
  { place: 'in the isolate, with pauses between: Roster', path: '/here', pauseMs: PAUSE_MS },
  { place: 'in a Worker of its own, by a service binding', path: '/worker', pauseMs: 0 },
  { place: 'in a Durable Object', path: '/object', pauseMs: 0 },
]

export async function measureHashing(seconds: number): Promise<Hashing[]> {
  const worker = await startWorker({
    modules: buildBundle({ entry: 'bench/hash-places.ts' }).modules,
    bindings: {},
    also: {
      services: '(name = "hasher", worker = .worker),',
      bindings: `(name = "HASHER", service = "hasher"), (name = "HASHERS", durableObjectNamespace = "Hasher"),`,
      worker: `durableObjectNamespaces = [(className = "Hasher", uniqueKey = "hasher")],
        durableObjectStorage = (inMemory = void),`,
    },
  })
  const answer = async (path: string) => {
    const askedAt = performance.now()
    await (await fetch(worker.url + path)).arrayBuffer()
    return performance.now() - askedAt
  }
  const found: Hashing[] = []
  try {
    for (const { place, path, pauseMs } of PLACES) {
      const until = performance.now() + seconds * 1000
      let hashes = 0
      const keepHashing = async () => {
        while (path && performance.now() < until) {
          await answer(path)
          hashes++
          await sleep(pauseMs)
        }
      }
      // With pauses they take turns, so it is as if one alone asked.
      const hashing = Array.from({ length: pauseMs > 0 ? 1 : HASHING_CALLERS }, keepHashing)
      // By the clock: if each waited for the one before, most would be asked where nobody waits.
      const reads: Promise<number>[] = []
      for (; performance.now() < until; await sleep(READ_EVERY_MS)) reads.push(answer('/read'))
      await Promise.all(hashing)
      const latencies = await Promise.all(reads)
      found.push({
        place,
        hashesPerSecond: hashes / seconds,
        readP50Ms: quantile(latencies, 0.5),
        readP95Ms: quantile(latencies, 0.95),
      })
    }
    return found
  } finally {
    await worker.close()
  }
}
