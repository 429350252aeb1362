import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { gzipSync } from 'node:zlib'
import { build as bundle } from 'esbuild'
import { publint } from 'publint'
import { formatMessage } from 'publint/utils'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { writeDocument } from '../../scripts/openapi.ts'
import { build, type Document, typesOf } from '../build.ts'
import { writeExamples } from './examples.ts'

const CLIENT = resolve(import.meta.dirname, '..')
const home = mkdtempSync(join(tmpdir(), 'roster-client-'))
const packed = join(home, 'roster-client.tgz')
afterAll(() => rmSync(home, { recursive: true, force: true }))

/** As published: types from the API document, dist, and the package that npm builds. */
beforeAll(async () => {
  writeFileSync(join(CLIENT, 'src/api.d.ts'), await typesOf((await writeDocument()) as unknown as Document))
  build()
  const [{ filename }] = JSON.parse(
    execFileSync('npm', ['pack', '--json', '--pack-destination', home], { cwd: CLIENT, encoding: 'utf8' }),
  )
  execFileSync('mv', [join(home, filename), packed])
})

const require = createRequire(import.meta.url)

test('publint and attw find nothing wrong with what is packed', async () => {
  const { messages, pkg } = await publint({ pkgDir: CLIENT, strict: true })
  expect(messages.map((message) => formatMessage(message, pkg))).toEqual([])
  const attw = join(require.resolve('@arethetypeswrong/cli/package.json'), '../dist/index.js')
  const said = execFileSync(process.execPath, [attw, packed, '--profile', 'esm-only', '--format', 'json'], {
    encoding: 'utf8',
  })
  // It fails on every finding, except those about other module formats.
  expect(Object.keys(JSON.parse(said).analysis.entrypoints)).toEqual(['.', './tokens', './react', './verify'])
})

/** What a page loads, dependencies included. */
async function sizeOf(contents: string): Promise<number> {
  const { outputFiles } = await bundle({
    stdin: { contents, resolveDir: CLIENT },
    bundle: true,
    minify: true,
    format: 'esm',
    target: 'es2022',
    write: false,
  })
  return gzipSync(outputFiles[0]!.contents, { level: 9 }).length
}

test('The main entry is at most 6 KiB with openapi-fetch, and tokens add at most 2', async () => {
  const main = await sizeOf(`export * from './dist/main.js'`)
  const both = await sizeOf(`export * from './dist/main.js'; export * from './dist/tokens.js'`)
  console.log(`@roster/client: ${main} bytes gzip, with tokens ${both}`)
  expect(main).toBeLessThanOrEqual(6144)
  expect(both - main).toBeLessThanOrEqual(2048)
})

test('What is for React is for the client in frameworks that tell it from a server, which may render it', () => {
  expect(readFileSync(join(CLIENT, 'dist/react.js'), 'utf8')).toMatch(/^'use client';/)
  expect(readFileSync(join(CLIENT, 'dist/main.js'), 'utf8')).not.toContain('use client')
  const page = `import { createElement } from 'react'
import { renderToString } from 'react-dom/server'
import { createClient } from '@roster/client'
import { RosterProvider, SignedIn, SignedOut } from '@roster/client/react'
const client = createClient({ url: 'https://id.example.com' })
const parts = [createElement(SignedIn, { key: 1 }, 'in'), createElement(SignedOut, { key: 2 }, 'out')]
process.stdout.write(renderToString(createElement(RosterProvider, { client }, 'Ledger', parts)))
await client.load().catch(({ message }) => process.stdout.write(' ' + message))`
  const said = execFileSync(process.execPath, ['--input-type=module', '-e', page], {
    cwd: CLIENT,
    encoding: 'utf8',
  })
  expect(said).toMatch(/^Ledger There is no browser here to keep a cookie\./)
})

test('It depends on openapi-fetch alone, and what is packed is dist', async () => {
  const { dependencies, peerDependenciesMeta } = require('../package.json')
  expect(Object.keys(dependencies)).toEqual(['openapi-fetch'])
  expect(peerDependenciesMeta).toMatchObject({ react: { optional: true }, hono: { optional: true } })
  const files = execFileSync('tar', ['-tzf', packed], { encoding: 'utf8' }).trim().split('\n')
  expect(files.filter((file) => !/^package\/(dist\/|package\.json|README\.md|LICENSE)/.test(file))).toEqual(
    [],
  )
})

test('A program that uses it is told by the types what may come', () => {
  const dir = mkdtempSync(join(CLIENT, 'node_modules/.use-'))
  writeFileSync(
    join(dir, 'use.tsx'),
    `import { createClient, dataOf, type ProblemCode, RosterError } from '@roster/client'
import { SignedIn, useUser } from '@roster/client/react'
import { tokens } from '@roster/client/tokens'
import { createVerifier } from '@roster/client/verify'

const roster = createClient({ url: 'https://id.example.com', keep: tokens() })
export async function use(): Promise<string> {
  const step = await roster.signIn({ email: 'ada@example.com', password: 'x' })
  // @ts-expect-error: a factor may be due
  step.user.id
  const user = step.factor ? await step.factor.code('123456') : step.user
  const { error } = await roster.api.GET('/v1/users/me')
  // @ts-expect-error: no code of it
  if (error?.code === 'email_taken') return ''
  if (error?.code === 'unauthenticated') return error.detail
  const page = await dataOf(roster.api.GET('/v1/users', { params: { query: { limit: 10 } } }))
  const code: ProblemCode = 'email_taken'
  try {
  } catch (caught) {
    if (caught instanceof RosterError && caught.code === code) return caught.problem.detail
  }
  return user.id + page.data.length
}
export const Name = () => <SignedIn fallback="nobody">{useUser()?.name}</SignedIn>
export const verifier = createVerifier({ issuer: 'https://id.example.com', audience: 'roster' })
`,
  )
  typeCheck(dir, ['use.tsx'], '--exactOptionalPropertyTypes')
})

test('Every example of it in the documents is right by its types', () => {
  const dir = mkdtempSync(join(CLIENT, 'node_modules/.examples-'))
  const examples = writeExamples(dir)
  expect(examples.length).toBeGreaterThan(8)
  // As plain JavaScript: without type annotations, and caught values may be anything.
  const options =
    '--allowJs --checkJs --noImplicitAny false --useUnknownInCatchVariables false --skipLibCheck'
  typeCheck(dir, examples, options)
})

/** With the most common compiler, which by default checks the libraries' own types as well. */
function typeCheck(dir: string, files: string[], options: string) {
  const usual =
    '--noEmit --strict --jsx react-jsx --target es2022 --types react --moduleResolution bundler --module esnext --lib es2024,dom,dom.iterable'
  const tsc = require.resolve('typescript/bin/tsc')
  const given = [tsc, ...`${usual} ${options}`.split(' '), ...files]
  try {
    expect(execFileSync(process.execPath, given, { cwd: dir, encoding: 'utf8' })).toBe('')
  } catch (error) {
    throw new Error((error as { stdout: string }).stdout || String(error))
  } finally {
    rmSync(dir, { recursive: true })
  }
}
