import { raw } from 'hono/html'
import type { Child, FC } from 'hono/jsx'
import { renderSVG } from 'uqr'
import type { Factors, Passkey, TotpSeed } from '../factors/schemas.ts'
import { seedDigest } from '../factors/totp.ts'
import {
  Ago,
  AsRequest,
  Badge,
  Button,
  Copy,
  Day,
  Field,
  Fold,
  Form,
  Icon,
  Message,
  Notice,
} from '../pages/components.tsx'
import { type Known, PasskeyForm, RecoveryCodes } from '../pages/factors.tsx'
import { AccountPage, Head, Section, type Viewer } from '../pages/layout.tsx'
import type { View } from '../pages/view.ts'
import type { PasskeyOptions } from '../passkeys/schemas.ts'
import type { PageProps } from './pages.tsx'

interface Props {
  view: View
  viewer: Viewer
}

const PATH = '/account/security'

/** The security page's sections on passkeys, the authenticator app and recovery codes. */
export const FactorSections: FC<Props & { factors: Factors; known: Known }> = ({
  view,
  viewer,
  factors,
  known,
}) => {
  const { factors: texts } = view.texts
  const { totp, passkeys, recovery_codes_left: left } = factors
  const token = viewer.formToken
  return (
    <>
      <Section title={texts.passkeys} hint={texts.passkeysHint} id="passkeys">
        <div data-passkeys-known={JSON.stringify(known)}>
          {passkeys.length === 0 && <p class="soft">{texts.noPasskeys}</p>}
          {passkeys.map((passkey) => (
            <PasskeyRow view={view} viewer={viewer} passkey={passkey} />
          ))}
        </div>
        <Form action={`${PATH}/passkeys/new`} token={token}>
          <Button>{texts.addPasskey}</Button>
        </Form>
        <AsRequest
          view={view}
          calls={[
            { method: 'POST', path: '/v1/auth/passkeys/options' },
            ...passkeys.slice(0, 1).flatMap(({ id, name }) => [
              { method: 'PATCH', path: `/v1/auth/passkeys/${id}`, body: { name } },
              { method: 'DELETE', path: `/v1/auth/passkeys/${id}` },
            ]),
          ]}
        />
        <script src="/passkeys.js" type="module" />
      </Section>
      <Section title={texts.app} hint={texts.appHint} id="app">
        {totp ? (
          <>
            <p>
              {texts.active} <Day view={view} at={Date.parse(totp.confirmed_at)} />
            </p>
            <Fold summary={texts.remove}>
              <Form action={`${PATH}/totp/remove`} token={token}>
                <Button style="destroy">{texts.removeForGood}</Button>
              </Form>
            </Fold>
          </>
        ) : (
          <Form action={`${PATH}/totp`} token={token}>
            <Button>{texts.setUp}</Button>
          </Form>
        )}
        <AsRequest view={view} method={totp ? 'DELETE' : 'POST'} path="/v1/auth/factors/totp" />
      </Section>
      <Section title={texts.codes} hint={texts.codesHint} id="codes">
        {totp || passkeys.length > 0 ? (
          <>
            <p>{texts.codesLeft(left)}</p>
            <Fold summary={texts.renew}>
              <Form action={`${PATH}/recovery_codes`} token={token}>
                <p class="soft">{texts.renewHint}</p>
                <Button>{texts.renewButton}</Button>
              </Form>
            </Fold>
          </>
        ) : (
          <p class="soft">{texts.noCodes}</p>
        )}
        <AsRequest view={view} method="POST" path="/v1/auth/factors/recovery_codes" />
      </Section>
    </>
  )
}

/** What somebody must do first who needs a factor, or began to add one: add it, or confirm their address. */
export const FirstFactorNotice: FC<Props & { title: string; email: string | undefined }> = ({
  view,
  viewer,
  title,
  email,
}) => {
  const { factors: texts, account } = view.texts
  const token = viewer.formToken
  return (
    <Notice tone="warn" title={title}>
      {email && <p>{texts.confirmFirstHint(email)}</p>}
      <div class="actions">
        {email ? (
          <Form action="/account/verification" token={token}>
            <input type="hidden" name="from" value="security" />
            <Button>{account.profile.sendAgain}</Button>
          </Form>
        ) : (
          <>
            <Form action={`${PATH}/passkeys/new`} token={token} class="needs-script">
              <Button>{texts.addPasskey}</Button>
            </Form>
            <Form action={`${PATH}/totp`} token={token}>
              <Button>{texts.setUpApp}</Button>
            </Form>
          </>
        )}
      </div>
    </Notice>
  )
}

const PasskeyRow: FC<Props & { passkey: Passkey }> = ({ view, viewer, passkey }) => {
  const { factors: texts } = view.texts
  const { id, name, created_at, last_used_at, synced, usable } = passkey
  return (
    <div class="row">
      <Icon name="key" />
      <div class="what">
        <span class="title">
          <bdi class="cut" title={name}>
            {name}
          </bdi>
          {synced && <Badge>{texts.synced}</Badge>}
          {!usable && <Badge tone="warn">{texts.unusable}</Badge>}
        </span>
        <span class="detail">
          {texts.added} <Ago view={view} at={Date.parse(created_at)} />
          {last_used_at && (
            <>
              {' · '}
              {texts.lastUsed} <Ago view={view} at={Date.parse(last_used_at)} />
            </>
          )}
        </span>
        <div class="folds">
          <Fold summary={texts.rename}>
            <Form action={`${PATH}/passkeys/${id}/rename`} token={viewer.formToken}>
              <div class="field">
                <label for={`name-${id}`}>{texts.passkeyName}</label>
                <input id={`name-${id}`} name="name" value={name} required />
              </div>
              <Button>{texts.save}</Button>
            </Form>
          </Fold>
          <Fold summary={texts.remove}>
            <Form action={`${PATH}/passkeys/${id}/remove`} token={viewer.formToken}>
              <Button style="destroy">{texts.removeForGood}</Button>
            </Form>
          </Fold>
        </div>
      </div>
    </div>
  )
}

const MailCode: FC<{ view: View; errors: Record<string, string> }> = ({ view, errors }) => (
  <Field
    name="mail_code"
    label={view.texts.factors.mailCode}
    hint={view.texts.factors.mailCodeHint}
    error={errors.mail_code}
    inputmode="numeric"
    autocomplete="off"
    class="code"
    required
  />
)

const Step: FC<PageProps & { title: string; children?: Child }> = ({
  view,
  viewer,
  message,
  title,
  children,
}) => (
  <AccountPage view={view} viewer={viewer} title={title} isError={message?.tone === 'danger'}>
    <Head title={title} />
    <Message message={message} />
    <div class="stack">{children}</div>
  </AccountPage>
)

/** The seed, as a QR code and as text, and a field for the app's first code. */
export const SetUpAppPage: FC<PageProps & { seed: TotpSeed; requestToken: string | undefined }> = ({
  seed,
  requestToken,
  errors = {},
  ...props
}) => {
  const { view, viewer } = props
  const { factors: texts } = view.texts
  return (
    <Step {...props} title={texts.app}>
      <div class="set-up">
        <div class="qr" role="img" aria-label={texts.qr}>
          {raw(renderSVG(seed.uri, { border: 2 }))}
        </div>
        <div class="stack">
          <p>{texts.scan}</p>
          <Copy view={view}>{seed.secret}</Copy>
        </div>
      </div>
      <Form action={`${PATH}/totp/confirm`} token={viewer.formToken}>
        <input type="hidden" name="seed_digest" value={seedDigest(seed)} />
        <Field
          name="code"
          label={texts.code}
          hint={texts.codeHint}
          error={errors.code}
          inputmode="numeric"
          autocomplete="one-time-code"
          class="code"
          required
        />
        {requestToken && (
          <>
            <input type="hidden" name="request_token" value={requestToken} />
            <MailCode view={view} errors={errors} />
          </>
        )}
        <div class="actions">
          <Button style="primary">{texts.turnOn}</Button>
          <a class="button quiet" href={PATH}>
            {view.texts.common.cancel}
          </a>
        </div>
      </Form>
      <AsRequest
        view={view}
        method="POST"
        path="/v1/auth/factors/totp/confirm"
        body={{ code: '…', ...(requestToken && { request_token: '…', mail_code: '…' }) }}
      />
    </Step>
  )
}

export const NewPasskeyPage: FC<PageProps & { given: PasskeyOptions; requestToken: string | undefined }> = ({
  given,
  requestToken,
  errors = {},
  values = {},
  ...props
}) => {
  const { view, viewer } = props
  const { factors: texts } = view.texts
  return (
    <Step {...props} title={texts.addPasskey}>
      <PasskeyForm
        view={view}
        token={viewer.formToken}
        action={`${PATH}/passkeys`}
        source={{ options: given }}
        mode="create"
        label={texts.addPasskey}
        style="button primary"
        fields={{ request_token: requestToken }}
      >
        <Field
          name="name"
          label={texts.passkeyName}
          hint={texts.passkeyNameHint}
          value={values.name}
          error={errors.name}
        />
        {requestToken && <MailCode view={view} errors={errors} />}
      </PasskeyForm>
      <noscript>
        <p>{texts.noScript}</p>
      </noscript>
      <a class="button quiet" href={PATH}>
        {view.texts.common.cancel}
      </a>
      <AsRequest
        view={view}
        method="POST"
        path="/v1/auth/passkeys"
        body={{
          challenge_id: '…',
          credential: '…',
          ...(requestToken && { request_token: '…', mail_code: '…' }),
        }}
      />
    </Step>
  )
}

/** Shown once. */
export const RecoveryCodesPage: FC<PageProps & { codes: readonly string[]; email: string }> = ({
  codes,
  email,
  ...props
}) => (
  <Step {...props} title={props.view.texts.factors.yours}>
    <RecoveryCodes
      view={props.view}
      codes={codes}
      email={email}
      token={props.viewer.formToken}
      href={`${PATH}?done=added`}
    />
  </Step>
)
