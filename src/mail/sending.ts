import type { Rendered } from './render.ts'

export interface Mail extends Rendered {
  to: string
  /** The mail's id; together with its content it is the key by which a provider recognises a retry. */
  id: string
}

/**
 * Sends one mail, or throws: `MailRefused` if the service said no, anything else if it may have been sent.
 */
export interface Send {
  (mail: Mail): Promise<void>
  /** Whether the service recognises a retry of the same mail, so that it is not sent twice. */
  knowsRepeats: boolean
  /** Mails are only enqueued: it is the Worker that can send them, which its cron job does. */
  isLeftToCron?: true
}

/** What a mail service answered, without its text, which may quote the mail. */
export class MailRefused extends Error {
  readonly reason: string
  /** A retry would get the same answer. */
  readonly isFinal: boolean
  constructor(reason: string, isFinal: boolean, options?: ErrorOptions) {
    super(`the mail service answered ${reason}`, options)
    this.name = 'MailRefused'
    this.reason = reason
    this.isFinal = isFinal
  }
}

/**
 * These are about our key or our own address, not the mail: it waits until somebody has fixed that. Those of
 * mail servers are in RFC 4954 section 6.
 */
export const REFUSES_ALL: readonly number[] = [401, 403, 530, 534, 535, 538]

/** The reason if there was no answer, and nothing was sent. */
export const NO_ANSWER = 'no_answer'

/** RFC 3834 section 5: auto-responders do not answer it. */
export const HEADERS = { 'Auto-Submitted': 'auto-generated' }
