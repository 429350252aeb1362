import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'

const ROOT = join(import.meta.dirname, '..')

/**
 * The largest permitted size of the Worker: a small script starts sooner, everywhere. It began as 256 KiB. Second
 * factors and passkeys, with their pages in two languages, exceeded that. The OpenID provider, with what it needs of
 * jose, took it to 290; mails in German, signing out of apps and consents to 297; API keys, devices without a
 * browser, pushed requests, codes by mail and the console's pages of apps to 322; near introspection, back-channel
 * logout, the keys' pages and identities to 360; importing people from other systems, and verifying their hashes, to
 * 384; webhooks, SMTP, client ID metadata documents, the import's pages and search without accents to 408; the
 * ledger, blocked sign-ups and what attacks by hand found to 428. Without Upstash's client it is 420.
 */
export const BUNDLE_BUDGET_BYTES = 420 * 1024

/** Modules of a Worker by name. The first is the entry; those that are not JavaScript are text or WebAssembly. */
export type Modules = Record<string, string | Buffer>

export interface Bundle {
  modules: Modules
  bytes: number
  gzipBytes: number
  /** WebAssembly is not script, so it is counted separately. */
  wasmBytes: number
  /** Minified bytes of each package, the largest first. */
  packages: [name: string, bytes: number][]
}

interface Metafile {
  outputs: Record<string, { inputs: Record<string, { bytesInOutput: number }> }>
}

/** Builds what is deployed, with the command that deploys it. Also builds another Worker, or another checkout. */
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
