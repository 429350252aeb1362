import type { Occasion } from '../../text.ts'

/** What stands around the words of a mail. */
export const frame = {
  /** Words for an address that a mail does not repeat. */
  anotherAddress: 'another one',
  codeBesideLink: (lifetime: string) => `Or type this code, good for ${lifetime}:`,
  codeAlone: (lifetime: string) => `The code, good for ${lifetime}:`,
  linkLifetime: (lifetime: string) => `The link is good once, for ${lifetime}.`,
  /** What happened, where a mail does not say it otherwise. */
  asked: 'Asked for',
  /** "Asked for on 28 November 2026 at 15:03 UTC, from Germany, with Firefox on Windows." */
  occasion: ({ happened, day, time, country, device }: Occasion) =>
    `${happened} on ${day} at ${time} UTC${country ? `, from ${country}` : ''}${device ? `, with ${device}` : ''}.`,
  unknownCountry: 'an unknown country',
  deviceOn: (browser: string, system: string) => `${browser} on ${system}`,
}
