import type { FC } from 'hono/jsx'
import { hasPermission, KEY_PERMISSIONS } from '../access/permissions.ts'
import type { ApiKey, ApiKeyWithSecret } from '../api-keys/schemas.ts'
import {
  Ago,
  AsRequest,
  Badge,
  Button,
  Checkbox,
  Copy,
  Day,
  Field,
  Fold,
  Form,
  Icon,
  Message,
  Notice,
  Select,
} from '../pages/components.tsx'
import { AccountPage, Head, Section } from '../pages/layout.tsx'
import type { PageProps } from './pages.tsx'

const PATH = '/account/apps/keys'
/** Form field prefix for each permission of the key. */
export const MAY = 'may.'
/** Lifetimes to choose from, in days. Any other value means that the key never expires. */
const DAYS = [30, 90, 365]

/** The section on API keys, on the page of apps. */
export const KeysSection: FC<PageProps & { keys: ApiKey[] }> = ({ view, viewer, keys }) => {
  const { keys: texts } = view.texts
  return (
    <Section title={texts.title} hint={texts.hint} id="keys">
      {keys.length === 0 && <p class="soft">{texts.none}</p>}
      {keys.map((key) => (
        <KeyRow view={view} viewer={viewer} apiKey={key} />
      ))}
      <div class="actions">
        <a class="button" href={`${PATH}/new`}>
          {texts.add}
        </a>
      </div>
      <AsRequest view={view} method="GET" path="/v1/api_keys" />
    </Section>
  )
}

const KeyRow: FC<PageProps & { apiKey: ApiKey }> = ({ view, viewer, apiKey }) => {
  const { keys: texts, apps } = view.texts
  const { id, name, permissions, expires_at, created_at, rotated_at, former_until, last_used_at } = apiKey
  const isOver = expires_at !== null && Date.parse(expires_at) <= view.now
  return (
    <div class="row">
      <Icon name="key" />
      <div class="what">
        <span class="title">
          <bdi class="cut" title={name}>
            {name}
          </bdi>
          {isOver && <Badge tone="warn">{texts.expired}</Badge>}
        </span>
        <span class="detail">
          {texts.made} <Day view={view} at={Date.parse(created_at)} />
          {rotated_at !== created_at && (
            <>
              {`, ${texts.renewed} `}
              <Day view={view} at={Date.parse(rotated_at)} />
            </>
          )}
          {' · '}
          {last_used_at === null ? (
            texts.neverUsed
          ) : (
            <>
              {texts.lastUsed} <Ago view={view} at={Date.parse(last_used_at)} />
            </>
          )}
          {expires_at !== null && !isOver && (
            <>
              {` · ${texts.until} `}
              <Day view={view} at={Date.parse(expires_at)} />
            </>
          )}
          {former_until !== null && (
            <>
              {` · ${texts.former} `}
              <Day view={view} at={Date.parse(former_until)} />
            </>
          )}
        </span>
        {permissions.length === 0 ? (
          <p class="detail">{texts.mayNothing}</p>
        ) : (
          <ul class="bullets small">
            {permissions.map((permission) => (
              <li>{apps.scopes[permission] ?? permission}</li>
            ))}
          </ul>
        )}
        <div class="folds">
          {!isOver && (
            <Fold summary={texts.rotate}>
              <Form action={`${PATH}/${id}/rotate`} token={viewer.formToken}>
                <p class="soft">{texts.rotateHint}</p>
                <Button>{texts.rotateButton}</Button>
              </Form>
            </Fold>
          )}
          <Fold summary={texts.revoke}>
            <Form action={`${PATH}/${id}/revoke`} token={viewer.formToken}>
              <p class="soft">{texts.revokeHint}</p>
              <Button style="destroy">{texts.revokeButton(name)}</Button>
            </Form>
          </Fold>
        </div>
        <AsRequest
          view={view}
          calls={[
            { method: 'POST', path: `/v1/api_keys/${id}/rotate` },
            { method: 'DELETE', path: `/v1/api_keys/${id}` },
          ]}
        />
      </div>
    </div>
  )
}

export const NewKeyPage: FC<PageProps> = ({ view, viewer, message, values = {}, errors = {} }) => {
  const { common, keys: texts, apps } = view.texts
  // Nobody can give a key a permission that they lack.
  const permissions = KEY_PERMISSIONS.filter((permission) => hasPermission(viewer.role, permission))
  return (
    <AccountPage view={view} viewer={viewer} title={texts.add} isError={message?.tone === 'danger'}>
      <Head title={texts.add} lead={texts.lead} />
      <Message message={message} />
      <Form action={`${PATH}/new`} token={viewer.formToken}>
        <Field
          name="name"
          label={texts.name}
          hint={texts.nameHint}
          value={values.name}
          error={errors.name}
          required
        />
        {permissions.length > 0 && (
          <fieldset>
            <legend>{texts.may}</legend>
            {permissions.map((permission) => (
              <Checkbox name={`${MAY}${permission}`} checked={values[`${MAY}${permission}`] === 'on'}>
                {apps.scopes[permission] ?? permission}
              </Checkbox>
            ))}
          </fieldset>
        )}
        <Select
          name="days"
          label={texts.lasts}
          value={values.days ?? '90'}
          options={[
            ...DAYS.map((days): [string, string] => [String(days), texts.days(days)]),
            ['', texts.forGood],
          ]}
        />
        <div class="actions">
          <Button style="primary">{texts.add}</Button>
          <a class="button quiet" href="/account/apps#keys">
            {common.cancel}
          </a>
        </div>
      </Form>
      <AsRequest
        view={view}
        method="POST"
        path="/v1/api_keys"
        body={{ name: values.name ?? 'Report', permissions: permissions.slice(0, 1), expires_at: null }}
      />
    </AccountPage>
  )
}

/** The only time that a key is shown. */
export const KeyPage: FC<PageProps & { apiKey: ApiKeyWithSecret }> = ({ view, viewer, apiKey }) => {
  const { keys: texts } = view.texts
  const title = texts.yours(apiKey.name)
  return (
    <AccountPage view={view} viewer={viewer} title={title}>
      <Head title={title} />
      <Notice tone="warn" title={texts.onlyTime}>
        <p>{texts.onlyTimeHint}</p>
      </Notice>
      <Copy view={view}>{apiKey.key}</Copy>
      <div class="actions">
        <a class="button primary" href="/account/apps#keys">
          {texts.saved}
        </a>
      </div>
    </AccountPage>
  )
}
