import type { FC } from 'hono/jsx'
import { CODE_LIFETIME_MS } from '../../links/service.ts'
import { Button, Checkbox, Field, Form, Message } from '../../pages/components.tsx'
import { toDuration } from '../../pages/format.ts'
import { NarrowPage } from '../../pages/layout.tsx'
import { AddressPage, ContinuationFields, type FormPage } from '../pages.tsx'
import { type Continuation, withContinuation } from '../targets.ts'
import { type BotChallenge, BotChallengeBox } from './joining.tsx'

/** Asks where to send the code. */
export const AskForCodePage: FC<FormPage & Continuation & { challenge: BotChallenge | undefined }> = ({
  challenge,
  to,
  target,
  ...page
}) => {
  const { view, values = {} } = page
  const { code, stay } = view.texts.signin
  return (
    <AddressPage
      {...page}
      texts={code}
      action="/signin/code"
      button={code.button}
      back={withContinuation('/signin', { to, target })}
    >
      <ContinuationFields to={to} target={target} />
      <input type="hidden" name="asks" value="yes" />
      <Checkbox name="remember" value="yes" checked={!values.email || values.remember === 'yes'}>
        {stay}
      </Checkbox>
      <BotChallengeBox view={view} challenge={challenge} />
    </AddressPage>
  )
}

/** Asks for the code that was sent. */
export const TypeCodePage: FC<FormPage & Continuation & { email: string; remember: string | undefined }> = ({
  view,
  token,
  message,
  email,
  remember,
  to,
  target,
}) => {
  const { signin } = view.texts
  return (
    <NarrowPage
      view={view}
      title={signin.check.title}
      isError={message?.tone === 'danger'}
      below={<a href={withContinuation('/signin/code', { to, target })}>{signin.check.other}</a>}
    >
      <div class="stack">
        <h1>{signin.check.title}</h1>
        <p class="soft">{signin.code.sent(email, toDuration(view, CODE_LIFETIME_MS))}</p>
      </div>
      <Message message={message} />
      <Form action="/signin/code/confirm" token={token}>
        <ContinuationFields to={to} target={target} />
        <input type="hidden" name="email" value={email} />
        {remember && <input type="hidden" name="remember" value={remember} />}
        <Field
          name="code"
          label={signin.check.code}
          class="code"
          inputmode="numeric"
          autocomplete="one-time-code"
          required
          autofocus={!message}
        />
        <Button style="primary" wide busy={signin.busy}>
          {signin.button}
        </Button>
        <Button style="quiet" wide formaction="/signin/code" formnovalidate>
          {signin.check.again}
        </Button>
      </Form>
    </NarrowPage>
  )
}
