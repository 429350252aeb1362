import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'

const ROOT = join(import.meta.dirname, '..')

/**
 * What the Worker may weigh: a small script starts sooner, everywhere. It was to be 256 KiB; second factors and passkeys
 * with their pages, in two languages, took it over, and then the OpenID provider, with what it needs of jose, took it to 290,
 * and mails in German, with signing out of apps and what users let them do, to 297. API keys, devices without a browser,
 * pushed requests, codes by mail and the console's pages of apps took it to 322, near introspection, the sign-out of apps
 * by the back channel, keys' pages and identities to 360, what takes people over from other systems and verifies their
 * hashes to 384. Webhooks, mail by SMTP, apps by documents, the import's pages and names without accents took it to 408; the
 * ledger, lists of who may not join and what attacks by hand found are the rest of 428.
 */
export const BUNDLE_BUDGET_BYTES = 428 * 1024

/** Modules of a Worker by name: the first is the one that is served; those that are no JavaScript are text, or WebAssembly. */
export type Modules = Record<string, string | Buffer>

export interface Bundle {
  modules: Modules
  bytes: number
  gzipBytes: number
  /** Of WebAssembly, which is no script, and counted apart. */
  wasmBytes: number
  /** Minified bytes of each package, the largest first. */
  packages: [name: string, bytes: number][]
}

interface Metafile {
  outputs: Record<string, { inputs: Record<string, { bytesInOutput: number }> }>
}

/** Builds what is deployed, by the command that deploys it; of another Worker than Roster, or another checkout. */
export function buildBundle({
  entry,
  root = ROOT,
  minify = true,
}: {
  entry?: string
  root?: string
  minify?: boolean
} = {}): Bundle {
  const dir = mkdtempSync(join(tmpdir(), 'roster-bundle-'))
  try {
    const metafile = join(dir, 'meta.json')
    const options = ['--dry-run', ...(minify ? ['--minify'] : []), '--outdir', dir, '--metafile', metafile]
    execFileSync(
      process.execPath,
      [join(root, 'node_modules/wrangler/bin/wrangler.js'), 'deploy', ...(entry ? [entry] : []), ...options],
      {
        cwd: root,
        env: { ...process.env, CI: 'true', WRANGLER_SEND_METRICS: 'false', WRANGLER_HIDE_BANNER: 'true' },
        stdio: ['ignore', 'ignore', 'inherit'],
      },
    )
    const main = `${entry?.replace(/^.*\/|\.ts$/g, '') ?? 'index'}.js`
    const texts = readdirSync(dir).filter((name) => /\.(css|html|js|txt)$/.test(name) && name !== main)
    const scripts = [main, ...texts].map((name) => [name, readFileSync(join(dir, name), 'utf8')] as const)
    const wasm = readdirSync(dir)
      .filter((name) => name.endsWith('.wasm'))
      .map((name) => [name, readFileSync(join(dir, name))] as const)
    const { outputs }: Metafile = JSON.parse(readFileSync(metafile, 'utf8'))
    const sizes = new Map<string, number>()
    for (const { inputs } of Object.values(outputs)) {
      for (const [path, { bytesInOutput }] of Object.entries(inputs)) {
        const name = packageOf(path)
        sizes.set(name, (sizes.get(name) ?? 0) + bytesInOutput)
      }
    }
    const packages = [...sizes].filter(([, bytes]) => bytes > 0).sort(([, a], [, b]) => b - a)
    const sum = (of: (text: string) => number) => scripts.reduce((all, [, text]) => all + of(text), 0)
    return {
      modules: Object.fromEntries([...scripts, ...wasm]),
      bytes: sum((text) => Buffer.byteLength(text)),
      gzipBytes: sum((text) => gzipSync(text).length),
      wasmBytes: wasm.reduce((all, [, bytes]) => all + bytes.length, 0),
      packages,
    }
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}

export function packageOf(path: string): string {
  const [, name] = /.*node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path) ?? []
  if (name) return name
  return path.endsWith('common-passwords.ts') ? 'list of common passwords' : 'Roster itself'
}
