import type { FC } from 'hono/jsx'
import type { List } from '../../http/pagination.ts'
import type { Client, ClientWithSecret } from '../../oauth/clients/schemas.ts'
import type { OwedLogout } from '../../oauth/logouts/owed.ts'
import {
  Ago,
  AsRequest,
  Badge,
  Button,
  Copy,
  Day,
  Form,
  Message,
  type Said,
} from '../../pages/components.tsx'
import { ConsolePage, Head, Section } from '../../pages/layout.tsx'
import type { Outcome } from '../../pages/submit.ts'
import type { View } from '../../pages/view.ts'
import { DAY_MS } from '../../values/durations.ts'
import { Remove, RowsPage } from '../rows.tsx'
import { ReplaceSecret, SecretPage } from '../secret.tsx'
import type { PageProps } from '../today.tsx'
import { Access, Audience, Details, More } from './fields.tsx'
import { KINDS, type Kind, kindOf } from './input.ts'

const PATH = '/admin/apps'

type Names = Record<string, string>

const makerOf = ({ clients }: View['texts'], { created_by: id }: Client, names: Names) =>
  id === null ? clients.madeByScript : clients.madeBy(names[id] ?? clients.somebodyGone)

const LastUsed: FC<{ view: View; app: Client }> = ({ view, app: { last_used_at: at } }) =>
  at === null ? (
    <>{view.texts.clients.neverUsed}</>
  ) : (
    <>
      {view.texts.clients.lastUsed} <Ago view={view} at={Date.parse(at)} />
    </>
  )

export const AppsPage: FC<PageProps & { list: List<Client>; names: Names; message?: Said | undefined }> = ({
  list,
  names,
  ...props
}) => {
  const { view } = props
  const { clients } = view.texts
  const rows = list.data.map((app) => ({
    href: `${PATH}/${app.client_id}`,
    name: app.name,
    title: app.name,
    detail: (
      <>
        {clients.kinds[kindOf(app)]} · <LastUsed view={view} app={app} /> · {makerOf(view.texts, app, names)}
      </>
    ),
  }))
  return (
    <RowsPage
      {...props}
      path={PATH}
      api="/v1/oauth_clients"
      texts={clients}
      rows={rows}
      pages={list.pagination}
    />
  )
}

export const NewAppPage: FC<PageProps & Outcome & { kind: Kind }> = ({
  view,
  viewer,
  kind,
  message,
  ...typed
}) => {
  const { clients } = view.texts
  const settings = { view, kind, ...typed }
  const example =
    kind === 'service'
      ? { grants: ['client_credentials'], scopes: ['users:read'] }
      : { redirect_uris: ['https://wiki.example.com/callback'] }
  return (
    <ConsolePage view={view} viewer={viewer} title={clients.newTitle} isError={message?.tone === 'danger'}>
      <p class="crumb">
        <a href={PATH}>{clients.title}</a>
      </p>
      <Head title={clients.newTitle} {...(kind !== 'public' && { lead: clients.newLead })} />
      <Message message={message} />
      <nav class="tabs" aria-label={clients.kind}>
        {KINDS.map((one) => (
          <a href={`${PATH}/new?kind=${one}`} {...(one === kind && { 'aria-current': 'page' })}>
            {clients.kinds[one]}
          </a>
        ))}
      </nav>
      <p class="soft">{clients.kindHints[kind]}</p>
      <Form action={`${PATH}/new`} token={viewer.formToken} class="sections">
        <input type="hidden" name="kind" value={kind} />
        <Details {...settings} />
        <Access {...settings} />
        <Audience {...settings} />
        <More {...settings} />
        <div>
          <Button style="primary">{clients.newButton}</Button>
        </div>
      </Form>
      <AsRequest
        view={view}
        method="POST"
        path="/v1/oauth_clients"
        body={{ name: 'Wiki', type: kind === 'public' ? 'public' : 'confidential', ...example }}
      />
    </ConsolePage>
  )
}

export interface ShownApp {
  app: Client
  names: Names
  isAnsweredFor: boolean
  /** Sign-outs that the app has not been told of yet: the first of them. */
  owed: OwedLogout[]
}

export const AppPage: FC<PageProps & Outcome & ShownApp> = ({
  view,
  viewer,
  app,
  names,
  isAnsweredFor,
  owed,
  message,
  ...typed
}) => {
  const { common, clients } = view.texts
  const kind = kindOf(app)
  const path = `${PATH}/${app.client_id}`
  const settings = { view, kind, app, ...typed }
  return (
    <ConsolePage view={view} viewer={viewer} title={app.name} isError={message?.tone === 'danger'}>
      <p class="crumb">
        <a href={PATH}>{clients.title}</a>
      </p>
      <div class="head">
        <div class="person-head">
          {app.logo_uri && <img src={app.logo_uri} alt="" width="40" height="40" />}
          <div>
            <h1>
              <bdi class="cut" title={app.name}>
                {app.name}
              </bdi>
            </h1>
            <p>
              {clients.kinds[kind]} · <LastUsed view={view} app={app} />
            </p>
          </div>
        </div>
        <div class="actions">
          {kind === 'service' && !isAnsweredFor && <Badge tone="warn">{clients.attention.ownerBadge}</Badge>}
        </div>
      </div>
      <Message message={message} />
      <div class="sections">
        <Section title={clients.clientId} hint={clients.methods[app.token_endpoint_auth_method]}>
          <Copy view={view}>{app.client_id}</Copy>
          <p class="soft">
            {makerOf(view.texts, app, names)} · <Day view={view} at={Date.parse(app.created_at)} />
          </p>
        </Section>
      </div>
      <Form action={path} token={viewer.formToken} class="sections">
        <input type="hidden" name="seen" value={app.updated_at} />
        <Details {...settings} />
        <Access {...settings} />
        <Audience {...settings} />
        <More {...settings} />
        <div>
          <Button style="primary">{common.save}</Button>
        </div>
      </Form>
      <div class="sections">
        {app.token_endpoint_auth_method.startsWith('client_secret_') && (
          <ReplaceSecret {...{ view, viewer, path }} texts={clients.secret} />
        )}
        {kind === 'service' && <Owner {...{ view, viewer, app, names, isAnsweredFor }} />}
        {app.backchannel_logout_uri !== null && <Logouts {...{ view, viewer, app, owed }} />}
        <Remove
          {...{ viewer, path }}
          texts={{ ...clients.remove, button: clients.remove.button(app.name) }}
        />
      </div>
      <AsRequest
        view={view}
        calls={[
          { method: 'PATCH', path: `/v1/oauth_clients/${app.client_id}`, body: { name: app.name } },
          {
            method: 'POST',
            path: `/v1/oauth_clients/${app.client_id}/secret`,
            body: { keep_former_seconds: DAY_MS / 1000 },
          },
          { method: 'DELETE', path: `/v1/oauth_clients/${app.client_id}` },
        ]}
      />
    </ConsolePage>
  )
}

/** Sign-outs that could not be delivered to the app's back-channel address. */
const Logouts: FC<PageProps & Pick<ShownApp, 'app' | 'owed'>> = ({ view, viewer, app, owed }) => {
  const { logouts } = view.texts.clients
  return (
    <Section title={logouts.section} hint={logouts.hint} id="logouts">
      {owed.length === 0 ? (
        <p class="soft">{logouts.none}</p>
      ) : (
        <div class="stack">
          <div class="rows">
            {owed.map(({ user_id, owed_at, attempts, answer }) => (
              <div class="row">
                <div class="what">
                  <span class="title">
                    <a href={`/admin/people/${user_id}`}>{logouts.signedOut}</a>
                  </span>
                  <span class="detail">
                    <Ago view={view} at={Date.parse(owed_at)} /> · {logouts.tried(attempts)}
                    {attempts > 0 && ` · ${answer === null ? logouts.noAnswer : logouts.answered(answer)}`}
                  </span>
                </div>
              </div>
            ))}
          </div>
          <Form action={`${PATH}/${app.client_id}/logouts/retry`} token={viewer.formToken}>
            <Button>{logouts.retry}</Button>
          </Form>
        </div>
      )}
      <AsRequest
        view={view}
        calls={[
          { method: 'GET', path: `/v1/oauth_clients/${app.client_id}/logouts` },
          { method: 'POST', path: `/v1/oauth_clients/${app.client_id}/logouts/retry` },
        ]}
      />
    </Section>
  )
}

const Owner: FC<PageProps & Pick<ShownApp, 'app' | 'names' | 'isAnsweredFor'>> = ({
  view,
  viewer,
  app,
  names,
  isAnsweredFor,
}) => {
  const { owner, somebodyGone } = view.texts.clients
  const isSelf = app.owner_id === viewer.id
  const name = names[app.owner_id ?? ''] ?? somebodyGone
  return (
    <Section title={owner.section}>
      <div class="stack">
        <p>{!isAnsweredFor ? owner.nobody : isSelf ? owner.you : owner.is(name)}</p>
        {!isSelf && (
          <Form action={`${PATH}/${app.client_id}/take_over`} token={viewer.formToken}>
            <Button>{owner.button}</Button>
          </Form>
        )}
      </div>
    </Section>
  )
}

export const AppSecretPage: FC<PageProps & { app: ClientWithSecret }> = ({ app, ...props }) => {
  const { clients } = props.view.texts
  return (
    <SecretPage
      {...props}
      title={clients.secret.title(app.name)}
      list={{ path: PATH, title: clients.title }}
      path={`${PATH}/${app.client_id}`}
      texts={clients.secret}
      values={[
        [clients.clientId, app.client_id],
        [clients.secret.label, app.client_secret],
      ]}
    />
  )
}
