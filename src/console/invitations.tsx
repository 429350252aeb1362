import type { FC } from 'hono/jsx'
import type { List } from '../http/pagination.ts'
import type { Invitation } from '../invitations/schemas.ts'
import {
  AsRequest,
  Badge,
  Button,
  Empty,
  Form,
  Message,
  Notice,
  Paging,
  type Said,
} from '../pages/components.tsx'
import { toDay } from '../pages/format.ts'
import { ConsolePage, Head, Section } from '../pages/layout.tsx'
import { Lines } from './fields.tsx'
import type { PageProps } from './today.tsx'
import { RoleSelect } from './users/roles.tsx'

export interface InviteResult {
  email: string
  /** Why it failed; undefined when the invitation was sent. */
  problem?: string
}

export const InvitationsPage: FC<
  PageProps & {
    list: List<Invitation>
    results?: InviteResult[]
    typed?: string | undefined
    role?: string | undefined
    message?: Said | undefined
  }
> = ({ view, viewer, list, results, typed, role, message }) => {
  const texts = view.texts.console.invitations
  const at = ({ cursor }: { cursor?: string }) =>
    `/admin/invitations${cursor ? `?${new URLSearchParams({ cursor })}` : ''}`
  return (
    <ConsolePage view={view} viewer={viewer} title={texts.title} isError={message?.tone === 'danger'}>
      <Head title={texts.title} />
      <Message message={message} />
      {results && <Results view={view} results={results} />}
      <div class="sections">
        <Section title={texts.inviteTitle} hint={texts.inviteHint}>
          <Form action="/admin/invitations" token={viewer.formToken}>
            <Lines
              name="emails"
              label={texts.emails}
              value={typed}
              placeholder={'ada@example.com\ngrace@example.com, Grace Hopper'}
              required
            />
            <RoleSelect view={view} viewer={viewer} value={role} />
            <Button style="primary">{texts.button}</Button>
          </Form>
          <AsRequest
            view={view}
            method="POST"
            path="/v1/invitations/bulk"
            body={{ invitations: [{ email: 'ada@example.com', name: 'Ada Lovelace', role: 'user' }] }}
          />
        </Section>
      </div>
      {list.data.length === 0 ? (
        <Empty title={texts.none}>
          <p>{texts.noneHint}</p>
        </Empty>
      ) : (
        <div>
          <div class="rows">
            {list.data.map((invitation) => (
              <Row view={view} viewer={viewer} invitation={invitation} />
            ))}
          </div>
          <AsRequest
            view={view}
            calls={[
              { method: 'POST', path: `/v1/invitations/${list.data[0]!.id}/resend` },
              { method: 'DELETE', path: `/v1/invitations/${list.data[0]!.id}` },
            ]}
          />
        </div>
      )}
      <Paging view={view} pages={list.pagination} at={at} />
    </ConsolePage>
  )
}

const Row: FC<PageProps & { invitation: Invitation }> = ({ view, viewer, invitation }) => {
  const { common, console } = view.texts
  const texts = console.invitations
  const { id, email, name, role, status } = invitation
  return (
    <div class="row">
      <div class="what">
        <span class="title">
          <bdi class="cut" title={email}>
            {email}
          </bdi>
          {status !== 'pending' && <Badge>{texts.status[status] ?? status}</Badge>}
        </span>
        <span class="detail">
          {name && (
            <>
              <bdi>{name}</bdi>
              {' · '}
            </>
          )}
          {common.roles[role]}
          {status === 'pending' && ` · ${texts.until(toDay(view, Date.parse(invitation.expires_at)))}`}
        </span>
      </div>
      {['pending', 'expired'].includes(status) && (
        <div class="actions">
          <Form action={`/admin/invitations/${id}/resend`} token={viewer.formToken} class="">
            <Button>{texts.resend}</Button>
          </Form>
          <Form action={`/admin/invitations/${id}/withdraw`} token={viewer.formToken} class="">
            <Button style="quiet">{texts.withdraw}</Button>
          </Form>
        </div>
      )}
    </div>
  )
}

/** The results of inviting many, failures first. */
const Results: FC<{ view: PageProps['view']; results: InviteResult[] }> = ({ view, results }) => {
  const texts = view.texts.console.invitations
  const failed = results.filter(({ problem }) => problem)
  const sent = results.length - failed.length
  return (
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
  )
}
