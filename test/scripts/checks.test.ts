import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'

/** A repository with one check and one test that proves it: what `npm run check` says when that test changes. */
const ROOT = resolve(import.meta.dirname, '../..')
const CHECK = { id: 'XX1', severity: 'C', requirement: 'The sun rises.', concerns: true }
// Put together, or it would be a title of this file.
const NAME = `${CHECK.id}: the sun rises`
const PROOF = `import { expect, test } from 'vitest'\ntest('${NAME}', async () => expect(1).toBe(1))\n`

let home: string

beforeAll(() => {
  home = mkdtempSync(join(tmpdir(), 'roster-checks-'))
  for (const folder of ['test', 'scripts', 'docs']) mkdirSync(join(home, folder))
  cpSync(join(ROOT, 'scripts/checks.ts'), join(home, 'scripts/checks.ts'))
  cpSync(join(ROOT, 'package.json'), join(home, 'package.json'))
  symlinkSync(join(ROOT, 'node_modules'), join(home, 'node_modules'))
  writeFileSync(join(home, 'scripts/checks.json'), JSON.stringify([CHECK]))
  writeFileSync(join(home, 'test/sun.test.ts'), PROOF)
  run()
})
afterAll(() => rmSync(home, { recursive: true, force: true }))

/** What the script complains of. */
function run(...options: string[]): string {
  try {
    execFileSync(process.execPath, [join(home, 'scripts/checks.ts'), ...options], { stdio: 'pipe' })
    return ''
  } catch (error) {
    return String((error as { stderr: Buffer }).stderr)
  }
}

function checkWith(source: string, report: object = {}): string {
  writeFileSync(join(home, 'test/sun.test.ts'), source)
  writeFileSync(join(home, 'test-report.json'), JSON.stringify(report))
  return run('--check')
}

const NO_PROOF = 'XX1 has no test: The sun rises.'

test('A test counts as a proof until it is run', () => {
  expect(checkWith(PROOF)).toBe('')
})

test.each([
  'test.skip(',
  'test.todo(',
  'test.only(',
  'test.fails(',
  'test.skipIf(true)(',
  'test.skip.each([1])(',
])('A test that begins with %s is refused', (begin) => {
  expect(checkWith(PROOF.replace('test(', begin))).toContain(`sun.test.ts leaves out a test: ${begin}`)
})

test.each([
  [`test('${NAME}', async ({ skip }) => skip())`],
  [`test('${NAME}', async (context) => context.skip())`],
  [`test('${NAME}', { skip: true }, async () => {})`],
])('A test that leaves itself out is refused: %s', (source) => {
  expect(checkWith(source)).toContain('sun.test.ts leaves out a test')
})

test.each([PROOF.replaceAll(/^/gm, '// '), `/* ${PROOF} */`, `\n${PROOF.replace('test(', '// test(')}`])(
  'A test that is commented out is not a proof: %j',
  (source) => expect(checkWith(source)).toContain(NO_PROOF),
)

test('A test that was run is only a proof if it passed, as long as its file is unchanged', () => {
  const digest = createHash('sha256').update(PROOF).digest('hex')
  const reportOf = (...states: string[]) => ({
    'test/sun.test.ts': { digest, seconds: 1, tests: states.map((state) => ({ names: [NAME], state })) },
  })
  expect(checkWith(PROOF, reportOf('passed', 'passed'))).toBe('')
  for (const states of [['failed'], ['skipped'], ['passed', 'failed'], []]) {
    expect(checkWith(PROOF, reportOf(...states))).toContain(NO_PROOF)
  }
  expect(checkWith(`${PROOF}\n`, reportOf('failed'))).toBe('')
})
