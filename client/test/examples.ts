import { globSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'

const ROOT = resolve(import.meta.dirname, '../..')

/** What the guides assume: what the reader has, and what an earlier example has defined. */
const GIVEN = `import type { RosterClient } from '@roster/client'
declare global {
  const roster: RosterClient
  const url: string, email: string, password: string, token: string
  const storage: import('@roster/client/tokens').Storage
  const env: { CLIENT_ID: string; CLIENT_SECRET: string; ROSTER: Roster }
  const request: Request
  const app: import('hono').Hono<{ Variables: { token: import('@roster/client/verify').Verified } }>
  const verifier: import('@roster/client/verify').Verifier
  const root: import('react-dom/client').Root
  function show(user: import('@roster/client').User | null): void
  function say(sentence: string): void
  function wait(seconds: number | undefined): void
  const Account: () => null, SignIn: () => null
}
/** src/index.ts, as a service binding exposes it. */
interface Roster {
  verify(token: string, wanted?: { scope?: string; resource?: string; isFresh?: boolean }): Promise<{ active: false } | { active: true; sub: string }>
  getUser(id: string): Promise<import('@roster/client').User | null>
}
`

/** The examples in each document that use the client or a binding. Other tests run the rest. */
const ABOUT = /@roster\/client|\broster\.|\bverifier\.|env\.ROSTER/

/** Writes each example to a file of its own, and returns their names. */
export function writeExamples(dir: string): string[] {
  writeFileSync(join(dir, 'given.ts'), GIVEN)
  const documents = globSync(['README.md', 'client/README.md', 'docs/**/*.md'], { cwd: ROOT })
  const examples = documents.flatMap((document) => {
    const text = readFileSync(join(ROOT, document), 'utf8')
    const blocks = [...text.matchAll(/^```(js|jsx|ts|tsx)\n([\s\S]*?)^```/gm)]
    // An example may use what an earlier one imported.
    const imports: string[] = []
    return blocks
      .filter(([, , code]) => ABOUT.test(code!))
      .map(([, language, code], index) => {
        const name = `${document.replaceAll(/[/.]/g, '-')}-${index}.${language}`
        imports.push(...(code!.match(/^import .*$/gm) ?? []))
        const rest = code!.replace(/^import .*$/gm, '')
        // In a function, as examples use `await` and `return`.
        writeFileSync(join(dir, name), `${imports.join('\n')}\nexport async function example() {${rest}}\n`)
        return name
      })
  })
  return ['given.ts', ...examples]
}
