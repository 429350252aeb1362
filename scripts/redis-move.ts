import { Redis } from '@upstash/redis'
import { ERASED_PREFIX, entryLifetimeOf, LEDGER_KEY } from '../src/activity/ledger.ts'
import { HEAD_KEY } from '../src/activity/seals.ts'
import { faultOfOrigin } from '../src/config/checks.ts'
import { type Config, configOf } from '../src/config/main.ts'
import { keyPrefixOf } from '../src/database/redis.ts'
import { readArguments, runCommand, SCRIPT_WAITS_MS, withPauses } from './command.ts'

const USAGE = `npm run redis:move -- --from https://roster.old-domain --settings FILE

After a change of ISSUER: keys in Redis begin with a digest of it, so what has to last is under the old one. This moves the
ledger, with the digests of erased users, and the newest seal of the history to the ISSUER of the settings. May be repeated.

  --from      the ISSUER before
  --dry-run   says what would be moved, and does nothing`

const PER_CALL = 500

interface Moved {
  digests: number
  entries: number
  head: boolean
}

/** Moves what no other place has to the keys of the present ISSUER. */
export async function moveKeys(config: Config, from: string, isDryRun: boolean): Promise<Moved> {
  const redis = new Redis({
    url: config.UPSTASH_REDIS_REST_URL,
    token: config.UPSTASH_REDIS_REST_TOKEN,
    signal: () => AbortSignal.timeout(SCRIPT_WAITS_MS),
    automaticDeserialization: false,
    enableTelemetry: false,
  })
  const [before, after] = [from, config.ISSUER].map(keyPrefixOf) as [string, string]
  return {
    digests: await moveDigests(redis, before, after, isDryRun),
    entries: await moveEntries(
      redis,
      before + LEDGER_KEY,
      after + LEDGER_KEY,
      entryLifetimeOf(config),
      isDryRun,
    ),
    head: await moveHead(redis, before + HEAD_KEY, after + HEAD_KEY, isDryRun),
  }
}

async function moveDigests(redis: Redis, before: string, after: string, isDryRun: boolean): Promise<number> {
  const seen = new Set<string>()
  let cursor = '0'
  do {
    const options = { match: `${before}${ERASED_PREFIX}*`, count: PER_CALL }
    const [next, keys] = await withPauses(() => redis.scan(cursor, options))
    cursor = String(next)
    for (const key of keys) seen.add(key)
    if (keys.length > 0 && !isDryRun) await withPauses(() => moveMarks(redis, keys, before, after))
  } while (cursor !== '0')
  return seen.size
}

/** One that is there already was written later, so it lasts longer. */
async function moveMarks(redis: Redis, keys: string[], before: string, after: string): Promise<void> {
  const asking = redis.multi()
  for (const key of keys) asking.pttl(key)
  const lifetimes = await asking.exec<number[]>()
  const moving = redis.multi()
  for (const [index, key] of keys.entries()) {
    const px = Number(lifetimes[index])
    if (px > 0) moving.set(after + key.slice(before.length), '1', { px, nx: true })
    moving.del(key)
  }
  await moving.exec()
}

async function moveEntries(
  redis: Redis,
  before: string,
  after: string,
  lifetimeMs: number,
  isDryRun: boolean,
) {
  const total = await withPauses(() => redis.zcard(before))
  for (let moved = 0; moved < total && !isDryRun; moved += PER_CALL) {
    const flat = await withPauses(() =>
      redis.zrange<string[]>(before, moved, moved + PER_CALL - 1, { withScores: true }),
    )
    const entries = flat.flatMap((member, index) =>
      index % 2 === 0 ? [{ member, score: Number(flat[index + 1]) }] : [],
    )
    const [first, ...others] = entries
    if (!first) break
    const moving = redis.multi()
    moving.zadd(after, first, ...others)
    moving.pexpire(after, lifetimeMs)
    await withPauses(() => moving.exec())
  }
  if (total > 0 && !isDryRun) await withPauses(() => redis.del(before))
  return total
}

/** It replaces one that the Worker has published since: the chain has both, unless the history was cut off between. */
async function moveHead(redis: Redis, before: string, after: string, isDryRun: boolean): Promise<boolean> {
  const head = await withPauses(() => redis.get<string>(before))
  if (head === null) return false
  const px = await withPauses(() => redis.pttl(before))
  if (px > 0 && !isDryRun) await withPauses(() => redis.multi().set(after, head, { px }).del(before).exec())
  return true
}

async function main() {
  const options = { from: { type: 'string' } } as const
  const { values, isDryRun } = readArguments({ usage: USAGE, options, ofDeployment: true })
  const { from } = values
  if (!from) throw new Error(`--from is missing.\n\n${USAGE}`)
  const fault = faultOfOrigin(from)
  if (fault) throw new Error(`--from ${fault}.`)
  // Only wrangler.toml knows whether the Worker has a binding that sends mail.
  const config = configOf({ EMAIL: 'perhaps', ...process.env })
  if (from === config.ISSUER)
    throw new Error(`${from} is the ISSUER of these settings: there is nothing to move.`)
  const { digests, entries, head } = await moveKeys(config, from, isDryRun)
  if (digests + entries === 0 && !head)
    throw new Error(`Redis has nothing of ${from}: was it another ISSUER, or is everything moved already?`)
  console.log(
    `${isDryRun ? 'would move' : 'moved'}: ${digests} digests of erased users, ${entries} entries of the ledger, ${head ? 'the newest seal' : 'no seal'}`,
  )
}

if (import.meta.main) runCommand(main)
