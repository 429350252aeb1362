import type { FC } from 'hono/jsx'
import type { List } from '../../http/pagination.ts'
import type { Client, ClientWithSecret } from '../../oauth/clients/schemas.ts'
import {
  Ago,
  AsRequest,
  Badge,
  Button,
  Copy,
  Day,
  Empty,
  Fold,
  Form,
  Message,
  Notice,
  Paging,
  type Said,
  Select,
} from '../../pages/components.tsx'
import { ConsolePage, Head, Section } from '../../pages/layout.tsx'
import type { Outcome } from '../../pages/submit.ts'
import type { View } from '../../pages/view.ts'
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
  view,
  viewer,
  list,
  names,
  message,
}) => {
  const { clients } = view.texts
  const at = ({ cursor }: { cursor?: string }) =>
    `${PATH}${cursor ? `?${new URLSearchParams({ cursor })}` : ''}`
  return (
    <ConsolePage view={view} viewer={viewer} title={clients.title} isError={message?.tone === 'danger'}>
      <Head title={clients.title} lead={clients.lead}>
        <a class="button primary" href={`${PATH}/new`}>
          {clients.add}
        </a>
      </Head>
      <Message message={message} />
      {list.data.length === 0 ? (
        <Empty title={clients.none}>
          <p>{clients.noneHint}</p>
        </Empty>
      ) : (
        <div class="rows">
          {list.data.map((app) => (
            <div class="row">
              <div class="what">
                <span class="title">
                  <a class="cut" href={`${PATH}/${app.client_id}`} title={app.name}>
                    <bdi>{app.name}</bdi>
                  </a>
                </span>
                <span class="detail">
                  {clients.kinds[kindOf(app)]} · <LastUsed view={view} app={app} /> ·{' '}
                  {makerOf(view.texts, app, names)}
                </span>
              </div>
            </div>
          ))}
        </div>
      )}
      <Paging view={view} pages={list.pagination} at={at} />
      <AsRequest view={view} method="GET" path="/v1/oauth_clients" />
    </ConsolePage>
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
}

export const AppPage: FC<PageProps & Outcome & ShownApp> = ({
  view,
  viewer,
  app,
  names,
  isAnsweredFor,
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
        {app.token_endpoint_auth_method.startsWith('client_secret_') && <Secret {...{ view, viewer, app }} />}
        {kind === 'service' && <Owner {...{ view, viewer, app, names, isAnsweredFor }} />}
        <Section title={clients.remove.section}>
          <Fold summary={clients.remove.fold}>
            <Form action={`${path}/delete`} token={viewer.formToken}>
              <p class="soft">{clients.remove.hint}</p>
              <Button style="destroy">{clients.remove.button(app.name)}</Button>
            </Form>
          </Fold>
        </Section>
      </div>
      <AsRequest
        view={view}
        calls={[
          { method: 'PATCH', path: `/v1/oauth_clients/${app.client_id}`, body: { name: app.name } },
          {
            method: 'POST',
            path: `/v1/oauth_clients/${app.client_id}/secret`,
            body: { keep_former_seconds: 86_400 },
          },
          { method: 'DELETE', path: `/v1/oauth_clients/${app.client_id}` },
        ]}
      />
    </ConsolePage>
  )
}

const Secret: FC<PageProps & { app: Client }> = ({ view, viewer, app }) => {
  const { secret } = view.texts.clients
  return (
    <Section title={secret.section} hint={secret.since} id="secret">
      <Fold summary={secret.replace}>
        <Form action={`${PATH}/${app.client_id}/secret`} token={viewer.formToken}>
          <Select
            name="keep_former_seconds"
            label={secret.former}
            value="86400"
            options={['3600', '86400', '604800', '0'].map((seconds) => [seconds, secret.formers[seconds]!])}
          />
          <Button>{secret.button}</Button>
        </Form>
      </Fold>
    </Section>
  )
}

const Owner: FC<PageProps & ShownApp> = ({ view, viewer, app, names, isAnsweredFor }) => {
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

/** The one time that a secret is shown. */
export const SecretPage: FC<PageProps & { app: ClientWithSecret }> = ({ view, viewer, app }) => {
  const { clients } = view.texts
  const { secret } = clients
  const title = secret.title(app.name)
  return (
    <ConsolePage view={view} viewer={viewer} title={title}>
      <p class="crumb">
        <a href={PATH}>{clients.title}</a>
      </p>
      <Head title={title} />
      <Notice tone="warn" title={secret.onlyTime}>
        <p>{secret.onlyTimeHint}</p>
      </Notice>
      <div class="sections">
        <Section title={clients.clientId}>
          <Copy view={view}>{app.client_id}</Copy>
        </Section>
        <Section title={secret.label}>
          <Copy view={view}>{app.client_secret}</Copy>
        </Section>
      </div>
      <div class="actions">
        <a class="button primary" href={`${PATH}/${app.client_id}`}>
          {secret.saved}
        </a>
      </div>
    </ConsolePage>
  )
}
