import { readdirSync, readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { expect, test } from 'vitest'

const ROOT = resolve(import.meta.dirname, '../..')

/** The plan and module of each row in the table of docs/openid.md. */
const rows = [
  ...readFileSync(resolve(ROOT, 'docs/openid.md'), 'utf8').matchAll(
    /^\| ([\w -]+?) +\| `(oidcc-[\w-]+)` +\|/gm,
  ),
].map(([, plan, module]) => ({ plan: plan!, module: module! }))

const tests = readdirSync(resolve(ROOT, 'test/openid'))
  .filter((name) => /^conformance.*\.test\.ts$/.test(name))
  .flatMap((name) => [
    ...readFileSync(resolve(ROOT, 'test/openid', name), 'utf8').matchAll(/(?:\[|test\()\s*'(oidcc-[\w-]+)'/g),
  ])
  .map(([, module]) => module!)

test('Each module of the conformance suite’s plans has a row in docs/openid.md, and each row a test', () => {
  expect(rows.map(({ module }) => module).sort()).toEqual(tests.sort())
  const count = Map.groupBy(rows, ({ plan }) => plan)
  expect(Object.fromEntries([...count].map(([plan, { length }]) => [plan, length]))).toEqual({
    Basic: 35,
    Config: 1,
    'RP-initiated logout': 11,
    'Back-channel logout': 2,
  })
})

test.each([
  ['docs/guides/spa.md', 'examples/spa/roster.js'],
  ['docs/guides/native.md', 'examples/native/sign-in.mjs'],
])('The code in %s is that of %s, which a test runs', (guide, example) => {
  const [, code] = /```js\n(.*?)```/s.exec(readFileSync(resolve(ROOT, guide), 'utf8')) ?? []
  expect(code?.trim()).toBe(readFileSync(resolve(ROOT, example), 'utf8').trim())
})
