import type { Resources } from '../../src/context.ts'
import { type Finding, look, note, ok, wrong } from './findings.ts'

/** The credentials of the Upstash account, and the address of its API. */
export interface Management {
  email: string | undefined
  apiKey: string | undefined
  url: string
}

const TIMEOUT_MS = 15_000

export const lookAtRedis = async (resources: Resources, management: Management): Promise<Finding[]> => [
  ...(await look('redis', () => answerOf(resources))),
  ...(await look('eviction', () => evictionOf(resources, management))),
]

async function answerOf({ redis, config }: Resources): Promise<Finding[]> {
  const startedAt = performance.now()
  const answers = await redis.ping()
  const ms = Math.round(performance.now() - startedAt)
  return [
    answers
      ? ok('redis', `It answers, from here in ${ms} ms.`)
      : wrong('redis', 'It does not answer from here.'),
    config.NEAR_READ_SECONDS > 0
      ? ok('near reads', `Copies answer who somebody is, for up to ${config.NEAR_READ_SECONDS} s.`)
      : note('near reads', 'NEAR_READ_SECONDS is 0, so the database is asked who somebody is each time.'),
  ]
}

interface UpstashDatabase {
  endpoint?: string
  eviction?: boolean
  primary_region?: string
  read_regions?: string[]
}

/** How Redis is configured. Only the account's key may ask that, not the Worker's token. */
async function evictionOf(
  { config }: Resources,
  { email, apiKey, url }: Management,
): Promise<Finding | Finding[]> {
  if (!email || !apiKey)
    return note(
      'eviction',
      'Whether Redis evicts could not be looked at: UPSTASH_EMAIL and UPSTASH_API_KEY, a key of the account, let this ask. It must not: if a doubt is evicted, a stale copy is believed.',
    )
  const answer = await fetch(new URL('/v2/redis/databases', url), {
    headers: { authorization: `Basic ${Buffer.from(`${email}:${apiKey}`).toString('base64')}` },
    signal: AbortSignal.timeout(TIMEOUT_MS),
  })
  if (!answer.ok) throw new Error(`Upstash answered ${answer.status}. Is the key of the account valid?`)
  const { hostname } = new URL(config.UPSTASH_REDIS_REST_URL)
  const found = ((await answer.json()) as UpstashDatabase[]).find(({ endpoint }) => endpoint === hostname)
  if (!found)
    return note(
      'eviction',
      `It could not be looked at: ${hostname} is not a database of that account at Upstash.`,
    )
  const regions = found.read_regions ?? []
  return [
    found.eviction
      ? wrong(
          'eviction',
          'Redis evicts keys when it is full, doubts among them. Turn eviction off on its page at Upstash.',
        )
      : ok('eviction', 'Redis evicts nothing.'),
    regions.length > 0
      ? ok(
          'regions',
          `Redis is read in ${regions.join(', ')}, and written in ${found.primary_region ?? 'its primary'}.`,
        )
      : note(
          'regions',
          `Redis is in ${found.primary_region ?? 'one region'} alone, so a copy is near only there.`,
        ),
  ]
}
