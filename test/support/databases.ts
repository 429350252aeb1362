import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createClient } from '@libsql/client/web'
import { afterAll } from 'vitest'
import { startSqld } from '../../scripts/local/sqld.ts'

/** A folder for a test file, and empty databases in it. They are removed after its tests. */
export function openDatabases(name: string) {
  const home = mkdtempSync(join(tmpdir(), `roster-${name}-`))
  const closers: (() => Promise<void>)[] = []
  afterAll(async () => {
    await Promise.all(closers.map((close) => close()))
    rmSync(home, { recursive: true, force: true })
  })

  async function startDatabase() {
    const { url, close } = await startSqld({ dir: mkdtempSync(join(home, 'database-')) })
    closers.push(close)
    return { url, db: createClient({ url }) }
  }
  return { home, startDatabase }
}
