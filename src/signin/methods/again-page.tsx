import type { FC } from 'hono/jsx'
import type { IdentityProvider } from '../../config/providers.ts'
import { RECENT_LOGIN_SECONDS } from '../../http/problem.ts'
import { Button, Field, Form, Message } from '../../pages/components.tsx'
import { NarrowPage } from '../../pages/layout.tsx'
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
  const { common, signin } = view.texts
  const { takesMail } = again
  const asksForMail = takesMail && requestToken === undefined
  return (
    <NarrowPage view={view} title={signin.again.title} isError={message?.tone === 'danger'}>
      <div class="stack">
        <h1>{signin.again.title}</h1>
        <p class="soft">{signin.again.lead(RECENT_LOGIN_SECONDS / 60)}</p>
      </div>
      <Message message={message} />
      <Form action="/signin/again" token={token}>
        <input type="hidden" name="to" value={to} />
        {carried && <input type="hidden" name="carried" value={carried} />}
        <Field name="username" label={common.email} value={email} autocomplete="username" readonly />
        {!takesMail && (
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
      {(again.takesPasskey || providers.length > 0) && (
        <OtherWays view={view} needScript={providers.length === 0}>
          {again.takesPasskey && <AgainPasskey view={view} token={token} to={to} {...again} />}
          <ProviderButtons view={view} providers={providers} token={token} to={to} isAgain />
        </OtherWays>
      )}
    </NarrowPage>
  )
}
