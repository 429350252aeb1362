import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

export const MIGRATIONS = join(import.meta.dirname, '../drizzle')

export interface Migration {
  name: string
  /** Its time in the journal, which orders migrations: epoch ms. */
  when: number
  statements: string[]
  digest: string
  /** Digests of its earlier committed forms, which a later migration brings up to date. */
  olderForms: string[]
}

/**
 * The digests of all committed migrations, by name: first that of the file, then those of its earlier forms. Entries
 * never change. Two files were rewritten after they had been committed; no others may be.
 */
type Digests = Record<string, string[]>

const digestOf = (text: string) => createHash('sha256').update(text).digest('hex')
const pathOf = (folder: string, name: string) => join(folder, `${name}.sql`)
const digestsPath = (folder: string) => join(folder, 'meta/digests.json')

const readDigests = (folder: string): Digests => JSON.parse(readFileSync(digestsPath(folder), 'utf8'))
const readJournal = (folder: string): { tag: string; when: number }[] =>
  JSON.parse(readFileSync(join(folder, 'meta/_journal.json'), 'utf8')).entries

export function readMigrations(folder: string): Migration[] {
  const digests = readDigests(folder)
  return readJournal(folder).map(({ tag: name, when }) => {
    if (!existsSync(pathOf(folder, name)))
      throw new Error(`drizzle/${name}.sql is missing: the journal names it.`)
    const text = readFileSync(pathOf(folder, name), 'utf8')
    return {
      name,
      when,
      statements: text.split('--> statement-breakpoint').filter((statement) => statement.trim()),
      digest: digestOf(text),
      olderForms: digests[name]?.slice(1) ?? [],
    }
  })
}

/** What is wrong with the files in `folder`, as sentences: a committed migration must neither change nor move. */
export function findFaults(folder: string): string[] {
  const digests = readDigests(folder)
  const journal = readJournal(folder)
  const files = readdirSync(folder)
    .filter((file) => file.endsWith('.sql'))
    .map((file) => file.slice(0, -'.sql'.length))
  const names = journal.map(({ tag }) => tag)
  const known = [...new Set([...files, ...Object.keys(digests)])].sort()
  return [
    ...known.flatMap((name) => {
      const [committed] = digests[name] ?? []
      if (!files.includes(name)) return [`drizzle/${name}.sql is missing: it was committed.`]
      if (!names.includes(name)) return [`drizzle/${name}.sql has no entry in the journal.`]
      if (!committed) return [`drizzle/${name}.sql is new. When it is done: npm run db:freeze`]
      if (committed !== digestOf(readFileSync(pathOf(folder, name), 'utf8')))
        return [`drizzle/${name}.sql was changed after it had been committed. Write a new migration instead.`]
      return []
    }),
    ...names
      .filter((name) => !files.includes(name))
      .map((name) => `The journal names ${name}, and there is no file.`),
    ...journal.flatMap(({ tag, when }, index) => {
      const before = journal[index - 1]
      if (!before || (before.when < when && before.tag < tag)) return []
      return [`In the journal, ${tag} does not come after ${before.tag}, by its time or its number.`]
    }),
  ]
}

/** Records the digests of migrations that have none yet. Returns their names. */
export function freeze(folder: string, isDryRun = false): string[] {
  const digests = readDigests(folder)
  const added = readMigrations(folder).filter(({ name }) => !digests[name])
  for (const { name, digest } of added) digests[name] = [digest]
  if (!isDryRun) writeFileSync(digestsPath(folder), `${JSON.stringify(digests, null, 2)}\n`)
  return added.map(({ name }) => name)
}
