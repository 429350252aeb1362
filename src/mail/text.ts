/** What a text may speak of. */
interface About {
  organisation: string
  /** An address as it may stand in a mail, or words for it. */
  newEmail: string
  /** Who did it, by their address, and the host of the webhook it was done to; null where it is not known. */
  actor: string | null
  host: string | null
  /** Which of several things that a kind of mail tells of: `resumed`, or an action of the history. */
  what: string | null
}

/** When somebody asked for a mail (epoch ms), and from where, in mails that somebody asked for. */
export interface Asked {
  at: number
  country: string | null
  device: string | null
}

/** A mail in the words that both its forms, plain and HTML, are made of. */
export interface MailText {
  subject: string
  paragraphs: string[]
  /** What the button says, in a mail that has a link. */
  button?: string
  /** What happened when its reader was to have asked for it; that they asked when absent. */
  happened?: string
}

/** The words of one kind of mail. */
export type Write = (about: About) => MailText

/** What happened, when and how, in words of the mail's language: its last line. */
export interface Occasion {
  happened: string
  day: string
  time: string
  country: string | undefined
  device: string | undefined
}

/** The first that a User-Agent has in it, as later ones call themselves by the names of earlier ones. */
const BROWSERS: [RegExp, string][] = [
  [/Edg(e|A|iOS)?\//, 'Edge'],
  [/OPR\/|Opera/, 'Opera'],
  [/SamsungBrowser\//, 'Samsung Internet'],
  [/Firefox\/|FxiOS\//, 'Firefox'],
  [/Chrome\/|CriOS\//, 'Chrome'],
  [/Safari\//, 'Safari'],
]
const SYSTEMS: [RegExp, string][] = [
  [/iPhone/, 'iPhone'],
  [/iPad/, 'iPad'],
  [/Android/, 'Android'],
  [/Windows/, 'Windows'],
  [/CrOS/, 'ChromeOS'],
  [/Mac OS X|Macintosh/, 'macOS'],
  [/Linux/, 'Linux'],
]

/** A device in words of ours: a User-Agent is its caller's own text, and goes into nobody's mail. */
export function deviceOf(userAgent: string | null): string | null {
  const nameIn = (names: [RegExp, string][]) => names.find(([pattern]) => pattern.test(userAgent ?? ''))?.[1]
  const [browser, system] = [nameIn(BROWSERS), nameIn(SYSTEMS)]
  if (!browser) return system ?? null
  return system ? `${browser} on ${system}` : browser
}

/** An address as it may stand in a mail: what its local part says else is a stranger's text, perhaps a link. */
export const repeatable = (email: string): string | undefined =>
  /^[A-Za-z0-9._+-]+@[^@]*$/.test(email) ? email : undefined

/** The host of a webhook as it may stand in a mail, or the two that it moved between. */
export const repeatableHost = (host: unknown): string | undefined =>
  typeof host === 'string' && /^[a-z\d._:[\]-]{1,260}(?: \u2192 [a-z\d._:[\]-]{1,260})?$/.test(host)
    ? host
    : undefined
