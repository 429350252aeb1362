import type { Context } from 'hono'
import type { FC } from 'hono/jsx'
import { Hono } from '../http/hono.ts'
import { AppError } from '../http/problem.ts'
import { Button, Form, Message } from '../pages/components.tsx'
import { failingPage, fieldErrors } from '../pages/failing.tsx'
import { form, sessionOf } from '../pages/forms.ts'
import { NarrowPage } from '../pages/layout.tsx'
import { noteProblem, respond } from '../pages/respond.ts'
import { homeOf, type PageEnv, signedInPage } from '../pages/session.ts'
import { TermsBox } from '../pages/terms.tsx'
import { changeUser } from '../users/change.ts'
import { acceptingTerms, assertTermsOfNow } from '../users/me.ts'
import { ContinuationFields, type FormPage } from './pages.tsx'
import { type Continuation, openTarget, originOfTarget, readContinuation } from './targets.ts'

/** Terms that a signed-in user has not agreed to yet. */
const TermsPage: FC<FormPage & Continuation & { hadOthers: boolean }> = ({
  view,
  token,
  message,
  errors = {},
  to,
  target,
  hadOthers,
}) => {
  const { common, signin } = view.texts
  const title = hadOthers ? signin.terms.title : signin.terms.first
  return (
    <NarrowPage
      view={view}
      title={title}
      isError={message?.tone === 'danger'}
      below={
        <form method="post" action="/signout">
          <input type="hidden" name="form_token" value={token} />
          <button type="submit" class="link-button">
            {common.signOut}
          </button>
        </form>
      }
    >
      <div class="stack">
        <h1>{title}</h1>
        <p class="soft">{signin.terms.lead(view.organisation)}</p>
      </div>
      <Message message={message} />
      <Form action="/terms" token={token}>
        <ContinuationFields to={to} target={target} />
        <TermsBox view={view} error={errors.terms_version} />
        <Button style="primary" wide>
          {signin.terms.button}
        </Button>
      </Form>
    </NarrowPage>
  )
}

/** This page must not ask for anything else first. */
const asked = signedInPage(undefined, { mayOweFactor: true, mayOweTerms: true })

/** Where to continue from here, without asking this again. */
const placeOf = (c: Context<PageEnv>, { to, target }: Continuation) =>
  openTarget(c.var, target) ?? to ?? homeOf(c.var.actor.role!)

async function termsPage(c: Context<PageEnv>, on: Continuation, errors?: Record<string, string>) {
  const { view, viewer, user } = await c.var.signedIn()
  if (user.terms_version === (view.terms?.version ?? null)) return c.redirect(placeOf(c, on), 303)
  const message = errors && { tone: 'danger' as const, title: view.texts.common.problems.terms_not_accepted! }
  return respond(
    c,
    <TermsPage
      view={view}
      token={viewer.formToken}
      hadOthers={user.terms_version !== null}
      {...on}
      {...(errors && { errors, message })}
    />,
    { ...(errors && { status: 422 as const }), ...(await originOfTarget(c.var, on.target, on.to)) },
  )
}

export const termsRoutes = new Hono<PageEnv>()
  .get('/terms', asked, (c) => {
    return termsPage(c, readContinuation(c.req.query()))
  })
  .post('/terms', asked, form(sessionOf), async (c) => {
    const on = readContinuation(c.var.fields)
    try {
      const { terms_version } = c.var.fields
      assertTermsOfNow(c.var.config, terms_version)
      if (terms_version !== undefined)
        await changeUser(c.var, c.var.actor.sub, acceptingTerms(terms_version, c.var.now))
      return c.redirect(placeOf(c, on), 303)
    } catch (error) {
      if (!(error instanceof AppError) || error.status !== 422) throw error
      noteProblem(c, error)
      const { view } = await c.var.signedIn()
      return termsPage(c, on, fieldErrors(view, error))
    }
  })
  .onError(failingPage)
