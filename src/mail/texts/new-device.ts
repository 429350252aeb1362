import type { About, MailText } from '../text.ts'

export const newDevice = ({ organisation }: About): MailText => ({
  subject: `A new device signed in to your account at ${organisation}`,
  paragraphs: [
    `Somebody has signed in to your account at ${organisation} from a device that it does not know.`,
    'If it was you, there is nothing to do. If not, this link ends that session, and you choose a new password.',
  ],
  button: 'This was not me',
  happened: 'Signed in',
})
