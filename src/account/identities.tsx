import type { FC } from 'hono/jsx'
import type { IdentityProvider } from '../config/providers.ts'
import type { Identity } from '../identities/schemas.ts'
import { Ago, AsRequest, Badge, Button, Fold, Form, Icon } from '../pages/components.tsx'
import { Section, type Viewer } from '../pages/layout.tsx'
import type { View } from '../pages/view.ts'

const PATH = '/account/security/identities'

/** The security page's section on the providers that sign this user in. */
export const IdentitySection: FC<{
  view: View
  viewer: Viewer
  identities: readonly Identity[]
  providers: readonly IdentityProvider[]
}> = ({ view, viewer, identities, providers }) => {
  const { identities: texts } = view.texts.account.security
  const left = providers.filter(({ id }) => !identities.some(({ provider }) => provider.id === id))
  if (providers.length === 0 && identities.length === 0) return null
  return (
    <Section title={texts.title} hint={texts.hint} id="identities">
      {identities.length === 0 && <p class="soft">{texts.none}</p>}
      {identities.map(({ id, provider, email, created_at, usable }) => (
        <div class="row">
          <Icon name="key" />
          <div class="what">
            <span class="title">
              <bdi class="cut" title={provider.name}>
                {provider.name}
              </bdi>
              {!usable && <Badge tone="warn">{texts.unusable}</Badge>}
            </span>
            <span class="detail">
              {email && (
                <>
                  <bdi>{email}</bdi>
                  {' · '}
                </>
              )}
              {texts.connected} <Ago view={view} at={Date.parse(created_at)} />
            </span>
            <div class="folds">
              <Fold summary={texts.disconnect}>
                <Form action={`${PATH}/${id}/remove`} token={viewer.formToken}>
                  <p class="soft">{texts.disconnectHint}</p>
                  <Button style="destroy">{texts.disconnectButton(provider.name)}</Button>
                </Form>
              </Fold>
            </div>
          </div>
        </div>
      ))}
      {left.length > 0 && (
        <div class="actions">
          {left.map(({ id, name }) => (
            <Form action={`${PATH}/${id}`} token={viewer.formToken}>
              <Button>{view.texts.signin.provider.connect(name)}</Button>
            </Form>
          ))}
        </div>
      )}
      <AsRequest
        view={view}
        calls={[
          { method: 'GET', path: '/v1/auth/identities' },
          ...left.slice(0, 1).map(({ id }) => ({ method: 'POST', path: `/v1/auth/identities/${id}` })),
          ...identities
            .slice(0, 1)
            .map(({ id }) => ({ method: 'DELETE', path: `/v1/auth/identities/${id}` })),
        ]}
      />
    </Section>
  )
}
