/**
 * Everything that this Worker asks of others, beside its own database and Redis, goes through here: what is called, how
 * long it may take, and how much of the answer is read. Redirects are never followed.
 */
export const CALLS = {
  mail: { timeoutMs: 5000, maxBytes: 64 * 1024 },
  bot_challenge: { timeoutMs: 3000, maxBytes: 16 * 1024 },
  breached_passwords: { timeoutMs: 800, maxBytes: 256 * 1024 },
} as const

export type OutboundCall = keyof typeof CALLS

export interface OutboundAnswer {
  status: number
  text: string
}

/** Calls, and reads the answer whole. Throws when there is none in time, or it is too long. */
export async function callOut(call: OutboundCall, url: URL, init: RequestInit = {}): Promise<OutboundAnswer> {
  const { timeoutMs, maxBytes } = CALLS[call]
  const answer = await fetch(url, { ...init, redirect: 'manual', signal: AbortSignal.timeout(timeoutMs) })
  return { status: answer.status, text: await readText(answer, maxBytes) }
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
