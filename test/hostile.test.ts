import fc from 'fast-check'
import { beforeAll, expect, test } from 'vitest'
import { type Actor, type Api, openApi } from './support/api.ts'
import { openBrowser, PAGES } from './support/pages.ts'
import { rounds } from './support/rounds.ts'

/*
 * What one request may cost: nothing of 64 KB may block the isolate. Each hostile request is timed right beside a
 * harmless one of the same size that takes the same path.
 */

const SIZE = 64 * 1024 - 200
const TIMES_LONGER = 6
/** How much a busy machine may add to any time. */
const NOISE_MS = 60

const api: Api = openApi()
let admin: Actor
beforeAll(async () => {
  admin = await api.actor({ role: 'admin' })
})

/** What is repeated, everywhere or in between: inputs that are hard for parsers and normalisers. */
const UNITS = [
  '"', '\\', '\\"', '\\\\', '\\u0041', '\\ud800', '{', '}', '[', ']', '{"a":', '[[],', ',', ':', ' ', '\n',
  '\u0301', '\u0316', '\u0301\u0316', '\u0345', '\u{1d165}', 'a\u0301', '\uac00', '\u1100\u1161', '\ufdfa', '\u200d',
  '\u202e', '\u{e0041}', '😀', '%ff', '%00', '%', '+', '&', '=', 'a=b&', ';', '/', '~', '.', '-', '@', 'a@', 'a.',
  'x', '0', '9', '"a":1,', "'", '*', '\0', ' #', '::', '\u2028', '\u2029',
] // biome-ignore format: one a line says no more.

/** Text of many shapes, with a maximum of bytes. A failure prints the unit, not the text. */
class Hostile {
  readonly unit: string
  readonly bytes: number
  constructor(unit: string, bytes: number) {
    this.unit = unit
    this.bytes = bytes
  }
  get text() {
    const size = Math.floor(SIZE / this.bytes)
    return this.unit.repeat(Math.ceil(size / this.unit.length)).slice(0, size)
  }
}
const hostile = fc
  .tuple(fc.array(fc.constantFrom(...UNITS), { minLength: 1, maxLength: 4 }), fc.constantFrom(1, 2, 3, 4))
  .map(([parts, bytes]) => new Hostile(parts.join(''), bytes))
const clip = (text: string) => new TextDecoder().decode(new TextEncoder().encode(text).slice(0, SIZE))

const distinct = (write: (index: number) => string, size: number) => {
  let text = ''
  for (let index = 0; text.length < size; index++) text += write(index)
  return text
}

const json = (path: string, body: string) => () =>
  api.send('POST', path, { raw: clip(body), headers: { 'content-type': 'application/json' } })
const form = (path: string, body: string) => () =>
  api.send('POST', path, {
    raw: clip(body),
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
  })
const query = (path: string, search: string) => () =>
  api.send('GET', `${path}?${search}`, { token: admin.token })

async function timed(request: () => Promise<{ status: number }>): Promise<number> {
  const startedAt = performance.now()
  const { status } = await request()
  expect(status).not.toBe(500)
  // The clock of workerd only advances with I/O.
  await new Promise((resolve) => setTimeout(resolve, 0))
  return performance.now() - startedAt
}

/** The quickest of three counts, so that other work on the machine does not matter. */
async function expectCheap(
  request: () => Promise<{ status: number }>,
  harmless: () => Promise<{ status: number }>,
) {
  let [best, beside] = [Number.POSITIVE_INFINITY, 0]
  for (let round = 0; round < 3 && best > beside * TIMES_LONGER + NOISE_MS; round++) {
    best = Math.min(best, await timed(request))
    // Anything below the noise is cheap, however quick the harmless one is.
    if (best > NOISE_MS) beside = Math.max(beside, await timed(harmless))
  }
  expect(best).toBeLessThanOrEqual(beside * TIMES_LONGER + NOISE_MS)
}

const PLAIN = 'x'.repeat(SIZE)

test('HX1: no JSON of 64 KB blocks the isolate', async () => {
  const member = fc.constantFrom('name', 'email', 'password', 'x')
  const path = fc.constantFrom('/v1/auth/signup', '/v1/auth/login', '/v1/auth/verify_email')
  const wrap = fc.constantFrom<(text: string, name: string) => string>(
    (text) => text,
    (text) => `"${text}`,
    (text) => `"${text}"`,
    (text, name) => `{"${name}":"${text.replace(/["\\\p{Cc}]/gu, ' ')}"}`,
    (text, name) => JSON.stringify({ [name]: text }),
    (text) => JSON.stringify({ [text]: 1 }),
  )
  await fc.assert(
    fc.asyncProperty(path, member, wrap, hostile, (to, name, write, { text }) =>
      expectCheap(json(to, write(text, name)), json(to, JSON.stringify({ name: PLAIN }))),
    ),
    { numRuns: rounds(60, 2000) },
  )
})

test('HX1: nor does one of very many members, or levels', async () => {
  const members = distinct((index) => `"${index}":1,`, SIZE - 10)
  // Integers as names have themselves as hashes, so these share few places of a hash table.
  const alike = distinct((index) => `"${index * 4096}":1,`, SIZE - 10)
  const harmless = json('/v1/auth/signup', JSON.stringify({ name: PLAIN }))
  for (const body of [
    `{${members}"x":1}`,
    `{${alike}"x":1}`,
    `{${'"a":1,'.repeat(10_000)}"a":1}`,
    '['.repeat(SIZE),
    '[{"a":'.repeat(10_000),
    `[${'{},'.repeat(20_000)}{}]`,
    `["${'\\"'.repeat(32_000)}`,
    `"${'\\"'.repeat(32_700)}`,
  ])
    await expectCheap(json('/v1/auth/signup', body), harmless)
})

test('HX1: no form of 64 KB blocks the isolate, and none has a long answer', async () => {
  const harmless = form('/v1/auth/login', `username=${PLAIN}`)
  const fields = distinct((index) => `a${index}=&`, SIZE)
  const answer = await form('/v1/auth/login', fields)()
  expect(answer.text.length).toBeLessThan(4000)
  await expectCheap(form('/v1/auth/login', fields), harmless)
  await fc.assert(
    fc.asyncProperty(
      hostile,
      fc.constantFrom('', 'username=', 'username=a&password=', 'a=&'),
      async ({ text }, start) => {
        await expectCheap(form('/v1/auth/login', start + text), harmless)
        await expectCheap(
          form('/links/verify_email', start + text),
          form('/links/verify_email', `x=${PLAIN}`),
        )
      },
    ),
    { numRuns: rounds(30, 1000) },
  )
})

test('HX1: no query blocks the isolate', async () => {
  const harmless = query('/v1/users', `q=${PLAIN}`)
  await expectCheap(
    query(
      '/v1/users',
      distinct((index) => `a${index}=&`, SIZE),
    ),
    harmless,
  )
  const name = fc.constantFrom('q', 'email', 'limit', 'cursor', 'sort', 'page', 'x')
  await fc.assert(
    fc.asyncProperty(name, hostile, fc.boolean(), (member, { text }, isRaw) =>
      expectCheap(
        query(
          '/v1/users',
          isRaw
            ? text.replace(/[#\p{Cc}]/gu, '')
            : `${member}=${encodeURIComponent(text.toWellFormed()).slice(0, SIZE)}`,
        ),
        harmless,
      ),
    ),
    { numRuns: rounds(30, 1000) },
  )
})

test('HX1: no header blocks the isolate', async () => {
  const NAMES = [
    'authorization', 'user-agent', 'x-request-id', 'cf-connecting-ip', 'origin', 'accept-language',
  ] // biome-ignore format: one a line says no more.
  const ON_WRITES = ['content-type', 'content-encoding', 'if-match', 'if-none-match', 'idempotency-key']
  const request = (name: string, value: string) => () =>
    api.send('PATCH', '/v1/users/me', {
      body: { name: 'Ada' },
      token: admin.token,
      ip: null,
      headers: { 'cf-connecting-ip': '10.1.2.3', [name]: value },
    })
  const anonymous = (name: string, value: string) => () =>
    api.send('POST', '/v1/auth/verify_email', { body: {}, ip: null, headers: { [name]: value } })
  await fc.assert(
    fc.asyncProperty(hostile, fc.constantFrom(...NAMES, ...ON_WRITES), async ({ text }, name) => {
      const value = text.replace(/[^\x20-\x7e]/g, '"').trim()
      await expectCheap(anonymous(name, value), anonymous('user-agent', PLAIN))
      if (name !== 'authorization') await expectCheap(request(name, value), request('user-agent', PLAIN))
    }),
    { numRuns: rounds(30, 1000) },
  )
})

test('HX1: no cookie blocks the isolate', async () => {
  const ask = (path: string, cookie: string) => () =>
    api.send('GET', path, { headers: { cookie, 'sec-fetch-site': 'same-origin' } })
  const start = fc.constantFrom(
    ...['', '__Host-roster=', '__Host-roster=ck_', '__Host-roster-device=', '__Host-roster-device=dt_'],
    ...['__Host-roster-factor=', '__Host-roster-onwards=', '__Host-roster-browser=', 'roster-lang=', 'a=b; '],
  )
  const pairs = distinct((index) => `a${index}=b; `, SIZE)
  const path = fc.constantFrom('/v1/users/me', '/signin', '/signin/factor', '/account')
  for (const cookies of [pairs, '__Host-roster=x; '.repeat(SIZE / 17)])
    for (const to of ['/v1/users/me', '/signin']) await expectCheap(ask(to, cookies), ask(to, `x=${PLAIN}`))
  await fc.assert(
    fc.asyncProperty(hostile, start, path, async ({ text }, name, to) => {
      const value = text.replace(/[^\x20-\x7e]/g, '"').trim()
      await expectCheap(ask(to, name + value), ask(to, `x=${PLAIN}`))
    }),
    { numRuns: rounds(30, 1000) },
  )
})

/** What the forms of the pages are made of. */
const FIELDS = [
  'emails', 'email', 'name', 'password', 'new_email', 'current_password', 'new_password', 'code', 'codes', 'credential',
  'challenge', 'token', 'to', 'target', 'locale', 'reason', 'until', 'confirm', 'role', 'id', 'action', 'form_token', 'x',
  'redirect_uris', 'post_logout_redirect_uris', 'backchannel_logout_uri', 'logo_uri', 'jwks', 'scopes', 'allowed_roles',
  'carried', 'shown', 'seen', 'place', 'device', 'recovery_code', 'mail_code', 'request_token', 'terms_version', 'days',
  'entries', 'entry', 'covers', 'lines',
] // biome-ignore format: one a line says no more.

interface Page {
  route: string
  post(fields: Record<string, string>): Promise<{ status: number }>
}
let pages: Page[]
beforeAll(async () => {
  const routes = Object.keys(PAGES).filter((route) => route.startsWith('POST'))
  pages = await Promise.all(
    routes.map(async (route) => {
      // Of a separate person: some forms end sessions.
      const somebody = await api.person({ role: 'admin', password_hash: null })
      const visit = await openBrowser(api, PAGES[route] === 'anyone' ? undefined : somebody)
      const path = route
        .slice('POST '.length)
        .replace(':id', crypto.randomUUID())
        .replace(':provider', 'corp')
      return { route, post: (fields: Record<string, string>) => visit('POST', path, fields) }
    }),
  )
})

const FORM_SIZE = SIZE - 400
/** As long as permitted once a form has escaped it. */
function clipForm(text: string): string {
  const written = new URLSearchParams({ x: text.slice(0, FORM_SIZE) }).toString().slice(0, FORM_SIZE)
  // Without half an escape at the end, or half a character.
  return new URLSearchParams(written.replace(/%[0-9A-F]?$/, '')).get('x')!.replace(/\uFFFD{1,3}$/, '')
}

test('HX1: no form of a page blocks the isolate with long lines, in any field', async () => {
  // Four at a time: a quarter of the length still shows quadratic growth.
  const blanks = `a${' '.repeat(FORM_SIZE / 4 - 30)}b`
  const bodies = Array.from({ length: Math.ceil(FIELDS.length / 4) }, (_, at) =>
    Object.fromEntries(FIELDS.slice(at * 4, at * 4 + 4).map((name) => [name, blanks])),
  )
  const harmless = { x: 'x'.repeat(FORM_SIZE) }
  for (const { route, post } of pages)
    for (const body of bodies)
      await expectCheap(
        () => post(body),
        () => post(harmless),
      ).catch((cause) => {
        throw new Error(`${route} ${Object.keys(body)}`, { cause })
      })
})

test('HX1: no form of a page blocks the isolate with anything hostile', async () => {
  const shape = fc.constantFrom<(text: string) => string>(
    (text) => text,
    (text) => `a${text}b`,
    (text) => `a@b.test${text}<`,
  )
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...pages),
      fc.constantFrom(...FIELDS),
      shape,
      hostile,
      ({ post }, name, write, { text }) => {
        const body = { [name]: clipForm(write(text)) }
        return expectCheap(
          () => post(body),
          () => post({ x: 'x'.repeat(FORM_SIZE) }),
        )
      },
    ),
    { numRuns: rounds(30, 2000) },
  )
})

// As it is sent: a space becomes a plus, and a colon three letters.
const NETWORKS = (1024 * 1024 * 7) / 11 - 1000
test.each([
  ['remarks that end at no end', `${' #'.repeat(FORM_SIZE / 2)}\u2028\u2029`],
  ['more networks than there may be', distinct((index) => `${index.toString(16)}:: `, NETWORKS)],
])('HX1: no list of blocked sign-ups blocks the isolate with %s', async (_, entries) => {
  const { post } = pages.find(({ route }) => route === 'POST /admin/blocked')!
  expect((await post({ entries })).status).toBe(422)
  await expectCheap(
    () => post({ entries }),
    () => post({ entries: `#${'x'.repeat(entries.length)}` }),
  )
})

const MEGABYTE = 1024 * 1024 - 1000
test.each([
  ['names that stand there twice', `${'email,'.repeat(87_000)}${'role,'.repeat(100_000)}role`],
  ['names that are not known', distinct((index) => `${index.toString(36)},`, MEGABYTE)],
  ['names in quotes', `"email""",`.repeat(100_000)],
  ['rows of empty cells', `email\n${`${','.repeat(100)}\n`.repeat(10_000)}`],
])('HX1: no list of people blocks the isolate with %s', async (_, rows) => {
  const post = (raw: string) => () =>
    api.send('POST', '/v1/users/import', { token: admin.token, raw, headers: { 'content-type': 'text/csv' } })
  expect((await post(rows)()).status).toBe(422)
  await expectCheap(post(rows), post(`email\n${'x'.repeat(rows.length)}`))
})
