import type { Context } from 'hono'
import type { Child } from 'hono/jsx'
import type { ContentfulStatusCode } from 'hono/utils/http-status'
import { AppError } from '../http/problem.ts'
import { rememberLanguage } from './view.ts'

/**
 * Allows only what we serve ourselves: no inline script or style, no frame, no third party, and no text that
 * a script turns into markup.
 */
const POLICY = {
  'default-src': "'none'",
  'style-src': "'self'",
  'script-src': "'self'",
  'connect-src': "'self'",
  'img-src': "'self' data:",
  'base-uri': "'none'",
  'form-action': "'self'",
  'frame-ancestors': "'none'",
  'require-trusted-types-for': "'script'",
  'trusted-types': "'none'",
}

/** Third-party scripts use no trusted types, so a page that loads one does not require them. */
function withThirdParty(origin: string) {
  const { 'require-trusted-types-for': _, 'trusted-types': __, ...policy } = POLICY
  return {
    ...policy,
    'script-src': `'self' ${origin}`,
    'frame-src': origin,
    'connect-src': `'self' ${origin}`,
  }
}

interface Answer {
  status?: ContentfulStatusCode
  /** The one other origin to which a form of the page may lead. */
  formAction?: string
  /** The one other origin from which the page loads a script and a frame. */
  thirdParty?: string | undefined
  /** With no-referrer, browsers send `Origin: null` on posts of a form. */
  referrer?: 'same-origin' | 'no-referrer'
}

/** A page's problem: the log gets its code and reason, and the page the same headers as an API answer. */
export const noteProblem = (c: Context, problem: AppError) => c.set('problem', problem)

/**
 * Records an error that a page shows about its form. Throws what no page can show: our own failures, and a
 * session that has ended.
 */
export function assertShowable(c: Context, error: unknown): asserts error is AppError {
  if (!(error instanceof AppError) || error.status >= 500 || error.status === 401) throw error
  noteProblem(c, error)
}

/** Answers with a page. */
export function respond(
  c: Context,
  page: Child,
  { status = 200, formAction, thirdParty, referrer = 'same-origin' }: Answer = {},
) {
  rememberLanguage(c)
  const policy = {
    ...(thirdParty ? withThirdParty(thirdParty) : POLICY),
    ...(formAction && { 'form-action': `'self' ${formAction}` }),
  }
  const problem: AppError | undefined = status >= 400 ? c.get('problem') : undefined
  return c.html(page as string, status, {
    ...problem?.headers,
    'content-security-policy': Object.entries(policy)
      .map((directive) => directive.join(' '))
      .join('; '),
    'referrer-policy': referrer,
    ...(!formAction && { 'cross-origin-opener-policy': 'same-origin' }),
  })
}
