import type { Child, FC, PropsWithChildren } from 'hono/jsx'
import { hasFactor } from '../../factors/state.ts'
import { Ago, AsRequest, Badge, Button, Field, Fold, Form } from '../../pages/components.tsx'
import { toDay } from '../../pages/format.ts'
import { Section, type Viewer } from '../../pages/layout.tsx'
import type { Outcome } from '../../pages/submit.ts'
import type { View } from '../../pages/view.ts'
import type { readUserPage } from '../queries.ts'
import { Devices } from './devices.tsx'
import { factorsOf } from './factors.ts'
import { RoleSelect } from './roles.tsx'

/** The props of each part of a user's page. */
export interface Part extends Pick<Outcome, 'values' | 'errors'> {
  view: View
  viewer: Viewer
  person: Awaited<ReturnType<typeof readUserPage>>
}

export const Details: FC<Part> = ({
  view,
  viewer,
  person: { user, verifiedAt, mayManage },
  values = {},
  errors = {},
}) => {
  const { common, console } = view.texts
  const texts = console.person
  const confirmed = verifiedAt === null ? texts.notConfirmed : texts.confirmed(toDay(view, verifiedAt))
  /** After a refusal, shown beside what was typed: somebody else may have changed the value meanwhile. */
  const nowIs = (typed: string | undefined, now: string) =>
    typed === undefined || typed === now ? undefined : texts.nowIs(now)
  if (!mayManage)
    return (
      <Section title={texts.details}>
        <div class="row">
          <div class="what">
            <span class="title">{common.email}</span>
            <span class="detail">
              {user.email} · {confirmed}
            </span>
          </div>
        </div>
      </Section>
    )
  return (
    <Section title={texts.details}>
      <Form action={`/admin/people/${user.id}`} token={viewer.formToken}>
        <input type="hidden" name="version" value={String(user.version)} />
        <Field
          name="name"
          label={common.name}
          value={values.name ?? user.name}
          hint={nowIs(values.name, user.name)}
          error={errors.name}
          required
        />
        <Field
          name="email"
          label={common.email}
          type="email"
          value={values.email ?? user.email}
          error={errors.email}
          hint={nowIs(values.email, user.email) ?? `${confirmed} ${texts.emailHint}`}
          required
        />
        <RoleSelect view={view} viewer={viewer} value={values.role ?? user.role} />
        <Button style="primary">{common.save}</Button>
      </Form>
      <AsRequest
        view={view}
        method="PATCH"
        path={`/v1/users/${user.id}`}
        body={{ name: user.name, email: user.email, role: user.role }}
        ifMatch={user.version}
      />
    </Section>
  )
}

/** One fact about a user, and what can be done about it. */
const Row: FC<PropsWithChildren<{ title: Child; detail: unknown }>> = ({ title, detail, children }) => (
  <div class="row">
    <div class="what">
      <span class="title">{title}</span>
      <span class="detail">{detail as string}</span>
    </div>
    {children}
  </div>
)

export const SignIn: FC<Part> = ({ view, viewer, person }) => {
  const { user, sessions, mayManage, factors, hasPassword, identities, takesMail } = person
  const texts = view.texts.console.person
  const lastSeen =
    sessions.length > 0 ? Math.max(...sessions.map(({ last_seen_at }) => Date.parse(last_seen_at))) : null
  const act = (action: string, label: string) =>
    mayManage && (
      <Form action={`/admin/people/${user.id}/${action}`} token={viewer.formToken} class="">
        <Button>{label}</Button>
      </Form>
    )
  return (
    <Section title={texts.signIn}>
      <div class="rows">
        <Row
          title={texts.password}
          detail={
            mayManage && takesMail
              ? hasPassword
                ? texts.passwordHint
                : texts.noPassword
              : hasPassword
                ? texts.isSet
                : texts.isUnset
          }
        >
          {takesMail && act('send_reset', texts.sendReset)}
        </Row>
        {!user.email_verified && (
          <Row title={texts.confirmation} detail={texts.notConfirmed}>
            {takesMail && act('send_verification', texts.sendVerification)}
          </Row>
        )}
        <Row title={view.texts.factors.ofUser} detail={factorsOf(view, factors)}>
          {hasFactor(factors) && act('reset_factors', view.texts.factors.resetButton)}
        </Row>
        {identities.map(({ name, isAsked, created_at }) => (
          <Row
            title={
              <>
                <bdi>{name}</bdi>{' '}
                {!isAsked && <Badge tone="warn">{view.texts.account.security.identities.unusable}</Badge>}
              </>
            }
            detail={texts.connected(toDay(view, created_at))}
          />
        ))}
        <Row
          title={texts.devices}
          detail={
            lastSeen === null ? (
              texts.noDevices
            ) : (
              <>
                {texts.devicesCount(sessions.length)}, {texts.lastUsed('')} <Ago view={view} at={lastSeen} />
              </>
            )
          }
        >
          {sessions.length > 0 && act('end_sessions', texts.endSessions)}
        </Row>
      </div>
      <Devices view={view} sessions={sessions} />
      {mayManage && (
        <AsRequest
          view={view}
          calls={[
            ...(takesMail ? [{ method: 'POST', path: `/v1/users/${user.id}/send_reset` }] : []),
            ...(takesMail && !user.email_verified
              ? [{ method: 'POST', path: `/v1/users/${user.id}/send_verification` }]
              : []),
            ...(hasFactor(factors) ? [{ method: 'DELETE', path: `/v1/users/${user.id}/factors` }] : []),
            { method: 'GET', path: `/v1/users/${user.id}/sessions` },
            { method: 'DELETE', path: `/v1/users/${user.id}/sessions` },
            ...(user.locked ? [{ method: 'POST', path: `/v1/users/${user.id}/unlock` }] : []),
          ]}
        />
      )}
    </Section>
  )
}

export const Disabling: FC<Part> = ({ view, viewer, person: { user }, values = {}, errors = {} }) => {
  const texts = view.texts.console.person
  if (user.status === 'disabled')
    return (
      <Section title={texts.enable} hint={texts.enableHint}>
        <Form action={`/admin/people/${user.id}/enable`} token={viewer.formToken}>
          <Button>{texts.enableButton}</Button>
        </Form>
        <AsRequest view={view} method="POST" path={`/v1/users/${user.id}/enable`} />
      </Section>
    )
  return (
    <Section title={texts.disable} hint={texts.disableHint}>
      <Fold summary={texts.disableFold} open={Boolean(errors.reason ?? errors.until)}>
        <Form action={`/admin/people/${user.id}/disable`} token={viewer.formToken}>
          <Field
            name="reason"
            label={texts.reason}
            hint={texts.reasonHint}
            value={values.reason}
            error={errors.reason}
            required
          />
          <Field
            name="until"
            label={texts.until}
            type="datetime-local"
            hint={texts.untilHint(view.timeZone)}
            value={values.until}
            error={errors.until}
          />
          <Button>{texts.disableButton(user.name)}</Button>
        </Form>
      </Fold>
      <AsRequest view={view} method="POST" path={`/v1/users/${user.id}/disable`} body={{ reason: '…' }} />
    </Section>
  )
}

export const Deleting: FC<Part> = ({ view, viewer, person: { user }, errors = {} }) => {
  const texts = view.texts.console.person
  const at = `/admin/people/${user.id}`
  return (
    <>
      {user.earlier_email !== undefined && (
        <Section title={texts.giveBack} hint={texts.giveBackHint(user.earlier_email)}>
          <Form action={`${at}/restore`} token={viewer.formToken}>
            <input type="hidden" name="earlier_email" value="true" />
            <Button style="primary">{texts.giveBackButton(user.earlier_email)}</Button>
          </Form>
          <AsRequest view={view} method="POST" path={`/v1/users/${user.id}/restore?earlier_email=true`} />
        </Section>
      )}
      {user.status === 'deleted' ? (
        <Section title={texts.restore} hint={texts.restoreHint}>
          <Form action={`${at}/restore`} token={viewer.formToken}>
            <Button style="primary">{texts.restore}</Button>
          </Form>
          <AsRequest view={view} method="POST" path={`/v1/users/${user.id}/restore`} />
        </Section>
      ) : (
        <Section title={texts.delete} hint={texts.deleteHint(view.purgeDays)}>
          <Fold summary={texts.deleteFold}>
            <Form action={`${at}/delete`} token={viewer.formToken}>
              <Button style="destroy">{texts.deleteButton(user.name)}</Button>
            </Form>
          </Fold>
          <AsRequest view={view} method="DELETE" path={`/v1/users/${user.id}`} />
        </Section>
      )}
      <Section title={texts.erase} hint={texts.eraseHint}>
        <Fold summary={`${texts.erase}…`} style="destructive" open={Boolean(errors.confirm)}>
          <div class="grave">
            <Form action={`${at}/erase`} token={viewer.formToken}>
              <Field
                name="confirm"
                label={
                  <>
                    {texts.eraseType} <span class="mono">{user.email}</span> {texts.eraseTo}
                  </>
                }
                autocomplete="off"
                error={errors.confirm}
              />
              <Button style="destroy">{texts.eraseButton(user.name)}</Button>
            </Form>
          </div>
        </Fold>
        <AsRequest view={view} method="DELETE" path={`/v1/users/${user.id}?hard=true`} />
      </Section>
    </>
  )
}
