import { readdirSync, readFileSync } from 'node:fs'
import { basename, dirname, join, relative, resolve } from 'node:path'
import { expect, test } from 'vitest'

/** The layers, from the top: a folder only imports from lower layers. docs/ARCHITECTURE.md draws them. */
const FLOORS = `
  index app context
  signin consent account console docs
  pages
  oauth api-keys webhooks bulk
  cleanup system
  auth
  recovery
  passkeys identities
  factors
  invitations signup-blocks
  users
  access
  passwords
  mail
  sessions
  links challenges
  activity idempotency throttle
  database
  http
  config
  crypto
  values`
const floors = FLOORS.trim().split('\n').reverse()
const floorOf = (folder: string) => floors.findIndex((floor) => floor.trim().split(' ').includes(folder))

const SRC = resolve(import.meta.dirname, '../src')
const files = (readdirSync(SRC, { recursive: true, encoding: 'utf8' }) as string[]).filter((file) =>
  /\.(tsx?|js)$/.test(file),
)
const textOf = (file: string) => readFileSync(join(SRC, file), 'utf8')
const folderOf = (file: string) => file.split('/')[0]!.replace(/\.tsx?$/, '')
const isRoutes = (file: string) => /^(.*-)?routes\.tsx?$/.test(basename(file))
const isForAll = (file: string) => basename(file) === 'models.ts' || file === 'access/permissions.ts'
const isTypeForAll = (file: string) => file === 'context.ts' || folderOf(file) === 'config'

interface Import {
  from: string
  to: string
  isType: boolean
}
const IMPORT = /^(?:import|export)\s+(type\s)?(?:[^'"]*?from\s+)?'(\.[^']+)'|import\('(\.[^']+)'\)/gm
const imports = files.flatMap((from): Import[] =>
  [...textOf(from).matchAll(IMPORT)].map(([, type, named, loaded]) => ({
    from,
    to: relative(SRC, resolve(SRC, dirname(from), named ?? loaded!)),
    isType: type !== undefined,
  })),
)

test('Folders only import from lower layers, not from others in the same layer', () => {
  const isAllowed = ({ from, to, isType }: Import) =>
    folderOf(from) === folderOf(to) ||
    isRoutes(from) ||
    isForAll(to) ||
    (isType && isTypeForAll(to)) ||
    // The Worker and its table of contents are both in the top layer.
    (!from.includes('/') && !to.includes('/')) ||
    floorOf(folderOf(from)) > floorOf(folderOf(to))
  expect(files.filter((file) => floorOf(folderOf(file)) < 0)).toEqual([])
  expect(imports.filter((one) => !isAllowed(one)).map(({ from, to }) => `${from} → ${to}`)).toEqual([])
})

test('Routes are imported by app.ts and other routes alone', () => {
  const byOthers = imports.filter(({ from, to }) => isRoutes(to) && from !== 'app.ts' && !isRoutes(from))
  expect(byOthers.map(({ from, to }) => `${from} → ${to}`)).toEqual([])
})

test('A session begins only with a login or, for an app, under one', () => {
  const saying = (words: RegExp) => files.filter((file) => words.test(textOf(file))).sort()
  expect(saying(/(?<!function )\bbeginSession\(/)).toEqual([
    'auth/start-session.ts',
    'oauth/tokens/redeem.ts',
  ])
  expect(saying(/\binsert(?:Where)?\(\s*sessions\b|INTO (?:sessions\b|\$\{sessions\})/i)).toEqual([
    'sessions/service.ts',
  ])
})

test('No files import each other in a cycle', () => {
  // Removes files that import nothing of what is left, until none or only cycles are left.
  let left = imports.filter(({ isType }) => !isType)
  for (let before = -1; before !== left.length; ) {
    before = left.length
    const importing = new Set(left.map(({ from }) => from))
    left = left.filter(({ to }) => importing.has(to))
  }
  expect(left.map(({ from, to }) => `${from} → ${to}`)).toEqual([])
})

test('No file has over 350 lines, and no folder over 14 files, except for texts', () => {
  const isText = (file: string) => /\/texts\//.test(file) || file === 'passwords/common-passwords.ts'
  const code = files.filter((file) => !isText(file))
  expect(code.filter((file) => textOf(file).split('\n').length > 351)).toEqual(LONG)
  const folders = Object.entries(Object.groupBy(code, (file) => dirname(file)))
  expect(folders.filter(([, inside]) => inside!.length > 14).map(([folder]) => folder)).toEqual([])
})

test('ARCHITECTURE.md names every table and every folder', () => {
  const text = readFileSync(resolve(SRC, '../docs/ARCHITECTURE.md'), 'utf8')
  const models = files.filter((file) => basename(file) === 'models.ts')
  const tables = models.flatMap((file) => [...textOf(file).matchAll(/sqliteTable\(\s*'(\w+)'/g)])
  expect(tables.map(([, name]) => name).filter((name) => !text.includes(`\`${name}\``))).toEqual([])
  const folders = new Set(files.map(folderOf))
  expect([...folders].filter((folder) => !new RegExp(`\\b${folder}\\b`).test(text))).toEqual([])
})

/** In each file of src, without its comments. */
function findInCode(pattern: RegExp): string[] {
  const withoutComments = (text: string) =>
    text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(^|\s)\/\/ .*$/gm, '')
  const found = files.flatMap((file) =>
    (withoutComments(textOf(file)).match(pattern) ?? []).map((words) => `${file}: ${words}`),
  )
  return [...new Set(found)].sort()
}

test('Durations in texts are written by inWords, from the number that decides them', () => {
  const NUMBERS = 'two|three|four|five|seven|ten|fifteen|thirty|zwei|drei|fünf|sieben|zehn|dreißig|\\d+'
  const UNITS = 'seconds|minutes|hours|days|Sekunden|Minuten|Stunden|Tagen?'
  const ONE = 'an?|one(?: more)?|eine?[mnr]?'
  const UNIT = 'minute|hour|day|week|year|Minute|Stunde|Tag|Woche|Jahr'
  const written = new RegExp(`\\b(?:(?:${NUMBERS}) (?:${UNITS})|(?:${ONE}) (?:${UNIT}))\\b`, 'gi')
  expect(findInCode(written)).toEqual([
    // How others best read the history: a recommendation, not one of our limits.
    'activity/routes.ts: a minute',
    'activity/routes.ts: two minutes',
    'activity/stats.ts: a day',
    // As defined by their standards: RFC 8628 section 3.5, RFC 6238 section 4.1.
    'oauth/device/grant.ts: five seconds',
    // How long a mail takes, by experience, or one of the minutes that are left.
    'pages/texts/de/account.ts: eine Minute',
    'pages/texts/de/factors.ts: 30 Sekunden',
    'pages/texts/de/signin.ts: eine Minute',
    'pages/texts/en/account.ts: a minute',
    // Rates: so many a day or an hour.
    'pages/texts/en/console.ts: a day',
    'pages/texts/en/factors.ts: 30 seconds',
    'pages/texts/en/signin.ts: a minute',
    'recovery/schemas.ts: an hour',
  ])
})

test('Minutes, hours and days are not spelt as 60_000, 3_600 and the like, nor multiplied by 60: values/durations.ts has them', () => {
  const spelt = /\b(?:3_?600|86_?400|604_?800|60_000|3_600_000|86_400_000)\b|\* 60\b/g
  expect(findInCode(spelt)).toEqual(['values/durations.ts: 60_000'])
})

test('No type is forced on a value by way of `unknown`', () => {
  expect(findInCode(/\bas unknown as\b/g)).toEqual([])
})

/** To be split by whoever works there next. */
const LONG: string[] = []
