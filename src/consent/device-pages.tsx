import type { FC } from 'hono/jsx'
import type { DeviceQuestion } from '../oauth/device/approval.ts'
import { Button, Field, Form, Message, Notice, type Said } from '../pages/components.tsx'
import { countryOf, toAgo } from '../pages/format.ts'
import { deviceName } from '../pages/history.tsx'
import { NarrowPage } from '../pages/layout.tsx'
import type { View } from '../pages/view.ts'
import type { SignedIn } from '../sessions/cookie-lookup.ts'
import { timeOfId } from '../values/ids.ts'
import { ScopeList } from './scope-list.tsx'

/** The page on which the user types the code that a device shows. */
export const DevicePage: FC<{
  view: View
  token: string
  message: Said | undefined
  code: string | undefined
}> = ({ view, token, message, code }) => {
  const { device } = view.texts.apps
  return (
    <NarrowPage view={view} title={device.title} isError={message?.tone === 'danger'}>
      <div class="stack">
        <h1>{device.title}</h1>
        <p class="soft">{device.lead}</p>
      </div>
      <Message message={message} />
      <Form action="/device" token={token}>
        <Field
          name="code"
          label={device.code}
          hint={device.codeHint}
          value={code}
          autocomplete="off"
          class="code"
          required
          autofocus={!message}
        />
        <Button style="primary" wide>
          {device.button}
        </Button>
      </Form>
    </NarrowPage>
  )
}

/** Names the app and the device, and what the app would be allowed. Both buttons are equally wide. */
export const DeviceQuestionPage: FC<{
  view: View
  token: string
  user: SignedIn
  question: DeviceQuestion
  sealed: string
}> = ({ view, token, user, question, sealed }) => {
  const { apps } = view.texts
  const { consent } = apps
  const { device, client, scopes, resource } = question
  const title = apps.device.asks(client.name)
  const facts = [
    [apps.device.program, deviceName(view, device.user_agent) ?? view.texts.common.unknownDevice],
    [apps.device.place, countryOf(view.language, device.country)],
    [apps.device.network, device.ip],
    [apps.device.began, toAgo(view, timeOfId(device.id), view.texts.common.now)],
  ].filter((fact): fact is [string, string] => Boolean(fact[1]))
  return (
    <NarrowPage view={view} title={title}>
      <div class="stack">
        {client.logo_uri && <img src={client.logo_uri} alt="" width="40" height="40" />}
        <h1>{title}</h1>
        <p class="soft">{consent.as(user.email)}</p>
      </div>
      <Notice tone="warn" title={apps.device.warning}>
        <p>{apps.device.warningHint}</p>
      </Notice>
      <dl class="facts">
        {facts.map(([name, value]) => (
          <div>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
      <ScopeList view={view} scopes={scopes} resource={resource} />
      <Form action="/device" token={token}>
        <input type="hidden" name="device" value={sealed} />
        <input type="hidden" name="shown" value={scopes.join(' ')} />
        <Button style="primary" wide name="decision" value="allow">
          {consent.allow}
        </Button>
        <Button wide name="decision" value="deny">
          {consent.deny}
        </Button>
      </Form>
    </NarrowPage>
  )
}
