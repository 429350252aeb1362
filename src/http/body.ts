import type { Context } from 'hono'
import { AppError } from './problem.ts'

export const MAX_BODY_BYTES = 64 * 1024

export const MAX_JSON_DEPTH = 32

export const BODY_DEADLINE_MS = 10_000

export const invalidJson = () =>
  new AppError(400, 'invalid_json', 'The body is not JSON (UTF-8, no member twice, at most 32 levels deep).')

export const unreadableBody = (cause?: unknown) =>
  new AppError(400, 'unreadable_body', 'The body broke off.', { cause })

export const bodyTooLarge = () => new AppError(413, 'body_too_large', 'The body is over 64 KB.')

export const bodyTooSlow = () =>
  new AppError(408, 'body_too_slow', `The body took longer than ${BODY_DEADLINE_MS / 1000} seconds.`)

/** Reads the body as far as the limit, whatever its Content-Length claims, and for no longer than the deadline. */
export async function readBytes(c: Context): Promise<Uint8Array> {
  const length = c.req.header('content-length')
  if (Number(length ?? 0) > MAX_BODY_BYTES) throw bodyTooLarge()
  // A body of a stated length ends there (RFC 9112 section 6.3), so it may be read by the runtime, which is faster.
  const isBounded = length !== undefined && c.req.header('transfer-encoding') === undefined
  const reader = isBounded ? undefined : c.req.raw.body?.getReader()
  const deadline = Promise.withResolvers<never>()
  const timer = setTimeout(() => deadline.reject(bodyTooSlow()), BODY_DEADLINE_MS)
  try {
    const reading = reader ? readToLimit(reader) : c.req.raw.bytes()
    const bytes = await Promise.race([reading, deadline.promise])
    if (bytes.byteLength > MAX_BODY_BYTES) throw bodyTooLarge()
    return bytes
  } catch (error) {
    // The caller went away in the middle of it: nobody's fault here, and nobody hears the answer.
    throw error instanceof AppError ? error : unreadableBody(error)
  } finally {
    clearTimeout(timer)
    reader?.cancel().catch(() => {}) // Whoever sends more sends it to nobody.
  }
}

export async function readToLimit(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  let size = 0
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return Buffer.concat(chunks)
    size += value.byteLength
    if (size > MAX_BODY_BYTES) throw bodyTooLarge()
    chunks.push(value)
  }
}

export function decodeUtf8(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    throw invalidJson()
  }
}

/** JSON.parse, but a member that stands twice is an error: two readers may disagree on which one counts. */
export function parseJson(text: string): unknown {
  try {
    assertFlatAndUnique(text)
    return JSON.parse(text)
  } catch {
    throw invalidJson()
  }
}

export function assertFlatAndUnique(text: string): void {
  const open: (Set<string> | undefined)[] = []
  for (const { 0: token, index } of text.matchAll(/"(?:[^"\\]|\\.)*"|[{}[\]]/gs)) {
    if (token === '{' || token === '[') {
      if (open.push(token === '{' ? new Set() : undefined) > MAX_JSON_DEPTH) throw new SyntaxError('too deep')
    } else if (token === '}' || token === ']') {
      open.pop()
    } else if (isFollowedByColon(text, index + token.length)) {
      const members = open.at(-1)
      const name: string = JSON.parse(token)
      if (members?.has(name)) throw new SyntaxError('member twice')
      members?.add(name)
    }
  }
}

export function isFollowedByColon(text: string, index: number): boolean {
  const colon = /\s*:/y
  colon.lastIndex = index
  return colon.test(text)
}
