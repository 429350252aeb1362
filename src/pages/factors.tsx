import type { Child, FC } from 'hono/jsx'
import { Button, Day, Form, Icon } from './components.tsx'
import type { View } from './view.ts'

/** What a passkey is asked for: the options themselves, or where the script gets them. */
export type PasskeySource =
  | { options: { challenge_id: string; options: object } }
  | { url: string; body?: object }

/** What the authenticator is told is left. */
export interface Known {
  rpId: string
  userId: string
  allAcceptedCredentialIds: string[]
}

/**
 * Has the script tell the authenticator which passkeys are left (Signal API), so that one that was removed elsewhere is
 * not offered for ever: on the pages that one comes to by signing in.
 */
export const KnownPasskeys: FC<{ known: Known }> = ({ known }) =>
  known.allAcceptedCredentialIds.length === 0 ? null : (
    <div hidden data-passkeys-known={JSON.stringify(known)}>
      <script src="/passkeys.js" type="module" />
    </div>
  )

/**
 * A form whose button has the browser ask for a passkey, and then goes. `passkeys.js` does it; without a script it is not
 * there. `mode`: `get` uses one, `create` makes one.
 */
export const PasskeyForm: FC<{
  view: View
  token: string
  action: string
  source: PasskeySource
  mode?: 'get' | 'create'
  label: string
  /** Offered in the autofill of the field with `webauthn`, too. */
  isConditional?: boolean
  fields?: Record<string, string | undefined>
  children?: Child
  style?: string
}> = ({
  token,
  action,
  source,
  mode = 'get',
  label,
  isConditional,
  fields = {},
  children,
  style = 'button wide',
}) => (
  <form
    method="post"
    action={action}
    class="stack needs-script"
    data-passkey={mode}
    {...('url' in source
      ? { 'data-url': source.url, ...(source.body && { 'data-body': JSON.stringify(source.body) }) }
      : { 'data-given': JSON.stringify(source.options) })}
    {...(isConditional && { 'data-conditional': 'yes' })}
  >
    <input type="hidden" name="form_token" value={token} />
    <input type="hidden" name="challenge_id" value="" />
    <input type="hidden" name="credential" value="" />
    {Object.entries(fields).map(([name, value]) =>
      value === undefined ? null : <input type="hidden" name={name} value={value} />,
    )}
    {children}
    <button type="submit" class={style}>
      <Icon name="key" />
      {label}
    </button>
    <script src="/passkeys.js" type="module" />
  </form>
)

/** Recovery codes, which are shown once. `token` is of the form that gives them as a file; `href` is where it goes on. */
export const RecoveryCodes: FC<{
  view: View
  codes: readonly string[]
  email: string
  token: string
  href: string
}> = ({ view, codes, email, token, href }) => {
  const { factors: texts } = view.texts
  return (
    <>
      <p>{texts.onlyTime}</p>
      <ol class="codes">
        {codes.map((code) => (
          <li>
            <code>{code}</code>
          </li>
        ))}
      </ol>
      <p class="soft">
        {view.organisation} · {email} · <Day view={view} at={view.now} />
      </p>
      <Form action="/account/security/recovery_codes/download" token={token} class="actions">
        <input type="hidden" name="codes" value={codes.join('\n')} />
        <Button>{texts.download}</Button>
        <span class="soft small">{texts.orPrint}</span>
      </Form>
      <a class="button primary" href={href}>
        {texts.savedThem}
      </a>
    </>
  )
}
