import { faultOfCalled, type Own } from '../config/checks.ts'

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

/** A sentence for whoever names an address that we are to call: what is wrong with it; undefined for a good one. */
export function faultOfForeign(value: string, own: Own): string | undefined {
  const fault = faultOfCalled(value, own)
  return fault && `${fault[0]!.toUpperCase()}${fault.slice(1)}.`
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
