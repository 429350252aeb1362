import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { expect, test } from 'vitest'
import { readmeOf } from '../../bench/readme.ts'
import { type Results, readResults } from '../../bench/results.ts'

/** What is delivered: the bundle, the repository, and what they are made of. */
const ROOT = resolve(import.meta.dirname, '../..')
const read = (path: string) => readFileSync(join(ROOT, path), 'utf8')

/** Private keys, as PEM (a header alone is what readers of keys look for) and as JWK, and the tokens of services that might end up here. */
const SECRET =
  /BEGIN [A-Z ]*PRIVATE KEY-----(?:\s|\\[nr])*[\w+/]{16}|"d":\s*"[\w-]{43}"|\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.|\bAKIA[0-9A-Z]{16}\b/

test('SC2: the bundle contains no secret, nothing of the tests, and no path on this machine', () => {
  const out = mkdtempSync(join(tmpdir(), 'roster-bundle-'))
  try {
    const wrangler = join(ROOT, 'node_modules/wrangler/bin/wrangler.js')
    const args = ['deploy', '--dry-run', '--minify', `--outdir=${out}`]
    execFileSync(process.execPath, [wrangler, ...args], {
      cwd: ROOT,
      env: { ...process.env, WRANGLER_SEND_METRICS: 'false', CI: 'true' },
      stdio: 'pipe',
    })
    const files = readdirSync(out).filter((name) => /\.(js|css|html)$/.test(name))
    expect(files).toContain('index.js')
    const bundle = files.map((name) => readFileSync(join(out, name), 'utf8')).join('\n')
    // Compared as lists, so that a failure shows what was found and not the whole bundle.
    const unwanted = [SECRET.source, '127\\.0\\.0\\.1', 'people\\.test', 'x-aside', ROOT]
    expect(bundle.match(new RegExp(unwanted.join('|'), 'g')) ?? []).toEqual([])
  } finally {
    rmSync(out, { recursive: true })
  }
})

test('SC2: no file in the repository contains a key or a token', () => {
  const files = execFileSync('git', ['ls-files', '-z'], { cwd: ROOT, encoding: 'utf8' }).split('\0')
  const found = files.filter((file) => file && SECRET.test(read(file)))
  expect(found).toEqual([])
})

test('SC4: every dependency has one exact version, and every package in the lock file a checksum', () => {
  const { dependencies, devDependencies, optionalDependencies } = JSON.parse(read('package.json'))
  const versions = Object.values({ ...dependencies, ...devDependencies, ...optionalDependencies })
  for (const version of versions) expect(version).toMatch(/^\d+\.\d+\.\d+(-[\w.]+)?$/)
  expect(Object.keys(dependencies).length).toBeLessThanOrEqual(15)

  const { packages } = JSON.parse(read('package-lock.json')) as {
    packages: Record<string, { integrity?: string; resolved?: string; link?: boolean }>
  }
  // But for our own: the whole, and the workspace of the client.
  const installed = Object.entries(packages).filter(
    ([path, { link }]) => path.includes('node_modules/') && !link,
  )
  expect(installed.filter(([, { integrity }]) => !integrity?.startsWith('sha512-'))).toEqual([])
  const odd = installed.filter(([, { resolved }]) => resolved && new URL(resolved).protocol !== 'https:')
  expect(odd).toEqual([])
  expect(read('.npmrc')).toContain('ignore-scripts=true')
})

test('SC4: every action in a workflow is pinned by its commit, and a workflow’s token can only read', () => {
  const workflows = execFileSync('git', ['ls-files', '.github/workflows'], { cwd: ROOT, encoding: 'utf8' })
  for (const file of workflows.trim().split('\n')) {
    const text = read(file)
    const used = [...text.matchAll(/uses:\s*(\S+)/g)].map(([, action]) => action)
    expect(
      used.filter((action) => !/^[\w./-]+@[0-9a-f]{40}$/.test(action ?? '')),
      file,
    ).toEqual([])
    expect(text, file).toMatch(/^permissions:\n {2}contents: read$/m)
    expect(text, file).not.toMatch(/: write\b/)
  }
})

test('The figures in the README are those of the last run of the benchmark', () => {
  const readme = read('README.md')
  expect(readmeOf(readResults() as Results, readme)).toBe(readme)
})
