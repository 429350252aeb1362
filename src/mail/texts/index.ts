import type { Language } from '../../values/languages.ts'
import type { MailKind } from '../kinds.ts'
import type { Write } from '../text.ts'
import { account as deAccount } from './de/account.ts'
import { address as deAddress } from './de/address.ts'
import { factors as deFactors } from './de/factors.ts'
import { frame as deFrame } from './de/frame.ts'
import { joining as deJoining } from './de/joining.ts'
import { password as dePassword } from './de/password.ts'
import { webhooks as deWebhooks } from './de/webhooks.ts'
import { account } from './en/account.ts'
import { address } from './en/address.ts'
import { factors } from './en/factors.ts'
import { frame } from './en/frame.ts'
import { joining } from './en/joining.ts'
import { password } from './en/password.ts'
import { webhooks } from './en/webhooks.ts'

/** The words of every mail, and the text around them. One folder per language. */
export interface MailTexts {
  language: Language
  frame: typeof frame
  mails: Record<MailKind, Write>
}

const TEXTS: Record<Language, MailTexts> = {
  en: {
    language: 'en',
    frame,
    mails: { ...joining, ...password, ...address, ...factors, ...account, ...webhooks },
  },
  de: {
    language: 'de',
    frame: deFrame,
    mails: { ...deJoining, ...dePassword, ...deAddress, ...deFactors, ...deAccount, ...deWebhooks },
  },
}

/** @param language null in mails queued by a version without languages. */
export const mailTextsIn = (language: Language | null): MailTexts => TEXTS[language ?? 'en']
