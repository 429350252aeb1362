import { faultOfCalled, type Own } from '../config/checks.ts'
import { invalidInput } from './problem.ts'

/**
 * Everything that this Worker asks of others, beside its own database and Redis, goes through here: what is called, how
 * long it may take, and how much of the answer is read. Redirects are never followed.
 */
export const CALLS = {
  mail: { timeoutMs: 5000, maxBytes: 64 * 1024 },
  /** A whole conversation with a mail server, of nine trips. */
  smtp: { timeoutMs: 15_000, maxBytes: 64 * 1024 },
  bot_challenge: { timeoutMs: 3000, maxBytes: 16 * 1024 },
  identity_provider: { timeoutMs: 3000, maxBytes: 64 * 1024 },
  client_metadata: { timeoutMs: 3000, maxBytes: 16 * 1024 },
  breached_passwords: { timeoutMs: 800, maxBytes: 256 * 1024 },
  /** Of what an app answers only the status is read. */
  logout: { timeoutMs: 5000, maxBytes: 0 },
  webhook: { timeoutMs: 5000, maxBytes: 0 },
} as const

export type OutboundCall = keyof typeof CALLS

export interface OutboundAnswer {
  status: number
  text: string
  contentType: string | null
}

/** Calls, and reads the whole answer. Throws if none comes in time, or it is too long. */
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

/** A conversation in lines. Each call throws once it is late, too long, or closed. */
export interface Connection {
  write(text: string): Promise<void>
  /** Without its end. */
  readLine(): Promise<string>
  close(): void
}

/** Connects, over TLS with the certificate checked, or in the clear. What is called and for how long, the table says. */
export async function connectOut(
  call: OutboundCall,
  { hostname, port, isTls }: { hostname: string; port: number; isTls: boolean },
): Promise<Connection> {
  const { timeoutMs, maxBytes } = CALLS[call]
  // Only the runtime has it: scripts, which run elsewhere, owe their mails to the Worker.
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
    // Not waited for, as it waits itself: for a connection that never comes to be, and for what nobody takes.
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

/** A sentence for whoever names an address that we are to call: what is wrong with it; undefined for a good one. */
export function faultOfForeign(value: string, own: Own): string | undefined {
  const fault = faultOfCalled(value, own)
  return fault && `${fault[0]!.toUpperCase()}${fault.slice(1)}.`
}

/** What a parser of URLs leaves out, or takes for something else, so that an address is not where it seems to be. */
const MISLEADING = /[\\\p{Cc}\p{Cf}]/u

/** What we are to call, where anything is, has to be somebody else's, for everybody to reach. Throws 422. */
export function assertCallable(own: Own, value: string | null | undefined, pointer: string): void {
  if (!value) return
  const fault = MISLEADING.test(value)
    ? 'Has a backslash, or a character that is not seen, in it.'
    : faultOfForeign(value, own)
  if (fault) throw invalidInput([{ pointer, code: 'invalid_uri', detail: fault }])
}

/** Whether whoever was called has taken what it was sent. There is no status where it did not answer. */
export const isTaken = (status: number | null | undefined) =>
  typeof status === 'number' && status >= 200 && status < 300

/**
 * Posts to such an address, which is looked at again, as it may have been good under other settings. Its answer is its
 * status: nothing else of it is read. Throws when there is none in time.
 */
export async function postForeign(
  own: Own,
  call: OutboundCall,
  value: string,
  sent: Pick<RequestInit, 'body' | 'headers'>,
): Promise<number> {
  const fault = faultOfForeign(value, own)
  if (fault) throw new Error(fault)
  const signal = AbortSignal.timeout(CALLS[call].timeoutMs)
  const answer = await fetch(value, { ...sent, method: 'POST', redirect: 'manual', signal })
  await answer.body?.cancel()
  return answer.status
}
