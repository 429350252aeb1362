import type { About, MailText } from '../text.ts'

/** A code and no link: it is for the page, or the app, that waits for it. */
export const reauthenticate = ({ organisation }: About): MailText => ({
  subject: `Confirm that it is you at ${organisation}`,
  paragraphs: [
    `Somebody who is signed in to your account at ${organisation} confirms that it is you. This code does it.`,
    'If it was not you, give it to nobody, and sign out everywhere.',
  ],
})
