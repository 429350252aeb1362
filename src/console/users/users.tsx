import type { FC } from 'hono/jsx'
import type { List } from '../../http/pagination.ts'
import {
  Ago,
  AsRequest,
  Button,
  Day,
  Empty,
  Form,
  Message,
  Paging,
  type Said,
  Select,
  Tile,
} from '../../pages/components.tsx'
import { toNumber } from '../../pages/format.ts'
import { ConsolePage, Head, type Viewer } from '../../pages/layout.tsx'
import type { View } from '../../pages/view.ts'
import type { ManagedUser } from '../../users/schemas.ts'
import { SearchBox } from '../fields.tsx'
import type { Totals } from '../queries.ts'
import { ExportLinks } from '../rows.tsx'
import { StateBadge } from './state.tsx'

export interface UsersFilter {
  q: string
  role: string
  status: string
  sort: string
  email_verified: string
  locked: string
  needs_reset: string
  second_factor: string
}

/** The address of the list with these filters; defaults are left out. */
const listAt = (filter: Partial<UsersFilter> & { cursor?: string }) => {
  const query = Object.entries(filter).filter(
    ([name, value]) => value && !(name === 'sort' && value === '-created_at'),
  )
  return `/admin/people${query.length > 0 ? `?${new URLSearchParams(query as [string, string][])}` : ''}`
}

export const UsersPage: FC<{
  view: View
  viewer: Viewer
  list: List<ManagedUser>
  filter: UsersFilter
  totals: Totals
  message?: Said | undefined
  errors?: Record<string, string>
}> = ({ view, viewer, list, filter, totals, message, errors = {} }) => {
  const { common, console } = view.texts
  const texts = console.people
  const { data: people, pagination } = list
  const tabs: [status: string, name: string][] = [
    ['', texts.all],
    ['active', texts.active],
    ['disabled', texts.disabled],
    ...(totals.locked || filter.locked ? [['locked', texts.locked] as [string, string]] : []),
    ...(totals.needs_reset || filter.needs_reset
      ? [['needs_reset', texts.needsReset] as [string, string]]
      : []),
    ...(viewer.role === 'admin' ? [['deleted', texts.deleted] as [string, string]] : []),
  ]
  const isFiltered = Boolean(filter.q || filter.role || filter.email_verified || filter.second_factor)
  const here = filter.locked ? 'locked' : filter.needs_reset ? 'needs_reset' : filter.status
  /** These tabs are not statuses: somebody who is locked out is still active. */
  const tabAt = (tab: string) =>
    tab === 'locked' || tab === 'needs_reset'
      ? listAt({ role: filter.role, [tab]: 'true' })
      : listAt({ ...filter, locked: '', needs_reset: '', status: tab })
  const query = listAt(filter).split('?')[1] ?? ''
  return (
    <ConsolePage view={view} viewer={viewer} title={texts.title}>
      <Head title={texts.title}>
        {viewer.role === 'admin' && (
          <a class="button" href="/admin/people/import">
            {texts.import}
          </a>
        )}
        <a class="button primary" href="/admin/people/new">
          {texts.add}
        </a>
      </Head>
      <Message message={message} />
      <nav class="tabs" aria-label={texts.status}>
        {tabs.map(([status, name]) => (
          <a href={tabAt(status)} {...(here === status && { 'aria-current': 'page' })}>
            {name}
            <span>{toNumber(view.language, totals[status || 'all'] ?? 0)}</span>
          </a>
        ))}
      </nav>
      <form class="filters" method="get" action="/admin/people">
        {filter.status && <input type="hidden" name="status" value={filter.status} />}
        {filter.locked && <input type="hidden" name="locked" value="true" />}
        {filter.needs_reset && <input type="hidden" name="needs_reset" value="true" />}
        <SearchBox
          name="q"
          label={texts.search}
          value={filter.q}
          error={errors.q && texts.searchShort}
          data-live
        >
          <kbd class="needs-script">Ctrl K</kbd>
        </SearchBox>
        <Select
          name="role"
          label={texts.role}
          value={filter.role}
          isFilter
          options={[['', texts.anyRole], ...(Object.entries(common.roles) as [string, string][])]}
        />
        <Select
          name="email_verified"
          label={texts.emailState}
          value={filter.email_verified}
          isFilter
          options={[
            ['', texts.anyEmail],
            ['true', texts.verified],
            ['false', texts.notVerified],
          ]}
        />
        <Select
          name="second_factor"
          label={texts.secondFactor}
          value={filter.second_factor}
          isFilter
          options={[
            ['', texts.anyFactor],
            ['none', texts.noFactor],
          ]}
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
                <UserRow view={view} user={user} isSelf={user.id === viewer.id} />
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
      <Paging view={view} pages={pagination} at={(more) => listAt({ ...filter, ...more })}>
        {pagination.total === null
          ? texts.shown(toNumber(view.language, people.length))
          : texts.total(toNumber(view.language, pagination.total))}
        {' · '}
        {common.zone(view.timeZone)}
      </Paging>
      {viewer.role === 'admin' && (
        <ExportLinks view={view} to={(format) => `/admin/people/export?${query}&format=${format}`} />
      )}
      <AsRequest
        view={view}
        calls={[
          { method: 'GET', path: `/v1/users${query && `?${query}`}` },
          ...(viewer.role === 'admin' ? [{ method: 'GET', path: '/v1/users/export?format=csv' }] : []),
        ]}
      />
    </ConsolePage>
  )
}

const UserRow: FC<{ view: View; user: ManagedUser; isSelf: boolean }> = ({ view, user, isSelf }) => {
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
