import { sql } from 'drizzle-orm'
import type { Resources } from '../context.ts'
import type { Statement } from '../database/statements.ts'
import { cutText } from '../values/text.ts'
import { HAS_NO_KEY, users } from './models.ts'

/** Letters that Unicode does not take apart. */
const LETTERS: Record<string, string> = {
  ...{
    ß: 'ss',
    æ: 'ae',
    œ: 'oe',
    ø: 'o',
    đ: 'd',
    ð: 'd',
    þ: 'th',
    ł: 'l',
    ħ: 'h',
    ı: 'i',
    ŋ: 'n',
    ĸ: 'k',
    ŧ: 't',
  },
  // The last is a sigma at the end of a word, which stands elsewhere in what is looked for.
  ...{ ə: 'e', ɛ: 'e', ɔ: 'o', ς: 'σ' },
}
const ANY_LETTER = new RegExp(`[${Object.keys(LETTERS).join('')}]`, 'g')
/** Marks that stand on letters of Latin, Greek and Cyrillic. Those of other scripts make another letter, or a vowel. */
const MARKS = /[\u0300-\u036f]/g
/** Longer is no name; a letter may be taken apart into eighteen. No character is cut in two: half of one cannot be stored. */
const MOST_UNITS = 512

/** What a name, or a part of one, is found and sorted by: `alv` finds Älva, and Ø stands beside O. */
export const foldName = (name: string) =>
  cutText(
    cutText(name, MOST_UNITS)
      .normalize('NFKD')
      .replace(MARKS, '')
      .toLowerCase()
      .replace(ANY_LETTER, (letter) => LETTERS[letter]!)
      .normalize('NFC'),
    MOST_UNITS,
  )

/** Stands between a name and its key: no name has it. */
const SEPARATOR = '\x1f'

/** For `users.name_fold`: the key behind the name that it is of; null where the name is its own. */
export const foldOf = (name: string) => (/[^ -~]/.test(name) ? `${name}${SEPARATOR}${foldName(name)}` : null)

const NAMES_PER_BATCH = 200

/** Names that the version before has written, or that stood there before there were keys. */
export const namesWithoutKey = sql`EXISTS (SELECT 1 FROM ${users} INDEXED BY users_without_key WHERE ${HAS_NO_KEY} AND id > '')`

/** Gives some of them a key, each on the condition that the name is still the same. */
export async function foldNames({ db }: Resources, fence: ReturnType<typeof sql>): Promise<[Statement][]> {
  const { rows } = await db.read({
    rows: sql<{ id: string; name: string }>`SELECT id, name FROM ${users} INDEXED BY users_without_key
      WHERE ${HAS_NO_KEY} AND id > '' ORDER BY id LIMIT ${NAMES_PER_BATCH}`,
  })
  return rows.map(({ id, name }) => [
    sql`UPDATE ${users} SET name_fold = ${foldOf(name)} WHERE id = ${id} AND name = ${name} COLLATE BINARY AND ${fence}`,
  ])
}
