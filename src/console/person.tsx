import type { FC, PropsWithChildren } from 'hono/jsx'
import {
  Ago,
  AsRequest,
  Badge,
  Button,
  Field,
  Fold,
  Form,
  Notice,
  Select,
  Tile,
} from '../pages/components.tsx'
import { toDay } from '../pages/format.ts'
import { History } from '../pages/history.tsx'
import { ConsolePage, Head, Section, type Viewer } from '../pages/layout.tsx'
import type { Outcome } from '../pages/submit.ts'
import type { View } from '../pages/view.ts'
import { PASSWORD_MIN_LENGTH } from '../passwords/policy.ts'
import { ROLES } from '../users/models.ts'
import { StateBadge } from './people.tsx'
import type { findPerson } from './queries.ts'

const DAY_MS = 86_400_000

interface PersonProps extends Outcome {
  view: View
  viewer: Viewer
  person: Awaited<ReturnType<typeof findPerson>>
  purgeAfterDays: number
}

export const PersonPage: FC<PersonProps> = ({
  view,
  viewer,
  person,
  purgeAfterDays,
  message,
  values = {},
  errors = {},
}) => {
  const { common, console } = view.texts
  const texts = console.person
  const { user, mayManage } = person
  const isDeleted = user.status === 'deleted'
  return (
    <ConsolePage view={view} viewer={viewer} title={user.name} isError={message?.tone === 'danger'}>
      <p class="crumb">
        <a href="/admin/people">{console.people.title}</a>
      </p>
      <div class="head">
        <div class="person-head">
          <Tile name={user.name} isLarge isSelf={user.id === viewer.id} />
          <div>
            <h1>
              <bdi class="cut" title={user.name}>
                {user.name}
              </bdi>
            </h1>
            <p class="cut" title={user.email}>
              {user.email}
            </p>
          </div>
        </div>
        <div class="actions">
          <StateBadge view={view} user={user} />
          <Badge tone="ink">{common.roles[user.role]}</Badge>
        </div>
      </div>
      {message && (
        <Notice title={message.title} {...(message.tone && { tone: message.tone })}>
          {message.text && <p>{message.text}</p>}
        </Notice>
      )}
      <StateNotice person={person} view={view} viewer={viewer} purgeAfterDays={purgeAfterDays} />
      <div class="beside">
        <div class="sections">
          {!isDeleted && <Details {...{ view, viewer, person, values, errors }} />}
          {!isDeleted && <SignIn {...{ view, viewer, person }} />}
          {mayManage && !isDeleted && <Disabling {...{ view, viewer, person, values, errors }} />}
          {mayManage && viewer.role === 'admin' && <Deleting {...{ view, viewer, person, errors }} />}
        </div>
        <aside class="content" aria-labelledby="history">
          <div class="head">
            <h2 id="history">{texts.history}</h2>
            {viewer.role === 'admin' && <a href={`/admin/people/${user.id}/export`}>{texts.export}</a>}
          </div>
          {person.history.length === 0 ? (
            <p class="soft">{console.today.quiet}</p>
          ) : (
            <History
              view={view}
              rows={person.history}
              viewerId={viewer.id}
              subjectId={user.id}
              names={person.names}
            />
          )}
        </aside>
      </div>
    </ConsolePage>
  )
}

type Part = Pick<PersonProps, 'view' | 'viewer' | 'person' | 'values' | 'errors'>

/** What is out of the ordinary with the account, and what can be done. */
const StateNotice: FC<Pick<PersonProps, 'view' | 'viewer' | 'person' | 'purgeAfterDays'>> = ({
  view,
  viewer,
  person: { user, mayManage },
  purgeAfterDays,
}) => {
  const { person: texts } = view.texts.console
  if (user.deleted_at)
    return (
      <Notice tone="warn" title={texts.isDeleted}>
        <p>{texts.erasedOn(toDay(view, Date.parse(user.deleted_at) + purgeAfterDays * DAY_MS))}</p>
      </Notice>
    )
  if (user.id === viewer.id)
    return (
      <Notice tone="info" title={texts.ownAccount}>
        <p>
          <a href="/account">{texts.ownAccountHint}</a>
        </p>
      </Notice>
    )
  if (!mayManage)
    return (
      <Notice tone="info" title={texts.outranks}>
        <p>{texts.outranksHint}</p>
      </Notice>
    )
  if (user.status === 'disabled')
    return (
      <Notice tone="warn" title={texts.isDisabled}>
        <p>{user.disabled_reason}</p>
      </Notice>
    )
  return null
}

const Details: FC<Part> = ({
  view,
  viewer,
  person: { user, verifiedAt, mayManage },
  values = {},
  errors = {},
}) => {
  const { common, console } = view.texts
  const texts = console.person
  const roles = ROLES.filter((role) => viewer.role === 'admin' || role === 'user')
  const confirmed = verifiedAt === null ? texts.notConfirmed : texts.confirmed(toDay(view, verifiedAt))
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
          error={errors.name}
          required
        />
        <Field
          name="email"
          label={common.email}
          type="email"
          value={values.email ?? user.email}
          error={errors.email}
          hint={`${confirmed} ${texts.emailHint}`}
          required
        />
        {roles.length > 1 && (
          <Select
            name="role"
            label={texts.role}
            value={values.role ?? user.role}
            options={roles.map((role) => [role, common.roles[role]])}
          />
        )}
        <Button style="primary">{common.save}</Button>
      </Form>
      <AsRequest
        view={view}
        method="PATCH"
        path={`/v1/users/${user.id}`}
        body={{ name: user.name }}
        ifMatch={user.version}
      />
    </Section>
  )
}

/** One thing about somebody, and what can be done about it. */
const Row: FC<PropsWithChildren<{ title: string; detail: unknown }>> = ({ title, detail, children }) => (
  <div class="row">
    <div class="what">
      <span class="title">{title}</span>
      <span class="detail">{detail as string}</span>
    </div>
    {children}
  </div>
)

const SignIn: FC<Part> = ({ view, viewer, person: { user, sessions, mayManage } }) => {
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
        <Row title={texts.password} detail={texts.passwordHint}>
          {act('send_reset', texts.sendReset)}
        </Row>
        {!user.email_verified && (
          <Row title={texts.confirmation} detail={texts.notConfirmed}>
            {act('send_verification', texts.sendVerification)}
          </Row>
        )}
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
    </Section>
  )
}

const Disabling: FC<Part> = ({ view, viewer, person: { user }, values = {}, errors = {} }) => {
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
            hint={texts.untilHint}
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

const Deleting: FC<Part> = ({ view, viewer, person: { user }, errors = {} }) => {
  const texts = view.texts.console.person
  const at = `/admin/people/${user.id}`
  return (
    <>
      {user.status === 'deleted' ? (
        <Section title={texts.restore} hint={texts.restoreHint}>
          <Form action={`${at}/restore`} token={viewer.formToken}>
            <Button style="primary">{texts.restore}</Button>
          </Form>
          <AsRequest view={view} method="POST" path={`/v1/users/${user.id}/restore`} />
        </Section>
      ) : (
        <Section title={texts.delete} hint={texts.deleteHint}>
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

export const AddPersonPage: FC<{ view: View; viewer: Viewer } & Outcome> = ({
  view,
  viewer,
  message,
  values = {},
  errors = {},
}) => {
  const { common, console } = view.texts
  const texts = console.add
  const roles = ROLES.filter((role) => viewer.role === 'admin' || role === 'user')
  return (
    <ConsolePage view={view} viewer={viewer} title={texts.title} isError={message?.tone === 'danger'}>
      <p class="crumb">
        <a href="/admin/people">{console.people.title}</a>
      </p>
      <Head title={texts.title} lead={texts.lead} />
      {message && (
        <Notice title={message.title} {...(message.tone && { tone: message.tone })}>
          {message.text && <p>{message.text}</p>}
        </Notice>
      )}
      <div class="sections">
        <Section title={console.person.details} hint={<a href="/admin/invitations">{texts.invite}</a>}>
          <Form action="/admin/people/new" token={viewer.formToken}>
            <Field
              name="name"
              label={common.name}
              value={values.name}
              error={errors.name}
              autocomplete="off"
              required
            />
            <Field
              name="email"
              label={common.email}
              type="email"
              value={values.email}
              error={errors.email}
              autocomplete="off"
              required
            />
            {roles.length > 1 && (
              <Select
                name="role"
                label={console.person.role}
                value={values.role ?? 'user'}
                options={roles.map((role) => [role, common.roles[role]])}
              />
            )}
            <Field
              name="password"
              label={common.password}
              type="password"
              hint={texts.passwordHint(PASSWORD_MIN_LENGTH)}
              error={errors.password}
              autocomplete="new-password"
              required
            />
            <Button style="primary">{texts.button}</Button>
          </Form>
          <AsRequest
            view={view}
            method="POST"
            path="/v1/users"
            body={{ name: 'Ada Lovelace', email: 'ada@example.com', password: '…', role: 'user' }}
          />
        </Section>
      </div>
    </ConsolePage>
  )
}
