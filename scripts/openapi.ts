import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { build } from 'esbuild'

/**
 * Writes what /openapi.json answers, so that linters and makers of clients can read it: `node scripts/openapi.ts`.
 * Pages are JSX, which Node cannot import, so the routes are bundled first.
 */
const ROOT = resolve(import.meta.dirname, '..')
export const FILE = resolve(ROOT, 'dist/openapi.json')
const ISSUER = 'https://roster.example'

async function makeDocument(): Promise<Record<string, unknown>> {
  const outfile = resolve(ROOT, 'dist/openapi.mjs')
  await build({
    stdin: {
      contents: `export { app } from './src/app.ts'\nexport { describe } from './src/docs/openapi.ts'`,
      resolveDir: ROOT,
    },
    bundle: true,
    format: 'esm',
    platform: 'node',
    packages: 'external',
    tsconfig: resolve(ROOT, 'tsconfig.json'),
    outfile,
  })
  const { app, describe } = await import(pathToFileURL(outfile).href)
  return describe(app, ISSUER)
}

/** @returns what stands in `FILE` then. */
export async function writeDocument(): Promise<Record<string, unknown>> {
  const document = await makeDocument()
  mkdirSync(dirname(FILE), { recursive: true })
  writeFileSync(FILE, `${JSON.stringify(document, null, 2)}\n`)
  return document
}

if (import.meta.main) await writeDocument()
