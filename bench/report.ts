import { activeUsers, extremes } from './bill.ts'
import { DATABASE_REGION, NEARBY_MS, ROUND_TRIP_MS } from './distances.ts'
import { BEFORE, dollarsPerMillion } from './dollars.ts'
import { PRICES } from './prices.ts'
import { promisesOf } from './promises.ts'
import type { Side } from './ratios.ts'
import type { Results } from './results.ts'
import type { Size } from './size.ts'
import type { Trip } from './trips.ts'

const ms = (value: number) =>
  value < 10 ? value.toFixed(2) : value < 100 ? value.toFixed(1) : value.toFixed(0)
const whole = (value: number) => Math.round(value).toLocaleString('en')
const rate = (value: number) => (value < 100 ? value.toFixed(1) : whole(value))
const percent = (value: number) => `${Math.round(value * 100)} %`
const kib = (bytes: number) => (bytes / 1024).toFixed(1)

function table(head: string[], rows: (string | number)[][]): string {
  const lines = [head, head.map((_, index) => (index === 0 ? '---' : '--:')), ...rows]
  return lines.map((cells) => `| ${cells.join(' | ')} |`).join('\n')
}

/** The whole report, in Markdown. */
export function reportOf(results: Results): string {
  const parts = [
    introduction(results),
    results.ratios.length > 0 && ratios(results),
    results.trips.length > 0 && trips(results),
    results.growth.length > 0 && growth(results),
    results.size && size(results.size),
    results.ratios.length > 0 && results.trips.length > 0 && dollars(results),
    results.trips.length > 0 && results.bytes && bill(results.trips, results.bytes),
    results.distance.length > 0 && distance(results),
    results.hashing.length > 0 && hashing(results),
    promises(results),
  ]
  return `${parts.filter(Boolean).join('\n\n')}\n`
}

function introduction({ date, quick, machine, versions }: Results): string {
  return `# What Roster costs

Made by \`npm run bench${quick ? ' -- --quick' : ''}\` on ${date.slice(0, 10)}. The production bundle runs in workerd itself, with no development proxy, against
a libSQL server and a Redis endpoint on loopback. All of them share one machine with the load generator, and with whatever
else ran on it: **read the ratios and the counts, not the requests per second.** Roster and the Worker that it is compared
with alternate in short slices, so other load on the machine affects both.

${table(
  ['', ''],
  [
    ['processor', machine.processor],
    ['memory', machine.memory],
    ['system', machine.system],
    ['load', machine.load],
    ...Object.entries(versions),
  ],
)}`
}

function ratios({ ratios, before }: Results): string {
  const isCompared = ratios.some((it) => it.before)
  const cell = (side: Side) => [rate(side.perSecond), ms(side.p50Ms), ms(side.p99Ms), ms(side.cpuMs)]
  const rows = ratios.map((it) => [
    it.operation,
    it.connections,
    ...cell(it.roster),
    ...cell(it.floor),
    `**${percent(it.ratio)}**`,
    `${percent(it.lowest)} to ${percent(it.highest)}`,
    ...(it.before
      ? [
          rate(it.before.perSecond),
          ms(it.before.cpuMs),
          percent(it.roster.perSecond / it.before.perSecond - 1),
        ]
      : []),
  ])
  const head = [
    'operation',
    'connections',
    'per s',
    'p50 ms',
    'p99 ms',
    'CPU ms',
    'floor per s',
    'p50 ms',
    'p99 ms',
    'CPU ms',
    'Roster : floor',
    'of the rounds',
  ]
  return `## 1. Compared with the floor

The floor (\`bench/floor.ts\`) is a bare Worker. It makes as many calls to Redis, libSQL and the mail service as Roster, and the
same hash, with plain \`fetch\`, the shortest statements and nothing else: no token, no validation, no library. Its lists merge
as many branches and read the same total; its page 400 is a plain OFFSET over one index. It writes no log lines, and neither
does Roster here (\`LOG=errors\`). "CPU ms" is the processor time of workerd per request. With 16 and 64 connections, both let
eight requests wait for a hash and refuse the ninth with 503 and \`Retry-After\`; the callers retry after that time, and only
successful answers count. A sign-up sends its mail.

${table([...head, ...(isCompared ? [`before (${before}) per s`, 'CPU ms', 'gain'] : [])], rows)}`
}

function trips({ trips }: Results): string {
  const rows = trips.map((it) => [
    it.operation,
    `${it.depth} of ${it.budget.depth}`,
    `${it.libsql + it.redis} of ${it.budget.calls}`,
    it.libsql,
    it.redis,
    it.rowsRead,
    it.rowsWritten,
  ])
  return `## 2. Round trips

Depth is the number of upstream calls that happened one after another before the answer. It is measured by making every call
200 ms slower; calls are counted at a proxy. Each figure is shown with its budget.

${table(['operation', 'depth', 'calls', 'of libSQL', 'of Redis', 'rows read', 'rows written'], rows)}`
}

function growth({ growth }: Results): string {
  const sizes = [...new Set(growth.map((it) => it.people))]
  const operations = [...new Set(growth.map((it) => it.operation))]
  const rows = operations.map((operation) => {
    const of = sizes.map((people) => growth.find((it) => it.operation === operation && it.people === people)!)
    const each = (show: (it: (typeof of)[number]) => string) => of.map(show).join(' · ')
    return [
      operation,
      each((it) => whole(it.rowsRead)),
      each((it) => whole(it.rowsWritten)),
      each((it) => it.databaseMs.toFixed(2)),
      each((it) => ms(it.p50Ms)),
    ]
  })
  return `## 3. Growth

At ${sizes.map(whole).join(' · ')} users, each with a session and ten history rows. Rows are libSQL's own exact count, which is what
Turso bills (each index adds one to a row written). Database time is also measured by libSQL.

${table(['operation', 'rows read', 'rows written', 'database ms', 'p50 ms'], rows)}`
}

function size(size: Size): string {
  const rows = size.packages.filter(([, bytes]) => bytes > 1024).map(([name, bytes]) => [name, kib(bytes)])
  return `## 4. Size and start

${table(
  ['', ''],
  [
    ['bundle, minified', `${kib(size.bytes)} KiB`],
    ['bundle, gzip', `**${kib(size.gzipBytes)} KiB** of ${kib(size.budgetBytes)}`],
    ...(size.wasmBytes ? [['WebAssembly, which is no script', `${kib(size.wasmBytes)} KiB`]] : []),
    ['script start: compiling and running the module level', `${ms(size.scriptStartMs)} ms`],
    ['first answer of a fresh workerd', `${ms(size.firstAnswerMs)} ms`],
    ['first answer of a fresh workerd with the floor', `${ms(size.floorFirstAnswerMs)} ms`],
  ],
)}

${table(['package', 'KiB, minified'], rows)}`
}

function dollars(results: Results): string {
  const { workers, turso, upstash } = PRICES
  const rows = Object.entries(BEFORE).flatMap(([operation, before]) => {
    const it = dollarsPerMillion(results, operation)
    if (!it) return []
    const parts = [it.workers, it.rowsRead, it.rowsWritten, it.redis, it.together, before]
    return [[operation, ...parts.map((part) => part.toFixed(2))]]
  })
  return `## 5. Dollars

What a million of each costs beyond what the plans include, from the calls and rows of table 2 and the CPU of table 1
(that of the whole process, so an overestimate). Prices of ${PRICES.date}, from \`bench/prices.ts\`: ${workers.plan}; ${turso.plan}; ${upstash.plan}.
"Before" is the cost before copies in Redis and before fewer rows were written. A read of oneself finds a copy, or creates one.

${table(['a million of', 'Workers $', 'libSQL rows read $', 'libSQL rows written $', 'Redis $', 'together $', 'before $'], rows)}`
}

function bill(trips: Trip[], bytes: Record<string, number>): string {
  const mib = (value: number) => (value / 2 ** 20).toFixed(1)
  const rows = [...activeUsers(trips, bytes), ...extremes(trips, bytes)]
  const lines = rows.map(({ who, dollars, bytes }) => [who, dollars.toFixed(2), mib(bytes)])
  return `## 6. Cost per day

Dollars and MiB that a day adds, beyond what the plans include: for a thousand active users, each with the daily actions that
\`bench/bill.ts\` lists, and at most for one caller who exhausts the limits around the clock, from one network or with one
account. Bytes are the growth of the database file, including indexes and history.

${table(['a day of', '$', 'MiB'], lines)}`
}

/** The README's sentences that contain figures. */
export function sentencesOf({ ratios, size, growth }: Results): string {
  const parts = (operation: string) => {
    const of = ratios.filter((it) => it.operation === operation)
    const [one, ...many] = of.map(({ ratio }) => Math.round(ratio * 100))
    const [least, most] = [Math.min(...many), Math.max(...many)]
    const range = least === most ? `${least} %` : `${least} to ${most} %`
    return `${operation} ${range} at 16 and 64 connections and ${one} % at a single one`
  }
  const operations = ['read of oneself', 'list of people, a page', 'refresh', 'login', 'signup']
  const lines = operations
    .filter((name) => ratios.some((it) => it.operation === name))
    .map((name) => `- ${parts(name)}`)
  const people = [...new Set(growth.map((it) => it.people))].map((count) => count.toLocaleString('en'))
  return `Throughput on two cores, as a share of a bare Worker that makes the same calls and the same hash:

${lines.join('\n')}

${size ? `The bundle is ${Math.round(size.gzipBytes / 1024)} KiB gzip and starts in ${Math.round(size.scriptStartMs)} ms. ` : ''}Rows read are counted at ${people.join(', ')} users: apart from filters with less than a page to show, they are the same.`
}

function distance({ distance }: Results): string {
  const rows = distance.map((it) => [
    it.region,
    it.roundTripMs,
    it.redis,
    ms(it.readMs),
    ms(it.readOfUserMs),
    ms(it.readInTurnMs),
    ms(it.refreshMs),
    ms(it.loginMs),
  ])
  const assumed = Object.entries(ROUND_TRIP_MS).map(([region, value]) => `${region} ${value} ms`)
  return `## 7. Distance

Response times measured next to a Worker in each region, with the database in ${DATABASE_REGION}; distance is simulated by delaying
every call. Assumed round trips (\`bench/distances.ts\`): ${assumed.join(', ')}; to a Redis in every region, ${NEARBY_MS} ms. A read of
oneself is answered by the copy in Redis, any other read by libSQL in one round trip. "In turn" is the conventional way: Redis
is asked whether the token is revoked, then the database. A login takes two round trips and one hash.

${table(['region', 'round trip ms', 'Redis', 'read of oneself ms', 'of a user ms', 'of a user in turn ms', 'refresh ms', 'login ms'], rows)}`
}

function hashing({ hashing }: Results): string {
  const rows = hashing.map((it) => [
    it.meanwhile,
    rate(it.loginsPerSecond),
    ms(it.readP50Ms),
    ms(it.readP95Ms),
    it.readsLost,
  ])
  return `## 8. Reads during password hashing

Latency of a read of oneself, requested every ten milliseconds, while a number of users log in continuously, each again as soon
as the last login has finished: with the deployed bundle, and with the floor, which does not queue hashes. A hash blocks the
thread that it runs on.

${table(['logging in meanwhile', 'logins per s', 'read p50 ms', 'read p95 ms', 'reads lost'], rows)}`
}

function promises(results: Results): string {
  return `## 9. Targets and results

What Roster should reach, what the last run measured, and the command that measures it again. Missed targets are listed too;
\`bench/bundle.ts\` says by how much the bundle is too large, and why.

${table(['', 'asked for', 'found', 'reached', 'command'], promisesOf(results))}`
}
