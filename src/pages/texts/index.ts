import type { Language } from '../../values/languages.ts'
import { account as deAccount } from './de/account.ts'
import { apps as deApps } from './de/apps.ts'
import { blocked as deBlocked } from './de/blocked.ts'
import { clients as deClients } from './de/clients.ts'
import { common as deCommon } from './de/common.ts'
import { console as deConsole } from './de/console.ts'
import { factors as deFactors } from './de/factors.ts'
import { history as deHistory } from './de/history.ts'
import { imports as deImports } from './de/imports.ts'
import { keys as deKeys } from './de/keys.ts'
import { links as deLinks } from './de/links.ts'
import { signin as deSignin } from './de/signin.ts'
import { webhooks as deWebhooks } from './de/webhooks.ts'
import { account } from './en/account.ts'
import { apps } from './en/apps.ts'
import { blocked } from './en/blocked.ts'
import { clients } from './en/clients.ts'
import { common } from './en/common.ts'
import { console } from './en/console.ts'
import { factors } from './en/factors.ts'
import { history } from './en/history.ts'
import { imports } from './en/imports.ts'
import { keys } from './en/keys.ts'
import { links } from './en/links.ts'
import { signin } from './en/signin.ts'
import { webhooks } from './en/webhooks.ts'

/** Every text of the pages, by feature. One folder per language. */
export interface Texts {
  common: typeof common
  signin: typeof signin
  links: typeof links
  account: typeof account
  factors: typeof factors
  console: typeof console
  history: typeof history
  apps: typeof apps
  blocked: typeof blocked
  clients: typeof clients
  imports: typeof imports
  keys: typeof keys
  webhooks: typeof webhooks
}

/**
 * Looks like English but is not: any text that a page shows without accents was never translated. For tests.
 */
export const PSEUDO = 'en-XA'

const english: Texts = {
  common,
  signin,
  links,
  account,
  factors,
  console,
  history,
  apps,
  blocked,
  clients,
  imports,
  keys,
  webhooks,
}
const german: Texts = {
  common: deCommon,
  signin: deSignin,
  links: deLinks,
  account: deAccount,
  factors: deFactors,
  console: deConsole,
  history: deHistory,
  apps: deApps,
  blocked: deBlocked,
  clients: deClients,
  imports: deImports,
  keys: deKeys,
  webhooks: deWebhooks,
}

const texts: Record<string, Texts> = { en: english, de: german }

/** Texts that a deployment replaces, by language and then by key: `signin.title`. */
export type OtherTexts = Readonly<Record<string, Readonly<Record<string, string>>>>
const changed = new WeakMap<OtherTexts, Record<string, Texts>>()

export const textsOf = (language: Language | typeof PSEUDO, others: OtherTexts = {}): Texts => {
  texts[PSEUDO] ??= pseudo(english) as Texts
  const own = others[language]
  if (!own) return texts[language]!
  const made = changed.get(others) ?? {}
  changed.set(others, made)
  made[language] ??= withOthers(texts[language]!, own, '') as Texts
  return made[language]
}

/** The texts, with some replaced. Only plain strings are; texts computed from numbers and names stay. */
const withOthers = (value: unknown, own: Readonly<Record<string, string>>, place: string): unknown => {
  if (typeof value === 'string') return own[place] ?? value
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value
  return Object.fromEntries(
    Object.entries(value).map(([name, text]) => [
      name,
      withOthers(text, own, place === '' ? name : `${place}.${name}`),
    ]),
  )
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
