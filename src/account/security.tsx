import type { Child, FC } from 'hono/jsx'
import { AsRequest, Button, Field, Fold, Form, Message } from '../pages/components.tsx'
import { AccountPage, Head, Section } from '../pages/layout.tsx'
import { PASSWORD_MIN_LENGTH } from '../passwords/policy.ts'
import type { PageProps } from './pages.tsx'

const PasswordSection: FC<PageProps & { email: string }> = ({ view, viewer, email, errors = {} }) => {
  const { security } = view.texts.account
  const { signup } = view.texts.signin
  return (
    <Section title={security.password} hint={security.passwordHint} id="password">
      <Fold summary={security.change} open={Object.keys(errors).length > 0}>
        <Form action="/account/password" token={viewer.formToken}>
          <input type="text" name="username" value={email} autocomplete="username" readonly hidden />
          <Field
            name="current_password"
            label={security.current}
            type="password"
            error={errors.current_password}
            autocomplete="current-password"
            required
          />
          <Field
            name="new_password"
            label={security.fresh}
            type="password"
            hint={signup.passwordHint(PASSWORD_MIN_LENGTH)}
            error={errors.new_password}
            autocomplete="new-password"
            required
          />
          <Button style="primary">{security.button}</Button>
        </Form>
      </Fold>
      <AsRequest
        view={view}
        method="POST"
        path="/v1/auth/change_password"
        body={{ current_password: '…', new_password: '…' }}
      />
    </Section>
  )
}

export const SecurityPage: FC<
  PageProps & {
    email: string
    hasPassword: boolean
    /** Shown where there is no message. */
    notice?: Child
    onwards?: string | undefined
    children?: Child
  }
> = ({ view, viewer, message, notice, errors = {}, email, hasPassword, onwards, children }) => {
  const { security } = view.texts.account
  return (
    <AccountPage view={view} viewer={viewer} title={security.title} isError={message?.tone === 'danger'}>
      <Head title={security.title} lead={security.lead} />
      {message ? <Message message={message} /> : notice}
      {onwards && (
        <div class="actions">
          <a class="button primary" href={onwards}>
            {view.texts.common.goOn}
          </a>
        </div>
      )}
      <div class="sections">
        {hasPassword ? (
          <PasswordSection view={view} viewer={viewer} email={email} errors={errors} />
        ) : (
          <Section title={security.password} hint={security.none} id="password">
            <p>
              <a class="button" href="/forgot">
                {security.askForLink}
              </a>
            </p>
            <AsRequest view={view} method="POST" path="/v1/auth/forgot_password" body={{ email }} />
          </Section>
        )}
        {children}
      </div>
    </AccountPage>
  )
}
