import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createClient } from '@libsql/client/web'
import { migrate as applyMigrations } from 'drizzle-orm/libsql/migrator'
import { drizzle } from 'drizzle-orm/libsql/web'

export const MIGRATIONS = join(import.meta.dirname, '../drizzle')

interface Journal {
  entries: Array<{ tag: string; when: number }>
}

/**
 * Applies the migrations that the database does not have yet, all of them or, when one fails, none (Drizzle sends
 * them as a single batch, which libSQL runs as a transaction). Answers their names.
 */
export async function migrate(url: string, authToken?: string, folder = MIGRATIONS): Promise<string[]> {
  const client = createClient(authToken ? { url, authToken } : { url })
  const { entries }: Journal = JSON.parse(readFileSync(`${folder}/meta/_journal.json`, 'utf8'))
  const tables = await client.execute("SELECT 1 FROM sqlite_master WHERE name = '__drizzle_migrations'")
  const newest = tables.rows.length
    ? Number(
        (await client.execute('SELECT max(created_at) AS at FROM __drizzle_migrations')).rows[0]?.at ?? 0,
      )
    : 0

  await applyMigrations(drizzle({ client }), { migrationsFolder: folder })
  client.close()
  return entries.filter(({ when }) => when > newest).map(({ tag }) => tag)
}

if (import.meta.main) {
  const { TURSO_DATABASE_URL: url, TURSO_AUTH_TOKEN: authToken } = process.env
  if (!url) {
    console.error(
      'TURSO_DATABASE_URL is missing: where is the database? (TURSO_AUTH_TOKEN, too, unless it asks for none.)',
    )
    process.exit(1)
  }
  try {
    const applied = await migrate(url, authToken)
    console.log(applied.length ? applied.map((tag) => `applied ${tag}`).join('\n') : 'nothing to apply')
  } catch (error) {
    const { message, cause } = error as Error
    // Drizzle's message quotes the whole migration; its cause says what the database minded.
    console.error(`No migration was applied: ${cause instanceof Error ? cause.message : message}`)
    process.exit(1)
  }
}
