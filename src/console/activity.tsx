import type { FC } from 'hono/jsx'
import { ACTIONS, type Action } from '../activity/models.ts'
import type { Activity } from '../activity/schemas.ts'
import type { List } from '../http/pagination.ts'
import { AsRequest, Button, Empty, Message, Paging, type Said, Select } from '../pages/components.tsx'
import { History } from '../pages/history.tsx'
import { ConsolePage, Head } from '../pages/layout.tsx'
import { ExportLinks } from './rows.tsx'
import type { PageProps } from './today.tsx'

export const ActivityPage: FC<
  PageProps & {
    list: List<Activity>
    names: Record<string, string>
    filter: { action: string; from: string; to: string; user_id: string; actor_id: string }
    message?: Said | undefined
    errors?: Record<string, string>
    /** The equivalent API request. */
    asked: string
  }
> = ({ view, viewer, list, names, filter, asked, message, errors = {} }) => {
  const { console, history } = view.texts
  const texts = console.activity
  const query = (more: Record<string, string | undefined>) =>
    new URLSearchParams(
      Object.entries({ ...filter, ...more }).filter((entry): entry is [string, string] => Boolean(entry[1])),
    )
  const at = (more: { cursor?: string }) => `/admin/activity?${query(more)}`
  return (
    <ConsolePage view={view} viewer={viewer} title={texts.title}>
      <Head title={texts.title} lead={texts.lead} />
      <Message message={message} />
      {[filter.user_id, filter.actor_id].filter(Boolean).map((id) => (
        <p class="soft">
          {id === filter.user_id ? texts.ofWhom : texts.byWhom}{' '}
          <a href={`/admin/people/${id}`}>
            <bdi>{names[id] ?? history.somebody}</bdi>
          </a>
          {' · '}
          <a href={`/admin/activity?${query({ user_id: '', actor_id: '' })}`}>{texts.everybody}</a>
        </p>
      ))}
      <form class="filters wrap" method="get" action="/admin/activity">
        {filter.user_id && <input type="hidden" name="user_id" value={filter.user_id} />}
        {filter.actor_id && <input type="hidden" name="actor_id" value={filter.actor_id} />}
        <Select
          name="action"
          label={texts.action}
          value={filter.action}
          options={[
            ['', texts.anyAction],
            ...(Object.keys(ACTIONS) as Action[]).map((name): [string, string] => [
              name,
              history.names[name],
            ]),
          ]}
        />
        <div class="field">
          <label for="from">{texts.from}</label>
          <input type="date" id="from" name="from" value={filter.from} {...invalid(errors.from)} />
        </div>
        <div class="field">
          <label for="to">{texts.to}</label>
          <input type="date" id="to" name="to" value={filter.to} {...invalid(errors.to)} />
        </div>
        <Button>{console.people.apply}</Button>
        <a class="button quiet" href="/admin/activity">
          {console.people.clear}
        </a>
      </form>
      {list.data.length === 0 ? (
        <Empty title={texts.none}>
          <p>{texts.noneHint}</p>
          <a class="button" href="/admin/activity">
            {console.people.clear}
          </a>
        </Empty>
      ) : (
        <History view={view} rows={list.data} viewerId={viewer.id} names={names} leads dayAs="h2" />
      )}
      <Paging view={view} pages={list.pagination} at={at} />
      <ExportLinks view={view} to={(format) => `/admin/activity/export?${query({ format })}`} />
      <AsRequest
        view={view}
        calls={[
          { method: 'GET', path: `/v1/activity${asked && `?${asked}`}` },
          { method: 'GET', path: `/v1/activity/export?${asked && `${asked}&`}format=csv` },
        ]}
      />
    </ConsolePage>
  )
}

const invalid = (error: string | undefined) => (error ? { 'aria-invalid': 'true' as const } : {})
