import type { Child, FC, PropsWithChildren } from 'hono/jsx'
import { FieldError, Icon } from '../pages/components.tsx'

/** A field of several lines, with its hint and its error. */
export const Lines: FC<{
  name: string
  label: string
  hint?: Child
  error?: Child
  value?: string | undefined
  rows?: number
  class?: string
  placeholder?: string
  required?: boolean
  autocomplete?: string
  autocapitalize?: 'none'
}> = ({ name, label, hint, error, value, ...rest }) => {
  const described = [hint && `${name}-hint`, error && `${name}-error`].filter(Boolean).join(' ')
  return (
    <div class="field">
      <label for={name}>{label}</label>
      <textarea
        id={name}
        name={name}
        spellcheck={false}
        {...rest}
        {...(described && { 'aria-describedby': described })}
        {...(error && { 'aria-invalid': 'true' })}
      >
        {/* Browsers drop the first line break of a textarea. */}
        {value && `\n${value}`}
      </textarea>
      {hint && (
        <p class="hint" id={`${name}-hint`}>
          {hint}
        </p>
      )}
      {error && <FieldError name={name} error={error} />}
    </div>
  )
}

/** The search box of a list. Its error follows the box, because the icon is centred in the box. */
export const SearchBox: FC<
  PropsWithChildren<{
    name: string
    label: string
    value: string
    error?: string | undefined
    autocapitalize?: 'none'
    spellcheck?: boolean
    /** With a script, the list updates while somebody types. */
    'data-live'?: boolean
  }>
> = ({ name, label, error, value, children, ...rest }) => (
  <>
    <div class="search-box">
      <Icon name="search" />
      <label class="visually-hidden" for={name}>
        {label}
      </label>
      <input
        type="search"
        id={name}
        name={name}
        value={value}
        placeholder={label}
        {...rest}
        {...(error && { 'aria-invalid': 'true', 'aria-describedby': `${name}-error` })}
      />
      {children}
    </div>
    {error && <FieldError name={name} error={error} />}
  </>
)
