import type { Child, FC } from 'hono/jsx'
import type { IdentityProvider } from '../config/providers.ts'
import { Button, Checkbox, Field, Form, Message, type Said } from '../pages/components.tsx'
import { NarrowPage } from '../pages/layout.tsx'
import { TermsBox } from '../pages/terms.tsx'
import type { View } from '../pages/view.ts'
import { PasskeySignIn } from './factor-pages.tsx'
import { type BotChallenge, BotChallengeBox } from './methods/joining.tsx'
import { OtherWays, ProviderButtons } from './methods/provider-buttons.tsx'
import { type Continuation, withContinuation } from './targets.ts'

export interface FormPage {
  view: View
  token: string
  message?: Said | undefined
  values?: Record<string, string>
  errors?: Record<string, string>
}

/** A passkey that nobody here has, with the challenge that it answered. */
interface UnknownPasskey {
  rpId: string
  tried: string
}

/** Ways to sign in other than the password. */
export interface Ways {
  canSignUp: boolean
  takesCode: boolean
  providers: readonly IdentityProvider[]
}

export const SignInPage: FC<FormPage & Continuation & Ways & { unknown?: UnknownPasskey }> = ({
  view,
  token,
  message,
  values = {},
  to,
  target,
  canSignUp,
  takesCode,
  providers,
  unknown,
}) => {
  const { common, signin } = view.texts
  return (
    <NarrowPage
      view={view}
      title={signin.title}
      isError={message?.tone === 'danger'}
      below={
        canSignUp && (
          <>
            {signin.newHere} <a href={withContinuation('/signup', { to, target })}>{signin.create}</a>
          </>
        )
      }
    >
      <h1>{signin.title}</h1>
      <Message message={message} />
      <Form action="/signin" token={token} id="signin">
        <ContinuationFields to={to} target={target} />
        <Field
          name="email"
          label={common.email}
          type="email"
          value={values.email}
          autocomplete="username webauthn"
          inputmode="email"
          required
          autofocus={!message}
        />
        <Field
          name="password"
          label={common.password}
          type="password"
          autocomplete="current-password"
          required
          aside={<a href="/forgot">{signin.forgot}</a>}
        />
        <Checkbox
          name="remember"
          value="yes"
          checked={values.email === undefined || values.remember === 'yes'}
        >
          {signin.stay}
        </Checkbox>
        <Button style="primary" wide busy={signin.busy}>
          {signin.button}
        </Button>
      </Form>
      {unknown && <div hidden data-passkey-unknown={JSON.stringify(unknown)} />}
      <OtherWays view={view} needScript={!takesCode && providers.length === 0}>
        <PasskeySignIn view={view} token={token} to={to} target={target} />
        {takesCode && (
          <Button wide form="signin" formaction="/signin/code" formnovalidate>
            {signin.code.instead}
          </Button>
        )}
        <ProviderButtons view={view} providers={providers} token={token} to={to} target={target} />
      </OtherWays>
    </NarrowPage>
  )
}

export const SignUpPage: FC<
  FormPage &
    Continuation & {
      passwordMinLength: number
      challenge: BotChallenge | undefined
      providers: readonly IdentityProvider[]
    }
> = ({
  view,
  token,
  message,
  values = {},
  errors = {},
  to,
  target,
  passwordMinLength,
  challenge,
  providers,
}) => {
  const { common, signin } = view.texts
  const { signup } = signin
  return (
    <NarrowPage
      view={view}
      title={signup.title}
      isError={message?.tone === 'danger'}
      below={
        <>
          {signup.have} <a href={withContinuation('/signin', { to, target })}>{signin.title}</a>
        </>
      }
    >
      <h1>{signup.title}</h1>
      <Message message={message} />
      <Form action="/signup" token={token}>
        <ContinuationFields to={to} target={target} />
        <Field
          name="name"
          label={common.name}
          value={values.name}
          error={errors.name}
          autocomplete="name"
          required
          autofocus={!message}
        />
        <Field
          name="email"
          label={common.email}
          type="email"
          value={values.email}
          error={errors.email}
          autocomplete="username"
          inputmode="email"
          required
        />
        <Field
          name="password"
          label={common.password}
          type="password"
          error={errors.password}
          hint={signup.passwordHint(passwordMinLength)}
          autocomplete="new-password"
          required
        />
        <TermsBox view={view} error={errors.terms_version} />
        <BotChallengeBox view={view} challenge={challenge} />
        <Button style="primary" wide busy={signup.busy}>
          {signup.button}
        </Button>
      </Form>
      {providers.length > 0 && (
        <OtherWays view={view}>
          <ProviderButtons view={view} providers={providers} token={token} to={to} target={target} />
        </OtherWays>
      )}
    </NarrowPage>
  )
}

export const SignUpClosedPage: FC<{ view: View }> = ({ view }) => {
  const [title, text] = view.texts.signin.signup.closed
  return (
    <NarrowPage view={view} title={title!} below={<a href="/signin">{view.texts.signin.forgotten.back}</a>}>
      <h1>{title}</h1>
      <p class="soft">{text}</p>
    </NarrowPage>
  )
}

export const CheckMailPage: FC<FormPage & Continuation & { email: string }> = ({
  view,
  token,
  message,
  email,
  errors = {},
  to,
  target,
}) => {
  const { check } = view.texts.signin
  return (
    <NarrowPage
      view={view}
      title={check.title}
      isError={message?.tone === 'danger'}
      below={<a href={withContinuation('/signup', { to, target })}>{check.other}</a>}
    >
      <div class="stack">
        <h1>{check.title}</h1>
        <p class="soft">{check.lead(email)}</p>
      </div>
      <Message message={message} />
      <Form action="/signup/code" token={token}>
        <input type="hidden" name="email" value={email} />
        <Field
          name="code"
          label={check.code}
          class="code"
          inputmode="numeric"
          autocomplete="one-time-code"
          error={errors.code}
          autofocus={!message}
        />
        <Button style="primary" wide>
          {check.button}
        </Button>
        <Button style="quiet" wide formaction="/signup/again">
          {check.again}
        </Button>
      </Form>
    </NarrowPage>
  )
}

type AddressPageOptions = FormPage & {
  texts: { title: string; lead: string }
  action: string
  button: string
  /** Where its reader goes instead. */
  back?: string
  /** What is asked besides. */
  children?: Child
}

/** Asks for the address to send a mail to. */
export const AddressPage: FC<AddressPageOptions> = ({
  view,
  token,
  message,
  values = {},
  errors = {},
  texts: { title, lead },
  action,
  button,
  back = '/signin',
  children,
}) => {
  const { common, signin } = view.texts
  return (
    <NarrowPage
      view={view}
      title={title}
      isError={message?.tone === 'danger'}
      below={<a href={back}>{signin.forgotten.back}</a>}
    >
      <div class="stack">
        <h1>{title}</h1>
        <p class="soft">{lead}</p>
      </div>
      <Message message={message} />
      <Form action={action} token={token}>
        <Field
          name="email"
          label={common.email}
          type="email"
          value={values.email}
          error={errors.email}
          autocomplete="username"
          inputmode="email"
          required
          autofocus={!message}
        />
        {children}
        <Button style="primary" wide>
          {button}
        </Button>
      </Form>
    </NarrowPage>
  )
}

export const ForgotPage: FC<FormPage> = (page) => {
  const { forgotten } = page.view.texts.signin
  return <AddressPage {...page} texts={forgotten} action="/forgot" button={forgotten.button} />
}

/** Requests the confirmation mail once more. */
export const ResendPage: FC<FormPage> = (page) => {
  const { resend, forgotten } = page.view.texts.signin
  return <AddressPage {...page} texts={resend} action="/signup/again" button={forgotten.button} />
}

export const ContinuationFields: FC<Continuation> = ({ to, target }) => (
  <>
    {to && <input type="hidden" name="to" value={to} />}
    {target && <input type="hidden" name="target" value={target} />}
  </>
)
