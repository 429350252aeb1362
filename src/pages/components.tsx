import type { Child, FC, PropsWithChildren } from 'hono/jsx'
import { type Clock, initialsOf, toAgo, toDay, toFull } from './format.ts'
import type { View } from './view.ts'

const PATHS = {
  alert: 'M8 2.5 14.5 13.5h-13zM8 7v3M8 12v.2',
  check: 'M3 8.5 6.5 12 13 4.5',
  info: 'M8 1.75a6.25 6.25 0 1 0 0 12.5 6.25 6.25 0 0 0 0-12.5M8 7.5v4M8 5v.2',
  search: 'M7 2.5a4.5 4.5 0 1 0 0 9 4.5 4.5 0 0 0 0-9M10.5 10.5 14 14',
  computer: 'M3 3.5h10v7H3zM1.5 12.5h13',
  phone: 'M5 1.75h6v12.5H5zM7.5 12h1',
  key: 'M5 5.5a2.5 2.5 0 1 0 0 5 2.5 2.5 0 0 0 0-5M7.5 8h6.5v2.5M11.5 8v2',
}

export const Icon: FC<{ name: keyof typeof PATHS; size?: number }> = ({ name, size = 16 }) => (
  <svg
    width={size}
    height={size}
    viewBox="0 0 16 16"
    fill="none"
    stroke="currentColor"
    stroke-width="1.5"
    stroke-linecap="round"
    stroke-linejoin="round"
    aria-hidden="true"
  >
    <path d={PATHS[name]} />
  </svg>
)

/** At the top of a page: what happened, and what to do next. It takes the focus, so that it is read first. */
export const Notice: FC<PropsWithChildren<{ tone?: 'danger' | 'warn' | 'info'; title: string }>> = ({
  tone,
  title,
  children,
}) => (
  <div
    class={`notice ${tone ?? ''}`}
    role={tone === 'danger' ? 'alert' : 'status'}
    tabindex={-1}
    autofocus
    id="message"
  >
    <Icon name={tone === 'danger' || tone === 'warn' ? 'alert' : tone === 'info' ? 'info' : 'check'} />
    <strong>{title}</strong>
    {children}
  </div>
)

/** What was just done, or why it was not. */
export interface Said {
  tone?: 'danger' | 'warn' | 'info'
  title: string
  text?: Child
}

export const Message: FC<{ message: Said | undefined }> = ({ message }) =>
  message ? (
    <Notice title={message.title} {...(message.tone && { tone: message.tone })}>
      {message.text && <p>{message.text}</p>}
    </Notice>
  ) : null

export interface FieldProps {
  name: string
  label: Child
  type?: string
  value?: string | undefined
  hint?: Child
  error?: string | undefined
  autocomplete?: string
  inputmode?: 'numeric' | 'email'
  required?: boolean
  autofocus?: boolean
  readonly?: boolean
  /** Shown beside the label. */
  aside?: Child
  class?: string
  placeholder?: string
  /** For a file. */
  accept?: string
}

/** Label, input, hint and error. Typed values stay, except passwords. */
export const Field: FC<FieldProps> = ({ name, label, hint, error, aside, value, type = 'text', ...rest }) => {
  const described = [hint && `${name}-hint`, error && `${name}-error`].filter(Boolean).join(' ')
  return (
    <div class="field">
      <div class="label-row">
        <label for={name}>{label}</label>
        {aside}
      </div>
      <input
        id={name}
        name={name}
        type={type}
        {...(type !== 'password' && value !== undefined && { value })}
        {...(described && { 'aria-describedby': described })}
        {...(error && { 'aria-invalid': 'true' })}
        {...rest}
      />
      {hint && (
        <p class="hint" id={`${name}-hint`}>
          {hint}
        </p>
      )}
      {error && <FieldError name={name} error={error} />}
    </div>
  )
}

export const FieldError: FC<{ name: string; error: Child }> = ({ name, error }) => {
  const Tag = typeof error === 'string' ? 'p' : 'div'
  return (
    <Tag class="error" id={`${name}-error`}>
      <Icon name="alert" size={14} />
      {error}
    </Tag>
  )
}

export const Select: FC<{
  name: string
  label: Child
  value: string | undefined
  options: [value: string, text: string][]
  isFilter?: boolean
  hint?: Child
}> = ({ name, label, value, options, isFilter, hint }) => (
  <div class="field">
    <label for={name} {...(isFilter && { class: 'visually-hidden' })}>
      {label}
    </label>
    <select id={name} name={name} {...(hint && { 'aria-describedby': `${name}-hint` })}>
      {options.map(([option, text]) => (
        <option value={option} selected={option === (value ?? '')}>
          {text}
        </option>
      ))}
    </select>
    {hint && (
      <p class="hint" id={`${name}-hint`}>
        {hint}
      </p>
    )}
  </div>
)

export const Checkbox: FC<
  PropsWithChildren<{
    name: string
    value?: string
    checked?: boolean
    required?: boolean
    error?: string | undefined
  }>
> = ({ children, error, ...rest }) => {
  const box = (
    <label class="check">
      <input
        type="checkbox"
        {...(error && { 'aria-invalid': 'true', 'aria-describedby': `${rest.name}-error` })}
        {...rest}
      />
      <span>{children}</span>
    </label>
  )
  if (!error) return box
  return (
    <div class="field">
      {box}
      <FieldError name={rest.name} error={error} />
    </div>
  )
}

/** `busy`: the button's text while the form is being sent; needs a script. */
export const Button: FC<
  PropsWithChildren<{
    style?: 'primary' | 'quiet' | 'destroy' | 'destructive'
    wide?: boolean
    busy?: string
    name?: string
    value?: string
    /** The id of a form elsewhere on the page. */
    form?: string
    formaction?: string
    formnovalidate?: boolean
    /** Where several buttons have the same text: that text, and which item it is for. */
    'aria-label'?: string
  }>
> = ({ style, wide, busy, children, ...rest }) => (
  <button
    type="submit"
    class={['button', style, wide && 'wide'].filter(Boolean).join(' ')}
    {...(busy && { 'data-busy': busy })}
    {...rest}
  >
    {children}
  </button>
)

/** A form that changes something, with the token that proves it is ours. */
export const Form: FC<
  PropsWithChildren<{ action: string; token: string; class?: string; id?: string; takesFile?: boolean }>
> = ({ action, token, children, class: style = 'stack', id, takesFile }) => (
  <form
    method="post"
    action={action}
    class={style}
    {...(takesFile && { enctype: 'multipart/form-data' })}
    {...(id && { id })}
  >
    <input type="hidden" name="form_token" value={token} />
    {children}
  </form>
)

/** Opens in place below its button: nothing here is a dialog. */
export const Fold: FC<PropsWithChildren<{ summary: string; open?: boolean; style?: string }>> = ({
  summary,
  open,
  style = '',
  children,
}) => (
  <details class="fold confirm" open={open ?? false}>
    <summary class={`button ${style}`}>{summary}</summary>
    {children}
  </details>
)

export interface ApiCall {
  method: string
  path: string
  body?: object
  /** A body that is a file, by its type and name. */
  file?: { type: string; name: string }
  ifMatch?: number
}

/** The API call that does the same as the form beside it, or the calls of a group of buttons. */
export const AsRequest: FC<{ view: View } & (ApiCall | { calls: ApiCall[] })> = ({ view, ...asked }) => {
  const calls = 'calls' in asked ? asked.calls : [asked]
  return (
    <details class="fold">
      <summary>{view.texts.common.showAsRequest}</summary>
      <Copy view={view}>{calls.map(toCurl).join('\n\n')}</Copy>
    </details>
  )
}

function toCurl({ method, path, body, file, ifMatch }: ApiCall): string {
  const lines = [
    `curl -X ${method} "$ROSTER${path}"`,
    `  -H "authorization: Bearer $TOKEN"`,
    ...(ifMatch === undefined ? [] : [`  -H 'if-match: "${ifMatch}"'`]),
    ...(body
      ? [`  -H "content-type: application/json"`, `  -d '${JSON.stringify(body).replaceAll("'", "'\\''")}'`]
      : []),
    ...(file ? [`  -H "content-type: ${file.type}"`, `  --data-binary @${file.name}`] : []),
  ]
  return lines.join(' \\\n')
}

/** Links to the first, previous and next page of a list. `at` gives the address of each. */
export const Paging: FC<
  PropsWithChildren<{
    view: View
    pages: { next_cursor: string | null; prev_cursor: string | null }
    at: (more: { cursor?: string }) => string
  }>
> = ({ view, pages, at, children }) => {
  const { common } = view.texts
  return (
    <div class="paging">
      <span>{children ?? common.zone(view.timeZone)}</span>
      {pages.prev_cursor && (
        <>
          <a class="button quiet" href={at({})}>
            {common.firstPage}
          </a>
          <a class="button" href={at({ cursor: pages.prev_cursor })} rel="prev">
            {common.previous}
          </a>
        </>
      )}
      {pages.next_cursor && (
        <a class="button" href={at({ cursor: pages.next_cursor })} rel="next">
          {common.next}
        </a>
      )}
    </div>
  )
}

/** Text to copy: one click selects it; with a script, a button copies it. */
export const Copy: FC<PropsWithChildren<{ view: View }>> = ({ view, children }) => (
  <div class="copy-box">
    <code class="copy" tabindex={0}>
      {children}
    </code>
    <button type="button" class="button needs-script" data-copy={view.texts.common.copied}>
      {view.texts.common.copy}
    </button>
  </div>
)

export const Badge: FC<
  PropsWithChildren<{ tone?: 'danger' | 'warn' | 'info' | 'accent' | 'ok' | 'ink' }>
> = ({ tone, children }) => <span class={`badge ${tone ?? ''}`}>{children}</span>

export const Tile: FC<{ name: string; isSelf?: boolean; isLarge?: boolean }> = ({
  name,
  isSelf,
  isLarge,
}) => (
  <span class={['tile', isSelf && 'self', isLarge && 'large'].filter(Boolean).join(' ')} aria-hidden="true">
    {initialsOf(name)}
  </span>
)

const time = (clock: Clock, at: number, text: string) => (
  <time datetime={new Date(at).toISOString()} title={toFull(clock, at)}>
    {text}
  </time>
)

export const Ago: FC<{ view: View; at: number | null }> = ({ view, at }) =>
  at === null ? <>{view.texts.common.never}</> : time(view, at, toAgo(view, at, view.texts.common.now))

export const Day: FC<{ view: View; at: number }> = ({ view, at }) => time(view, at, toDay(view, at))

export const Empty: FC<PropsWithChildren<{ title: string }>> = ({ title, children }) => (
  <div class="empty">
    <svg
      width="32"
      height="32"
      viewBox="0 0 18 18"
      fill="none"
      stroke="currentColor"
      stroke-width="1.5"
      stroke-linecap="round"
      aria-hidden="true"
    >
      <path d="M2 4h14M2 9h14M2 14h8" />
    </svg>
    <h2>{title}</h2>
    {children}
  </div>
)
