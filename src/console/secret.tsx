import type { FC } from 'hono/jsx'
import { Button, Copy, Fold, Form, Notice, Select } from '../pages/components.tsx'
import { toDuration } from '../pages/format.ts'
import { ConsolePage, Head, Section } from '../pages/layout.tsx'
import { DAY_MS, HOUR_MS } from '../values/durations.ts'
import type { PageProps } from './today.tsx'

/** The page's texts about a secret: an app's, or a webhook's. */
interface Texts {
  section: string
  hint: string
  replace: string
  former: string
  kept: (time: string) => string
  stolen: string
  button: string
  onlyTime: string
  onlyTimeHint: string
  saved: string
}

const FORMER = 'keep_former_seconds'
/** How long the former secret can stay valid. */
const CHOICES = [HOUR_MS, DAY_MS, 7 * DAY_MS]
const toSeconds = (ms: number) => String(ms / 1000)

/** The form that replaces the secret of the app or webhook at `path`. */
export const ReplaceSecret: FC<PageProps & { path: string; texts: Texts }> = ({
  view,
  viewer,
  path,
  texts,
}) => (
  <Section title={texts.section} hint={texts.hint} id="secret">
    <Fold summary={texts.replace}>
      <Form action={`${path}/secret`} token={viewer.formToken}>
        <Select
          name={FORMER}
          label={texts.former}
          value={toSeconds(DAY_MS)}
          options={[
            ...CHOICES.map((ms) => [toSeconds(ms), texts.kept(toDuration(view, ms))] as [string, string]),
            ['0', texts.stolen],
          ]}
        />
        <Button>{texts.button}</Button>
      </Form>
    </Fold>
  </Section>
)

/** The input of that form. */
export const keepFormerIn = (fields: Record<string, string>) => ({
  keep_former_seconds: Number(fields[FORMER] ?? 'NaN'),
})

interface Shown {
  title: string
  /** The list that the app or webhook belongs to. */
  list: { path: string; title: string }
  /** Where the page continues. */
  path: string
  texts: Texts
  /** The values to show, each with its label. */
  values: [label: string, value: string | undefined][]
}

/** The only time that a secret is shown. */
export const SecretPage: FC<PageProps & Shown> = ({ view, viewer, title, list, path, texts, values }) => (
  <ConsolePage view={view} viewer={viewer} title={title}>
    <p class="crumb">
      <a href={list.path}>{list.title}</a>
    </p>
    <Head title={title} />
    <Notice tone="warn" title={texts.onlyTime}>
      <p>{texts.onlyTimeHint}</p>
    </Notice>
    <div class="sections">
      {values.map(([label, value]) => (
        <Section title={label}>
          <Copy view={view}>{value}</Copy>
        </Section>
      ))}
    </div>
    <div class="actions">
      <a class="button primary" href={path}>
        {texts.saved}
      </a>
    </div>
  </ConsolePage>
)
