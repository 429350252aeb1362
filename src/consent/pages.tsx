import type { FC } from 'hono/jsx'
import { type Asked, shownOf } from '../oauth/authorize.ts'
import type { LogoutQuestion } from '../oauth/logouts/logout.ts'
import { isTrustworthy } from '../oauth/redirects.ts'
import { Button, Form, Notice } from '../pages/components.tsx'
import { NarrowPage } from '../pages/layout.tsx'
import type { View } from '../pages/view.ts'
import { ScopeList } from './scope-list.tsx'

interface Question {
  view: View
  token: string
  asked: Asked
  /** The request, to continue with. */
  back: string
}

/** What an app asks for, and where the browser goes next. Both buttons are equally wide. */
export const ConsentPage: FC<Question> = ({ view, token, asked, back }) => {
  const { consent } = view.texts.apps
  const { client, request, scopes, user, document } = asked
  const { host, origin } = new URL(request.redirectUri)
  const isUntrusted = !isTrustworthy(request.redirectUri)
  return (
    <NarrowPage view={view} title={consent.title(client.name)}>
      <div class="stack">
        {client.logo_uri && <img src={client.logo_uri} alt="" width="40" height="40" />}
        <h1>{consent.title(client.name)}</h1>
        <p class="soft">
          {consent.as(user.email)}{' '}
          <a href={`/signin?${new URLSearchParams({ to: back })}`}>{consent.notYou}</a>
        </p>
      </div>
      {document !== undefined ? (
        <Notice tone="warn" title={consent.unknown}>
          <p>{consent.unknownHint(new URL(client.id).host, origin === 'null' ? undefined : host)}</p>
          {isUntrusted && <p>{consent.untrusted}</p>}
        </Notice>
      ) : (
        isUntrusted && <Notice tone="warn" title={consent.untrusted} />
      )}
      <ScopeList view={view} scopes={scopes} resource={request.resource} />
      <Form action={back.replace('/oauth/authorize?', '/consent?')} token={token}>
        <input type="hidden" name="shown" value={shownOf(asked)} />
        <Button style="primary" wide name="decision" value="allow">
          {consent.allow}
        </Button>
        <Button wide name="decision" value="deny">
          {consent.deny}
        </Button>
      </Form>
      <p class="hint">{origin === 'null' ? consent.goesBack : consent.goesTo(host)}</p>
    </NarrowPage>
  )
}

/** Nobody may authorize an app in the name of an address that may be somebody else's. */
export const UnverifiedPage: FC<Question> = ({ view, token, asked, back }) => {
  const { unverified } = view.texts.apps
  return (
    <NarrowPage view={view} title={unverified.title}>
      <div class="stack">
        <h1>{unverified.title}</h1>
        <p class="soft">{unverified.lead(asked.user.email, asked.client.name)}</p>
      </div>
      <div class="stack">
        <a class="button primary wide" href={back}>
          {unverified.goOn}
        </a>
        <Form action="/account/verification" token={token}>
          <Button wide>{unverified.again}</Button>
        </Form>
      </div>
    </NarrowPage>
  )
}

/** Shown if an app sends the browser here to sign out and names no user, or another one. */
export const SignOutPage: FC<{
  view: View
  token: string
  question: LogoutQuestion
  /** Where the browser goes afterwards, sealed. */
  place: string | undefined
}> = ({ view, token, question, place }) => {
  const { consent, logout } = view.texts.apps
  const { user, app } = question
  return (
    <NarrowPage view={view} title={logout.title}>
      <div class="stack">
        <h1>{logout.title}</h1>
        <p class="soft">{consent.as(user.email)}</p>
        <p>
          {app !== undefined && `${logout.asks(app)} `}
          {logout.lead}
        </p>
      </div>
      <Form action="/signout" token={token}>
        {place !== undefined && <input type="hidden" name="place" value={place} />}
        <Button style="primary" wide>
          {view.texts.common.signOut}
        </Button>
        <a class="button wide" href="/">
          {logout.stay}
        </a>
      </Form>
    </NarrowPage>
  )
}

/** `response_mode=form_post`: a button, pressed by a script if scripts run. */
export const FormPostPage: FC<{ view: View; action: string; params: Record<string, string> }> = ({
  view,
  action,
  params,
}) => {
  const { sent } = view.texts.apps
  return (
    <NarrowPage view={view} title={sent.title}>
      <div class="stack">
        <h1>{sent.title}</h1>
        <p class="soft">{sent.lead}</p>
      </div>
      <form method="post" action={action} class="stack" data-submits="">
        {Object.entries(params).map(([name, value]) => (
          <input type="hidden" name={name} value={value} />
        ))}
        <Button style="primary" wide>
          {sent.button}
        </Button>
      </form>
    </NarrowPage>
  )
}
