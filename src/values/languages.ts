/** The languages of pages and mails, each by its own name. */
export const LANGUAGES = { en: 'English', de: 'Deutsch' } as const
export type Language = keyof typeof LANGUAGES

export const isLanguage = (name: string | null | undefined): name is Language =>
  name !== null && name !== undefined && Object.hasOwn(LANGUAGES, name)

/** Keeps, for the browser, the language that was chosen on a page. */
export const LANGUAGE_COOKIE = 'roster-lang'

/** The first chosen language that we have, else the first that the browser accepts; else English. */
export function languageFrom(chosen: readonly (string | null | undefined)[], accepted = ''): Language {
  const names = accepted.slice(0, 256).split(',')
  const byBrowser = names.map((name) => name.trim().slice(0, 2).toLowerCase())
  return [...chosen, ...byBrowser].find(isLanguage) ?? 'en'
}
