import type { FC } from 'hono/jsx'
import type { IdentityProvider } from '../../config/providers.ts'
import { RECENT_LOGIN_SECONDS } from '../../http/problem.ts'
import { backTo } from '../../pages/again.ts'
import { Button, Field, Form, Message, type Said } from '../../pages/components.tsx'
import { NarrowPage } from '../../pages/layout.tsx'
import { placeOfOurs } from '../../pages/session.ts'
import type { View } from '../../pages/view.ts'
import { type Again, AgainCode, AgainMail, AgainPasskey } from '../factor-pages.tsx'
import type { FormPage } from '../pages.tsx'
import { OtherWays, ProviderButtons } from './provider-buttons.tsx'

export const SignInAgainPage: FC<
  FormPage & {
    to: string
    carried?: string | undefined
    email: string
    requestToken?: string | undefined
    providers: readonly IdentityProvider[]
  } & Again
> = ({ view, token, message, to, carried, email, requestToken, providers, ...again }) => {
  const { common, factors, signin } = view.texts
  const { hasPassword, takesMail, takesPasskey } = again
  const asksForMail = takesMail && requestToken === undefined
  const hasForm = hasPassword || takesMail
  const hasOthers = takesPasskey || providers.length > 0
  const back = backTo(to, carried)
  const others = (
    <>
      {takesPasskey && <AgainPasskey view={view} token={token} to={to} carried={carried} {...again} />}
      {/* A provider has room for a short one: what was typed in a long form is left out. */}
      <ProviderButtons view={view} providers={providers} token={token} to={placeOfOurs(back) ?? to} isAgain />
    </>
  )
  const said = message ?? (hasForm || hasOthers ? undefined : noWay(view))
  return (
    <NarrowPage view={view} title={signin.again.title} isError={said?.tone === 'danger'}>
      <div class="stack">
        <h1>{signin.again.title}</h1>
        <p class="soft">{signin.again.lead(RECENT_LOGIN_SECONDS / 60)}</p>
      </div>
      <Message message={said} />
      {hasForm && (
        <Form action="/signin/again" token={token}>
          <input type="hidden" name="to" value={to} />
          {carried && <input type="hidden" name="carried" value={carried} />}
          <Field name="username" label={common.email} value={email} autocomplete="username" readonly />
          {hasPassword && (
            <Field
              name="password"
              label={common.password}
              type="password"
              autocomplete="current-password"
              required
              autofocus={!message}
              aside={<a href="/forgot">{signin.forgot}</a>}
            />
          )}
          {takesMail && requestToken !== undefined && <AgainMail view={view} requestToken={requestToken} />}
          {again.takesCode && !asksForMail && <AgainCode view={view} />}
          <Button style="primary" wide {...(asksForMail && { formaction: '/signin/again/mail' })}>
            {asksForMail ? signin.again.mail : signin.again.button}
          </Button>
          {takesMail && !asksForMail && (
            <Button style="quiet" wide formaction="/signin/again/mail" formnovalidate>
              {signin.check.again}
            </Button>
          )}
        </Form>
      )}
      {hasForm && hasOthers && (
        <OtherWays view={view} needScript={providers.length === 0}>
          {others}
        </OtherWays>
      )}
      {!hasForm && hasOthers && <div class="ways">{others}</div>}
      {!hasForm && takesPasskey && (
        <noscript>
          <p>{factors.noScript}</p>
        </noscript>
      )}
    </NarrowPage>
  )
}

/** An account that can only be confirmed by mail, where none is configured. */
const noWay = ({ texts: { common, signin }, organisation }: View): Said => ({
  tone: 'danger',
  title: common.problems.mail_not_configured!,
  text: signin.askAdmin(organisation),
})
