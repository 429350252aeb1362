import { faultOfCalled, type Own } from '../config/checks.ts'
import { invalidInput } from './problem.ts'

/**
 * All calls of this Worker to others, except to its own database and Redis, go through here: their timeouts,
 * and how much of each answer is read. Redirects are never followed.
 */
export const CALLS = {
  mail: { timeoutMs: 5000, maxBytes: 64 * 1024 },
  /** A whole conversation with a mail server, of nine round trips. */
  smtp: { timeoutMs: 15_000, maxBytes: 64 * 1024 },
  bot_challenge: { timeoutMs: 3000, maxBytes: 16 * 1024 },
  identity_provider: { timeoutMs: 3000, maxBytes: 64 * 1024 },
  client_metadata: { timeoutMs: 3000, maxBytes: 16 * 1024 },
  breached_passwords: { timeoutMs: 800, maxBytes: 256 * 1024 },
  /** Only the status of the app's answer is read. */
  logout: { timeoutMs: 5000, maxBytes: 0 },
  webhook: { timeoutMs: 5000, maxBytes: 0 },
} as const

export type OutboundCall = keyof typeof CALLS

export interface OutboundAnswer {
  status: number
  text: string
  contentType: string | null
}

/** Makes a call, and reads the whole answer. Throws if it is late or too long. */
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

/**
 * A conversation in lines. Each call throws once the time is up, too much was read, or the connection is
 * closed.
 */
export interface Connection {
  write(text: string): Promise<void>
  /** Without its line end. */
  readLine(): Promise<string>
  close(): void
}

/** Connects, over TLS with the certificate checked, or unencrypted. Timeout and size are those of `CALLS`. */
export async function connectOut(
  call: OutboundCall,
  { hostname, port, isTls }: { hostname: string; port: number; isTls: boolean },
): Promise<Connection> {
  const { timeoutMs, maxBytes } = CALLS[call]
  // Only the runtime has this module: scripts, which run in Node, leave their mail to the Worker.
  const { connect } = await import('cloudflare:sockets')
  const socket = connect({ hostname, port }, { secureTransport: isTls ? 'on' : 'off', allowHalfOpen: false })
  let timer: ReturnType<typeof setTimeout> | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('it did not answer in time')), timeoutMs)
  })
  const inTime = <T>(work: Promise<T>) => Promise.race([work, late])
  late.catch(() => {})
  socket.closed.catch(() => {})
  const close = () => {
    clearTimeout(timer)
    // Not awaited: it would wait for a connection that is never made, or for data that nobody reads.
    socket.close().catch(() => {})
  }
  try {
    await inTime(socket.opened)
  } catch (error) {
    close()
    throw error
  }
  const writer = socket.writable.getWriter()
  const reader = socket.readable.getReader()
  const decoder = new TextDecoder()
  let heard = ''
  let length = 0
  return {
    close,
    write: (text) => inTime(writer.write(new TextEncoder().encode(text))),
    async readLine() {
      for (;;) {
        const end = heard.indexOf('\n')
        if (end >= 0) {
          const line = heard.slice(0, end).replace(/\r$/, '')
          heard = heard.slice(end + 1)
          return line
        }
        const { done, value } = await inTime(reader.read())
        if (done) throw new Error('it has closed the connection')
        length += value.length
        if (length > maxBytes) throw new Error('the answer is too long')
        heard += decoder.decode(value, { stream: true })
      }
    },
  }
}

/**
 * What is wrong with a URL that we are to call, as a sentence for whoever entered it; undefined for a good
 * one.
 */
export function faultOfOutboundUrl(value: string, own: Own): string | undefined {
  const fault = faultOfCalled(value, own)
  return fault && `${fault[0]!.toUpperCase()}${fault.slice(1)}.`
}

/** Characters that a URL parser drops or replaces, so that the URL leads elsewhere than it seems to. */
const MISLEADING = /[\\\p{Cc}\p{Cf}]/u

/** A URL that we are to call, if there is one, must belong to somebody else and be public. Throws 422. */
export function assertCallable(own: Own, value: string | null | undefined, pointer: string): void {
  if (!value) return
  const fault = MISLEADING.test(value)
    ? 'Has a backslash or an invisible character.'
    : faultOfOutboundUrl(value, own)
  if (fault) throw invalidInput([{ pointer, code: 'invalid_uri', detail: fault }])
}

/** Whether the receiver accepted what it was sent. Without an answer there is no status. */
export const isAccepted = (status: number | null | undefined) =>
  typeof status === 'number' && status >= 200 && status < 300

/**
 * Posts to such a URL. It is checked again, because it may have been entered under other settings. Only the
 * status of the answer is read. Throws if there is none in time.
 */
export async function postToReceiver(
  own: Own,
  call: OutboundCall,
  value: string,
  sent: Pick<RequestInit, 'body' | 'headers'>,
): Promise<number> {
  const fault = faultOfOutboundUrl(value, own)
  if (fault) throw new Error(fault)
  const signal = AbortSignal.timeout(CALLS[call].timeoutMs)
  const answer = await fetch(value, { ...sent, method: 'POST', redirect: 'manual', signal })
  await answer.body?.cancel()
  return answer.status
}
