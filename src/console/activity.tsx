import type { FC } from 'hono/jsx'
import { ACTIONS, type Action } from '../activity/models.ts'
import type { Activity } from '../activity/schemas.ts'
import type { List } from '../http/pagination.ts'
import { AsRequest, Button, Empty, Message, Paging, type Said, Select } from '../pages/components.tsx'
import { History } from '../pages/history.tsx'
import { ConsolePage, Head } from '../pages/layout.tsx'
import type { PageProps } from './today.tsx'

export const ActivityPage: FC<
  PageProps & {
    list: List<Activity>
    names: Record<string, string>
    filter: { action: string; from: string; to: string }
    message?: Said | undefined
    errors?: Record<string, string>
  }
> = ({ view, viewer, list, names, filter, message, errors = {} }) => {
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
      <form class="filters wrap" method="get" action="/admin/activity">
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
      <div class="actions flush">
        <a class="button quiet" href={`/admin/activity/export?${query({ format: 'csv' })}`}>
          {texts.exportCsv}
        </a>
        <a class="button quiet" href={`/admin/activity/export?${query({ format: 'ndjson' })}`}>
          {texts.exportNdjson}
        </a>
      </div>
      <AsRequest
        view={view}
        calls={[
          { method: 'GET', path: `/v1/activity${filter.action ? `?action=${filter.action}` : ''}` },
          { method: 'GET', path: '/v1/activity/export?format=csv' },
        ]}
      />
    </ConsolePage>
  )
}

const invalid = (error: string | undefined) => (error ? { 'aria-invalid': 'true' as const } : {})
