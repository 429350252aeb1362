import type { Context } from 'hono'
import type { Child } from 'hono/jsx'
import type { ContentfulStatusCode } from 'hono/utils/http-status'
import { AppError } from '../http/problem.ts'
import { rememberLanguage } from './view.ts'

/**
 * Nothing but what comes from here: no inline script or style, no frame, no third party, and no text that becomes
 * markup by script.
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

/** Others' scripts make no trusted types, so on a page that has one they are not asked for. */
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
  /** The one other origin at which a form of the page ends. */
  formAction?: string
  /** The one other origin that the page takes a script and a frame of. */
  thirdParty?: string | undefined
  /** With no-referrer, browsers send `Origin: null` on posts of a form. */
  referrer?: 'same-origin' | 'no-referrer'
}

/** What a page refuses: the log has its code and reason, and the page its headers, as an answer of the API has. */
export const noteProblem = (c: Context, problem: AppError) => c.set('problem', problem)

/**
 * Notes what a page itself says about its form. Throws what no page can say: a failure of ours, and a session that is
 * over.
 */
export function assertSayable(c: Context, error: unknown): asserts error is AppError {
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
