import type { FC } from 'hono/jsx'
import type { ApiKey } from '../api-keys/schemas.ts'
import type { Grant } from '../oauth/consents/schemas.ts'
import { isByDocument } from '../oauth/models.ts'
import { AsRequest, Button, Checkbox, Day, Empty, Fold, Form, Message } from '../pages/components.tsx'
import { AccountPage, Head, Section } from '../pages/layout.tsx'
import { KeysSection } from './keys.tsx'
import type { PageProps } from './pages.tsx'

/** Form field prefix for each scope that the app keeps. */
export const KEEP = 'keep.'

/** The apps that the user has granted access, with what each may do; and the user's own API keys. */
export const AppsPage: FC<PageProps & { list: Grant[]; keys: ApiKey[] }> = ({
  view,
  viewer,
  message,
  list,
  keys,
}) => {
  const { own } = view.texts.apps
  return (
    <AccountPage view={view} viewer={viewer} title={own.title}>
      <Head title={own.title} lead={own.lead} />
      <Message message={message} />
      {list.length === 0 && (
        <Empty title={own.none}>
          <p>{own.noneHint}</p>
        </Empty>
      )}
      <div class="sections">
        {list.map((grant) => (
          <App view={view} viewer={viewer} grant={grant} />
        ))}
        <KeysSection view={view} viewer={viewer} keys={keys} />
      </div>
    </AccountPage>
  )
}

const App: FC<PageProps & { grant: Grant }> = ({ view, viewer, grant }) => {
  const { scopes: names, own, at } = view.texts.apps
  const textOf = (scope: string) => {
    const [service, ofService] = scope.split('#')
    return ofService === undefined ? (names[scope] ?? scope) : at(ofService, service!)
  }
  const { id, name, created_at, client_id } = grant
  // In the order of their texts: identity first, then permissions.
  const known = Object.keys(names)
  const scopes = grant.scopes.toSorted((one, other) => known.indexOf(one) - known.indexOf(other))
  const since = (
    <>
      {own.since} <Day view={view} at={Date.parse(created_at)} />
    </>
  )
  return (
    <Section title={name} hint={since}>
      <div class="stack">
        {isByDocument(client_id) && <p class="soft">{own.unknown(new URL(client_id).host)}</p>}
        <div>
          <p class="soft">{own.may}</p>
          <ul class="bullets">
            {scopes.map((scope) => (
              <li>{textOf(scope)}</li>
            ))}
          </ul>
        </div>
        <div class="folds">
          {scopes.length > 1 && (
            <Fold summary={own.change}>
              <Form action="/account/apps/change" token={viewer.formToken}>
                <input type="hidden" name="id" value={id} />
                <div>
                  {scopes.map((scope) => (
                    <Checkbox name={`${KEEP}${scope}`} checked>
                      {textOf(scope)}
                    </Checkbox>
                  ))}
                </div>
                <Button>{own.save}</Button>
              </Form>
            </Fold>
          )}
          <Fold summary={own.stop}>
            <Form action="/account/apps/remove" token={viewer.formToken}>
              <p class="soft">{own.stopHint}</p>
              <Button style="destroy" name="id" value={id}>
                {own.stopButton(name)}
              </Button>
            </Form>
          </Fold>
        </div>
      </div>
      <AsRequest
        view={view}
        calls={[
          { method: 'PATCH', path: `/v1/auth/grants/${id}`, body: { scopes: scopes.slice(0, 1) } },
          { method: 'DELETE', path: `/v1/auth/grants/${id}` },
        ]}
      />
    </Section>
  )
}
