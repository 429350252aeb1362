/** What a text may mention. */
interface About {
  organisation: string
  /** An address that is safe to show in a mail, or words for it. */
  newEmail: string
  /** The actor's address and, for a webhook, its host; null if unknown. */
  actor: string | null
  host: string | null
  /** Which of several events a kind of mail reports: `resumed`, or an action of the history. */
  what: string | null
  /** When the account's disabling ends; null if it does not. */
  until: Moment | null
}

/** A time in UTC, as a mail in some language writes it. */
export interface Moment {
  day: string
  time: string
}

/** When (epoch ms) and from where a mail was asked for, in mails that are asked for. */
export interface Asked {
  at: number
  country: string | null
  device: string | null
}

/** The words from which both forms of a mail, plain and HTML, are made. */
export interface MailText {
  subject: string
  paragraphs: string[]
  /** The label of the button, in a mail with a link. */
  button?: string
  /** What happened, if the mail was not simply asked for. */
  happened?: string
}

/** The words of one kind of mail. */
export type Write = (about: About) => MailText

/** What happened, when and how, in the mail's language: its last line. */
export interface Occasion extends Moment {
  happened: string
  country: string | undefined
  device: string | undefined
}

/** An address that is safe to show in a mail: any other local part is a stranger's text, perhaps a link. */
export const repeatable = (email: string): string | undefined =>
  /^[A-Za-z0-9._+-]+@[^@]*$/.test(email) ? email : undefined

/** The host of a webhook, safe to show in a mail, or the two hosts that it moved between. */
export const repeatableHost = (host: unknown): string | undefined =>
  typeof host === 'string' && /^[a-z\d._:[\]-]{1,260}(?: \u2192 [a-z\d._:[\]-]{1,260})?$/.test(host)
    ? host
    : undefined
