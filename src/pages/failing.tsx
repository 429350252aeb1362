import type { Context } from 'hono'
import type { FC } from 'hono/jsx'
import { isUpload } from '../http/operation.ts'
import { type AppError, toAppError } from '../http/problem.ts'
import { PASSWORD_MIN_LENGTH } from '../passwords/policy.ts'
import { Button, Field, Notice } from './components.tsx'
import { NarrowPage } from './layout.tsx'
import { noteProblem, respond } from './respond.ts'
import { type View, viewOf } from './view.ts'

/**
 * An error page: what happened, what to do next, and the request id that finds it in the log. A form that may
 * succeed shortly can be sent again from here, with its input.
 */
export function failingPage(error: unknown, c: Context): Response | Promise<Response> {
  const known = toAppError(error)
  noteProblem(c, known)
  const view = viewOf(c)
  const { common } = view.texts
  const [title, hint] = sentenceFor(view, known)
  const isForm = c.req.method !== 'GET'
  const maySucceed = known.status >= 429 && known.code !== 'mail_not_configured'
  const fields = (c.var as { fields?: Record<string, string> }).fields
  return respond(
    c,
    <NarrowPage view={view} title={title!} isError>
      <h1 class="visually-hidden">{title}</h1>
      <Notice tone="danger" title={title!}>
        <p>{hint}</p>
      </Notice>
      {isForm && maySucceed && fields ? (
        <SendAgain view={view} fields={fields} isUpload={isUpload(c)} />
      ) : (
        <div class="actions">
          <a class="button primary" href={isForm ? '/' : view.here}>
            {!isForm && maySucceed ? common.tryAgain : common.failing.home}
          </a>
        </div>
      )}
      <p class="hint mono">{common.failing.request(view.requestId)}</p>
    </NarrowPage>,
    { status: known.status },
  )
}

/** The same form again. Passwords are never written into a page: they have to be typed again. */
const SendAgain: FC<{ view: View; fields: Record<string, string>; isUpload: boolean }> = ({
  view,
  fields,
  isUpload,
}) => {
  const { common, account } = view.texts
  const labels: Record<string, string> = {
    current_password: account.security.current,
    new_password: account.security.fresh,
  }
  return (
    <form method="post" action={view.here} {...(isUpload && { enctype: 'multipart/form-data' })}>
      {Object.entries(fields).map(([name, value]) =>
        /password$/.test(name) && value !== '' ? (
          <Field
            name={name}
            label={labels[name] ?? common.password}
            type="password"
            autocomplete={name === 'new_password' ? 'new-password' : 'current-password'}
            required
          />
        ) : (
          <input type="hidden" name={name} value={value} />
        ),
      )}
      <div class="actions">
        <Button style="primary">{common.tryAgain}</Button>
        <a class="button quiet" href="/">
          {common.failing.home}
        </a>
      </div>
    </form>
  )
}

function sentenceFor(
  { texts: { common, signin }, organisation }: View,
  { status, code, message, errors: [first] = [] }: AppError,
): string[] {
  const { failing } = common
  if (code === 'stale_form') return failing.stale
  if (code === 'mail_not_configured') return [common.problems[code]!, signin.askAdmin(organisation)]
  if (status === 404) return failing.notFound
  if (status === 403) return failing.forbidden
  if (status === 429) return failing.tooMany
  if (status === 503) return failing.unavailable
  if (status >= 500) return failing.broken
  // The first is for the user who was sent here, the second for the app's developer.
  if (code === 'bad_logout_request') return [common.problems[code]!, message]
  return [common.problems[first?.code ?? code] ?? first?.detail ?? message, '']
}

/** A sentence for a field or a form, in the page's language if there is one. */
export const problemText = (view: View, { code, message }: { code: string; message: string }) =>
  view.texts.common.problems[code] ?? message

/** The error of each field, by its name, from a refused form. */
export const fieldErrors = (view: View, { errors = [] }: AppError): Record<string, string> =>
  Object.fromEntries(
    errors.map(({ pointer, code, detail }) => [
      pointer.slice(1),
      code === 'too_small' && /password$/.test(pointer)
        ? view.texts.common.shortPassword(PASSWORD_MIN_LENGTH)
        : problemText(view, { code, message: detail }),
    ]),
  )
