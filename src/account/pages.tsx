import type { Child, FC } from 'hono/jsx'
import type { Activity } from '../activity/schemas.ts'
import type { List } from '../http/pagination.ts'
import {
  Ago,
  AsRequest,
  Badge,
  Button,
  Day,
  Field,
  Fold,
  Form,
  Icon,
  Message,
  Paging,
  type Said,
  Select,
} from '../pages/components.tsx'
import { type Known, KnownPasskeys } from '../pages/factors.tsx'
import { deviceOf } from '../pages/format.ts'
import { deviceName, History, placeOf } from '../pages/history.tsx'
import { AccountPage, Head, Section, type Viewer } from '../pages/layout.tsx'
import type { View } from '../pages/view.ts'
import type { Session } from '../sessions/schemas.ts'
import type { Profile } from '../users/models.ts'
import { LANGUAGES } from '../values/languages.ts'

export interface PageProps {
  view: View
  viewer: Viewer
  message?: Said | undefined
  values?: Record<string, string>
  errors?: Record<string, string>
}

interface Own {
  user: Profile & { locale: string | null; has_password: 0 | 1 }
  known: Known
}

export const ProfilePage: FC<PageProps & Own> = ({
  view,
  viewer,
  message,
  values = {},
  errors = {},
  user,
  known,
}) => {
  const { common, account } = view.texts
  const { profile } = account
  const token = viewer.formToken
  return (
    <AccountPage view={view} viewer={viewer} title={profile.title} isError={message?.tone === 'danger'}>
      <Head
        title={profile.title}
        lead={profile.since(
          new Intl.DateTimeFormat(view.language === 'de' ? 'de' : 'en-GB', {
            month: 'long',
            year: 'numeric',
            timeZone: view.timeZone,
          }).format(user.created_at),
        )}
      />
      <Message message={message} />
      <div class="sections">
        <Section title={profile.name} hint={profile.nameHint}>
          <Form action="/account" token={token}>
            <Field
              name="name"
              label={common.name}
              value={values.name ?? user.name}
              error={errors.name}
              autocomplete="name"
              required
            />
            <Button style="primary">{common.save}</Button>
          </Form>
          <AsRequest view={view} method="PATCH" path="/v1/users/me" body={{ name: user.name }} />
        </Section>
        <Section title={profile.email} hint={profile.emailHint}>
          <div class="row">
            <div class="what">
              <span class="title">
                <span class="cut" title={user.email}>
                  {user.email}
                </span>
                {user.email_verified_at === null && <Badge tone="info">{profile.notVerified}</Badge>}
              </span>
              {user.email_verified_at !== null && (
                <span class="detail">
                  {profile.verified('')} <Day view={view} at={user.email_verified_at} />
                </span>
              )}
            </div>
            {user.email_verified_at === null && (
              <Form action="/account/verification" token={token} class="">
                <Button>{profile.sendAgain}</Button>
              </Form>
            )}
          </div>
          <Fold summary={profile.changeEmail} open={Boolean(errors.new_email ?? errors.current_password)}>
            <Form action="/account/email" token={token}>
              <Field
                name="new_email"
                label={profile.newEmail}
                type="email"
                value={values.new_email}
                error={errors.new_email}
                autocomplete="email"
                inputmode="email"
                required
              />
              {user.has_password === 1 && (
                <Field
                  name="current_password"
                  label={profile.currentPassword}
                  type="password"
                  error={errors.current_password}
                  autocomplete="current-password"
                  required
                />
              )}
              <Button>{profile.ask}</Button>
            </Form>
          </Fold>
          <AsRequest
            view={view}
            calls={[
              {
                method: 'POST',
                path: '/v1/auth/change_email',
                body: {
                  new_email: 'ada@example.com',
                  ...(user.has_password === 1 && { current_password: '…' }),
                },
              },
              ...(user.email_verified_at === null
                ? [{ method: 'POST', path: '/v1/auth/resend_verification', body: { email: user.email } }]
                : []),
            ]}
          />
        </Section>
        <Section title={profile.language} hint={profile.languageHint}>
          <Form action="/account/language" token={token}>
            <Select
              name="locale"
              label={profile.language}
              value={user.locale ?? view.language}
              options={Object.entries(LANGUAGES)}
            />
            <Button>{common.save}</Button>
          </Form>
          <AsRequest
            view={view}
            method="PATCH"
            path="/v1/users/me"
            body={{ locale: user.locale ?? view.language }}
          />
        </Section>
      </div>
      <KnownPasskeys known={known} />
    </AccountPage>
  )
}

const Device: FC<{ view: View; session: Session; children?: Child }> = ({ view, session, children }) => {
  const { sessions } = view.texts.account
  const place = placeOf(view, { ...session, user_agent: null })
  return (
    <div class="row">
      <Icon name={deviceOf(session.user_agent).isPhone ? 'phone' : 'computer'} />
      <div class="what">
        <span class="title">
          {deviceName(view, session.user_agent) ?? view.texts.common.unknownDevice}
          {session.current && <Badge tone="accent">{sessions.thisOne}</Badge>}
        </span>
        {place && <span class="detail">{place}</span>}
        <span class="detail">
          {session.current ? (
            <>
              {sessions.since('')} <Day view={view} at={Date.parse(session.created_at)} />
            </>
          ) : (
            <Ago view={view} at={Date.parse(session.last_seen_at)} />
          )}
        </span>
      </div>
      {children}
    </div>
  )
}

export const SessionsPage: FC<PageProps & { list: Session[] }> = ({ view, viewer, message, list }) => {
  const { sessions } = view.texts.account
  const others = list.filter(({ current }) => !current)
  return (
    <AccountPage view={view} viewer={viewer} title={sessions.title} isError={message?.tone === 'danger'}>
      <Head title={sessions.title} lead={sessions.lead}>
        {others.length > 0 && (
          <Form action="/account/sessions/others" token={viewer.formToken} class="">
            <Button>{sessions.everywhereElse}</Button>
          </Form>
        )}
      </Head>
      <Message message={message} />
      <div class="sections">
        <Section title={sessions.this}>
          {list
            .filter(({ current }) => current)
            .map((session) => (
              <Device view={view} session={session} />
            ))}
        </Section>
        <Section title={sessions.others} hint={others.length > 0 ? sessions.othersHint : undefined}>
          <div class="rows">
            {others.length === 0 && <p class="soft">{sessions.none}</p>}
            {others.map((session) => (
              <Device view={view} session={session}>
                <Form action="/account/sessions/end" token={viewer.formToken} class="">
                  <Button name="id" value={session.id}>
                    {sessions.signOut}
                  </Button>
                </Form>
              </Device>
            ))}
          </div>
          <AsRequest
            view={view}
            calls={[
              { method: 'GET', path: '/v1/auth/sessions' },
              ...(others[0] ? [{ method: 'DELETE', path: `/v1/auth/sessions/${others[0].id}` }] : []),
            ]}
          />
        </Section>
      </div>
    </AccountPage>
  )
}

export const ActivityPage: FC<PageProps & { rows: Activity[]; pages: List<Activity>['pagination'] }> = ({
  view,
  viewer,
  rows,
  pages,
}) => {
  const { account } = view.texts
  return (
    <AccountPage view={view} viewer={viewer} title={account.activity.title}>
      <Head title={account.activity.title} lead={account.activity.lead} />
      {rows.length === 0 ? (
        <p class="soft">{account.activity.none}</p>
      ) : (
        <History view={view} rows={rows} viewerId={viewer.id} subjectId={viewer.id} names={{}} dayAs="h2" />
      )}
      <Paging
        view={view}
        pages={pages}
        at={({ cursor }) => `/account/activity${cursor ? `?${new URLSearchParams({ cursor })}` : ''}`}
      />
    </AccountPage>
  )
}

export const DataPage: FC<PageProps & { hasPassword: boolean }> = ({
  view,
  viewer,
  message,
  errors = {},
  hasPassword,
}) => {
  const { data, profile } = view.texts.account
  return (
    <AccountPage view={view} viewer={viewer} title={data.title} isError={message?.tone === 'danger'}>
      <Head title={data.title} />
      <Message message={message} />
      <div class="sections">
        <Section title={data.download} hint={data.downloadHint}>
          <a class="button" href="/account/data/export">
            {data.downloadButton}
          </a>
          <AsRequest view={view} method="GET" path="/v1/users/me/export" />
        </Section>
        <Section title={data.leave} hint={data.leaveHint(view.purgeDays)}>
          <Fold summary={data.leaveFold} style="destructive" open={Boolean(errors.password)}>
            <div class="grave">
              <Form action="/account/data/leave" token={viewer.formToken}>
                {hasPassword && (
                  <Field
                    name="password"
                    label={profile.currentPassword}
                    type="password"
                    error={errors.password}
                    autocomplete="current-password"
                    required
                  />
                )}
                <Button style="destroy">{data.leaveButton}</Button>
              </Form>
            </div>
          </Fold>
          <AsRequest
            view={view}
            method="DELETE"
            path="/v1/users/me"
            body={hasPassword ? { password: '…' } : {}}
          />
        </Section>
      </div>
    </AccountPage>
  )
}
