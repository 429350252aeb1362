import type { FC } from 'hono/jsx'
import { isPermission } from '../../access/permissions.ts'
import type { Client } from '../../oauth/clients/schemas.ts'
import { ID_TOKEN_ALGORITHMS } from '../../oauth/models.ts'
import { SCOPES } from '../../oauth/scopes.ts'
import { Checkbox, Field, FieldError, Select } from '../../pages/components.tsx'
import { Section } from '../../pages/layout.tsx'
import type { Outcome } from '../../pages/submit.ts'
import type { View } from '../../pages/view.ts'
import { ROLES } from '../../users/models.ts'
import { Lines } from '../fields.tsx'
import type { Kind } from './input.ts'

/**
 * An app's settings as the form shows them: what was typed, else the stored value, else the default of a new
 * app.
 */
interface Settings extends Pick<Outcome, 'values' | 'errors'> {
  view: View
  kind: Kind
  /** Undefined for a new one. */
  app?: Client
}

/** Whether a box is ticked: as submitted, else as stored. */
const isTicked = (values: Settings['values'], name: string, isSo: boolean) => (values ? name in values : isSo)

export const Details: FC<Settings> = ({ view, kind, app, values, errors = {} }) => {
  const { common, clients } = view.texts
  return (
    <Section title={clients.details}>
      <div class="stack">
        <Field
          name="name"
          label={common.name}
          value={values?.name ?? app?.name}
          error={errors.name}
          {...(kind !== 'service' && { hint: clients.nameHint })}
          autocomplete="off"
          required
        />
        {kind !== 'service' && (
          <>
            <Lines
              name="redirect_uris"
              rows={3}
              label={clients.redirectUris}
              hint={kind === 'public' ? clients.redirectUrisPublicHint : clients.redirectUrisHint}
              value={values?.redirect_uris ?? app?.redirect_uris.join('\n') ?? ''}
              error={errors.redirect_uris}
            />
            <Lines
              name="post_logout_redirect_uris"
              rows={3}
              label={clients.logoutUris}
              value={values?.post_logout_redirect_uris ?? app?.post_logout_redirect_uris.join('\n') ?? ''}
              error={errors.post_logout_redirect_uris}
            />
            <Field
              name="backchannel_logout_uri"
              label={clients.toldAt}
              hint={clients.toldAtHint}
              value={values?.backchannel_logout_uri ?? app?.backchannel_logout_uri ?? ''}
              error={errors.backchannel_logout_uri}
            />
          </>
        )}
      </div>
    </Section>
  )
}

const PRESET = ['openid', 'profile', 'email']

export const Access: FC<Settings> = ({ view, kind, app, values, errors = {} }) => {
  const { apps, clients } = view.texts
  const has = app?.scopes ?? (kind === 'service' ? [] : PRESET)
  const box = (scope: string) => (
    <Checkbox name={`scope.${scope}`} checked={isTicked(values, `scope.${scope}`, has.includes(scope))}>
      {apps.scopes[scope] ?? scope} <code class="soft">{scope}</code>
    </Checkbox>
  )
  const permissions = SCOPES.filter(isPermission)
  const isOpen = [...Object.keys(values ?? {}).map((name) => name.slice('scope.'.length)), ...has].some(
    (scope) => isPermission(scope),
  )
  if (kind === 'service')
    return (
      <Section title={clients.ofService} hint={clients.ofServiceHint}>
        {permissions.map(box)}
        {errors.scopes && <FieldError name="scopes" error={errors.scopes} />}
      </Section>
    )
  return (
    <Section title={clients.access} hint={clients.accessHint}>
      {SCOPES.filter((scope) => !isPermission(scope)).map(box)}
      <details class="fold" open={isOpen}>
        <summary>{clients.permissions}</summary>
        <p class="hint">{clients.permissionsHint}</p>
        <div>{permissions.map(box)}</div>
      </details>
      {errors.scopes && <FieldError name="scopes" error={errors.scopes} />}
    </Section>
  )
}

export const Audience: FC<Settings> = ({ view, kind, app, values, errors = {} }) => {
  const { common, clients } = view.texts
  if (kind === 'service') return null
  return (
    <Section title={clients.audience}>
      {ROLES.map((role) => (
        <Checkbox
          name={`role.${role}`}
          checked={isTicked(values, `role.${role}`, app?.allowed_roles?.includes(role) ?? true)}
        >
          {common.roles[role]}
        </Checkbox>
      ))}
      {errors.allowed_roles && <FieldError name="allowed_roles" error={errors.allowed_roles} />}
      <Checkbox name="first_party" checked={isTicked(values, 'first_party', app?.first_party ?? false)}>
        {clients.firstParty}
      </Checkbox>
    </Section>
  )
}

/** Settings that most apps do not need. */
export const More: FC<Settings> = ({ view, kind, app, values, errors = {} }) => {
  const { clients } = view.texts
  const { none: _, ...methods } = clients.methods
  const mayHaveKeys = kind !== 'public' && (!app || app.token_endpoint_auth_method === 'private_key_jwt')
  const isOpen = ['jwks', 'logo_uri', 'token_endpoint_auth_method', 'resources'].some(
    (name) => name in errors,
  )
  return (
    <Section title={clients.more}>
      <details class="fold" open={isOpen || app?.token_endpoint_auth_method === 'private_key_jwt'}>
        <summary>{clients.more}</summary>
        <div class="stack">
          {kind !== 'public' && !app && (
            <Select
              name="token_endpoint_auth_method"
              label={clients.proof}
              value={values?.token_endpoint_auth_method ?? 'client_secret_basic'}
              options={Object.entries(methods) as [string, string][]}
            />
          )}
          {mayHaveKeys && (
            <Lines
              name="jwks"
              label={clients.jwks}
              hint={clients.jwksHint}
              value={values?.jwks ?? (app?.jwks ? JSON.stringify(app.jwks, null, 2) : '')}
              error={errors.jwks ?? errors.token_endpoint_auth_method}
            />
          )}
          {kind !== 'public' && (
            <Lines
              name="resources"
              label={clients.resources}
              hint={clients.resourcesHint}
              value={
                values?.resources ??
                app?.resources.map(({ url, scopes }) => [url, ...scopes].join(' ')).join('\n') ??
                ''
              }
              error={errors.resources}
            />
          )}
          {kind !== 'service' && (
            <>
              <Field
                name="logo_uri"
                label={clients.logo}
                value={values?.logo_uri ?? app?.logo_uri ?? ''}
                hint={clients.logoHint}
                error={errors.logo_uri}
                autocomplete="off"
              />
              <Select
                name="id_token_signed_response_alg"
                label={clients.algorithm}
                value={values?.id_token_signed_response_alg ?? app?.id_token_signed_response_alg}
                options={ID_TOKEN_ALGORITHMS.map((name) => [name, name])}
              />
            </>
          )}
          {kind === 'web' && (
            <Checkbox
              name="without_pkce"
              checked={isTicked(values, 'without_pkce', app ? !app.require_pkce : false)}
            >
              {clients.withoutPkce}
            </Checkbox>
          )}
        </div>
      </details>
    </Section>
  )
}
