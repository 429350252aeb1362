import type { Rendered } from './render.ts'

export interface Mail extends Rendered {
  to: string
  /** The mail's own id; with what is in it, it makes the key by which a provider knows an attempt again. */
  id: string
}

/** Sends one mail, or throws: `MailRefused` where the service said no, anything else where it may have gone. */
export interface Send {
  (mail: Mail): Promise<void>
  /** Whether the service knows an attempt at the same mail again, so that a repeat sends nothing twice. */
  knowsRepeats: boolean
}

/** What a mail service answered, without its words, which may repeat the mail. */
export class MailRefused extends Error {
  readonly reason: string
  /** Asking again gets the same answer. */
  readonly isFinal: boolean
  constructor(reason: string, isFinal: boolean, options?: ErrorOptions) {
    super(`the mail service answered ${reason}`, options)
    this.name = 'MailRefused'
    this.reason = reason
    this.isFinal = isFinal
  }
}

/**
 * Said of our key or our own address, not of the mail: it waits until somebody has put that right. Those of a mail server are
 * in RFC 4954 section 6.
 */
export const REFUSES_ALL: readonly number[] = [401, 403, 530, 534, 535, 538]

/** The reason where it said nothing, and nothing has gone. */
export const NO_ANSWER = 'no_answer'

/** RFC 3834 section 5: nobody's auto-responder answers it. */
export const HEADERS = { 'Auto-Submitted': 'auto-generated' }
