import { normalizeText } from '../values/text.ts'
import { commonPasswords } from './common-passwords.ts'

export const PASSWORD_MIN_LENGTH = 12

export const PASSWORD_MAX_LENGTH = 256

/** The one normalisation: the same characters typed on another keyboard are the same password (NIST 63B). */
export const normalizePassword = (password: string) => normalizeText(password, 'NFKC')

/** What a password may not merely consist of. */
export interface Context {
  email: string
  name: string
  organisation?: string | undefined
}

/** Unpacked when the first password is set, and kept. */
let common: Set<string> | undefined

/**
 * Why a password must not be set; undefined if it may be. It must not consist of common ones, of runs of the
 * alphabet or the keyboard, of few different characters, or of little more than the user's name or address,
 * or the organisation's.
 */
export function findPasswordWeakness(password: string, context: Context): string | undefined {
  const folded = normalizePassword(password).toLowerCase()
  if (new Set(folded).size < 5) return 'has too few different characters'
  const squeezed = folded.replace(/[\s._-]/g, '')
  const spellings = [folded, squeezed]
  if (spellings.some(isMadeOfCommon)) return 'is too common'
  const own = [
    ...context.email.toLowerCase().split(/[@.+_-]/),
    ...wordsOf(context.name),
    ...wordsOf(context.organisation ?? ''),
    'roster',
  ].filter((word) => word.length >= 3)
  return [folded, squeezed, decode(squeezed)].some((spelling) => isHardlyMoreThan(own, spelling))
    ? 'is made of the name, the e-mail address or the organisation'
    : undefined
}

/** Whether an imported password could not be set here. */
export function isBelowPolicy(password: string, context: Context): boolean {
  const { length } = [...normalizePassword(password)]
  return (
    length < PASSWORD_MIN_LENGTH ||
    length > PASSWORD_MAX_LENGTH ||
    findPasswordWeakness(password, context) !== undefined
  )
}

const wordsOf = (text: string) => {
  const words = normalizePassword(text).toLowerCase().split(/\s+/)
  return [words.join(''), ...words]
}

function isHardlyMoreThan(own: string[], password: string): boolean {
  const rest = own.reduce((left, word) => left.replaceAll(word, ''), password)
  return rest.length < 8 && rest.length < password.length
}

/** At most this many common words, with this many other characters before, between and after them. */
const MAX_WORDS = 2
const SPARE_CHARACTERS = 3
const SHORTEST_WORD = 4
const LONGEST_WORD = 32

/**
 * Whether a password is little more than common words. Runs (`abcd`, `4321`, `qwer`) and years are easy to
 * guess and count as nothing. For each position and number of words it keeps the fewest spare characters.
 */
function isMadeOfCommon(password: string): boolean {
  const fewest = Array.from({ length: password.length + 1 }, () =>
    Array<number>(MAX_WORDS + 1).fill(Infinity),
  )
  fewest[0]![0] = 0
  const reach = (place: number, words: number, spare: number) => {
    if (spare < (fewest[place]?.[words] ?? 0)) fewest[place]![words] = spare
  }
  for (let from = 0; from < password.length; from++) {
    if (!fewest[from]!.some((spare) => spare <= SPARE_CHARACTERS)) continue
    const ends = endsOfWords(password, from)
    for (const [words, spare] of fewest[from]!.entries()) {
      reach(from + 1, words, spare + 1)
      for (const { end, isWord } of ends) reach(end, words + (isWord ? 1 : 0), spare)
    }
  }
  return fewest.at(-1)!.some((spare) => spare <= SPARE_CHARACTERS)
}

function endsOfWords(password: string, from: number): { end: number; isWord: boolean }[] {
  common ??= commonPasswords()
  const ends = []
  const last = Math.min(password.length, from + LONGEST_WORD)
  for (let end = from + SHORTEST_WORD; end <= last; end++) {
    const slice = password.slice(from, end)
    if (isRun(slice) || /^(19|20)\d\d$/.test(slice)) ends.push({ end, isWord: false })
    else if (common.has(slice) || common.has(decode(slice))) ends.push({ end, isWord: true })
  }
  return ends
}

const FORWARDS =
  'abcdefghijklmnopqrstuvwxyz 01234567890 qwertyuiop asdfghjkl zxcvbnm qwertzuiop yxcvbnm azertyuiop 1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik9ol0p'
const RUNS = `${FORWARDS} ${[...FORWARDS].reverse().join('')}`
const isRun = (text: string) => !text.includes(' ') && RUNS.includes(text)

/** What people write in place of a letter, by letter. */
const LETTERS: Record<string, string> = {
  '@': 'a',
  4: 'a',
  3: 'e',
  1: 'i',
  '!': 'i',
  0: 'o',
  $: 's',
  5: 's',
  7: 't',
}
const decode = (text: string) => text.replace(/[@431!0$57]/g, (character) => LETTERS[character]!)
