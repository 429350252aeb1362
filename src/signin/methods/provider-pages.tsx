import type { Child, FC } from 'hono/jsx'
import type { IdentityProvider } from '../../config/providers.ts'
import { Button, Form, Message } from '../../pages/components.tsx'
import { NarrowPage } from '../../pages/layout.tsx'
import type { View } from '../../pages/view.ts'
import type { FormPage } from '../pages.tsx'
import { ProviderMark } from './provider-buttons.tsx'

/**
 * For somebody who was sent here from elsewhere, or is about to connect an account: nothing happens until
 * they press the button.
 */
export const GoOnPage: FC<{
  view: View
  provider: IdentityProvider
  place: string
  /** The address of the account to connect to. */
  account?: string | undefined
  /** They have pressed it already, so the page continues by itself. */
  isPressed?: boolean
  back?: string
}> = ({ view, provider, place, account, isPressed, back = '/signin' }) => {
  const { signin } = view.texts
  const title = account ? signin.provider.connect(provider.name) : signin.title
  return (
    <NarrowPage
      view={view}
      title={title}
      below={<a href={back}>{account ? signin.provider.notNow : signin.forgotten.back}</a>}
    >
      <div class="stack">
        <h1>{title}</h1>
        <p class="soft">
          {account ? signin.provider.connects(account) : signin.provider.leads(view.organisation)}
        </p>
      </div>
      {isPressed && <meta http-equiv="refresh" content={`0;url=${place}`} />}
      <a class="button wide provider" href={place} rel="nofollow">
        <ProviderMark kind={provider.kind} />
        {signin.provider.button(provider.name)}
      </a>
    </NarrowPage>
  )
}

/** Why it came to nothing. Somebody who is signed in was connecting a provider, or confirming who they are. */
export const ProviderSaysPage: FC<{ view: View; title: string; text?: Child; isSignedIn: boolean }> = ({
  view,
  title,
  text,
  isSignedIn,
}) => {
  const { provider, forgotten } = view.texts.signin
  const [place, label] = isSignedIn ? ['/account/security', provider.back] : ['/signin', forgotten.back]
  return (
    <NarrowPage view={view} title={title} isError>
      <h1 class="visually-hidden">{title}</h1>
      <Message message={{ tone: 'danger', title, text }} />
      <a class="button primary wide" href={place}>
        {label}
      </a>
    </NarrowPage>
  )
}

/** For a browser that does not have the session to whose account the provider was connected. */
export const ConnectedPage: FC<{ view: View; provider: IdentityProvider }> = ({ view, provider }) => {
  const [title, text] = view.texts.signin.provider.connected(provider.name)
  return (
    <NarrowPage view={view} title={title!}>
      <h1 class="visually-hidden">{title}</h1>
      <Message message={{ title: title!, text }} />
    </NarrowPage>
  )
}

/** Connects the provider's identity to the account that its user has just signed in to. */
export const ConnectPage: FC<FormPage & { provider: IdentityProvider; called: string; to: string }> = ({
  view,
  token,
  message,
  provider,
  called,
  to,
}) => {
  const { provider: texts } = view.texts.signin
  return (
    <NarrowPage
      view={view}
      title={texts.connect(provider.name)}
      isError={message?.tone === 'danger'}
      below={<a href={to}>{texts.notNow}</a>}
    >
      <div class="stack">
        <h1>{texts.connect(provider.name)}</h1>
        <p class="soft">{texts.connectsCalled(provider.name, called)}</p>
      </div>
      <Message message={message} />
      <Form action={`/signin/with/${provider.id}/link`} token={token}>
        <Button style="primary" wide>
          {texts.connectButton}
        </Button>
      </Form>
    </NarrowPage>
  )
}
