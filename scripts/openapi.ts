import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { build } from 'esbuild'

/**
 * Writes what /openapi.json answers to a file, for linters and client generators: `node scripts/openapi.ts`. Pages
 * are JSX, which Node cannot import, so the routes are bundled first. The bundle is split, because modules that are
 * loaded on demand may be WebAssembly, which Node loads differently from the Worker.
 */
const ROOT = resolve(import.meta.dirname, '..')
export const FILE = resolve(ROOT, 'dist/openapi.json')
const ISSUER = 'https://roster.example'

async function makeDocument(): Promise<Record<string, unknown>> {
  const outdir = resolve(ROOT, 'dist/openapi')
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
    splitting: true,
    outdir,
  })
  const { app, describe } = await import(pathToFileURL(resolve(outdir, 'stdin.js')).href)
  return describe(app, ISSUER)
}

/** @returns the content of `FILE` afterwards. */
export async function writeDocument(): Promise<Record<string, unknown>> {
  const document = await makeDocument()
  mkdirSync(dirname(FILE), { recursive: true })
  writeFileSync(FILE, `${JSON.stringify(document, null, 2)}\n`)
  return document
}

if (import.meta.main) await writeDocument()
