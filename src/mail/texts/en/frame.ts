import type { Occasion } from '../../text.ts'

/** The text around the words of a mail. */
export const frame = {
  /** In place of an address that a mail must not repeat. */
  anotherAddress: 'another one',
  codeBesideLink: (lifetime: string) => `Or type this code, valid for ${lifetime}:`,
  codeAlone: (lifetime: string) => `The code, valid for ${lifetime}:`,
  linkLifetime: (lifetime: string) => `The link works once, for ${lifetime}.`,
  /** What happened, if the mail does not say otherwise. */
  asked: 'Asked for',
  /** "Asked for on 28 November 2026 at 15:03 UTC, from Germany, with Firefox on Windows." */
  occasion: ({ happened, day, time, country, device }: Occasion) =>
    `${happened} on ${day} at ${time} UTC${country ? `, from ${country}` : ''}${device ? `, with ${device}` : ''}.`,
  unknownCountry: 'an unknown country',
  deviceOn: (browser: string, system: string) => `${browser} on ${system}`,
}
