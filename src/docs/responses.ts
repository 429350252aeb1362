import * as z from 'zod'
import { METHODS } from '../factors/state.ts'
import { EVERY_ANSWER, REQUEST_ID as REQUEST_ID_HEADER, SOME_ANSWERS } from '../http/headers.ts'
import type { OperationParts } from '../http/operation.ts'
import { type AppError, problemOf } from '../http/problem.ts'
import { Time } from '../values/ids.ts'
import { lazy } from '../values/lazy.ts'
import { toJsonSchema } from './json-schema.ts'

const REQUEST_ID = 'd0a5e3c8-6f1b-4c0e-9a57-1f0f3a2b4c5d'

const Problem = lazy(() =>
  z
    .object({
      type: z.string(),
      title: z.string(),
      status: z.int(),
      detail: z.string(),
      code: z.string(),
      request_id: z.string(),
      errors: z.array(z.object({ pointer: z.string(), code: z.string(), detail: z.string() })).optional(),
      more_errors: z
        .int()
        .optional()
        .meta({ description: 'How many errors there are besides those that `errors` names.' }),
      challenge: z.string().optional().meta({ description: 'To answer with the second factor.' }),
      methods: z.array(z.enum(METHODS)).optional().meta({ description: 'Which second factors there are.' }),
      expires_in: z.int().optional().meta({ description: 'Seconds that the challenge is valid for.' }),
      tries_left: z.int().optional().meta({ description: 'Of the challenge.' }),
      disabled_until: Time().nullable().optional().meta({ description: 'Null: for good.' }),
    })
    .meta({ id: 'Problem', description: 'RFC 9457. `code` is stable; `detail` is for people.' }),
)

const header = (description: string, required: boolean) => ({
  required,
  description,
  schema: { type: 'string' },
})

/** Headers of any answer: each is defined here once, and referenced. */
export const COMMON_HEADERS = {
  ...Object.fromEntries(
    Object.entries(EVERY_ANSWER).map(([name, { description }]) => [name, header(description, true)]),
  ),
  ...Object.fromEntries(
    Object.entries(SOME_ANSWERS).map(([name, description]) => [name, header(description, false)]),
  ),
  [REQUEST_ID_HEADER.value]: header(REQUEST_ID_HEADER.description, true),
}

/** Headers for the document, from their names and descriptions. */
const describeHeaders = (
  headers: Record<string, string>,
  isAlwaysThere = (_name: string) => true,
): object => ({
  ...Object.fromEntries(
    Object.entries(headers).map(([name, description]) => [name, header(description, isAlwaysThere(name))]),
  ),
  ...Object.fromEntries(
    Object.keys(COMMON_HEADERS).map((name) => [name, { $ref: `#/components/headers/${name}` }]),
  ),
})

const PAGE_HEADERS = { 'Cross-Origin-Opener-Policy': 'Which windows may reach the page.' }
const LINK = { Link: 'Where the list goes on, if it does (RFC 8288).' }

export function describeResponses({ responses = {}, responseHeaders = {} }: OperationParts): object {
  return Object.fromEntries(
    Object.entries(responses).map(([status, make]) => {
      const schema = typeof make === 'function' ? make() : make
      const isList =
        typeof schema === 'object' && schema !== null && 'pagination' in ((schema as z.ZodObject).shape ?? {})
      const headers = {
        ...responseHeaders[Number(status)],
        ...(isList && LINK),
        ...(schema === 'html' && PAGE_HEADERS),
      }
      return [
        status,
        {
          description: WORDS[status] ?? (schema ? 'Done.' : 'Done; no body.'),
          headers: describeHeaders(headers, (name) => name !== 'Link'),
          ...(schema && { content: contentOf(schema) }),
        },
      ]
    }),
  )
}

const TEXTS = { html: ['text/html'], rows: ['text/csv', 'application/x-ndjson'] }
const contentOf = (schema: z.ZodType | 'html' | 'rows') =>
  typeof schema === 'string'
    ? Object.fromEntries(TEXTS[schema].map((type) => [type, { schema: { type: 'string' } }]))
    : { 'application/json': { schema: toJsonSchema(schema, 'output') } }

const WORDS: Record<string, string> = { 304: 'The caller has it already; no body.' }

const PROBLEM_HEADERS: Record<string, [name: string, description: string]> = {
  accept: ['Accept', 'The accepted media types.'],
  'accept-encoding': ['Accept-Encoding', 'The accepted codings: only the plain body.'],
  'retry-after': ['Retry-After', 'Seconds to wait before the next attempt.'],
  'www-authenticate': ['WWW-Authenticate', 'The scheme, and what was wrong with the token (RFC 6750).'],
}

/** @param isOfPage problems of a page are pages as well, except those for which no page can be drawn. */
export function describeProblems(problems: AppError[], issuer: string, isOfPage: boolean): object {
  const byStatus = Map.groupBy(problems, (problem) => problem.status)
  return Object.fromEntries(
    [...byStatus].map(([status, alike]) => {
      const byCode = new Map(alike.map((problem) => [problem.code, problem]))
      const headers = alike.flatMap((problem) => Object.keys(problem.headers))
      return [
        String(status),
        {
          description: [...byCode].map(([code, { message }]) => `\`${code}\`: ${message}`).join('\n\n'),
          headers: describeHeaders(
            Object.fromEntries(headers.map((name) => PROBLEM_HEADERS[name]!)),
            (name) => alike.every((problem) => name.toLowerCase() in problem.headers),
          ),
          content: {
            'application/problem+json': {
              schema: {
                allOf: [
                  toJsonSchema(Problem(), 'output'),
                  { properties: { code: { type: 'string', enum: [...byCode.keys()] } } },
                ],
              },
              examples: Object.fromEntries(
                [...byCode].map(([code, problem]) => [
                  code,
                  { value: problemOf(problem, REQUEST_ID, issuer) },
                ]),
              ),
            },
            ...(isOfPage && contentOf('html')),
          },
        },
      ]
    }),
  )
}
