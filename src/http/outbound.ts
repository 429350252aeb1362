import { isLoopback } from '../config/checks.ts'
import type { Config } from '../config/main.ts'

/**
 * Everything that this Worker asks of others, beside its own database and Redis, goes through here: what is called, how
 * long it may take, and how much of the answer is read. Redirects are never followed.
 */
export const CALLS = {
  mail: { timeoutMs: 5000, maxBytes: 64 * 1024 },
  bot_challenge: { timeoutMs: 3000, maxBytes: 16 * 1024 },
  identity_provider: { timeoutMs: 3000, maxBytes: 64 * 1024 },
  breached_passwords: { timeoutMs: 800, maxBytes: 256 * 1024 },
  /** Of what an app answers only the status is read. */
  logout: { timeoutMs: 5000, maxBytes: 0 },
} as const

export type OutboundCall = keyof typeof CALLS

export interface OutboundAnswer {
  status: number
  text: string
  contentType: string | null
}

/** Calls, and reads the answer whole. Throws when there is none in time, or it is too long. */
export async function callOut(call: OutboundCall, url: URL, init: RequestInit = {}): Promise<OutboundAnswer> {
  const { timeoutMs, maxBytes } = CALLS[call]
  const answer = await fetch(url, { ...init, redirect: 'manual', signal: AbortSignal.timeout(timeoutMs) })
  return {
    status: answer.status,
    text: await readText(answer, maxBytes),
    contentType: answer.headers.get('content-type'),
  }
}

async function readText(answer: Response, maxBytes: number): Promise<string> {
  const decoder = new TextDecoder()
  let text = ''
  let length = 0
  for await (const chunk of answer.body ?? []) {
    length += chunk.length
    if (length > maxBytes) throw new Error('the answer is too long')
    text += decoder.decode(chunk, { stream: true })
  }
  return text + decoder.decode()
}

type Own = Pick<Config, 'ISSUER' | 'LINK_ORIGIN' | 'OUTBOUND_LOCAL'>

/** Names that mean something else, or nothing, outside of a network (RFC 6761, RFC 6762, RFC 8375, RFC 9476). */
const INTERNAL = /(^|\.)(localhost|local|internal|lan|home|corp|intranet|private|arpa|onion|alt|invalid)$/

/**
 * What is wrong with an address that an app or a user names, and that we are to call; undefined for a good one. No name of
 * it is looked up here: that it leads to no private network is for the flag `global_fetch_strictly_public`.
 */
export function faultOfForeign(
  value: string,
  { ISSUER, LINK_ORIGIN = ISSUER, OUTBOUND_LOCAL }: Own,
): string | undefined {
  const url = URL.parse(value)
  if (!url) return 'Is not a URL.'
  const { protocol, hostname, port, origin } = url
  if (origin === ISSUER || origin === LINK_ORIGIN) return 'Is here.'
  if (OUTBOUND_LOCAL === 'on' && isLoopback(hostname) && /^https?:$/.test(protocol)) return undefined
  if (protocol !== 'https:') return 'Is not https://.'
  if (port !== '') return 'Has a port other than 443.'
  if (/^\[|^[\d.]+$/.test(hostname)) return 'Has an IP address where a name should be.'
  if ([ISSUER, LINK_ORIGIN].some((own) => new URL(own).hostname === hostname)) return 'Is here.'
  if (!hostname.includes('.') || hostname.endsWith('.') || INTERNAL.test(hostname))
    return 'Is a name that only some network knows.'
  return undefined
}

/**
 * Posts to such an address, which is looked at again, as it may have been good under other settings. Its answer is its
 * status: nothing else of it is read. Throws when there is none in time.
 */
export async function postForeign(
  own: Own,
  call: OutboundCall,
  value: string,
  body: URLSearchParams,
): Promise<number> {
  const fault = faultOfForeign(value, own)
  if (fault) throw new Error(fault)
  const signal = AbortSignal.timeout(CALLS[call].timeoutMs)
  const answer = await fetch(value, { method: 'POST', body, redirect: 'manual', signal })
  await answer.body?.cancel()
  return answer.status
}
