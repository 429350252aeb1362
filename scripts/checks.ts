import { globSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'

/**
 * Where each check is proved: the table in SECURITY.md, made of the catalogue (checks.json) and the titles of the
 * tests, which name the checks that they prove: `PW1, PW3: a sentence`, `Fault 5: a sentence`.
 *
 *   node scripts/checks.ts           writes the table
 *   node scripts/checks.ts --check   fails when the table is out of date, or a grave check has no test
 */
const ROOT = resolve(import.meta.dirname, '..')
const DOCUMENT = join(ROOT, 'SECURITY.md')
const [BEGIN, END] = ['<!-- checks: made by scripts/checks.ts -->', '<!-- /checks -->']

interface Check {
  id: string
  /** Critical, high, medium. Without a test for a critical or high one, nothing is released. */
  severity: 'C' | 'H' | 'M'
  requirement: string
  /** Or the reason why it does not concern Roster yet. */
  concerns: true | string
}

interface Proof {
  file: string
  sentence: string
}

/** Checks, faults and the invariants that hold after a fault. */
const ID = '(?:[A-Z]{2}\\d+|Fault \\d+|I\\d+)'
/** A text in a test file that begins like a title. Titles in tables (`test.each`) are texts like any other. */
const TITLE = new RegExp(`(['"\`])(${ID}(?:, ${ID})*): ((?:\\\\.|(?!\\1).)+)\\1`, 'g')

function readProofs(): Map<string, Proof[]> {
  const proofs = new Map<string, Proof[]>()
  for (const file of globSync('test/**/*.test.ts', { cwd: ROOT }).sort()) {
    for (const [, , ids = '', sentence = ''] of readFileSync(join(ROOT, file), 'utf8').matchAll(TITLE)) {
      for (const id of ids.split(', ')) {
        proofs.set(id, [...(proofs.get(id) ?? []), { file, sentence: sentence.replaceAll("\\'", "'") }])
      }
    }
  }
  return proofs
}

function toTable(checks: Check[], proofs: Map<string, Proof[]>): string {
  const rows = checks.map(({ id, severity, requirement, concerns }) => {
    const proved = proofs.get(id) ?? []
    const files = [...new Set(proved.map(({ file }) => file))]
    const cells = files.map((file) => {
      const sentences = proved.filter((proof) => proof.file === file).map(({ sentence }) => toCell(sentence))
      return `[${file.replace(/^test\/|\.test\.ts$/g, '')}](${file}): ${[...new Set(sentences)].join('; ')}`
    })
    const where = cells.join('<br>') || (concerns === true ? 'no test yet' : `not yet: ${concerns}`)
    return `| ${id} | ${severity} | ${toCell(requirement)} | ${where} |`
  })
  return ['| | | what has to hold | proved by |', '| --- | --- | --- | --- |', ...rows].join('\n')
}

/** Titles are written by rounds and parameters too; in the table these are an ellipsis. */
const toCell = (text: string) =>
  text
    .replace(/\$\{[^}]*\}|%[sijdo]/g, '…')
    .replaceAll('|', '\\|')
    .replaceAll('<', '&lt;')

function findFaults(checks: Check[], proofs: Map<string, Proof[]>): string[] {
  const known = new Set(checks.map(({ id }) => id))
  const unproved = checks.filter(
    ({ id, severity, concerns }) => concerns === true && severity !== 'M' && !proofs.has(id),
  )
  const unknown = [...proofs.keys()].filter((id) => !known.has(id) && !/^I\d+$/.test(id))
  return [
    ...unproved.map(({ id, requirement }) => `${id} has no test: ${requirement}`),
    ...unknown.map((id) => `${id} stands in a title of ${proofs.get(id)![0]!.file}, and is no check.`),
  ]
}

const isChecking = parseArgs({ options: { check: { type: 'boolean' } } }).values.check ?? false
const checks: Check[] = JSON.parse(readFileSync(join(import.meta.dirname, 'checks.json'), 'utf8'))
const proofs = readProofs()
const document = readFileSync(DOCUMENT, 'utf8')
const [before = '', rest = ''] = document.split(BEGIN)
const after = rest.split(END)[1]
if (after === undefined) throw new Error(`SECURITY.md needs the lines ${BEGIN} and ${END}.`)
const written = `${before}${BEGIN}\n${toTable(checks, proofs)}\n${END}${after}`

const faults = findFaults(checks, proofs)
if (!isChecking) writeFileSync(DOCUMENT, written)
else if (written !== document) faults.push('The table in SECURITY.md is out of date: npm run checks')
for (const fault of faults) console.error(fault)
if (isChecking && faults.length > 0) process.exitCode = 1
