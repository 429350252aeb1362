import * as z from 'zod'

/**
 * Text as people write it. Its length is checked before anything else: normalising a run of combining marks
 * takes time quadratic in its length, 2.5 s for 61 KB.
 */

/** None of our texts is longer. A longer text is returned unchanged. */
const MAX_NORMALIZED_LENGTH = 4096

export const normalizeText = (text: string, form: 'NFC' | 'NFKC') =>
  text.length > MAX_NORMALIZED_LENGTH ? text : text.normalize(form)

/** The beginning of a foreign text, such as a header, cut between characters. */
export const cutText = (text: string, maxLength: number) =>
  text
    .slice(0, maxLength)
    .replace(/[\ud800-\udbff]$/, '')
    .toWellFormed()

/**
 * A string in a request, measured in UTF-16 units: no more checks if it is too long; a lone surrogate is not
 * text.
 */
export const text = (maxLength: number, minLength = 0, tooLong?: string) =>
  z
    .string()
    .max(maxLength, { abort: true, ...(tooLong && { error: tooLong }) })
    .min(minLength)
    .refine((value) => value.isWellFormed(), {
      message: 'Has a lone surrogate.',
      params: { code: 'half_a_character' },
    })

/** A character may consist of several code points before it is composed, and of two UTF-16 units. */
const MAX_UNITS_PER_CHARACTER = 8

/** One line of text, trimmed and composed; its length is in characters. */
const anyLine = (maxLength: number, findFlaw: (line: string) => Flaw | undefined) =>
  text(maxLength * MAX_UNITS_PER_CHARACTER, 0, tooManyCharacters(maxLength).message)
    .transform((value) => normalizeText(value.replace(/[\u00a0\u3000]/g, ' ').trim(), 'NFC'))
    .superRefine((value, context) => {
      const flaw = findWrongLength(value, maxLength) ?? findFlaw(value)
      if (flaw) context.addIssue({ code: 'custom', message: flaw.message, params: { code: flaw.code } })
    })
    .meta({ minLength: 1, maxLength })

/** A search text: what is stored may have been accepted under other rules. */
export const searched = (maxLength: number) =>
  anyLine(maxLength, (line) => (/\p{Cc}/u.test(line) ? HIDDEN : undefined))

/** A line that people read, which must look like what it is. */
export const line = (maxLength: number) => anyLine(maxLength, findDeception)

/** A name by which people know somebody. */
export const name = (maxLength: number) =>
  anyLine(
    maxLength,
    (line) => findDeception(line) ?? (/[\p{L}\p{N}]/u.test(line) ? undefined : NOTHING_TO_READ),
  )

/** Digits and nothing else: no sign, no exponent, no other base. */
export const wholeNumber = (minimum: number, maximum: number) =>
  z
    .string()
    .regex(/^(0|[1-9]\d{0,8})$/, { error: 'Has to be a whole number.', abort: true })
    .transform(Number)
    .pipe(z.int().min(minimum).max(maximum))
    .meta({ override: { type: 'integer', minimum, maximum, pattern: undefined } })

interface Flaw {
  code: string
  message: string
}

const tooManyCharacters = (maxLength: number): Flaw => ({
  code: 'too_big',
  message: `Has more than ${maxLength} characters.`,
})
const EMPTY = { code: 'too_small', message: 'Is empty.' }
const NOTHING_TO_READ = { code: 'invalid_text', message: 'Needs a letter or a digit.' }
const HIDDEN = {
  code: 'invalid_text',
  message: 'Has characters that cannot be seen, or that change how others are read.',
}
const MANY_MARKS = { code: 'invalid_text', message: 'Has more than four marks on one letter.' }

/**
 * Joiners belong between letters (Persian, Indic scripts) and inside an emoji; elsewhere they are invisible.
 */
const JOINERS_IN_PLACE =
  /(?<=[\p{L}\p{M}])[\u200c\u200d](?=\p{L})|(?<=\p{Extended_Pictographic}|\p{Emoji_Modifier}|\ufe0f)\u200d(?=\p{Extended_Pictographic})/gu
/**
 * Controls, formats, unassigned, private and tag characters; separators other than the space; blank letters.
 */
const NOT_SEEN = /[\p{C}\p{Zl}\p{Zp}\u115f\u1160\u2800\u3164\uffa0]|\u034f|\u17b4|\u17b5|(?! )\p{Zs}/u

function findWrongLength(line: string, maxLength: number): Flaw | undefined {
  if (line === '') return EMPTY
  return [...line].length > maxLength ? tooManyCharacters(maxLength) : undefined
}

function findDeception(line: string): Flaw | undefined {
  if (NOT_SEEN.test(line.replace(JOINERS_IN_PLACE, ''))) return HIDDEN
  return /\p{M}{5}/u.test(line) ? MANY_MARKS : undefined
}
