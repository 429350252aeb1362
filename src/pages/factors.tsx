import type { Child, FC } from 'hono/jsx'
import { Button, Day, Form, Icon } from './components.tsx'
import type { View } from './view.ts'

/** The WebAuthn options of a passkey request: the options themselves, or where the script fetches them. */
export type PasskeySource =
  | { options: { challenge_id: string; options: object } }
  | { url: string; body?: object }

/** The list of remaining passkeys for the authenticator. */
export interface Known {
  rpId: string
  userId: string
  allAcceptedCredentialIds: string[]
}

/**
 * Has the script tell the authenticator which passkeys still exist (Signal API), so that one removed
 * elsewhere is not offered for ever. For the pages that follow a sign-in.
 */
export const KnownPasskeys: FC<{ known: Known }> = ({ known }) =>
  known.allAcceptedCredentialIds.length === 0 ? null : (
    <div hidden data-passkeys-known={JSON.stringify(known)}>
      <script src="/passkeys.js" type="module" />
    </div>
  )

/**
 * A form whose button asks the browser for a passkey, and then submits. `passkeys.js` does that; without a
 * script the form is hidden. `mode`: `get` uses a passkey, `create` makes one.
 */
export const PasskeyForm: FC<{
  view: View
  token: string
  action: string
  source: PasskeySource
  mode?: 'get' | 'create'
  label: string
  /** Also offered in the autofill of the field with `webauthn`. */
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

/**
 * Recovery codes, which are shown once. `token` is for the form that downloads them; `href` is where the user
 * continues.
 */
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
