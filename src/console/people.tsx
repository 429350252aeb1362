import type { FC } from 'hono/jsx'
import { Ago, Badge, Button, Day, Empty, Form, Icon, Notice, Select, Tile } from '../pages/components.tsx'
import { toNumber, toShortDay } from '../pages/format.ts'
import { ConsolePage, Head, type Viewer } from '../pages/layout.tsx'
import type { View } from '../pages/view.ts'
import type { ManagedUser } from '../users/schemas.ts'
import type { Totals } from './queries.ts'

/** What is not as it usually is with somebody. Whoever is active and verified has no badge. */
export const StateBadge: FC<{ view: View; user: ManagedUser }> = ({ view, user }) => {
  const { badge } = view.texts.console
  if (user.status === 'deleted') return <Badge>{badge.deleted}</Badge>
  if (user.status === 'disabled')
    return (
      <Badge tone="warn">
        {user.disabled_until
          ? badge.disabledUntil(toShortDay(view, Date.parse(user.disabled_until)))
          : badge.disabled}
      </Badge>
    )
  return user.email_verified ? null : <Badge tone="info">{badge.notVerified}</Badge>
}

export interface PeopleFilter {
  q: string
  role: string
  status: string
  sort: string
}

/** The address of the list with these filters; what is as usual is left out. */
const listAt = (filter: Partial<PeopleFilter> & { cursor?: string }) => {
  const query = Object.entries(filter).filter(
    ([name, value]) => value && !(name === 'sort' && value === '-created_at'),
  )
  return `/admin/people${query.length > 0 ? `?${new URLSearchParams(query as [string, string][])}` : ''}`
}

export const PeoplePage: FC<{
  view: View
  viewer: Viewer
  people: ManagedUser[]
  total: number | null
  next: string | null
  isContinued: boolean
  filter: PeopleFilter
  totals: Totals
  message?: string | undefined
}> = ({ view, viewer, people, total, next, isContinued, filter, totals, message }) => {
  const { common, console } = view.texts
  const texts = console.people
  const tabs: [status: string, name: string][] = [
    ['', texts.all],
    ['active', texts.active],
    ['disabled', texts.disabled],
    ...(viewer.role === 'admin' ? [['deleted', texts.deleted] as [string, string]] : []),
  ]
  const isFiltered = Boolean(filter.q || filter.role)
  return (
    <ConsolePage view={view} viewer={viewer} title={texts.title}>
      <Head title={texts.title}>
        <a class="button primary" href="/admin/people/new">
          {texts.add}
        </a>
      </Head>
      {message && <Notice title={message} />}
      <nav class="tabs" aria-label={texts.status}>
        {tabs.map(([status, name]) => (
          <a
            href={listAt({ ...filter, status })}
            {...(filter.status === status && { 'aria-current': 'page' })}
          >
            {name}
            <span>{toNumber(view.language, totals[status || 'all'] ?? 0)}</span>
          </a>
        ))}
      </nav>
      <form class="filters" method="get" action="/admin/people">
        {filter.status && <input type="hidden" name="status" value={filter.status} />}
        <div class="search-box">
          <Icon name="search" />
          <label class="visually-hidden" for="q">
            {texts.search}
          </label>
          <input
            type="search"
            id="q"
            name="q"
            value={filter.q}
            placeholder={texts.search}
            data-live
            minlength={3}
          />
          <kbd class="needs-script">Ctrl K</kbd>
        </div>
        <Select
          name="role"
          label={texts.role}
          value={filter.role}
          isFilter
          options={[['', texts.anyRole], ...(Object.entries(common.roles) as [string, string][])]}
        />
        <Select
          name="sort"
          label={texts.sort}
          value={filter.sort}
          isFilter
          options={Object.entries(texts.sorts) as [string, string][]}
        />
        <Button>{texts.apply}</Button>
        <a class="button quiet" href={listAt({ status: filter.status })}>
          {texts.clear}
        </a>
      </form>
      {people.length === 0 ? (
        <Empty title={filter.q ? texts.nobodyMatches(filter.q) : texts.nobody}>
          {filter.q && <p>{texts.nobodyHint}</p>}
          {isFiltered && (
            <a class="button" href={listAt({ status: filter.status })}>
              {texts.clearSearch}
            </a>
          )}
        </Empty>
      ) : (
        <Form action="/admin/people/bulk" token={viewer.formToken}>
          <table class="table">
            <caption class="visually-hidden">{texts.title}</caption>
            <thead>
              <tr>
                <th class="pick" scope="col">
                  <span class="visually-hidden">{texts.select}</span>
                </th>
                <th scope="col">{common.name}</th>
                <th scope="col" class="role-column">
                  {texts.role}
                </th>
                <th scope="col" class="status-column">
                  {texts.status}
                </th>
                <th scope="col" class="time-column">
                  {texts.lastSignIn}
                </th>
                <th scope="col" class="time-column end">
                  {texts.created}
                </th>
              </tr>
            </thead>
            <tbody>
              {people.map((user) => (
                <PersonRow view={view} user={user} isSelf={user.id === viewer.id} />
              ))}
            </tbody>
          </table>
          <div class="bulk">
            <strong data-selected={texts.selected} aria-live="polite">
              {texts.selectedAny}
            </strong>
            {(['disable', 'enable', 'end_sessions'] as const).map((action) => (
              <Button name="action" value={action}>
                {console.bulk[action]}
              </Button>
            ))}
            {viewer.role === 'admin' && (
              <Button name="action" value="delete" style="destructive">
                {console.bulk.delete}
              </Button>
            )}
            <button type="reset" class="button quiet">
              {texts.clear}
            </button>
          </div>
        </Form>
      )}
      <div class="paging">
        <span>
          {total === null
            ? texts.shown(toNumber(view.language, people.length))
            : texts.total(toNumber(view.language, total))}
          {' · '}
          {common.zone(view.timeZone)}
        </span>
        {isContinued && (
          <a class="button quiet" href={listAt(filter)}>
            {common.firstPage}
          </a>
        )}
        {next && (
          <a class="button" href={listAt({ ...filter, cursor: next })} rel="next">
            {common.next}
          </a>
        )}
      </div>
    </ConsolePage>
  )
}

const PersonRow: FC<{ view: View; user: ManagedUser; isSelf: boolean }> = ({ view, user, isSelf }) => {
  const { common, console } = view.texts
  const lastSignIn = user.last_login_at === null ? null : Date.parse(user.last_login_at)
  return (
    <tr>
      <td class="pick">
        <input
          type="checkbox"
          name={`pick.${user.id}`}
          value="on"
          aria-label={console.people.pick(user.name)}
        />
      </td>
      <td>
        <a class="who" href={`/admin/people/${user.id}`}>
          <Tile name={user.name} isSelf={isSelf} />
          <span>
            <bdi class="name cut" title={user.name}>
              {user.name}
            </bdi>
            <span class="address cut" title={user.email}>
              {user.email}
            </span>
            <span class="only-small">
              {common.roles[user.role]}
              {' · '}
              {lastSignIn === null ? (
                console.people.neverSignedIn
              ) : (
                <>
                  {console.people.signedIn('')} <Ago view={view} at={lastSignIn} />
                </>
              )}
            </span>
          </span>
        </a>
      </td>
      <td class={`wide-only ${user.role === 'user' ? '' : 'ink'}`}>{common.roles[user.role]}</td>
      <td class="state">
        <StateBadge view={view} user={user} />
      </td>
      <td class="wide-only">
        <Ago view={view} at={lastSignIn} />
      </td>
      <td class="wide-only end">
        <Day view={view} at={Date.parse(user.created_at)} />
      </td>
    </tr>
  )
}

export type BulkAction = 'disable' | 'enable' | 'end_sessions' | 'delete'

/** What is about to be done to whom, and one button. */
export const BulkPage: FC<{
  view: View
  viewer: Viewer
  action: BulkAction
  people: ManagedUser[]
}> = ({ view, viewer, action, people }) => {
  const { bulk, people: list } = view.texts.console
  return (
    <ConsolePage view={view} viewer={viewer} title={bulk.title[action]}>
      <p class="crumb">
        <a href="/admin/people">{list.title}</a>
      </p>
      <Head title={bulk.title[action]} lead={bulk.confirm[action]} />
      <div class="rows">
        {people.map((user) => (
          <div class="row">
            <Tile name={user.name} />
            <div class="what">
              <span class="title">
                <bdi>{user.name}</bdi>
              </span>
              <span class="detail cut">{user.email}</span>
            </div>
            <StateBadge view={view} user={user} />
          </div>
        ))}
      </div>
      <Form action="/admin/people/bulk/run" token={viewer.formToken}>
        <input type="hidden" name="action" value={action} />
        {people.map(({ id }) => (
          <input type="hidden" name={`pick.${id}`} value="on" />
        ))}
        {action === 'disable' && (
          <div class="field">
            <label for="reason">{bulk.reason}</label>
            <input id="reason" name="reason" required />
          </div>
        )}
        <div class="actions">
          <Button style={action === 'delete' ? 'destroy' : 'primary'}>
            {bulk.button[action](people.length)}
          </Button>
          <a class="button quiet" href="/admin/people">
            {view.texts.common.cancel}
          </a>
        </div>
      </Form>
    </ConsolePage>
  )
}

export interface BulkResult {
  user: ManagedUser | undefined
  id: string
  /** The code of what stood in the way; undefined when it was done. */
  problem?: string
}

export const BulkResultPage: FC<{
  view: View
  viewer: Viewer
  action: BulkAction
  results: BulkResult[]
}> = ({ view, viewer, action, results }) => {
  const { common, console } = view.texts
  const { bulk } = console
  const failed = results.filter(({ problem }) => problem !== undefined)
  const title = [
    bulk.done(results.length - failed.length),
    ...(failed.length > 0 ? [bulk.notDone(failed.length)] : []),
  ].join(', ')
  return (
    <ConsolePage view={view} viewer={viewer} title={bulk.title[action]}>
      <p class="crumb">
        <a href="/admin/people">{console.people.title}</a>
      </p>
      <Head title={bulk.title[action]} />
      <Notice title={title} {...(failed.length > 0 && { tone: 'warn' as const })}>
        {failed.length > 0 && <p>{bulk.othersStay}</p>}
      </Notice>
      <div class="rows">
        {results.map(({ user, id, problem }) => (
          <div class="row">
            <Tile name={user?.name ?? '?'} />
            <div class="what">
              <span class="title">
                <bdi>{user?.name ?? id}</bdi>
              </span>
              <span class="detail">{problem ? (common.problems[problem] ?? problem) : user?.email}</span>
            </div>
            {problem ? <Badge tone="danger">{bulk.notDoneBadge}</Badge> : <Badge>{bulk.doneBadge}</Badge>}
          </div>
        ))}
      </div>
      <div class="actions">
        <a class="button primary" href="/admin/people">
          {bulk.back}
        </a>
      </div>
    </ConsolePage>
  )
}
