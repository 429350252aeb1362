import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { expect, test } from 'vitest'

const ROOT = resolve(import.meta.dirname, '../..')
const read = (file: string) => readFileSync(join(ROOT, file), 'utf8')

/** Made by a program, or of what was: nobody follows what they name. */
const LEFT_OUT = ['docs/checks.md', 'bench/RESULTS.md', 'CHANGELOG.md']

const documents = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', '*.md'], {
  cwd: ROOT,
  encoding: 'utf8',
})
  .trim()
  .split('\n')
  .filter((file) => existsSync(join(ROOT, file)))

/** As GitHub makes it of a heading. */
const anchorOf = (heading: string) =>
  heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N} _-]/gu, '')
    .replaceAll(' ', '-')
/** Of a folder, its README is shown. */
const pageAt = (path: string) => (statSync(join(ROOT, path)).isDirectory() ? join(path, 'README.md') : path)
const anchorsIn = (path: string) =>
  [...read(pageAt(path)).matchAll(/^#+ (.+)$/gm)].map(([, it]) => anchorOf(it!))

/** What the text says outside of code that is shown. */
const withoutCode = (text: string) => text.replace(/^ *```[\s\S]*?^ *```/gm, '').replace(/`[^`\n]*`/g, '')

test.each(documents)('Every link in %s leads to a file, and to a heading in it', (file) => {
  const links = [...withoutCode(read(file)).matchAll(/(?:\]\(|src=")([^)"\s]+)/g)].map(([, to]) => to!)
  const broken = links.filter((to) => {
    if (/^[a-z]+:/.test(to)) return false
    const [path, anchor] = to.split('#')
    const target = path ? join(dirname(file), path) : file
    if (!existsSync(join(ROOT, target))) return true
    return anchor !== undefined && !anchorsIn(target).includes(anchor)
  })
  expect(broken).toEqual([])
})

test.each(documents.filter((file) => !LEFT_OUT.includes(file)))(
  'Every script and file that %s names exists',
  (file) => {
    const text = read(file)
    const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> }
    const named = [...text.matchAll(/npm run (?:--silent )?([a-z][\w:-]*)/g)].map(([, name]) => name!)
    expect(named.filter((name) => !(name in scripts))).toEqual([])
    const paths = [...text.matchAll(/`((?:src|test|scripts|docs|bench|examples|client)\/[\w./-]+)`/g)].filter(
      ([, path]) => !path!.endsWith('/.dev.vars'),
    )
    const isThere = (path: string) =>
      existsSync(join(ROOT, path)) || existsSync(join(ROOT, dirname(file), path))
    expect(paths.map(([, path]) => path!).filter((path) => !isThere(path))).toEqual([])
  },
)

test.each(documents.filter((file) => !LEFT_OUT.includes(file)))(
  'Every script option in %s exists',
  (file) => {
    const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> }
    const isKnown = (name: string, option: string) => {
      const [script] = /(?:scripts|bench)\/[\w/-]+\.ts/.exec(scripts[name] ?? '') ?? []
      const names = option === 'settings' ? 'ofDeployment: true' : `--${option}\\b|\\b${option}'?: \\{ type`
      return script === undefined || new RegExp(names).test(read(script))
    }
    const given = [...read(file).matchAll(/npm run (?:--silent )?([a-z][\w:-]*) -- ([^`\n|]*)/g)].flatMap(
      ([, name, rest]) =>
        [...rest!.replace(/ #.*/, '').matchAll(/(?:^| )--([a-z][\w-]*)/g)].map(
          ([, option]) => [name!, option!] as const,
        ),
    )
    expect(given.filter(([name, option]) => !isKnown(name, option))).toEqual([])
  },
)
