import { expect } from 'vitest'
import type { Answer } from './api.ts'

/**
 * Log lines of requests, by request id. They, and other lines that report no problem, are captured as they
 * are written, and printed only if something is wrong.
 */
const lines = new Map<string, string>()

const LEVELS = ['info', 'warn', 'error'] as const
for (const level of LEVELS) {
  const write = console[level]
  console[level] = (...said: unknown[]) => {
    const [text] = said
    const isLine = typeof text === 'string' && text.startsWith(`{"level":"${level}"`)
    const { route, request_id } = isLine ? JSON.parse(text) : {}
    if (route !== undefined) lines.set(request_id, text as string)
    if ((route === undefined && level !== 'info') || level === 'error') write(...said)
  }
}

/** Everything that may stand in the line of a request. */
const MEMBERS = new Set(
  'level request_id own_id method route status code reason ms trips retries actor session key cause'.split(
    ' ',
  ),
)
/** Answers that are the same for every reason: the log knows it. */
const BLAND = /^(unauthenticated|invalid_token|invalid_refresh_token|session_revoked)$/

/** The line of the request that was answered with these headers, where nobody else listened. */
export const lineOf = (headers: Headers) => lines.get(headers.get('x-request-id')!)

/** One line, with what was answered, and nothing that says whom it was about: of every answer of every test. */
export function expectLine({ status, headers, body }: Answer<unknown>, method: string, ip: string | null) {
  const text = lineOf(headers)
  // A test that listens itself hears it instead; whether one does cannot be told, as workerd wraps what is assigned.
  if (text === undefined) return
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
  // What has no body of ours, as a page, has its code in the log alone.
  const said = body as { code?: string; error?: string } | undefined
  if (status >= 400) expect(line.code).toEqual(said?.code ?? said?.error ?? expect.any(String))
  if (BLAND.test(line.code))
    expect([line.code, line.reason]).toEqual([line.code, expect.stringMatching(/^[a-z_]+$/)])
  // A pattern, never what is in its place.
  expect(line.route ?? '').not.toMatch(/[?@=]|[0-9a-f]{8}-/)
  // Places in the code are none of anybody's data, and have an @ of their own.
  const told = JSON.stringify(line, (name, value) => (name === 'at' ? undefined : value))
  expect(told).not.toMatch(/@|people\.test|token=/)
  if (ip) expect(told).not.toContain(ip)
}
