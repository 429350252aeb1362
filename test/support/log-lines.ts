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

/** Everything that the line of a request may contain. */
const MEMBERS = new Set(
  'level request_id own_id method route status code reason ms trips retries actor session key cause'.split(
    ' ',
  ),
)
/** Answers that do not reveal their reason: it is only in the log. */
const BLAND = /^(unauthenticated|invalid_token|invalid_refresh_token|session_revoked)$/

/** The log line of the request that was answered with these headers, unless a test captures the log itself. */
export const lineOf = (headers: Headers) => lines.get(headers.get('x-request-id')!)

/**
 * Checked for every answer of every test: there is one line, it fits the answer, and it does not reveal whom it was
 * about.
 */
export function expectLine({ status, headers, body }: Answer<unknown>, method: string, ip: string | null) {
  const text = lineOf(headers)
  // A test that captures the log gets the line instead. That cannot be detected, as workerd wraps what is assigned.
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
  // If the body is not ours, as with a page, the code is only in the log.
  const said = body as { code?: string; error?: string } | undefined
  if (status >= 400) expect(line.code).toEqual(said?.code ?? said?.error ?? expect.any(String))
  if (BLAND.test(line.code))
    expect([line.code, line.reason]).toEqual([line.code, expect.stringMatching(/^[a-z_]+$/)])
  // The pattern of the route, never the actual values.
  expect(line.route ?? '').not.toMatch(/[?@=]|[0-9a-f]{8}-/)
  // Places in the code are not personal data, and contain an @ of their own.
  const told = JSON.stringify(line, (name, value) => (name === 'at' ? undefined : value))
  expect(told).not.toMatch(/@|people\.test|token=/)
  if (ip) expect(told).not.toContain(ip)
}
