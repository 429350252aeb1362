import type { Child, FC } from 'hono/jsx'
import type { List } from '../http/pagination.ts'
import { AsRequest, Button, Empty, Fold, Form, Message, Paging, type Said } from '../pages/components.tsx'
import { ConsolePage, Head, Section, type Viewer } from '../pages/layout.tsx'
import type { View } from '../pages/view.ts'
import type { PageProps } from './today.tsx'

/** One item of a list: a link to its page, and what is shown with it. */
interface Row {
  href: string
  name: string
  /** The full text, where the name is shortened. */
  title: string
  badge?: Child
  detail: Child
}

interface Rows {
  path: string
  /** The same list in the API. */
  api: string
  texts: { title: string; lead: string; add: string; none: string; noneHint: string }
  rows: Row[]
  /** Set if the list has more than one page. */
  pages?: List<unknown>['pagination']
  message?: Said | undefined
}

/** The page of a list, with a button to add an item. */
export const RowsPage: FC<PageProps & Rows> = ({ view, viewer, path, api, texts, rows, pages, message }) => {
  const at = ({ cursor }: { cursor?: string }) =>
    `${path}${cursor ? `?${new URLSearchParams({ cursor })}` : ''}`
  return (
    <ConsolePage view={view} viewer={viewer} title={texts.title} isError={message?.tone === 'danger'}>
      <Head title={texts.title} lead={texts.lead}>
        <a class="button primary" href={`${path}/new`}>
          {texts.add}
        </a>
      </Head>
      <Message message={message} />
      {rows.length === 0 ? (
        <Empty title={texts.none}>
          <p>{texts.noneHint}</p>
        </Empty>
      ) : (
        <div class="rows">
          {rows.map(({ href, name, title, badge, detail }) => (
            <div class="row">
              <div class="what">
                <span class="title">
                  <a class="cut" href={href} title={title}>
                    <bdi>{name}</bdi>
                  </a>
                  {badge && <> {badge}</>}
                </span>
                <span class="detail">{detail}</span>
              </div>
            </div>
          ))}
        </div>
      )}
      {pages && <Paging view={view} pages={pages} at={at} />}
      <AsRequest view={view} method="GET" path={api} />
    </ConsolePage>
  )
}

interface Removing {
  viewer: Viewer
  path: string
  texts: { section: string; fold: string; hint: string; button: string }
}

/** Deletes one item permanently, on its page at `path`. */
export const Remove: FC<Removing> = ({ viewer, path, texts }) => (
  <Section title={texts.section}>
    <Fold summary={texts.fold}>
      <Form action={`${path}/delete`} token={viewer.formToken}>
        <p class="soft">{texts.hint}</p>
        <Button style="destroy">{texts.button}</Button>
      </Form>
    </Fold>
  </Section>
)

/** A list as a file. `to` gives the link for a format. */
export const ExportLinks: FC<{ view: View; to: (format: 'csv' | 'ndjson') => string }> = ({ view, to }) => (
  <div class="actions flush">
    <a class="button quiet" href={to('csv')}>
      {view.texts.console.people.exportCsv}
    </a>
    <a class="button quiet" href={to('ndjson')}>
      {view.texts.console.people.exportNdjson}
    </a>
  </div>
)
