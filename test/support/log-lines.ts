import { expect } from 'vitest'
import type { Answer } from './api.ts'

/**
 * Lines of requests, by their ids. They, and others that say that all is well, are caught where they are written, and seen
 * only if something is wrong.
 */
const lines = new Map<string, string>()

const LEVELS = ['info', 'warn', 'error'] as const
const catchers = LEVELS.map((level) => {
  const write = console[level]
  console[level] = (...said: unknown[]) => {
    const [text] = said
    const isLine = typeof text === 'string' && text.startsWith(`{"level":"${level}"`)
    const { route, request_id } = isLine ? JSON.parse(text) : {}
    if (route !== undefined) lines.set(request_id, text as string)
    if ((route === undefined && level !== 'info') || level === 'error') write(...said)
  }
  return console[level]
})

/** Everything that may stand in the line of a request. */
const MEMBERS = new Set(
  'level request_id own_id method route status code reason ms trips retries actor session cause'.split(' '),
)
/** Answers that are the same for every reason: the log knows it. */
const BLAND = /^(unauthenticated|invalid_token|invalid_refresh_token|session_revoked)$/

/** One line, with what was answered, and nothing that says whom it was about: of every answer of every test. */
export function expectLine(
  { status, headers, body }: Answer<unknown>,
  method: string,
  path: string,
  ip: string | null,
) {
  // A test that listens itself hears them instead.
  if (!LEVELS.every((level, index) => console[level] === catchers[index])) return
  const text = lines.get(headers.get('x-request-id')!)
  if (text === undefined) throw new Error(`${method} ${path} left no line in the log`)
  const line = JSON.parse(text)
  const level = status < 400 ? 'info' : status < 500 ? 'warn' : 'error'
  expect(line).toMatchObject({
    level,
    method: method.toUpperCase(),
    status,
    ms: expect.any(Number),
    trips: expect.any(Number),
  })
  expect(Object.keys(line).filter((name) => !MEMBERS.has(name))).toEqual([])
  if (status >= 400 && body) expect(line.code).toBe((body as { code: string }).code)
  if (BLAND.test(line.code))
    expect([line.code, line.reason]).toEqual([line.code, expect.stringMatching(/^[a-z_]+$/)])
  // A pattern, never what is in its place.
  expect(line.route ?? '').not.toMatch(/[?@=]|[0-9a-f]{8}-/)
  expect(text).not.toMatch(/@|people\.test|token=/)
  if (ip) expect(text).not.toContain(ip)
}
