import { BUNDLE_BUDGET_BYTES, type Bundle, type Modules } from './bundle.ts'
import { quantile } from './load.ts'
import { startWorker } from './workerd.ts'

export interface Size extends Omit<Bundle, 'modules'> {
  budgetBytes: number
  /** From the start of a process to its first answer: Roster, and the floor. */
  firstAnswerMs: number
  floorFirstAnswerMs: number
  /** Compiling the bundle and running its module level. The best of the runs counts, as others only add to it. */
  scriptStartMs: number
}

/** Loads the bundle in a request, so that its time can be measured from outside. */
const STARTER = `export default {
  async fetch(request) {
    if (!request.url.endsWith('/health')) await import('./roster.mjs')
    return new Response('ok')
  },
}`

export async function measureSize(
  { modules, ...bundle }: Bundle,
  floor: Modules,
  bindings: Record<string, string>,
  times: number,
): Promise<Size> {
  const { 'index.js': main, ...texts } = modules
  const starts = { roster: [] as number[], floor: [] as number[], script: [] as number[] }
  for (let round = 0; round < times; round++) {
    for (const name of ['roster', 'floor'] as const) {
      const worker = await startWorker({
        modules: name === 'roster' ? modules : floor,
        bindings,
      })
      starts[name].push(worker.firstAnswerMs)
      await worker.close()
    }
    const worker = await startWorker({
      modules: { 'starter.js': STARTER, 'roster.mjs': main!, ...texts },
      bindings,
    })
    const answer = async (path: string) => {
      const askedAt = performance.now()
      await (await fetch(`${worker.url}${path}`)).text()
      return performance.now() - askedAt
    }
    for (let warm = 0; warm < 20; warm++) await answer('/health')
    const [first, second] = [await answer('/'), await answer('/')]
    starts.script.push(first - second)
    await worker.close()
  }
  return {
    ...bundle,
    budgetBytes: BUNDLE_BUDGET_BYTES,
    firstAnswerMs: quantile(starts.roster, 0.5),
    floorFirstAnswerMs: quantile(starts.floor, 0.5),
    scriptStartMs: Math.min(...starts.script),
  }
}
