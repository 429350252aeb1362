import { sql } from 'drizzle-orm'
import type { Resources } from '../context.ts'
import type { Statement } from '../database/statements.ts'
import { cutText } from '../values/text.ts'
import { HAS_NO_KEY, users } from './models.ts'

/** Letters that Unicode does not decompose. */
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
  // The last is the form of sigma at the end of a word; a search may have the other form.
  ...{ ə: 'e', ɛ: 'e', ɔ: 'o', ς: 'σ' },
}
const ANY_LETTER = new RegExp(`[${Object.keys(LETTERS).join('')}]`, 'g')
/** Marks on Latin, Greek and Cyrillic letters. In other scripts a mark makes another letter, or a vowel. */
const MARKS = /[\u0300-\u036f]/g
/**
 * No name is longer, but one letter may decompose into eighteen. No character is cut in two, as half of one cannot be
 * stored. A cursor contains the key, so http/pagination.ts has to accept one that is as long.
 */
const MAX_UNITS = 512

/** The key by which a name, or a part of one, is found and sorted: `alv` finds Älva, and Ø sorts with O. */
export const foldName = (name: string) =>
  cutText(
    cutText(name, MAX_UNITS)
      .normalize('NFKD')
      .replace(MARKS, '')
      .toLowerCase()
      .replace(ANY_LETTER, (letter) => LETTERS[letter]!)
      .normalize('NFC'),
    MAX_UNITS,
  )

/** Stands between a name and its key. No name contains it. */
const SEPARATOR = '\x1f'

/** For `users.name_fold`: the name, followed by its key; null if the name is its own key. */
export const nameFold = (name: string) =>
  /[^ -~]/.test(name) ? `${name}${SEPARATOR}${foldName(name)}` : null

const NAMES_PER_BATCH = 200

/** A condition: some names have no key, as the previous version wrote them, or as they are older than keys. */
export const namesWithoutKey = sql`EXISTS (SELECT 1 FROM ${users} INDEXED BY users_without_key WHERE ${HAS_NO_KEY} AND id > '')`

/** Gives some of them a key, each only if the name has not changed since it was read. */
export async function foldNames({ db }: Resources, fence: ReturnType<typeof sql>): Promise<[Statement][]> {
  const { rows } = await db.read({
    rows: sql<{ id: string; name: string }>`SELECT id, name FROM ${users} INDEXED BY users_without_key
      WHERE ${HAS_NO_KEY} AND id > '' ORDER BY id LIMIT ${NAMES_PER_BATCH}`,
  })
  return rows.map(({ id, name }) => [
    sql`UPDATE ${users} SET name_fold = ${nameFold(name)} WHERE id = ${id} AND name = ${name} COLLATE BINARY AND ${fence}`,
  ])
}
