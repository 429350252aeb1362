import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { sentencesOf } from './report.ts'
import type { Results } from './results.ts'

const README = join(import.meta.dirname, '../README.md')
const [BEGIN, END] = ['<!-- figures: made by npm run bench -->', '<!-- /figures -->']

/** The README with the figures of these results, so that nobody copies them by hand. */
export function readmeOf(results: Results, readme = readFileSync(README, 'utf8')): string {
  const [before, rest = ''] = readme.split(BEGIN)
  const after = rest.split(END)[1]
  if (after === undefined) throw new Error(`README.md needs the lines ${BEGIN} and ${END}.`)
  return `${before}${BEGIN}\n${sentencesOf(results)}\n${END}${after}`
}

export const writeReadme = (results: Results) => writeFileSync(README, readmeOf(results))
