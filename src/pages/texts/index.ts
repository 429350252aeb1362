import { account as deAccount } from './de/account.ts'
import { common as deCommon } from './de/common.ts'
import { console as deConsole } from './de/console.ts'
import { history as deHistory } from './de/history.ts'
import { signin as deSignin } from './de/signin.ts'
import { account } from './en/account.ts'
import { common } from './en/common.ts'
import { console } from './en/console.ts'
import { history } from './en/history.ts'
import { signin } from './en/signin.ts'

/** Every text of the pages, by the part of the product that shows it. One folder per language. */
export interface Texts {
  common: typeof common
  signin: typeof signin
  account: typeof account
  console: typeof console
  history: typeof history
}

export const LANGUAGES = { en: 'English', de: 'Deutsch' } as const
export type Language = keyof typeof LANGUAGES
/** Looks like English and is none: what a page shows without accents was never translated. For tests. */
export const PSEUDO = 'en-XA'

const english: Texts = { common, signin, account, console, history }
const german: Texts = {
  common: deCommon,
  signin: deSignin,
  account: deAccount,
  console: deConsole,
  history: deHistory,
}

const texts: Record<string, Texts> = { en: english, de: german }

export const textsOf = (language: Language | typeof PSEUDO): Texts => {
  texts[PSEUDO] ??= pseudo(english) as Texts
  return texts[language]!
}

const ACCENTS: Record<string, string> = {
  a: 'á',
  e: 'é',
  i: 'í',
  o: 'ó',
  u: 'ú',
  A: 'Á',
  E: 'É',
  I: 'Í',
  O: 'Ó',
  U: 'Ú',
}

function pseudo(value: unknown): unknown {
  if (typeof value === 'string') return `[${value.replace(/[aeiou]/gi, (letter) => ACCENTS[letter]!)}]`
  if (typeof value === 'function') return (...given: unknown[]) => pseudo(value(...given))
  if (Array.isArray(value)) return value.map(pseudo)
  return Object.fromEntries(Object.entries(value as object).map(([name, text]) => [name, pseudo(text)]))
}
