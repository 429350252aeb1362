import type { FC } from 'hono/jsx'
import { AsRequest, Badge, Form, Message, Notice, Tile } from '../../pages/components.tsx'
import { toDay, toFull } from '../../pages/format.ts'
import { History } from '../../pages/history.tsx'
import { ConsolePage, type Viewer } from '../../pages/layout.tsx'
import type { Outcome } from '../../pages/submit.ts'
import type { View } from '../../pages/view.ts'
import { DAY_MS } from '../../values/durations.ts'
import type { readUserPage } from '../queries.ts'
import { StateBadge } from './state.tsx'
import { Deleting, Details, Disabling, SignIn } from './user-parts.tsx'

interface UserProps extends Outcome {
  view: View
  viewer: Viewer
  person: Awaited<ReturnType<typeof readUserPage>>
  purgeAfterDays: number
}

export const UserPage: FC<UserProps> = ({
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
      <Message message={message} />
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
          <p class="small">
            <a href={`/admin/activity?user_id=${user.id}`}>{texts.allHistory}</a>
            {user.role !== 'user' && (
              <>
                {' · '}
                <a href={`/admin/activity?actor_id=${user.id}`}>{texts.doneByThem}</a>
              </>
            )}
          </p>
          <AsRequest
            view={view}
            calls={[
              { method: 'GET', path: `/v1/users/${user.id}/activity` },
              ...(viewer.role === 'admin' ? [{ method: 'GET', path: `/v1/users/${user.id}/export` }] : []),
            ]}
          />
        </aside>
      </div>
    </ConsolePage>
  )
}

/** What is unusual about the account, and what can be done. */
const StateNotice: FC<Pick<UserProps, 'view' | 'viewer' | 'person' | 'purgeAfterDays'>> = ({
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
      <Notice
        tone="warn"
        title={
          user.disabled_until
            ? texts.isDisabledUntil(toFull(view, Date.parse(user.disabled_until)))
            : texts.isDisabled
        }
      >
        <p>{user.disabled_reason}</p>
      </Notice>
    )
  if (user.locked) {
    const [title, hint] = view.texts.factors.locked[user.locked]
    return (
      <Notice tone="danger" title={title}>
        <p>
          {hint} {texts.lockedHint}
        </p>
        <Form action={`/admin/people/${user.id}/unlock`} token={viewer.formToken} class="">
          <button type="submit" class="link-button">
            {texts.unlock}
          </button>
        </Form>
      </Notice>
    )
  }
  return null
}
