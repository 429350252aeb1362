import type { FC } from 'hono/jsx'
import type { List } from '../http/pagination.ts'
import { AsRequest, Button, Day, Empty, Form, Notice, Paging, type Said } from '../pages/components.tsx'
import { ConsolePage, Head, Section } from '../pages/layout.tsx'
import type { Outcome } from '../pages/submit.ts'
import type { View } from '../pages/view.ts'
import type { Wrong } from '../signup-blocks/entries.ts'
import type { SignupBlock } from '../signup-blocks/schemas.ts'
import { Lines, SearchBox } from './fields.tsx'
import type { PageProps } from './today.tsx'

export const BLOCKED_PAGE = '/admin/blocked'
/** How many mistakes are shown before the rest is only counted. */
const MAX_NAMED = 5

/** What the page shows: the entry that is asked about, and the part of the list. */
export interface Place {
  covers?: string
  cursor?: string
}

export interface BlockedMessage extends Said {
  /** The entry that was taken off the list. */
  again?: string | undefined
  /** The message is shown beside the list, where the button was. */
  isOfList?: boolean
}

export interface BlockedOutcome extends Pick<Outcome, 'values' | 'errors'> {
  message?: BlockedMessage | undefined
  wrong?: readonly Wrong[]
}

interface Shown {
  list: List<SignupBlock>
  /** Entries of the setting: all of them, or those that cover what is asked about. */
  ofSetting: string[]
  place: Place
  /** The address of a part of the list, with what is asked about sealed in it. */
  at: (more: { cursor?: string }) => string
}

/** Who may not sign up: the same as /v1/signup_blocks, and what the setting lists. */
export const BlockedPage: FC<PageProps & BlockedOutcome & Shown> = ({
  view,
  viewer,
  list,
  ofSetting,
  place,
  at,
  message,
  values,
  errors = {},
  wrong = [],
}) => {
  const { blocked } = view.texts
  const { covers = '' } = place
  const { total } = list.pagination
  const isFound = list.data.length > 0 || ofSetting.length > 0
  const said = message && (
    <Notice title={message.title} {...(message.tone && { tone: message.tone })}>
      {message.text && <p>{message.text}</p>}
      {message.again && (
        <Form action={BLOCKED_PAGE} token={viewer.formToken} class="actions">
          <Kept {...place} />
          <input type="hidden" name="again" value={message.again} />
          <Button>{blocked.again}</Button>
        </Form>
      )}
    </Notice>
  )
  return (
    <ConsolePage view={view} viewer={viewer} title={blocked.title} isError={message?.tone === 'danger'}>
      <Head title={blocked.title} lead={blocked.lead} />
      {!message?.isOfList && said}
      <div class="sections">
        <Section title={blocked.add} hint={blocked.addHint}>
          <Form action={BLOCKED_PAGE} token={viewer.formToken}>
            <Lines
              name="entries"
              label={blocked.entries}
              hint={blocked.entriesHint}
              value={values?.entries}
              error={wrong.length > 0 ? <Mistakes view={view} wrong={wrong} /> : errors.entries}
              required
              autocapitalize="none"
            />
            <Button style="primary">{blocked.button}</Button>
          </Form>
        </Section>
      </div>
      <section class="stack" id="list">
        <h2>{blocked.list}</h2>
        {message?.isOfList && said}
        {total !== null && total > 0 && <p class="soft">{blocked.total(total)}</p>}
        <Form action={`${BLOCKED_PAGE}/look_up`} token={viewer.formToken} class="filters wrap">
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
            <a class="button quiet" href={`${BLOCKED_PAGE}#list`}>
              {blocked.clear}
            </a>
          )}
        </Form>
        {covers && isFound && <p>{blocked.found(covers)}</p>}
        {!isFound && !errors.covers && (
          <Empty title={covers ? blocked.notCovered(covers) : blocked.none}>
            <p>{covers ? blocked.notCoveredHint : blocked.noneHint}</p>
          </Empty>
        )}
        {list.data.length > 0 && (
          <div class="rows">
            {list.data.map(({ entry, created_at }) => (
              <div class="row">
                <div class="what">
                  <bdi class="title">{entry}</bdi>
                  <span class="detail">
                    {blocked.since} <Day view={view} at={Date.parse(created_at)} />
                  </span>
                </div>
                <Form action={`${BLOCKED_PAGE}/remove`} token={viewer.formToken} class="">
                  <Kept {...place} />
                  <input type="hidden" name="entry" value={entry} />
                  <Button aria-label={`${blocked.unblock}: ${entry}`}>{blocked.unblock}</Button>
                </Form>
              </div>
            ))}
          </div>
        )}
        {ofSetting.length > 0 && (
          <details class="fold" open={covers !== ''}>
            <summary>{blocked.setting(ofSetting.length)}</summary>
            <ul>
              {ofSetting.map((entry) => (
                <li>
                  <bdi>{entry}</bdi>
                </li>
              ))}
            </ul>
            <p class="hint">{blocked.settingHint}</p>
          </details>
        )}
        <Paging view={view} pages={list.pagination} at={at} />
      </section>
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

/** Keeps the reader's place in the list when a button of it is pressed. */
const Kept: FC<Place> = (place) => (
  <>
    {Object.entries(place).map(([name, value]) => (
      <input type="hidden" name={name} value={value} />
    ))}
  </>
)

/** The first few mistakes, one per line, each with the correct spelling where that differs. */
const Mistakes: FC<{ view: View; wrong: readonly Wrong[] }> = ({ view, wrong }) => {
  const { blocked } = view.texts
  const named = wrong.slice(0, MAX_NAMED)
  const isFirst = ({ fault }: Wrong, at: number) => named.findIndex((one) => one.fault === fault) === at
  return (
    <ul>
      {named.map((one, at) => (
        <li>
          {blocked.line(one.line)} {blocked.wrong[one.fault](one.typed)}
          {isFirst(one, at) && ` ${blocked.mend[one.fault]}`}
        </li>
      ))}
      {wrong.length > named.length && <li>{blocked.more(wrong.length - named.length)}</li>}
    </ul>
  )
}
