import { existsSync, readFileSync, renameSync } from 'node:fs'
import { parseEnv } from 'node:util'
import { WHAT_TO_WRITE } from '../../src/config/env.ts'
import { writePrivately } from '../local/start-worker.ts'

const HEAD = `# The settings of a deployment, as \`npm run setup\` has made and asked for them. Whoever has this file has the
# deployment: keep it where you keep secrets. Other settings may be added, a line each: .dev.vars.example has them all.
`

/** What setup itself asks for or reads, but the Worker does not know. */
const OF_SETUP = ['DOMAIN', 'ADMIN_EMAIL', 'CLOUDFLARE_ACCOUNT_ID', 'ADMIN_PASSWORD', 'PUT_BY_SETUP']

/**
 * What is known about a deployment, in a file that only its owner can read. Setup writes it whenever it learns more,
 * so secrets are only made once, and a second run continues.
 */
export function openKept(path: string) {
  const values: Record<string, string> = {}
  if (existsSync(path)) Object.assign(values, parseEnv(readFileSync(path, 'utf8')))
  return {
    values: values as Readonly<Record<string, string>>,
    forget(names: string[]) {
      for (const name of names) delete values[name]
      this.keep({})
    },
    keep(more: Record<string, string>) {
      Object.assign(values, more)
      const lines = Object.entries(values).map(([name, value]) => `${name}=${quoted(name, value)}\n`)
      // A crash leaves either the former file or the complete new one.
      writePrivately(`${path}.new`, HEAD + lines.join(''))
      renameSync(`${path}.new`, path)
    },
    /** What the Worker is given: only settings, and no empty ones. */
    settings: () =>
      Object.fromEntries(Object.entries(values).filter(([name, value]) => name in WHAT_TO_WRITE && value)),
    /** What is neither, usually a typing error. */
    strangers: () =>
      Object.fromEntries(
        Object.entries(values).filter(([name]) => !(name in WHAT_TO_WRITE || OF_SETUP.includes(name))),
      ),
  }
}

export type Kept = ReturnType<typeof openKept>

function quoted(name: string, value: string): string {
  const quote = ["'", '"', '`'].find((one) => !value.includes(one) && !(one === '"' && value.includes('\\n')))
  if (!quote) throw new Error(`${name} has every kind of quote in it, so no file of settings can hold it.`)
  return `${quote}${value}${quote}`
}
