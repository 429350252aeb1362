import { createHash } from 'node:crypto'
import { existsSync, globSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { parseAst } from 'vitest/node'
import type { Report } from '../test/support/report.ts'

/**
 * Shows where each check is proved: writes docs/checks.md from the catalogue (checks.json) and the titles of the
 * tests, which name the checks they prove: `PW1, PW3: a sentence`, `Fault 5: a sentence`. A test that failed in its
 * last run does not count (test-report.json, written by each run), nor does one that is commented out, skipped or
 * still to be written.
 *
 *   node scripts/checks.ts           writes the table
 *   node scripts/checks.ts --check   fails if the table is out of date, or a critical or high check has no test
 */
const ROOT = resolve(import.meta.dirname, '..')
const DOCUMENT = join(ROOT, 'docs/checks.md')
const REPORT = join(ROOT, 'test-report.json')

/** The only tests that a run may leave out: how their titles begin, and why. */
const MAY_BE_LEFT_OUT = [
  [
    'test/auth/signing-in.test.ts',
    "test.runIf(inject('whole'))",
    'sixty logins are timed in `npm run test:faults`',
  ],
  [
    'test/faults/late-sends.test.ts',
    "describe.runIf(inject('whole'))",
    'the replay of every route is part of `npm run test:faults`',
  ],
  [
    'test/floods/floods.test.ts',
    "describe.skipIf(!inject('whole'))",
    'floods are part of `npm run test:faults`',
  ],
  [
    'test/scripts/upstash.test.ts',
    "describe.skipIf(engine === 'server' && !hasRedisServer())",
    'there may be no redis-server',
  ],
  [
    'test/support/left-out.ts',
    'skip()',
    '`npm run test:mutations` repeats a test until it has nothing more to notice',
  ],
  ['test/scripts/upstash.test.ts', "test.runIf(engine === 'server')", 'the embedded Redis keeps nothing'],
  [
    'test/scripts/full-disk.test.ts',
    'test.skipIf(dir === undefined)',
    'not everybody may mount a small disk',
  ],
  [
    'test/support/upstreams.ts',
    "test.skipIf(inject('redisMode') !== 'pass')",
    '`npm run test:redis-away` has no Redis to speak of',
  ],
] as const

interface Check {
  id: string
  /** Critical, high, medium. A release needs a test for each critical or high one. */
  severity: 'C' | 'H' | 'M'
  requirement: string
  /** `true`, or why it does not apply to Roster yet. */
  concerns: true | string
}

interface Proof {
  id: string
  file: string
  sentence: string
}

/** Checks, faults and the invariants that hold after a fault. */
const TITLE = /^((?:[A-Z]{2}\d+|Fault \d+|I\d+)(?:, (?:[A-Z]{2}\d+|Fault \d+|I\d+))*): (.+)$/s
const LEFT_OUT = /^(skip|todo|only|skipIf|runIf|fails)$/
const TEST_CALL = /^(test|it|describe|suite)/

// biome-ignore lint/suspicious/noExplicitAny: the nodes of a syntax tree, of which only three kinds matter
type Node = any

/** The titles in a file, and what in it keeps a test from running. Comments are not in the syntax tree. */
function readTests(file: string): { proofs: Proof[]; leftOut: string[] } {
  const source = readFileSync(join(ROOT, file), 'utf8')
  const proofs: Proof[] = []
  const leftOut: string[] = []
  const visit = (node: Node): void => {
    if (typeof node !== 'object' || node === null) return
    for (const child of Array.isArray(node) ? node : Object.values(node)) visit(child)
    const [, ids = '', sentence = ''] = TITLE.exec(textOf(node)) ?? []
    for (const id of ids.split(', ').filter(Boolean)) proofs.push({ id, file, sentence })
    if (leavesOut(node)) leftOut.push(source.slice(node.start).split('\n', 1)[0]!)
  }
  visit(parseAst(source, { lang: 'ts' }))
  return { proofs, leftOut }
}

/** `test.skip`, `describe.only.each`, `context.skip()`, `skip()`, `test('…', { skip: true }, …)`. */
function leavesOut({ type, property, object, callee, arguments: given }: Node): boolean {
  if (type === 'CallExpression' && callee.name === 'skip') return true
  if (type === 'MemberExpression')
    return property.name === 'skip' || (LEFT_OUT.test(property.name) && TEST_CALL.test(rootOf(object)))
  if (type !== 'CallExpression' || !TEST_CALL.test(rootOf(callee))) return false
  const options = given.flatMap((argument: Node) => argument.properties ?? [])
  return options.some(({ key }: Node) => LEFT_OUT.test(key?.name))
}

/** The text of a string or template; each placeholder becomes an ellipsis. */
function textOf(node: Node): string {
  if (node.type === 'Literal') return String(node.value)
  if (node.type === 'TemplateLiteral') return node.quasis.map((part: Node) => part.value.cooked).join('…')
  return ''
}

/** `test` of `test.each(table)(title)`. */
const rootOf = (node: Node): string =>
  node.name ?? (node.object || node.callee ? rootOf(node.object ?? node.callee) : '')

/** Whether the tests of that file with that id passed in its last run; true if the file has changed since. */
function hasPassed(report: Report, { id, file }: Proof): boolean {
  const run = report[file]
  if (
    run?.digest !==
    createHash('sha256')
      .update(readFileSync(join(ROOT, file)))
      .digest('hex')
  )
    return true
  const mayBeSkipped = MAY_BE_LEFT_OUT.some(([named]) => named === file)
  const isGood = (state: string) => state === 'passed' || (state === 'skipped' && mayBeSkipped)
  const isNamed = (name: string) => TITLE.exec(name)?.[1]?.split(', ').includes(id)
  const named = run.tests.filter(({ names }) => names.some(isNamed))
  return named.length > 0 && named.every(({ state }) => isGood(state))
}

function toTable(checks: Check[], proofs: Proof[]): string {
  const rows = checks.map(({ id, severity, requirement, concerns }) => {
    const proved = proofs.filter((proof) => proof.id === id)
    const files = [...new Set(proved.map(({ file }) => file))]
    const cells = files.map((file) => {
      const sentences = proved.filter((proof) => proof.file === file).map(({ sentence }) => toCell(sentence))
      const link = `[${file.replace(/^test\/|\.test\.ts$/g, '')}](../${file})`
      return `${link}: ${[...new Set(sentences)].join('; ')}`
    })
    const where = cells.join('<br>') || (concerns === true ? 'no test yet' : `not yet: ${concerns}`)
    return `| ${id} | ${severity} | ${toCell(requirement)} | ${where} |`
  })
  return ['| | | what has to hold | proved by |', '| --- | --- | --- | --- |', ...rows].join('\n')
}

/** Tables make titles too; in ours, a parameter becomes an ellipsis. */
const toCell = (text: string) =>
  text
    .replace(/%[sijdo]|\$\w+/g, '…')
    .replaceAll('|', '\\|')
    .replaceAll('<', '&lt;')

const toDocument = (checks: Check[], proofs: Proof[]) => `# Where each check is proved

Made by \`npm run checks\` from \`scripts/checks.json\` and the titles of the tests, each of which names the checks that it
proves. C and H are critical and high: none of those that concern what exists may be without a test, and \`npm run check\`
fails when one is. Faults are what may break around Roster; after each, the same invariants are checked
(\`test/support/invariants.ts\`).

A test that was run proves something only if it passed. Nothing is left out of a run but this:

${MAY_BE_LEFT_OUT.map(([file, begins, reason]) => `- \`${file}\`, \`${begins}\`: ${reason}`).join('\n')}

${toTable(checks, proofs)}
`

const mayBeLeftOut = (file: string, line: string) =>
  MAY_BE_LEFT_OUT.some(([named, begins]) => named === file && line.startsWith(begins))

const isChecking = parseArgs({ options: { check: { type: 'boolean' } } }).values.check ?? false
const checks: Check[] = JSON.parse(readFileSync(join(import.meta.dirname, 'checks.json'), 'utf8'))
const report: Report = existsSync(REPORT) ? JSON.parse(readFileSync(REPORT, 'utf8')) : {}
const files = globSync('test/**/*.ts', { cwd: ROOT }).sort()
const tests = files.map((file) => ({ file, ...readTests(file) }))
const titles = tests.flatMap(({ proofs }) => proofs)
const proofs = titles.filter((title) => hasPassed(report, title))
const proved = new Set(proofs.map(({ id }) => id))
const known = new Set(checks.map(({ id }) => id))

const faults = [
  ...tests.flatMap(({ file, leftOut }) =>
    leftOut.filter((line) => !mayBeLeftOut(file, line)).map((line) => `${file} leaves out a test: ${line}`),
  ),
  ...titles
    .filter((title) => !proofs.includes(title))
    .map(({ id, file, sentence }) => `${id} did not pass when ${file} was last run: ${sentence}`),
  ...checks
    .filter(({ id, severity, concerns }) => concerns === true && severity !== 'M' && !proved.has(id))
    .map(({ id, requirement }) => `${id} has no test: ${requirement}`),
  ...titles
    .filter(({ id }) => !known.has(id) && !/^I\d+$/.test(id))
    .map(({ id, file }) => `${id} stands in a title of ${file}, and is no check.`),
]
const written = toDocument(checks, proofs)
if (!isChecking) writeFileSync(DOCUMENT, written)
else if (readFileSync(DOCUMENT, 'utf8') !== written)
  faults.push('docs/checks.md is out of date: npm run checks')
for (const fault of new Set(faults)) console.error(fault)
if (isChecking && faults.length > 0) process.exitCode = 1
