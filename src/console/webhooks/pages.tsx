import type { FC } from 'hono/jsx'
import type { Action } from '../../activity/models.ts'
import type { List } from '../../http/pagination.ts'
import {
  Ago,
  AsRequest,
  Badge,
  Button,
  Checkbox,
  Field,
  FieldError,
  Form,
  Message,
  Notice,
  Paging,
  type Said,
} from '../../pages/components.tsx'
import { toDuration } from '../../pages/format.ts'
import { ConsolePage, Head, Section } from '../../pages/layout.tsx'
import type { Outcome } from '../../pages/submit.ts'
import type { View } from '../../pages/view.ts'
import { DAY_MS } from '../../values/durations.ts'
import { DELIVERED_KEPT_MS, OWED_MS } from '../../webhooks/models.ts'
import { type Delivery, EVENT_TYPES, type Webhook, type WebhookWithSecret } from '../../webhooks/schemas.ts'
import { Remove, RowsPage } from '../rows.tsx'
import { ReplaceSecret, SecretPage } from '../secret.tsx'
import type { PageProps } from '../today.tsx'

const PATH = '/admin/webhooks'
/** Prefix of the form fields with a checkbox for each event type. */
export const TYPE = 'type.'

/** Host and path, to distinguish webhooks at the same host. */
function nameOf({ url }: Pick<Webhook, 'url'>): string {
  const { host, pathname } = new URL(url)
  const name = pathname === '/' ? host : `${host}${pathname}`
  return name.length > 80 ? `${name.slice(0, 79)}…` : name
}

const State: FC<{ view: View; webhook: Webhook }> = ({ view, webhook: { status } }) =>
  status === 'active' ? null : (
    <Badge tone={status === 'failing' ? 'danger' : 'warn'}>{view.texts.webhooks.badges[status]}</Badge>
  )

export const WebhooksPage: FC<
  PageProps & { list: List<Webhook>; names: Record<string, string>; message?: Said | undefined }
> = ({ list, names, ...props }) => {
  const { view } = props
  const { webhooks } = view.texts
  const rows = list.data.map((webhook) => ({
    href: `${PATH}/${webhook.id}`,
    name: nameOf(webhook),
    title: webhook.url,
    badge: <State view={view} webhook={webhook} />,
    detail: `${webhooks.count(webhook.types.length)} · ${webhooks.madeBy(names[webhook.created_by ?? ''] ?? webhooks.somebodyGone)}`,
  }))
  return <RowsPage {...props} path={PATH} api="/v1/webhooks" texts={webhooks} rows={rows} />
}

/** The heading under which an event type is listed. */
function groupOf(type: string): string {
  const [about = ''] = type.split('.')
  if (/^(users?|email|invitation)$/.test(about)) return 'people'
  if (/^(sessions?|login|password)$/.test(about)) return 'signingIn'
  if (/^(factors?|passkey|recovery_codes?|identity)$/.test(about)) return 'factors'
  if (/^(client|consent|api_key)$/.test(about)) return 'apps'
  return 'roster'
}

/** The address and event types as the form shows them: what was typed, else what is stored. */
const Settings: FC<Pick<Outcome, 'values' | 'errors'> & { view: View; webhook?: Webhook }> = ({
  view,
  webhook,
  values,
  errors = {},
}) => {
  const { webhooks, history } = view.texts
  const isTicked = (type: string) => (values ? `${TYPE}${type}` in values : webhook?.types.includes(type))
  return (
    <>
      <Section title={webhooks.url}>
        <Field
          name="url"
          type="url"
          label={webhooks.url}
          hint={webhooks.urlHint}
          value={values?.url ?? webhook?.url}
          error={errors.url}
          autocomplete="off"
          required
        />
      </Section>
      <Section title={webhooks.types} hint={webhooks.typesHint}>
        <div class="stack">
          {errors.types && <FieldError name="types" error={webhooks.typesNone} />}
          {Object.entries(webhooks.groups).map(([group, title]) => (
            <>
              <h3>{title}</h3>
              <div class="choices">
                {EVENT_TYPES.filter((type) => groupOf(type) === group).map((type) => (
                  <Checkbox name={`${TYPE}${type}`} checked={isTicked(type) ?? false}>
                    {history.names[type as Action]} <span class="soft">{type}</span>
                  </Checkbox>
                ))}
              </div>
            </>
          ))}
        </div>
      </Section>
    </>
  )
}

export const NewWebhookPage: FC<PageProps & Outcome> = ({ view, viewer, message, ...typed }) => {
  const { webhooks } = view.texts
  return (
    <ConsolePage view={view} viewer={viewer} title={webhooks.newTitle} isError={message?.tone === 'danger'}>
      <p class="crumb">
        <a href={PATH}>{webhooks.title}</a>
      </p>
      <Head title={webhooks.newTitle} lead={webhooks.newLead} />
      <Message message={message} />
      <Form action={`${PATH}/new`} token={viewer.formToken} class="sections">
        <Settings view={view} {...typed} />
        <div>
          <Button style="primary">{webhooks.newButton}</Button>
        </div>
      </Form>
      <AsRequest
        view={view}
        method="POST"
        path="/v1/webhooks"
        body={{ url: 'https://hooks.example.com/roster', types: ['user.signed_up', 'user.deleted'] }}
      />
    </ConsolePage>
  )
}

type Shown = PageProps &
  Outcome & {
    webhook: Webhook
    /** The receiver has answered 410: it is gone for good. */
    isGone: boolean
    deliveries: List<Delivery>
    /** Names of the people that the deliveries are about, by id. */
    people: Record<string, string>
  }

export const WebhookPage: FC<Shown> = ({
  view,
  viewer,
  webhook,
  isGone,
  deliveries,
  people,
  message,
  ...typed
}) => {
  const { common, webhooks } = view.texts
  const path = `${PATH}/${webhook.id}`
  const button = (action: string, text: string) => (
    <Form action={`${path}${action}`} token={viewer.formToken}>
      <Button>{text}</Button>
    </Form>
  )
  return (
    <ConsolePage view={view} viewer={viewer} title={nameOf(webhook)} isError={message?.tone === 'danger'}>
      <p class="crumb">
        <a href={PATH}>{webhooks.title}</a>
      </p>
      <Head title={nameOf(webhook)} lead={<State view={view} webhook={webhook} />}>
        {button('/test', webhooks.test)}
        {webhook.status !== 'active' && button('', webhooks.wake)}
      </Head>
      <Message message={message} />
      {webhook.status !== 'active' && (
        <Notice tone="warn" title={webhooks.badges[webhook.status]!}>
          <p>
            {webhook.status === 'failing'
              ? webhooks.failing
              : (isGone ? webhooks.gone : webhooks.resting)(toDuration(view, OWED_MS))}
          </p>
        </Notice>
      )}
      <Deliveries {...{ view, viewer, webhook, deliveries, people }} />
      <Form action={path} token={viewer.formToken} class="sections">
        <Settings view={view} webhook={webhook} {...typed} />
        <div>
          <Button style="primary">{common.save}</Button>
        </div>
      </Form>
      <div class="sections">
        <ReplaceSecret {...{ view, viewer, path }} texts={webhooks.secret} />
        <Remove {...{ viewer, path }} texts={webhooks.remove} />
      </div>
      <AsRequest
        view={view}
        calls={[
          { method: 'PATCH', path: `/v1/webhooks/${webhook.id}`, body: { types: webhook.types } },
          { method: 'POST', path: `/v1/webhooks/${webhook.id}/test` },
          {
            method: 'POST',
            path: `/v1/webhooks/${webhook.id}/secret`,
            body: { keep_former_seconds: DAY_MS / 1000 },
          },
          { method: 'GET', path: `/v1/webhooks/${webhook.id}/deliveries` },
          { method: 'DELETE', path: `/v1/webhooks/${webhook.id}` },
        ]}
      />
    </ConsolePage>
  )
}

/** The separator stays with the text before it, so that no line begins with a dot. */
const DOT = '\u00a0· '
const TONES = { waiting: 'info', delivered: undefined, gave_up: 'danger' } as const

const Deliveries: FC<PageProps & Pick<Shown, 'webhook' | 'deliveries' | 'people'>> = ({
  view,
  viewer,
  webhook,
  people,
  deliveries: { data, pagination },
}) => {
  const { webhooks, history } = view.texts
  const { deliveries: texts } = webhooks
  const path = `${PATH}/${webhook.id}`
  const at = ({ cursor }: { cursor?: string }) =>
    `${path}${cursor ? `?${new URLSearchParams({ cursor })}` : ''}#deliveries`
  return (
    <section class="stack" id="deliveries">
      <h2>{texts.section}</h2>
      {data.length === 0 ? (
        <p class="soft">{texts.none}</p>
      ) : (
        <p class="soft">{texts.hint(toDuration(view, DELIVERED_KEPT_MS))}</p>
      )}
      <div class="rows">
        {data.map((delivery) => (
          <div class="row">
            <div class="what">
              <span class="title">
                {history.names[delivery.type as Action]}{' '}
                {TONES[delivery.status] && (
                  <Badge tone={TONES[delivery.status]!}>{texts.states[delivery.status]}</Badge>
                )}
              </span>
              <span class="detail">
                {delivery.user_id && people[delivery.user_id] && (
                  <>
                    <a class="cut" href={`/admin/people/${delivery.user_id}`}>
                      <bdi>{people[delivery.user_id]}</bdi>
                    </a>
                    {DOT}
                  </>
                )}
                {texts.number(delivery.sequence)}
                {DOT}
                <Ago view={view} at={Date.parse(delivery.owed_at)} />
                {delivery.attempts > 0 && `${DOT}${texts.tries(delivery.attempts)}`}
                {delivery.last_attempt_at !== null &&
                  `${DOT}${delivery.last_status === null ? texts.noAnswer : texts.answered(delivery.last_status)}`}
                {delivery.out_of_order && `${DOT}${texts.outOfOrder}`}
              </span>
            </div>
            <Form action={`${path}/retry`} token={viewer.formToken}>
              <input type="hidden" name="sequence" value={String(delivery.sequence)} />
              <Button aria-label={`${texts.again}: ${texts.number(delivery.sequence)}`}>{texts.again}</Button>
            </Form>
          </div>
        ))}
      </div>
      {(pagination.next_cursor || pagination.prev_cursor) && (
        <Paging view={view} pages={pagination} at={at} />
      )}
    </section>
  )
}

export const WebhookSecretPage: FC<PageProps & { webhook: WebhookWithSecret }> = ({ webhook, ...props }) => {
  const { secret, title } = props.view.texts.webhooks
  return (
    <SecretPage
      {...props}
      title={secret.title(nameOf(webhook))}
      list={{ path: PATH, title }}
      path={`${PATH}/${webhook.id}`}
      texts={secret}
      values={[[secret.label, webhook.secret]]}
    />
  )
}
