import { execFileSync } from 'node:child_process'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join, resolve } from 'node:path'
import openapiTs, { astToString } from 'openapi-typescript'
import { beforeAll, expect, test } from 'vitest'
import { writeDocument } from '../../scripts/openapi.ts'

/** The TypeScript of this workspace, as openapi-typescript does not run on the one that Roster uses. */
const TSC = createRequire(import.meta.url).resolve('typescript/bin/tsc')
const CLIENT = resolve(import.meta.dirname, '..')

let types: string
beforeAll(async () => {
  types = astToString(await openapiTs(JSON.stringify(await writeDocument())))
})

test('The types that are made of the document leave nothing unknown but other headers and what others define: options of WebAuthn, metadata, imported factors', () => {
  const withoutComments = types.replace(/\/\*[\s\S]*?\*\//g, '')
  // WebAuthn options are passed through to the browser.
  const withoutOptions = withoutComments.replace(/options: \{\s*\[key: string\]: unknown;\s*\}/g, '')
  // Metadata is the caller's own. Imported factors come from elsewhere, and are checked line by line.
  const withoutMetadata = withoutOptions.replace(
    /(metadata|factors)\??: \{\s*\[key: string\]: unknown;\s*\}/g,
    '',
  )
  const withoutHeaders = withoutMetadata.replace(/headers: \{[^}]*\}/g, '')
  // A mail's status can be `"unknown"`, which is a value here, not a type.
  expect(withoutHeaders.match(/^.*(?<!")\bunknown\b.*$/gm) ?? []).toEqual([])
})

test('A caller is told by the types which codes a problem has, and what stands in the history', () => {
  const dir = mkdtempSync(join(CLIENT, 'node_modules/.types-'))
  writeFileSync(join(dir, 'api.d.ts'), types)
  writeFileSync(
    join(dir, 'use.ts'),
    `import type { components, paths } from './api.d.ts'
type Login = paths['/v1/auth/login']['post']['responses']
type Code = Login[429]['content']['application/problem+json']['code']
export const limited: Code = 'too_many_attempts'
// @ts-expect-error: no code of a login
export const never: Code = 'email_taken'
export function told(row: components['schemas']['Activity']): string | null | undefined {
  if (row.action === 'user.role_changed') return row.details?.role?.to
  if (row.action === 'user.disabled') return row.details?.reason
  return row.actor_id
}
export const tokens = (answer: Login[200]['content']['application/json']): string | undefined =>
  'access_token' in answer ? answer.access_token : answer.user.id
`,
  )
  const options = [
    ...'--noEmit --strict --skipLibCheck --allowImportingTsExtensions'.split(' '),
    '--moduleResolution',
    'bundler',
    '--module',
    'esnext',
  ]
  expect(execFileSync(process.execPath, [TSC, ...options, join(dir, 'use.ts')], { encoding: 'utf8' })).toBe(
    '',
  )
})
