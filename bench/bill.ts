import { createClient } from '@libsql/client/http'
import { type Call, time } from './load.ts'
import { PRICES } from './prices.ts'
import type { Trip } from './trips.ts'

/** What a day costs, and how much the database grows. */
export interface Day {
  who: string
  dollars: number
  bytes: number
}

/** What an active user does in a day: eight hours with an app that refreshes its token every ten minutes. */
const ACTIVE_DAY: Record<string, number> = {
  'read of oneself': 200,
  refresh: 48,
  login: 1,
  logout: 1,
  'change of oneself': 0.1,
}

const MINUTES = 1440
const HOURS = 24

/** The most of one kind that one caller can ask for in a day. The limits are those of wrangler.toml and the settings. */
const EXTREMES: { who: string; operation: string; times: number }[] = [
  // 30 hashes a minute from one network.
  { who: 'a stranger who fails to log in', operation: 'failed login', times: 30 * MINUTES },
  // 30 mails an hour from one network, and a sign-up asks for one.
  { who: 'a stranger who signs up', operation: 'signup', times: 30 * HOURS },
  // 300 requests a minute from one network.
  { who: 'a stranger who asks for /health', operation: 'nothing', times: 300 * MINUTES },
  // By session: 600 reads a minute, 60 refreshes, 120 writes.
  { who: 'a user who reads themselves', operation: 'read of oneself', times: 600 * MINUTES },
  { who: 'a user who refreshes', operation: 'refresh', times: 60 * MINUTES },
  { who: 'a user who changes their name', operation: 'change of oneself', times: 120 * MINUTES },
  // By session: 60 lists and searches a minute.
  { who: 'a manager who lists', operation: 'list of people, a page', times: 60 * MINUTES },
  { who: 'a manager who searches', operation: 'search', times: 60 * MINUTES },
  { who: 'a manager who changes people', operation: 'change of a person', times: 120 * MINUTES },
]

/** The price of one operation beyond what the plans include, without CPU. */
function dollarsOf(trips: Trip[], operation: string): number {
  const { workers, turso, upstash } = PRICES
  const trip = trips.find((it) => it.operation === operation)
  const { rowsRead = 0, rowsWritten = 0, redis = 0 } = trip ?? {}
  return (
    workers.perMillionRequests / 1e6 +
    (rowsRead * turso.perBillionRowsRead) / 1e9 +
    (rowsWritten * turso.perMillionRowsWritten) / 1e6 +
    (redis * upstash.per100kCommands) / 1e5
  )
}

export function activeUsers(trips: Trip[], bytes: Record<string, number>): Day[] {
  const does = Object.entries(ACTIVE_DAY)
  const sum = (of: (operation: string) => number) =>
    1000 * does.reduce((all, [operation, times]) => all + times * of(operation), 0)
  return [
    {
      who: 'a thousand active users',
      dollars: sum((operation) => dollarsOf(trips, operation)),
      bytes: sum((operation) => bytes[operation] ?? 0),
    },
  ]
}

export const extremes = (trips: Trip[], bytes: Record<string, number>): Day[] =>
  EXTREMES.map(({ who, operation, times }) => ({
    who,
    dollars: times * dollarsOf(trips, operation),
    bytes: times * (bytes[operation] ?? 0),
  }))

/** By how many bytes the database grows with each call. */
export async function bytesOf(
  url: string,
  databaseUrl: string,
  operations: (readonly [operation: string, times: number, call: () => Call])[],
): Promise<Record<string, number>> {
  const client = createClient({ url: databaseUrl })
  const size = async () => {
    const { rows } = await client.execute(
      'SELECT (page_count - freelist_count) * page_size AS bytes FROM pragma_page_count, pragma_freelist_count, pragma_page_size',
    )
    return Number(rows[0]!.bytes)
  }
  const found: Record<string, number> = {}
  for (const [operation, times, call] of operations) {
    const before = await size()
    await time(url, times, call)
    found[operation] = ((await size()) - before) / times
  }
  client.close()
  return found
}
