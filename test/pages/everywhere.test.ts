import { describe, expect, test } from 'vitest'
import { app } from '../../src/app.ts'
import { operationsOf } from '../../src/docs/openapi.ts'
import { type Answer, type Api, openApi } from '../support/api.ts'
import { everyPage } from '../support/pages.ts'
import { ALL_WAYS_IN } from '../support/requests.ts'
import { freshUpstreams } from '../support/upstreams.ts'

/** Every page once, asked for in a language of its own. */
async function walk(language: string, settings: object = {}) {
  const own = await freshUpstreams()
  const api = openApi({ ...own.bindings, ...ALL_WAYS_IN, DEBUG_TIMING: 'on', ...settings })
  const isOfPages = (path: string) => !/^\/(v1|oauth\/(token|par)|\.well-known)\b/.test(path)
  const asked: Api = {
    ...api,
    send: (method, path, options) =>
      api.send(
        method,
        isOfPages(path) ? `${path}${path.includes('?') ? '&' : '?'}lang=${language}` : path,
        options,
      ),
  }
  const seen: [route: string, answer: Answer][] = []
  await everyPage(asked, (route, answer) => seen.push([route, answer]))
  return seen
}
const isPage = ({ headers }: Answer) => headers.get('content-type')?.startsWith('text/html') ?? false

const MONTHS = 'Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec'
/** What needs no translation: names, addresses, dates, and what is the same in every language. */
const DATA = new RegExp(
  [
    ...['Roster', 'English', 'Deutsch', 'UTC', 'Somebody', 'Grace', 'Eve', 'Wiki', 'Report', 'Fjord'],
    ...['Google', 'GitHub', 'Microsoft', 'Apple', 'CSV', 'NDJSON'],
    ...[
      '\\S+@\\S+',
      '\\bhttps?://\\S+',
      '[0-9a-f]{8}-[0-9a-f-]{27}',
      `\\d+ (${MONTHS})[a-z]*( \\d{4})?`,
      '[RE]S256',
      // Types of events, and hosts.
      '\\b[a-z_]+(\\.[a-z_]+)+\\b',
      'Hopper',
      'email,name',
    ],
  ].join('|'),
  'g',
)
/** Texts of a page, including attributes, that were never translated: translated ones are in brackets, with accents. */
function untranslated(html: string): string[] {
  const shown = html.replace(/<(script|style|code|bdi|time|kbd|textarea)\b[^>]*>.*?<\/\1>/gs, ' ')
  const texts = [
    ...shown.matchAll(/>([^<>]+)</g),
    ...shown.matchAll(/ (?:aria-label|placeholder|title|alt|data-busy|data-copy|data-selected)="([^"]*)"/g),
  ]
  return texts
    .map(([, text]) => {
      let left = text!.replace(/&[a-z]+;|&#\d+;/g, ' ').replace(DATA, ' ')
      for (let before = ''; before !== left; ) {
        before = left
        left = left.replace(/\[[^[\]]*\]/g, ' ')
      }
      // A sentence continues after the name in it.
      return left
        .replace(/\[[^[\]]*$/, ' ')
        .replace(/^[^[\]]*\]/, ' ')
        .trim()
    })
    .filter((text) => /\p{L}{2}/u.test(text))
}

/** Pages that do more than one thing. */
const MORE_TRIPS: Record<string, number> = {
  // The account is made, and signed in to.
  'POST /signup': 4,
  // Whether it is the first factor; the code that is mailed then; the seed or the challenge.
  'POST /account/security/totp': 5,
  'POST /account/security/passkeys/new': 4,
  // The present values are read first, beside what was typed; afterwards the list is shown.
  'POST /admin/apps/:id': 3,
  // Only for a service, which the first trip shows, are those read who are told.
  'POST /admin/apps/:id/take_over': 3,
  'POST /admin/invitations': 3,
  // The ledger is told afterwards.
  'POST /admin/people/:id/erase': 3,
  // It is claimed and sent, and the answer is stored, before the page shows the result.
  'POST /admin/webhooks/:id/test': 3,
  'POST /admin/webhooks/:id/retry': 3,
}

describe('Every page', { timeout: 300_000 }, () => {
  test('has no untranslated text', async () => {
    const found: Record<string, string[]> = {}
    for (const [route, answer] of await walk('en-XA')) {
      // An app's invalid request is explained to its developers, in English.
      if (!isPage(answer) || route === 'GET /oauth/authorize') continue
      const left = untranslated(answer.text)
      if (left.length > 0) found[route] = [...new Set([...(found[route] ?? []), ...left])]
    }
    expect(found).toEqual({})
  })

  test('takes one trip, and two for a change, and keeps a language that is chosen on it', async () => {
    const slow: [string, number][] = []
    const forgetful: string[] = []
    for (const [route, { headers, ...answer }] of await walk('de')) {
      const depth = Number(/depth;desc="(\d+)"/.exec(headers.get('server-timing') ?? '')?.[1] ?? 0)
      if (depth > (MORE_TRIPS[route] ?? (route.startsWith('GET ') ? 1 : 2))) slow.push([route, depth])
      const page = { headers, ...answer } as Answer
      if (isPage(page) && !(headers.get('set-cookie') ?? '').includes('roster-lang=de')) forgetful.push(route)
    }
    expect(forgetful).toEqual([])
    expect(slow).toEqual([])
  })
})

test('What is shown as a request is one of the API', () => {
  expect(operationsOf(app).size).toBeGreaterThan(100)
})
