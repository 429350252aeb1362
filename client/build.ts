import { execFileSync } from 'node:child_process'
import { cpSync, existsSync, globSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import openapiTs, { astToString } from 'openapi-typescript'

/**
 *   node build.ts types    src/api.d.ts, of ../dist/openapi.json
 *   node build.ts          dist, of src: what is published
 *   node build.ts quick    the same without checking types, which would need the API document
 */
const here = (path: string) => join(import.meta.dirname, path)
const TYPES = 'src/api.d.ts'

interface Operation {
  responses: Record<string, { description: string; headers?: object; content?: object }>
}
export interface Document {
  paths: Record<string, Record<string, Operation>>
  components: { headers?: object }
}

/** The types of the API, without headers: each response has a dozen, and `Headers` has no types for them. */
export async function typesOf({ paths, components, ...document }: Document): Promise<string> {
  const slim = (operation: Operation) => ({
    ...operation,
    responses: Object.fromEntries(
      Object.entries(operation.responses).map(([status, { headers: _, ...answer }]) => [status, answer]),
    ),
  })
  const slimPaths = Object.entries(paths).map(([path, methods]) => [
    path,
    Object.fromEntries(Object.entries(methods).map(([method, operation]) => [method, slim(operation)])),
  ])
  const slimDocument = {
    ...document,
    paths: Object.fromEntries(slimPaths),
    components: { ...components, headers: {} },
  }
  return astToString(await openapiTs(JSON.stringify(slimDocument)))
}

/** @param isQuick skips type checks. */
export function build(isQuick = false): void {
  // Replaced at once, so nobody reads half of it.
  const made = `node_modules/.dist-${process.pid}`
  const tsc = here('../node_modules/typescript/bin/tsc')
  const options = ['-p', here('.'), '--outDir', here(made), ...(isQuick ? ['--noCheck'] : [])]
  execFileSync(process.execPath, [tsc, ...options], { stdio: 'inherit' })
  for (const file of globSync(`${made}/*.d.ts`, { cwd: import.meta.dirname })) {
    const text = readFileSync(here(file), 'utf8')
    // Not every compiler resolves `./x.ts` in a declaration file.
    writeFileSync(here(file), text.replace(/(['"]\.\/\w+)(?:\.d)?\.ts(?=['"])/g, '$1.js'))
  }
  if (existsSync(here(TYPES))) cpSync(here(TYPES), here(`${made}/api.d.ts`))
  rmSync(here('dist'), { recursive: true, force: true })
  renameSync(here(made), here('dist'))
}

if (import.meta.main) {
  const [what] = process.argv.slice(2)
  if (what === 'types') {
    const document = JSON.parse(readFileSync(here('../dist/openapi.json'), 'utf8')) as Document
    writeFileSync(here(TYPES), await typesOf(document))
  } else build(what === 'quick')
}
