/** What a text may speak of. */
export interface About {
  organisation: string
  newEmail: string | null
}

/** A mail in the words that both its forms, plain and HTML, are made of. */
export interface MailText {
  subject: string
  paragraphs: string[]
  /** What the button says, in a mail that has a link. */
  button?: string
  /** How long link and code are good, in words. */
  lifetime?: string
}
