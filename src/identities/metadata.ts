import {
  type AuthorizationServer,
  allowInsecureRequests,
  customFetch,
  discoveryRequest,
  type JWKSCacheInput,
  processDiscoveryResponse,
} from 'oauth4webapi'
import type { Config } from '../config/main.ts'
import type { IdentityProvider } from '../config/providers.ts'
import type { Resources } from '../context.ts'
import { digestOf } from '../crypto/digest.ts'
import { callOut, faultOfOutboundUrl } from '../http/outbound.ts'
import { HOUR_MS, MINUTE_MS } from '../values/durations.ts'
import { openValue, sealValue } from './attempts.ts'

/** What a provider has published: its metadata, and its keys once they have verified a sign-in. */
export interface Published {
  server: AuthorizationServer
  keys: JWKSCacheInput
  /** Epoch ms. */
  readAt: number
}

/** Per isolate. Plain values, so they may outlive a request. */
const known = new Map<string, Published>()
/** Copies read up to this time (epoch ms) led to a failure. */
const doubted = new Map<string, number>()
/** When a read last failed (epoch ms). */
const triedAt = new Map<string, number>()
/** The least time between two reads of a provider that fails, or that a stranger makes appear to fail. */
const READ_ANEW_MS = MINUTE_MS

interface Asked {
  method?: string
  headers?: Record<string, string>
  body?: unknown
}

/** A `fetch` for `oauth4webapi` that calls a provider by https at a public name only. */
export const askFor =
  (config: Pick<Config, 'ISSUER' | 'LINK_ORIGIN' | 'OUTBOUND_LOCAL'>) =>
  async (url: string, init: Asked): Promise<Response> => {
    const fault = faultOfOutboundUrl(url, config)
    if (fault) throw new Error(`an address of the provider: ${fault}`)
    const { method, headers, body } = init
    const { status, text, contentType } = await callOut('identity_provider', new URL(url), {
      ...(method && { method }),
      ...(headers && { headers }),
      ...(body !== undefined && body !== null ? { body: String(body) } : {}),
    })
    // An HTML page is not an answer, whatever it says.
    if (status === 200 && !/^application\/([\w.+-]+\+)?json\b/i.test(contentType ?? ''))
      throw new Error('the answer is not JSON')
    return new Response([204, 205, 304].includes(status) ? null : text, {
      status,
      headers: { 'content-type': contentType ?? '' },
    })
  }

/** Lets `oauth4webapi` use http for a provider on this machine. */
export const insecure = ({ OUTBOUND_LOCAL }: Pick<Config, 'OUTBOUND_LOCAL'>) => ({
  [allowInsecureRequests]: OUTBOUND_LOCAL === 'on',
})

const nameOf = ({ id, issuer, tenants = [] }: IdentityProvider) =>
  `idp:${digestOf([id, issuer, ...tenants].join(' '))}`

/**
 * What a provider has published: from this isolate, from Redis, or from the provider itself; kept for an
 * hour. In Redis it is sealed, as otherwise whoever can write there could have tokens signed by themselves
 * accepted.
 */
export async function readProviderMetadata(
  resources: Resources,
  provider: IdentityProvider,
): Promise<Published> {
  const { config, redis, now } = resources
  if (provider.kind === 'github') return { server: metadataOfGitHub(provider), keys: {}, readAt: now }
  const name = nameOf(provider)
  const isOfNow = ({ readAt }: Published) => Math.abs(now - readAt) < HOUR_MS
  const isDoubtful = ({ readAt }: Published) =>
    readAt <= (doubted.get(name) ?? -1) && now - Math.max(readAt, triedAt.get(name) ?? 0) >= READ_ANEW_MS
  const isFresh = (one: Published) => isOfNow(one) && !isDoubtful(one)
  const here = known.get(name)
  if (here && isFresh(here)) return here
  const [sealed] = (await redis.mget([name])) ?? []
  const near = sealed ? await openValue<Published>(config, name, sealed).catch(() => undefined) : undefined
  if (near && isFresh(near)) {
    known.set(name, near)
    return near
  }
  try {
    const published = { server: await discover(config, provider), keys: {}, readAt: now }
    cacheMetadata(resources, provider, published)
    return published
  } catch (error) {
    if (!here || !isOfNow(here)) throw error
    // The doubt may be unfounded, and there is no other copy.
    triedAt.set(name, now)
    return here
  }
}

/**
 * A sign-in failed with this copy: it may have been wrong, or out of date. It is read again, but not within a
 * minute of when it was read.
 */
export const markDoubtful = (provider: IdentityProvider, { readAt }: Published) => {
  doubted.set(nameOf(provider), readAt)
}

/** Keeps it in the isolate and, after the answer, in Redis, for the rest of the hour. */
export function cacheMetadata(
  { config, redis, now, afterwards }: Resources,
  provider: IdentityProvider,
  published: Published,
): void {
  const name = nameOf(provider)
  known.set(name, published)
  const leftMs = Math.max(1, published.readAt + HOUR_MS - now)
  afterwards(sealValue(config, name, published).then((sealed) => redis.put(name, sealed, leftMs)))
}

/**
 * GitHub is known without asking. Its issuer is not its address: it names this one when somebody comes back
 * (RFC 9207). An Enterprise Server may name none.
 */
function metadataOfGitHub({ issuer }: IdentityProvider): AuthorizationServer {
  const base = `${issuer}/login/oauth`
  return {
    issuer: base,
    authorization_endpoint: `${base}/authorize`,
    token_endpoint: `${base}/access_token`,
  }
}

async function discover(config: Config, provider: IdentityProvider): Promise<AuthorizationServer> {
  const { kind, issuer, tenants = [] } = provider
  const ask = askFor(config)
  if (kind === 'microsoft' && tenants.length > 1) {
    // The metadata for all tenants names no issuer, only a template for one.
    const url = `${issuer}/organizations/v2.0/.well-known/openid-configuration`
    const answer = await ask(url, { headers: { accept: 'application/json' } })
    const server = (await answer.json()) as AuthorizationServer
    if (answer.status !== 200 || server.issuer !== `${issuer}/{tenantid}/v2.0`) throw new Error('no metadata')
    return server
  }
  const url = new URL(kind === 'microsoft' ? `${issuer}/${tenants[0]}/v2.0` : issuer)
  const answer = await discoveryRequest(url, { [customFetch]: ask, ...insecure(config) })
  return processDiscoveryResponse(url, answer)
}
