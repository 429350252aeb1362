import type { Context } from 'hono'
import { AppError } from './problem.ts'

export const MAX_BODY_BYTES = 64 * 1024

const BODY_DEADLINE_MS = 10_000

export const unreadableBody = (cause?: unknown) =>
  new AppError(400, 'unreadable_body', 'The body broke off.', { cause })

export const bodyTooLarge = (most = MAX_BODY_BYTES) =>
  new AppError(413, 'body_too_large', `The body is over ${most / 1024} KB.`)

export const bodyTooSlow = () =>
  new AppError(408, 'body_too_slow', `The body took longer than ${BODY_DEADLINE_MS / 1000} seconds.`)

/**
 * Reads the body once, up to the limit whatever its Content-Length claims, and no longer than the deadline.
 */
async function readBytes(c: Context, most: number): Promise<Uint8Array> {
  const read = c.get('bodyRead')
  if (read) return read
  const length = c.req.header('content-length')
  if (Number(length ?? 0) > most) throw bodyTooLarge(most)
  // A body with a stated length ends there (RFC 9112 section 6.3), so the runtime may read it, which is
  // faster.
  const isBounded = length !== undefined && c.req.header('transfer-encoding') === undefined
  const deadline = Promise.withResolvers<never>()
  const timer = setTimeout(() => deadline.reject(bodyTooSlow()), BODY_DEADLINE_MS)
  let reader: ReadableStreamDefaultReader<Uint8Array> | undefined
  try {
    // Throws if an earlier reading gave up.
    reader = isBounded ? undefined : c.req.raw.body?.getReader()
    const reading = reader ? readToLimit(reader, most) : c.req.raw.bytes()
    const bytes = await Promise.race([reading, deadline.promise])
    if (bytes.byteLength > most) throw bodyTooLarge(most)
    c.set('bodyRead', bytes)
    return bytes
  } catch (error) {
    // The client disconnected halfway: nobody's fault here, and nobody hears the answer.
    const refused = error instanceof AppError ? error : unreadableBody(error)
    c.set('bodyRefused', refused)
    throw refused
  } finally {
    clearTimeout(timer)
    reader?.cancel().catch(() => {}) // The rest of a body that is too long is discarded.
  }
}

async function readToLimit(
  reader: ReadableStreamDefaultReader<Uint8Array>,
  most: number,
): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  let size = 0
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return Buffer.concat(chunks)
    size += value.byteLength
    if (size > most) throw bodyTooLarge(most)
    chunks.push(value)
  }
}

/** The body as text. Throws `notUtf8` if it is not UTF-8. */
export async function readText(c: Context, notUtf8: () => AppError, most = MAX_BODY_BYTES): Promise<string> {
  const bytes = await readBytes(c, most)
  c.set('now', Date.now()) // Reading may have taken ten seconds.
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    throw notUtf8()
  }
}
