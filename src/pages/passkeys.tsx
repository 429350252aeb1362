import type { Child, FC } from 'hono/jsx'
import { Icon } from './components.tsx'
import type { View } from './view.ts'

/** What a passkey is asked for: the options themselves, or where the script gets them. */
export type PasskeySource =
  | { options: { challenge_id: string; options: object } }
  | { url: string; body?: object }

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
