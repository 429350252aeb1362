/** The languages of pages and mails, each by its own name. */
export const LANGUAGES = { en: 'English', de: 'Deutsch' } as const
export type Language = keyof typeof LANGUAGES

export const isLanguage = (name: string | null | undefined): name is Language =>
  name !== null && name !== undefined && Object.hasOwn(LANGUAGES, name)

/** Keeps the language that was chosen on a page, for the browser. */
export const LANGUAGE_COOKIE = 'roster-lang'

/**
 * The first of those chosen that there is, else of those that the browser accepts, in its order; English where there is
 * none.
 */
export function languageFrom(chosen: readonly (string | null | undefined)[], accepted = ''): Language {
  const names = accepted.slice(0, 256).split(',')
  const byBrowser = names.map((name) => name.trim().slice(0, 2).toLowerCase())
  return [...chosen, ...byBrowser].find(isLanguage) ?? 'en'
}
