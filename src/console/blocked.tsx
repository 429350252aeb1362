import type { FC } from 'hono/jsx'
import type { List } from '../http/pagination.ts'
import { AsRequest, Button, Day, Empty, Form, Message, Paging } from '../pages/components.tsx'
import { ConsolePage, Head, Section } from '../pages/layout.tsx'
import type { Outcome } from '../pages/submit.ts'
import type { SignupBlock } from '../signup-blocks/schemas.ts'
import { Lines, SearchBox } from './fields.tsx'
import type { PageProps } from './today.tsx'

export const BLOCKED_PAGE = '/admin/blocked'

/** Where on the page: what is asked about, and which part of the list. */
export interface Place {
  covers?: string
  cursor?: string
}

export function blockedAt(given: Record<string, string | undefined> | Place): string {
  const query = new URLSearchParams(Object.entries(given).filter(([, value]) => value)).toString()
  return query ? `${BLOCKED_PAGE}?${query}` : BLOCKED_PAGE
}

interface Shown {
  list: List<SignupBlock>
  /** Of the setting, those that there are, or that cover what is asked about. */
  ofSetting: string[]
  place: Place
}

/** Who may not sign up: what /v1/signup_blocks can do, and what the setting says. */
export const BlockedPage: FC<PageProps & Outcome & Shown> = ({
  view,
  viewer,
  list,
  ofSetting,
  place,
  message,
  values,
  errors = {},
}) => {
  const { blocked } = view.texts
  const { covers = '' } = place
  const at = ({ cursor }: { cursor?: string }) => blockedAt({ covers, cursor })
  return (
    <ConsolePage view={view} viewer={viewer} title={blocked.title} isError={message?.tone === 'danger'}>
      <Head title={blocked.title} lead={blocked.lead} />
      <Message message={message} />
      <div class="sections">
        <Section title={blocked.add} hint={blocked.addHint}>
          <Form action={BLOCKED_PAGE} token={viewer.formToken}>
            <Lines
              name="entries"
              label={blocked.entries}
              hint={blocked.entriesHint}
              value={values?.entries}
              error={errors.entries}
              required
              autocapitalize="none"
            />
            <Button style="primary">{blocked.button}</Button>
          </Form>
        </Section>
      </div>
      <form class="filters wrap" method="get" action={BLOCKED_PAGE}>
        <SearchBox
          name="covers"
          label={blocked.find}
          value={covers}
          error={errors.covers}
          autocapitalize="none"
          spellcheck={false}
        />
        <Button>{blocked.look}</Button>
        {covers && (
          <a class="button quiet" href={BLOCKED_PAGE}>
            {blocked.clear}
          </a>
        )}
      </form>
      {ofSetting.length > 0 && (
        <details class="fold" open={covers !== ''}>
          <summary>{(list.data.length > 0 ? blocked.settingToo : blocked.setting)(ofSetting.length)}</summary>
          <p class="soft">{blocked.settingHint}</p>
          <ul>
            {ofSetting.map((entry) => (
              <li>
                <bdi>{entry}</bdi>
              </li>
            ))}
          </ul>
        </details>
      )}
      {list.data.length === 0 && ofSetting.length === 0 && !errors.covers && (
        <Empty title={covers ? blocked.notCovered(covers) : blocked.none}>
          <p>{covers ? blocked.notCoveredHint : blocked.noneHint}</p>
        </Empty>
      )}
      {list.data.length > 0 && (
        <div class="rows">
          {list.data.map(({ entry, created_at }) => (
            <div class="row">
              <div class="what">
                <span class="title">
                  <bdi class="cut" title={entry}>
                    {entry}
                  </bdi>
                </span>
                <span class="detail">
                  {blocked.since} <Day view={view} at={Date.parse(created_at)} />
                </span>
              </div>
              <Form action={`${BLOCKED_PAGE}/remove`} token={viewer.formToken} class="">
                {Object.entries(place).map(([name, value]) => (
                  <input type="hidden" name={name} value={value} />
                ))}
                <input type="hidden" name="entry" value={entry} />
                <Button>{blocked.unblock}</Button>
              </Form>
            </div>
          ))}
        </div>
      )}
      <Paging view={view} pages={list.pagination} at={at} />
      <AsRequest
        view={view}
        calls={[
          { method: 'PATCH', path: '/v1/signup_blocks', body: { add: ['example.com', '192.0.2.0/24'] } },
          { method: 'PATCH', path: '/v1/signup_blocks', body: { remove: ['example.com'] } },
          { method: 'GET', path: '/v1/signup_blocks?covers=ada@example.com' },
        ]}
      />
    </ConsolePage>
  )
}
