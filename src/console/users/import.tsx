import type { Child, FC } from 'hono/jsx'
import type { Line as ReadLine } from '../../bulk/import/lines.ts'
import { type LineResult, MAX_BYTES, MAX_ROWS } from '../../bulk/import/schemas.ts'
import type { InputError } from '../../http/problem.ts'
import { againAt } from '../../pages/again.ts'
import {
  AsRequest,
  Badge,
  Button,
  Checkbox,
  Field,
  Form,
  Message,
  Notice,
  type Said,
} from '../../pages/components.tsx'
import { problemText } from '../../pages/failing.tsx'
import { ConsolePage, Head, Section, type Viewer } from '../../pages/layout.tsx'
import type { View } from '../../pages/view.ts'
import { Lines } from '../fields.tsx'

export interface ImportOutcome {
  /** The lines in the form: those that were checked, or those that could not be imported. */
  lines?: string
  results?: Outcome[]
  /** It was an import, not a check. */
  isRun?: boolean
  /** An import of lines that had not been checked. */
  isOther?: boolean
  /** Imports people even if they were erased here. */
  takesErased?: boolean
  /** The digest of the lines that were checked, and may be imported. */
  checked?: string
  message?: Said | undefined
}

/** The result of a line, with its address where that could be read. */
export interface Outcome extends LineResult {
  email?: string | undefined
}

/** Results with the addresses in their lines. */
export function withAddresses(lines: readonly ReadLine[], results: readonly LineResult[]): Outcome[] {
  const emails = new Map(lines.map(({ line, user }) => [line, user?.email]))
  return results.map((result) => ({ ...result, email: emails.get(result.line) }))
}

export const IMPORT_PAGE = '/admin/people/import'

export const ImportPage: FC<{ view: View; viewer: Viewer } & ImportOutcome> = ({
  view,
  viewer,
  lines,
  results,
  isRun = false,
  isOther = false,
  takesErased = false,
  checked,
  message,
}) => {
  const { console, imports: texts } = view.texts
  const coming = results?.filter(({ status }) => status === 'created').length ?? 0
  const mayImport = checked !== undefined && coming > 0
  return (
    <ConsolePage view={view} viewer={viewer} title={texts.title} isError={message?.tone === 'danger'}>
      <p class="crumb">
        <a href="/admin/people">{console.people.title}</a>
      </p>
      <Head title={texts.title} lead={texts.lead(MAX_ROWS)} />
      <Message message={message} />
      {results && <Summary view={view} results={results} isRun={isRun} isOther={isOther} />}
      <div class="sections">
        <Section title={texts.from} hint={texts.fromHint}>
          <Form action={IMPORT_PAGE} token={viewer.formToken} takesFile>
            <Field
              name="file"
              type="file"
              label={texts.file}
              hint={texts.fileHint(MAX_BYTES / 1024 / 1024)}
              accept=".csv,.ndjson,.jsonl,.txt,text/csv,application/x-ndjson"
            />
            <Lines
              name="lines"
              label={texts.lines}
              hint={texts.linesHint}
              value={lines}
              class="mono"
              placeholder={'email,name\ngrace@example.com,Grace Hopper'}
              autocomplete="off"
            />
            <Checkbox name="include_erased" checked={takesErased}>
              {texts.takeErased} <span class="soft">{texts.takeErasedHint}</span>
            </Checkbox>
            {mayImport && <input type="hidden" name="checked" value={checked} />}
            <div class="actions">
              {mayImport && (
                <Button style="primary" name="act" value="import">
                  {texts.button(coming)}
                </Button>
              )}
              <Button {...(mayImport ? {} : { style: 'primary' as const })} name="act" value="check">
                {texts.check}
              </Button>
            </div>
            <p class="hint">{texts.checkHint}</p>
          </Form>
          <AsRequest
            view={view}
            calls={['?dry_run=true', '', '?include_erased=true'].map((query) => ({
              method: 'POST',
              path: `/v1/users/import${query}`,
              file: { type: 'text/csv', name: 'people.csv' },
            }))}
          />
        </Section>
        {results && (
          <Section title={texts.results}>
            <div class="rows">
              {results.map((result) => (
                <Line view={view} result={result} isRun={isRun} />
              ))}
            </div>
          </Section>
        )}
      </div>
    </ConsolePage>
  )
}

/** How many were imported, are here already, and could not be imported; and what to do next. */
const Summary: FC<{ view: View; results: Outcome[]; isRun: boolean; isOther: boolean }> = ({
  view,
  results,
  isRun,
  isOther,
}) => {
  const texts = view.texts.imports
  const [came, there, refused] = (['created', 'exists', 'invalid'] as const).map(
    (wanted) => results.filter(({ status }) => status === wanted).length,
  ) as [number, number, number]
  const title = [
    isRun ? texts.came(came) : texts.wouldCome(came),
    ...(there > 0 ? [texts.there(there)] : []),
    ...(refused > 0 ? [texts.refused(refused)] : []),
  ].join(', ')
  const asksForProof = results.some(({ errors }) =>
    errors?.some(({ code }) => code === 'reauthentication_required'),
  )
  return (
    <Notice title={title} {...(refused > 0 || isOther ? { tone: 'warn' } : isRun ? {} : { tone: 'info' })}>
      {isOther && <p>{texts.otherNow}</p>}
      {!isRun && <p>{texts.nothingYet}</p>}
      {isRun && refused > 0 && <p>{texts.leftOver}</p>}
      {asksForProof && (
        <p>
          {texts.proveFirst}{' '}
          {/* In another tab: the lines have hashes and seeds, which must not be carried in a URL. */}
          <a href={againAt(IMPORT_PAGE)} target="_blank" rel="noopener">
            {texts.prove}
          </a>
        </p>
      )}
    </Notice>
  )
}

const Line: FC<{ view: View; result: Outcome; isRun: boolean }> = ({ view, result, isRun }) => {
  const texts = view.texts.imports
  const { line, status, id, email, by, errors = [], warnings = [], needs_reset } = result
  const said: Child[] = [
    ...(email ? [texts.line(line)] : []),
    ...(by ? [by === 'address' ? texts.byAddress : texts.byExternalId] : []),
    ...[...errors, ...warnings].map((flaw) => <Flaw view={view} flaw={flaw} />),
    ...(needs_reset ? [texts.needsReset] : []),
  ]
  const name = email && <bdi class="cut">{email}</bdi>
  return (
    <div class="row">
      <div class="what">
        <span class="title">
          {id ? <a href={`/admin/people/${id}`}>{name}</a> : (name ?? texts.line(line))}
        </span>
        <span class="detail">{said.flatMap((one, at) => (at > 0 ? [' · ', one] : [one]))}</span>
      </div>
      {status === 'invalid' ? (
        <Badge tone="danger">{texts.invalid}</Badge>
      ) : (
        <Badge>{status === 'exists' ? texts.exists : isRun ? texts.imported : texts.new}</Badge>
      )}
    </div>
  )
}

/** Which cell is wrong, and why. */
const Flaw: FC<{ view: View; flaw: InputError }> = ({ view, flaw }) => (
  <>
    {flaw.pointer !== '' && (
      <>
        <code>{flaw.pointer.slice(1)}</code>:{' '}
      </>
    )}
    {sentenceOf(view, flaw)}
  </>
)

const sentenceOf = (view: View, { code, detail }: InputError) =>
  view.texts.imports.problems[code] ?? problemText(view, { code, message: detail })

/** What is wrong with the input as a whole. */
export function whatIsWrong(view: View, errors: readonly InputError[]): string | undefined {
  const texts = view.texts.imports
  const [first] = errors
  if (!first) return undefined
  if (first.code === 'unknown_member') return texts.unknownColumn(first.pointer.slice(1))
  if (first.code === 'too_big') return texts.tooMany(MAX_ROWS)
  if (first.code === 'too_small') return texts.none
  return `${first.pointer.slice(1)}: ${sentenceOf(view, first)}`
}
