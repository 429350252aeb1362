import type { Context } from 'hono'
import type { Child } from 'hono/jsx'
import { AppError } from '../../http/problem.ts'
import { problemText } from '../../pages/failing.tsx'
import { noteProblem, respond } from '../../pages/respond.ts'
import type { PageEnv } from '../../pages/session.ts'
import { viewOf } from '../../pages/view.ts'
import { readSessionCookie } from '../../sessions/cookie.ts'
import { refusalOf } from '../refusals.tsx'
import { ProviderSaysPage } from './provider-pages.tsx'

/** Shows the message on a page of its own. Somebody who is signed in is led to their security page. */
function says(c: Context<PageEnv>, title: string, text: Child, status: number) {
  const isSignedIn = readSessionCookie(c, c.var.config.keys.session_cookie, c.var.now) !== undefined
  return respond(c, <ProviderSaysPage view={viewOf(c)} title={title} text={text} isSignedIn={isSignedIn} />, {
    status: status as 403,
  })
}

/** Each refusal has its own sentence. */
export function explainRefusal(c: Context<PageEnv>, error: unknown): Response | Promise<Response> {
  if (
    !(error instanceof AppError) ||
    (error.status >= 500 && error.code !== 'provider_failed') ||
    error.status === 404
  )
    throw error
  noteProblem(c, error)
  const view = viewOf(c)
  const { signin } = view.texts
  const { provider: texts } = signin
  const name = c.var.config.IDENTITY_PROVIDERS.find(({ id }) => id === c.req.param('provider'))?.name ?? ''
  const sentences: Record<string, readonly string[]> = {
    invalid_callback: texts.over,
    address_missing: texts.noAddress(name),
    provider_failed: texts.failed(name),
    provider_refused: texts.refused(name),
    account_deleted: [texts.deleted, signin.askAdmin(view.organisation)],
    signup_closed: texts.closed(name),
    signup_domain_refused: [signin.signup.domain],
    invitation_open: signin.code.invited,
    identity_taken: texts.taken(name),
    reauthentication_required: texts.over,
  }
  const isOver = error.status === 401 || error.code === 'write_conflict'
  const said = isOver ? texts.over : sentences[error.code]
  if (said) return says(c, said[0]!, said[1], isOver ? 400 : error.status)
  const known = ['account_disabled', 'email_not_verified'].includes(error.code) || error.status === 429
  const { title, text } = known
    ? refusalOf(view, error)
    : { title: problemText(view, error), text: undefined }
  return says(c, title, text, error.status)
}
