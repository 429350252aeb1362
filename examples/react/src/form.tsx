import { RosterError } from '@roster/client'
import { type FormEvent, type ReactNode, useState } from 'react'

/** A form that shows what went wrong, keeps what was typed, and cannot be sent twice at once. */
export function Form({ action, button, send, children }: FormProps) {
  const [error, setError] = useState<string>()
  const [isBusy, setBusy] = useState(false)
  async function submit(event: FormEvent<HTMLFormElement>) {
    event.preventDefault()
    if (isBusy) return
    const fields = Object.fromEntries(new FormData(event.currentTarget)) as Record<string, string>
    setBusy(true)
    setError(undefined)
    try {
      await send(fields)
    } catch (caught) {
      setError(sentenceOf(caught))
    } finally {
      setBusy(false)
    }
  }
  return (
    <form aria-label={action} onSubmit={submit}>
      {children}
      <p role="alert" hidden={!error}>
        {error}
      </p>
      <button type="submit">{isBusy ? `${button}…` : button}</button>
    </form>
  )
}
interface FormProps {
  action: string
  button: string
  send(fields: Record<string, string>): Promise<unknown>
  children: ReactNode
}

/** Roster's problems have a code for programs and a sentence for people. */
export function sentenceOf(error: unknown): string {
  if (!(error instanceof RosterError)) return 'That did not work.'
  if (error.code === 'no_answer') return 'We could not reach the directory. Try again in a moment.'
  return error.problem.errors?.[0]?.detail ?? error.message
}

export function Field({ label, ...input }: { label: string } & React.ComponentProps<'input'>) {
  return (
    <label>
      <span>{label}</span>
      <input required {...input} />
    </label>
  )
}
