import type { FC } from 'hono/jsx'
import type { BulkAction } from '../../bulk/schemas.ts'
import { AsRequest, Badge, Button, Field, Form, Notice, Tile } from '../../pages/components.tsx'
import { ConsolePage, Head, type Viewer } from '../../pages/layout.tsx'
import type { View } from '../../pages/view.ts'
import type { ManagedUser } from '../../users/schemas.ts'
import { StateBadge } from './state.tsx'

/** What is about to be done, and to whom, with one button. */
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
      <Head title={bulk.title[action]} lead={bulk.confirm[action](view.purgeDays)} />
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
          <Field name="reason" label={bulk.reason} hint={bulk.reasonHint} autocomplete="off" required />
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
      <AsRequest
        view={view}
        method="POST"
        path="/v1/users/bulk"
        body={{
          action,
          ids: people.map(({ id }) => id),
          ...(action === 'disable' && { reason: '…' }),
        }}
      />
    </ConsolePage>
  )
}

export interface ResultOfOne {
  user: ManagedUser | undefined
  id: string
  /** The code of the problem; undefined where it succeeded. */
  problem?: string
}

export const BulkResultPage: FC<{
  view: View
  viewer: Viewer
  action: BulkAction
  results: ResultOfOne[]
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
