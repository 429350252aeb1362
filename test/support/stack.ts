import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { createClient } from '@libsql/client/web'
import { freePort, startProcess, untilReady } from '../../scripts/local/process.ts'

export const ADMIN = { email: 'admin@example.com', password: 'seven brown foxes read' }

/** Everything that `npm run dev` starts, on its own ports and with its own state; `args` are passed to it. */
export async function startStack(args: string[] = []) {
  const state = mkdtempSync(join(tmpdir(), 'roster-stack-'))
  const script = resolve(import.meta.dirname, '../../scripts/dev.ts')
  const stack = startProcess(process.execPath, [script, ...args], {
    ROSTER_STATE: state,
    PORT: String(await freePort()),
    ADMIN_EMAIL: ADMIN.email,
    ADMIN_PASSWORD: ADMIN.password,
  })
  let url: string | undefined
  let example = ''
  const apps: Record<string, string> = {}
  let provider = ''
  let mailbox = { url: '', key: '' }
  let database = { url: '', authToken: '' }
  stack.onLine((line) => {
    url ??= /^ready (http\S+)$/.exec(line)?.[1]
    example ||= /^\s*Example +(http\S+)/.exec(line)?.[1] ?? ''
    const [, app, where] = /^\s*(React|Service) +(http\S+)/.exec(line) ?? []
    if (app && where) apps[app] = where
    provider ||= /^\s*Provider +(http\S+)/.exec(line)?.[1] ?? ''
    const [, at, key] = /^Mailbox {2}(http\S+)\/\?key=(\S+)$/.exec(line) ?? []
    if (at && key) mailbox = { url: at, key }
    const [, of, authToken] = /^Database {2}(http\S+) {2}token=(\S+)$/.exec(line) ?? []
    if (of && authToken) database = { url: of, authToken }
  })
  const close = async () => {
    await stack.close()
    rmSync(state, { recursive: true, force: true })
  }
  /** One statement, not through the Worker. */
  const sql = async (statement: string, args: (string | number)[] = []) => {
    const client = createClient(database)
    try {
      return (await client.execute({ sql: statement, args })).rows
    } finally {
      client.close()
    }
  }
  const isReady = async () => {
    if (!url) throw new Error('not ready yet')
    return url
  }
  try {
    return { url: await untilReady(stack, isReady, 280_000), mailbox, example, apps, provider, sql, close }
  } catch (error) {
    await close()
    throw error
  }
}
