import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { WebSocket } from 'undici'
import { freePort } from '../scripts/local/process.ts'
import { buildBundle, packageOf } from './bundle.ts'
import { run } from './load.ts'
import { operationsOf, PEOPLE_FOR_RATIOS } from './ratios.ts'
import { openStage } from './stage.ts'
import { startWorker } from './workerd.ts'

/**
 * Shows where the processor time of an operation goes, by V8's sampling: `npm run bench:profile -- refresh`. With
 * `--out FILE` it also writes a .cpuprofile for the developer tools of a browser.
 */
const { positionals, values: options } = parseArgs({
  allowPositionals: true,
  options: {
    connections: { type: 'string', default: '16' },
    seconds: { type: 'string', default: '8' },
    out: { type: 'string' },
  },
})

const MAIN = 'index.js'

interface Profile {
  nodes: { id: number; callFrame: { functionName: string; url: string; lineNumber: number } }[]
  samples: number[]
  timeDeltas: number[]
}

const stage = await openStage('hourly')
await stage.grow(PEOPLE_FOR_RATIOS, 0)
const operations = operationsOf(stage)
const operation = operations.find(({ name }) => name === positionals.join(' '))
if (!operation) {
  await stage.close()
  throw new Error(`Which of these: ${operations.map(({ name }) => name).join('; ')}?`)
}
const { modules } = buildBundle({ minify: false })
const inspectorPort = await freePort()
const worker = await startWorker({ modules, bindings: stage.bindings, inspectorPort })
try {
  const pairs = Array.from({ length: Number(options.connections) }, (_, index) =>
    operation.pair(20 + 100 * index),
  )
  const callers = (await Promise.all(pairs)).map(([roster]) => roster)
  await operation.prepare?.()
  await run(worker.url, callers, 4) // V8 first compiles what runs often; that must be over.
  await operation.prepare?.()
  const inspector = await connect(inspectorPort)
  await inspector.call('Profiler.enable')
  await inspector.call('Profiler.setSamplingInterval', { interval: 100 })
  await inspector.call('Profiler.start')
  const { answered } = await run(worker.url, callers, Number(options.seconds))
  const { profile } = await inspector.call<{ profile: Profile }>('Profiler.stop')
  inspector.close()
  if (options.out) writeFileSync(options.out, JSON.stringify(profile))
  print(profile, answered, String(modules[MAIN]))
} finally {
  await worker.close()
  await stage.close()
}

/** The part of the developer tools protocol that is needed. */
async function connect(port: number) {
  const targets = (await (await fetch(`http://127.0.0.1:${port}/json`)).json()) as {
    id: string
    webSocketDebuggerUrl: string
  }[]
  const socket = new WebSocket(targets.find(({ id }) => id.endsWith('worker'))!.webSocketDebuggerUrl)
  const waiting = new Map<number, (result: unknown) => void>()
  socket.addEventListener('message', ({ data }) => {
    const { id, result } = JSON.parse(String(data))
    waiting.get(id)?.(result)
  })
  await new Promise((resolve) => socket.addEventListener('open', resolve))
  let id = 0
  return {
    call<T>(method: string, params: object = {}): Promise<T> {
      socket.send(JSON.stringify({ id: ++id, method, params }))
      return new Promise((resolve) => waiting.set(id, resolve as (result: unknown) => void))
    },
    close: () => socket.close(),
  }
}

function print({ nodes, samples, timeDeltas }: Profile, answered: number, source: string): void {
  // The bundler writes each module's origin above it.
  let from = 'Roster itself'
  const packages = source.split('\n').map((line) => {
    const [, path] = /^\/\/ (\S+\.[cm]?[jt]s)$/.exec(line) ?? []
    if (path) from = packageOf(path)
    return from
  })
  const byId = new Map(nodes.map((node) => [node.id, node]))
  const totals = { package: new Map<string, number>(), function: new Map<string, number>() }
  const add = (totals: Map<string, number>, name: string, us: number) =>
    totals.set(name, (totals.get(name) ?? 0) + us)
  for (const [index, sample] of samples.entries()) {
    const { functionName, url, lineNumber } = byId.get(sample)!.callFrame
    if (functionName === '(idle)') continue
    const isOurs = url.endsWith(MAIN)
    const name = isOurs ? packages[lineNumber]! : functionName.startsWith('(') ? functionName : 'the runtime'
    const place = isOurs ? lineNumber + 1 : url
    add(totals.package, name, timeDeltas[index]!)
    add(totals.function, `${functionName || '(anonymous)'}  ${name} ${place}`, timeDeltas[index]!)
  }
  for (const [title, rows] of Object.entries(totals)) {
    console.log(`\nmicroseconds per request, by ${title}, of ${answered} requests`)
    for (const [name, us] of [...rows].sort(([, a], [, b]) => b - a).slice(0, 30))
      console.log(`${(us / answered).toFixed(1).padStart(8)}  ${name}`)
  }
}
