import type { FC } from 'hono/jsx'
import type { Method } from '../factors/state.ts'
import { Button, Field, Fold, Form, Message, type Said } from '../pages/components.tsx'
import { PasskeyForm } from '../pages/factors.tsx'
import { NarrowPage } from '../pages/layout.tsx'
import type { View } from '../pages/view.ts'
import type { FactorDue } from './factor-cookie.ts'
import type { Continuation } from './targets.ts'

/** Asks for the second factor, after a correct password. */
export const FactorPage: FC<{ view: View; token: string; due: FactorDue; message?: Said | undefined }> = ({
  view,
  token,
  due,
  message,
}) => {
  const { factors } = view.texts
  const has = (method: Method) => due.methods.includes(method)
  const recovery = (
    <Form action="/signin/factor" token={token}>
      <Field
        name="recovery_code"
        label={factors.recoveryCode}
        hint={factors.recoveryHint}
        autocomplete="off"
        required
      />
      <Button wide style={has('totp') ? 'quiet' : 'primary'}>
        {factors.button}
      </Button>
    </Form>
  )
  return (
    <NarrowPage
      view={view}
      title={factors.title}
      isError={message?.tone === 'danger'}
      below={<>{factors.lost}</>}
    >
      <div class="stack">
        <h1>{factors.title}</h1>
        <p class="soft">
          {factors.lead(due.email)} <a href="/signin">{factors.notYou}</a>
        </p>
      </div>
      <Message message={message} />
      {has('totp') && (
        <Form action="/signin/factor" token={token}>
          <Field
            name="code"
            label={factors.code}
            hint={factors.codeHint}
            inputmode="numeric"
            autocomplete="one-time-code"
            class="code"
            required
            autofocus={!message}
          />
          <Button style="primary" wide>
            {factors.button}
          </Button>
        </Form>
      )}
      {has('passkey') && (
        <PasskeyForm
          view={view}
          token={token}
          action="/signin/factor"
          label={factors.passkey}
          source={{ url: '/v1/auth/login/second_factor/options', body: { challenge: due.challenge } }}
        />
      )}
      {has('recovery_code') && (has('totp') ? <Fold summary={factors.recovery}>{recovery}</Fold> : recovery)}
    </NarrowPage>
  )
}

/** Passkey sign-in on the sign-in page: by its button, and in the autofill of the address. */
export const PasskeySignIn: FC<{ view: View; token: string } & Continuation> = ({
  view,
  token,
  to,
  target,
}) => (
  <PasskeyForm
    view={view}
    token={token}
    action="/signin/passkey"
    label={view.texts.factors.passkey}
    source={{ url: '/v1/auth/login/passkey/options' }}
    isConditional
    fields={{ to, target, remember: 'yes' }}
  />
)

/** What it takes to prove again who one is, in addition to the password or instead of it. */
export interface Again {
  takesCode: boolean
  takesPasskey: boolean
  hasPassword: boolean
  /** There is neither a password nor a passkey: a mailed code replaces them. */
  takesMail: boolean
  /** Ids of the providers that can be used instead. */
  takesProviders: readonly string[]
  challenge_id: string
  options: object
}

/** What /signin/again asks for after the password, if the user has a second factor. */
export const AgainCode: FC<{ view: View }> = ({ view }) => (
  <Field name="code" label={view.texts.factors.anyCode} autocomplete="one-time-code" required />
)

/** The code that was mailed instead of asking for a password. */
export const AgainMail: FC<{ view: View; requestToken: string }> = ({ view, requestToken }) => (
  <>
    <input type="hidden" name="request_token" value={requestToken} />
    <Field
      name="mail_code"
      label={view.texts.links.code}
      class="code"
      inputmode="numeric"
      autocomplete="one-time-code"
      required
    />
  </>
)

export const AgainPasskey: FC<
  { view: View; token: string; to: string; carried: string | undefined } & Again
> = ({ view, token, to, carried, challenge_id, options }) => (
  <PasskeyForm
    view={view}
    token={token}
    action="/signin/again"
    label={view.texts.factors.passkey}
    source={{ options: { challenge_id, options } }}
    fields={{ to, carried }}
  />
)

/** The credential in a passkey form; undefined if it is not JSON. */
export function credentialIn({ credential = '' }: Record<string, string>): unknown {
  try {
    return JSON.parse(credential)
  } catch {
    return undefined
  }
}

/**
 * The form of /signin/again as input for the service: six digits are a code of the authenticator app,
 * anything else is a recovery code.
 */
export function againInput(fields: Record<string, string>): object {
  const { password = '', code = '', challenge_id, credential, mail_code, request_token } = fields
  if (credential) return { challenge_id, credential: credentialIn(fields) }
  const plain = code.replace(/\s/g, '')
  const first =
    mail_code === undefined ? { password } : { mail_code: mail_code.replace(/\s/g, ''), request_token }
  if (plain === '') return first
  return /^\d{6}$/.test(plain) ? { ...first, code: plain } : { ...first, recovery_code: plain }
}
