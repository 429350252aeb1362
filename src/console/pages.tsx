import type { FC } from 'hono/jsx'
import { ACTIONS } from '../activity/models.ts'
import type { Activity } from '../activity/schemas.ts'
import type { CleanupRun } from '../cleanup/schemas.ts'
import type { Invitation } from '../invitations/schemas.ts'
import { Ago, AsRequest, Badge, Button, Empty, Form, Notice, Select } from '../pages/components.tsx'
import { toDay, toLongDay, toNumber } from '../pages/format.ts'
import { History } from '../pages/history.tsx'
import { ConsolePage, Head, Section, type Viewer } from '../pages/layout.tsx'
import type { View } from '../pages/view.ts'
import type { readToday } from './queries.ts'

interface PageProps {
  view: View
  viewer: Viewer
}

export const TodayPage: FC<PageProps & { today: Awaited<ReturnType<typeof readToday>> }> = ({
  view,
  viewer,
  today,
}) => {
  const { common, console } = view.texts
  const texts = console.today
  const number = (value: number) => toNumber(view.language, value)
  const tries = today.signedIn + today.failed
  const share = `${tries === 0 ? 0 : Math.round((today.failed / tries) * 100)} %`
  return (
    <ConsolePage view={view} viewer={viewer} title={texts.title}>
      <Head title={texts.title} lead={`${toLongDay(view, view.now)}, ${view.timeZone}`} />
      <section>
        <h2>{texts.attention}</h2>
        <div class="rows">
          {today.mail.dead > 0 && (
            <div class="row">
              <div class="what">
                <span class="title">
                  <Badge tone="warn">{texts.stuck}</Badge> {texts.deadMails(today.mail.dead)}
                </span>
                <span class="detail">{texts.deadMailsHint}</span>
              </div>
              {viewer.role === 'admin' && (
                <a class="button" href="/admin/system">
                  {texts.seeMails}
                </a>
              )}
            </div>
          )}
          {today.mail.dead === 0 && <p class="row soft">{texts.nothing}</p>}
        </div>
      </section>
      <dl class="figures">
        <div>
          <dt>{texts.people}</dt>
          <dd>{number(today.totals.all ?? 0)}</dd>
          <dd class="hint">{texts.newToday(number(today.signedUp))}</dd>
        </div>
        <div>
          <dt>{texts.signedIn}</dt>
          <dd>{number(today.signedIn)}</dd>
        </div>
        <div>
          <dt>{texts.failed}</dt>
          <dd>{number(today.failed)}</dd>
          <dd class="hint">{texts.ofTries(share)}</dd>
        </div>
        <div>
          <dt>{texts.invited}</dt>
          <dd>{number(today.invited)}</dd>
        </div>
      </dl>
      <section class="content">
        <div class="head">
          <h2>{texts.latest}</h2>
          <a href="/admin/activity">{texts.all}</a>
        </div>
        {today.history.length === 0 ? (
          <p class="soft">{texts.quiet}</p>
        ) : (
          <History view={view} rows={today.history} viewerId={viewer.id} names={today.names} />
        )}
        <p class="hint">{common.zone(view.timeZone)}</p>
      </section>
    </ConsolePage>
  )
}

export const ActivityPage: FC<
  PageProps & {
    rows: Activity[]
    names: Record<string, string>
    next: string | null
    filter: { action: string; from: string; to: string }
    isContinued: boolean
  }
> = ({ view, viewer, rows, names, next, filter, isContinued }) => {
  const { common, console } = view.texts
  const texts = console.activity
  const at = (more: Record<string, string> = {}) =>
    `/admin/activity?${new URLSearchParams(Object.entries({ ...filter, ...more }).filter(([, value]) => value))}`
  return (
    <ConsolePage view={view} viewer={viewer} title={texts.title}>
      <Head title={texts.title} lead={texts.lead} />
      <form class="filters wrap" method="get" action="/admin/activity">
        <Select
          name="action"
          label={texts.action}
          value={filter.action}
          options={[
            ['', texts.anyAction],
            ...Object.keys(ACTIONS).map((name): [string, string] => [name, name]),
          ]}
        />
        <div class="field">
          <label for="from">{texts.from}</label>
          <input type="date" id="from" name="from" value={filter.from} />
        </div>
        <div class="field">
          <label for="to">{texts.to}</label>
          <input type="date" id="to" name="to" value={filter.to} />
        </div>
        <Button>{console.people.apply}</Button>
        <a class="button quiet" href="/admin/activity">
          {console.people.clear}
        </a>
      </form>
      {rows.length === 0 ? (
        <Empty title={texts.none}>
          <p>{texts.noneHint}</p>
        </Empty>
      ) : (
        <History view={view} rows={rows} viewerId={viewer.id} names={names} dayAs="h2" />
      )}
      <div class="paging">
        <span>{common.zone(view.timeZone)}</span>
        {isContinued && (
          <a class="button quiet" href={at()}>
            {common.firstPage}
          </a>
        )}
        {next && (
          <a class="button" href={at({ cursor: next })} rel="next">
            {common.next}
          </a>
        )}
      </div>
      <AsRequest
        view={view}
        method="GET"
        path={`/v1/activity${filter.action ? `?action=${filter.action}` : ''}`}
      />
    </ConsolePage>
  )
}

export interface InviteResult {
  email: string
  /** A sentence on what stood in the way; undefined when it is on its way. */
  problem?: string
}

export const InvitationsPage: FC<
  PageProps & {
    invitations: Invitation[]
    next: string | null
    isContinued: boolean
    results?: InviteResult[]
    typed?: string
    message?: string | undefined
    problem?: string | undefined
  }
> = ({ view, viewer, invitations, next, isContinued, results, typed, message, problem }) => {
  const { common, console } = view.texts
  const texts = console.invitations
  const failed = results?.filter(({ problem }) => problem) ?? []
  const sent = (results?.length ?? 0) - failed.length
  return (
    <ConsolePage view={view} viewer={viewer} title={texts.title}>
      <Head title={texts.title} />
      {message && <Notice title={message} />}
      {problem && <Notice tone="danger" title={problem} />}
      {results && (
        <Notice
          title={[texts.sent(sent), ...(failed.length > 0 ? [texts.notSent(failed.length)] : [])].join(', ')}
          {...(failed.length > 0 && { tone: 'warn' as const })}
        >
          {failed.length > 0 && (
            <ul>
              {failed.map(({ email, problem }) => (
                <li>
                  <bdi>{email}</bdi>: {problem}
                </li>
              ))}
            </ul>
          )}
        </Notice>
      )}
      <div class="sections">
        <Section title={texts.inviteTitle} hint={texts.inviteHint}>
          <Form action="/admin/invitations" token={viewer.formToken}>
            <div class="field">
              <label for="emails">{texts.emails}</label>
              <textarea id="emails" name="emails" required placeholder="ada@example.com">
                {typed}
              </textarea>
            </div>
            {viewer.role === 'admin' && (
              <Select
                name="role"
                label={console.person.role}
                value="user"
                options={Object.entries(common.roles)}
              />
            )}
            <Button style="primary">{texts.button}</Button>
          </Form>
          <AsRequest
            view={view}
            method="POST"
            path="/v1/invitations"
            body={{ email: 'ada@example.com', role: 'user' }}
          />
        </Section>
      </div>
      {invitations.length === 0 ? (
        <Empty title={texts.none}>
          <p>{texts.noneHint}</p>
        </Empty>
      ) : (
        <div class="rows">
          {invitations.map((invitation) => (
            <div class="row">
              <div class="what">
                <span class="title">
                  <bdi class="cut">{invitation.email}</bdi>
                  {invitation.status !== 'pending' && (
                    <Badge>{texts.status[invitation.status] ?? invitation.status}</Badge>
                  )}
                </span>
                <span class="detail">
                  {common.roles[invitation.role]}
                  {invitation.status === 'pending' &&
                    ` · ${texts.until(toDay(view, Date.parse(invitation.expires_at)))}`}
                </span>
              </div>
              {['pending', 'expired'].includes(invitation.status) && (
                <div class="actions">
                  <Form
                    action={`/admin/invitations/${invitation.id}/resend`}
                    token={viewer.formToken}
                    class=""
                  >
                    <Button>{texts.resend}</Button>
                  </Form>
                  <Form
                    action={`/admin/invitations/${invitation.id}/withdraw`}
                    token={viewer.formToken}
                    class=""
                  >
                    <Button style="quiet">{texts.withdraw}</Button>
                  </Form>
                </div>
              )}
            </div>
          ))}
        </div>
      )}
      <div class="paging">
        <span>{common.zone(view.timeZone)}</span>
        {isContinued && (
          <a class="button quiet" href="/admin/invitations">
            {common.firstPage}
          </a>
        )}
        {next && (
          <a class="button" href={`/admin/invitations?${new URLSearchParams({ cursor: next })}`} rel="next">
            {common.next}
          </a>
        )}
      </div>
    </ConsolePage>
  )
}

export const SystemPage: FC<
  PageProps & { redis: boolean; mail: { waiting: number; dead: number }; runs: CleanupRun[] }
> = ({ view, viewer, redis, mail, runs }) => {
  const texts = view.texts.console.system
  return (
    <ConsolePage view={view} viewer={viewer} title={texts.title}>
      <Head title={texts.title} lead={texts.lead} />
      {redis ? (
        <Notice title={texts.ready} />
      ) : (
        <Notice tone="warn" title={texts.degraded}>
          <p>{texts.degradedHint}</p>
        </Notice>
      )}
      <div class="sections">
        <Section title={texts.title}>
          <div class="rows">
            <div class="row">
              <div class="what">
                <span class="title">{texts.database}</span>
                <span class="detail">{texts.ok}</span>
              </div>
            </div>
            <div class="row">
              <div class="what">
                <span class="title">{texts.redis}</span>
                <span class="detail">{redis ? texts.ok : texts.away}</span>
              </div>
            </div>
            <div class="row">
              <div class="what">
                <span class="title">{texts.mail}</span>
                <span class="detail">
                  {texts.waiting(mail.waiting)}, {texts.dead(mail.dead)}
                </span>
              </div>
            </div>
          </div>
          <AsRequest view={view} method="GET" path="/ready" />
        </Section>
        <Section title={texts.runs} hint={texts.runsHint}>
          {runs.length === 0 && <p class="soft">{texts.noRuns}</p>}
          <div class="rows">
            {runs.map((run) => {
              const removed = Object.entries(run.removed)
              return (
                <div class="row">
                  <div class="what">
                    <span class="title">
                      <Ago view={view} at={Date.parse(run.started_at)} />
                      {run.finished_at === null && <Badge tone="warn">{texts.running}</Badge>}
                    </span>
                    <span class="detail">
                      {removed.length === 0
                        ? texts.nothingRemoved
                        : removed
                            .map(([name, count]) => `${name} ${toNumber(view.language, count)}`)
                            .join(', ')}
                    </span>
                  </div>
                </div>
              )
            })}
          </div>
          <AsRequest view={view} method="GET" path="/v1/cleanup/runs" />
        </Section>
      </div>
    </ConsolePage>
  )
}
