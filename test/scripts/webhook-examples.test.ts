import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { Webhook } from 'standardwebhooks'
import { afterAll, describe, expect, test } from 'vitest'
import { newSecret, signedHeaders } from '../../src/webhooks/secrets.ts'

/** The examples of docs/webhooks.md, as they stand there. */
const guide = readFileSync(join(import.meta.dirname, '../../docs/webhooks.md'), 'utf8')
const blocks = (language: string) =>
  [...guide.matchAll(new RegExp(`^\`\`\`${language}\n([\\s\\S]*?)^\`\`\``, 'gm'))].map(([, code]) => code!)

const folder = mkdtempSync(join(tmpdir(), 'roster-webhooks-'))
afterAll(() => rmSync(folder, { recursive: true }))

type Verify = (secret: string, headers: Record<string, string>, body: string) => unknown

async function inNode(code: string, at: number): Promise<Verify> {
  const file = join(folder, `${at}.mjs`)
  writeFileSync(file, code)
  return ((await import(/* @vite-ignore */ pathToFileURL(file).href)) as { verify: Verify }).verify
}

const isTherePython = (() => {
  try {
    return /3\.(9|\d\d)/.test(execFileSync('python3', ['--version'], { encoding: 'utf8' }))
  } catch {
    return false
  }
})()
const inPython: Verify = (...given) => {
  const file = join(folder, 'verify.py')
  writeFileSync(
    file,
    `${blocks('python')[0]}\nimport sys\nprint(json.dumps(verify(*json.load(sys.stdin))))\n`,
  )
  const stdio = ['pipe', 'pipe', 'ignore'] as const
  return JSON.parse(
    execFileSync('python3', [file], { input: JSON.stringify(given), encoding: 'utf8', stdio: [...stdio] }),
  )
}

const examples: [string, () => Promise<Verify>][] = [
  ['the library', async () => (secret, headers, body) => new Webhook(secret).verify(body, headers)],
  ['node:crypto', () => inNode(blocks('js')[0]!, 0)],
  ['Web Crypto', () => inNode(blocks('js')[1]!, 1)],
  ...(isTherePython ? [['Python', async () => inPython] as [string, () => Promise<Verify>]] : []),
]

describe.each(examples)('The guide’s receiver by %s', (_, open) => {
  const body = JSON.stringify({ type: 'user.updated', data: { user: { name: 'Ada „King“ \u{1f9d1}' } } })
  const [secret, other] = [newSecret(), newSecret()]
  const taken = async (secrets: string[], by: string, at = Date.now(), sent = body) => {
    const verify = await open()
    try {
      return await verify(by, signedHeaders(secrets, 'msg_1', at, body), sent)
    } catch {
      return undefined
    }
  }
  test('takes what is signed by its secret, be it the new one or the former', async () => {
    expect(await taken([secret], secret)).toEqual(JSON.parse(body))
    for (const one of [secret, other]) expect(await taken([secret, other], one)).toEqual(JSON.parse(body))
  })
  test('refuses what is signed by another, was altered, or is old', async () => {
    expect(await taken([other], secret)).toBeUndefined()
    expect(await taken([secret], secret, Date.now(), body.replace('King', 'Kong'))).toBeUndefined()
    expect(await taken([secret], secret, Date.now() - 400_000)).toBeUndefined()
  })
})
