import { beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { type Api, openApi } from '../support/api.ts'
import { openBrowser } from '../support/pages.ts'
import { freshUpstreams } from '../support/upstreams.ts'

let own: Awaited<ReturnType<typeof freshUpstreams>>
let api: Api
let browser: Awaited<ReturnType<typeof openBrowser>>
const PATH = '/admin/blocked'

beforeAll(async () => {
  own = await freshUpstreams()
  api = openApi(own.bindings)
})
beforeEach(async () => {
  await api.sql('DELETE FROM signup_blocks')
  browser = await openBrowser(api, await api.person({ role: 'admin', password_hash: null, locale: 'en' }))
})

const domains = (count: number) => Array.from({ length: count }, (_, i) => `d${i}.throwaway.example`)
const block = (entries: string) => browser('POST', PATH, { entries })
const remove = (entry: string, more = {}) => browser('POST', `${PATH}/remove`, { entry, ...more })
const lookUp = (covers: string) => browser('POST', `${PATH}/look_up`, { covers })
/** The link to the rest of the list. */
const nextOf = (text: string) =>
  /href="([^"]+)" rel="next"/.exec(text)![1]!.replaceAll('&amp;', '&').replace('#list', '')
/** As it is shown: with its own text direction. */
const named = (entry: string) => `“\u2068${entry}\u2069”`
/** The page after a form, and its message. */
const after = async ({ headers }: { headers: Headers }) => {
  const place = headers.get('location')!
  const { text } = await browser('GET', place)
  return {
    place,
    said: /id="message"[\s\S]*?<strong>(.*?)<\/strong>(?:<p>(.*?)<\/p>)?/.exec(text)?.slice(1),
    text,
  }
}
const count = async () => (await api.sql('SELECT count(*) AS n FROM signup_blocks'))[0]!.n

describe('A list of throwaway domains', () => {
  test('is accepted as it is published: thousands of lines, remarks, empty lines, and some of them twice', async () => {
    const lines = ['# from a list, 2026', '', ...domains(9999), 'last.example # and why', ...domains(600)]
    const { said } = await after(await block(lines.join('\r\n')))
    expect([await count(), said]).toEqual([10_000, ['Blocked: 10,000', undefined]])
  })

  test('is accepted with the remarks of Spamhaus, while a semicolon within a line separates', async () => {
    const lines = ['; Spamhaus DROP List\u2028d.test', '192.0.2.0/24 ; SBL123', 'a.test;b.test; c.test']
    const { said } = await after(await block(lines.join('\n')))
    const rows = await api.sql('SELECT entry FROM signup_blocks ORDER BY entry')
    expect([said?.[0], rows.map(({ entry }) => entry)]).toEqual([
      'Blocked: 5',
      ['192.0.2.0/24', 'a.test', 'b.test', 'c.test', 'd.test'],
    ])
  })

  test('stays in the form if it is too long, and nothing of it is blocked', async () => {
    const lines = domains(12_000).join('\n')
    const many = await block(lines)
    expect([many.status, many.text]).toEqual([
      422,
      expect.stringContaining('These are 12,000, and the limit is 10,000'),
    ])
    expect(many.text).toContain(`\n${lines}</textarea>`)
    await block('before.example')
    const full = await block(domains(10_000).join('\n'))
    expect([full.status, full.text]).toEqual([409, expect.stringContaining('The limit is 10,000.')])
    expect(full.text).toContain('d9999.throwaway.example</textarea>')
    const huge = await block('x'.repeat(1024 * 1024))
    expect([huge.status, huge.text]).toEqual([413, expect.stringContaining('Block up to 10,000 at a time')])
    expect(huge.text).toContain('<title>Error: ')
    expect(await count()).toBe(1)
  })

  test('has its first few mistakes named by kind, shortened, and none can reverse the sentence’s direction', async () => {
    const long = `${'y'.repeat(70)}!`
    const lines = ['good.test', 'a! a!', '', '\u202eb!', '0.0.0.0/1', 'https://bad.test/', long, 'e!', 'f!']
    const { status, text } = await block(lines.join('\r\n'))
    expect(status).toBe(422)
    expect(text).toContain('<strong>Nothing was blocked</strong><p><a href="#entries">')
    const [, list] = /<div class="error" id="entries-error">[\s\S]*?<ul>(.*?)<\/ul>/.exec(text)!
    expect(list!.split('</li>').map((line) => line.replace('<li>', ''))).toEqual([
      `Line 2: ${named('a!')} is not an address, domain or network. Write it like ada@example.com, example.com or 192.0.2.0/24.`,
      `Line 4: ${named('\ufffdb!')} is not an address, domain or network.`,
      `Line 5: ${named('0.0.0.0/1')} is too wide. The widest is /8 (IPv6: /16).`,
      `Line 6: ${named('https://bad.test/')} is a whole URL. Write its domain alone, such as example.com.`,
      `Line 7: ${named(`${'y'.repeat(60)}…`)} is not an address, domain or network.`,
      'and 2 more',
      '',
    ])
    expect(await count()).toBe(0)
  })
})

test('The page says what was blocked: which one, or how many, and how many were blocked already', async () => {
  expect((await after(await block('one.test'))).said).toEqual([`Blocked: ${named('one.test')}`, undefined])
  expect((await after(await block('one.test'))).said).toEqual([
    `Already on the list: ${named('one.test')}`,
    undefined,
  ])
  const many = await after(await block('one.test two.test three.test'))
  expect(many.said).toEqual(['Blocked: 2', '1 was blocked already.'])
  const gone = await after(await remove('one.test'))
  expect(gone.said).toEqual([`Taken off the list: ${named('one.test')}`, undefined])
  const again = await after(await remove('one.test'))
  expect(again.said).toEqual([`No longer on the list: ${named('one.test')}`, undefined])
  const wrong = await remove('b!')
  expect([wrong.status, wrong.text.includes('marked below')]).toEqual([422, false])
  expect(wrong.text).toContain(`<strong>${named('b!')} is not an address, domain or network. Write it like `)
})

test('The page warns if a removed entry is still blocked by others', async () => {
  const set = openApi({ ...own.bindings, SIGNUP_BLOCKED: 'spam.test' })
  browser = await openBrowser(set, await api.person({ role: 'admin', password_hash: null, locale: 'en' }))
  await block('mail.spam.test eve@mail.spam.test')
  const { said, text } = await after(await remove('eve@mail.spam.test'))
  expect(said).toEqual([
    `Taken off the list: ${named('eve@mail.spam.test')}`,
    `It is still blocked by ${named('mail.spam.test')}, ${named('spam.test')}.`,
  ])
  expect(text).toContain('class="notice warn"')
})

test('A removed entry is blocked again with one button, which keeps the place in the list', async () => {
  await block('eve@find.test')
  const gone = await after(await remove('eve@find.test', { covers: 'eve+1@find.test' }))
  const [, notice] = /id="message"[\s\S]*?<form[^>]*action="\/admin\/blocked"([\s\S]*?)<\/form>/.exec(
    gone.text,
  )!
  const fields = Object.fromEntries(
    [...notice!.matchAll(/name="(\w+)" value="([^"]*)"/g)].map(([, name, value]) => [name, value]),
  )
  expect(fields).toMatchObject({ covers: 'eve+1@find.test', again: 'eve@find.test' })
  const back = await after(await browser('POST', PATH, fields as Record<string, string>))
  expect(back.place.endsWith('#message')).toBe(true)
  expect([await count(), back.said]).toEqual([1, [`Blocked: ${named('eve@find.test')}`, undefined]])
  expect(back.text).toContain(`${named('eve+1@find.test')} cannot sign up. Blocked by:`)
})

test('Unblocking keeps the place, in a look-up and on a later page', async () => {
  await block([...domains(51), 'find.test'].join('\n'))
  const looked = await lookUp(' a@find.test ')
  expect(looked.headers.get('location')).toMatch(/^\/admin\/blocked\?carried=[^&]+#list$/)
  const found = await after(looked)
  expect(found.text).toContain(`${named('a@find.test')} cannot sign up. Blocked by:`)
  expect(found.text).toContain('<input type="hidden" name="covers" value="a@find.test"/>')
  expect(found.text).not.toContain('52 entries')
  const here = await after(await remove('find.test', { covers: 'a@find.test' }))
  expect(here.text).toContain(`Nothing here blocks ${named('a@find.test')}`)
  const first = await browser('GET', PATH)
  expect(first.text).toContain('51 entries')
  expect(first.text).toContain('aria-label="Unblock: d0.throwaway.example"')
  const second = await browser('GET', nextOf(first.text))
  expect(second.text).toContain('aria-label="Unblock: d9.throwaway.example"')
  const [, cursor] = /name="cursor" value="([\w-]+)"/.exec(second.text)!
  const place = { cursor: cursor! }
  const { headers } = await remove('d9.throwaway.example', place)
  // Nothing is left on that page.
  const last = await browser('GET', headers.get('location')!)
  expect(last.status).toBe(303)
  const left = await after(last)
  expect(left.said?.[0]).toBe(`Taken off the list: ${named('d9.throwaway.example')}`)
  expect(left.text).toContain('value="d0.throwaway.example"')
  // A refusal there is still shown, above the first page.
  const refused = await remove('b!', place)
  expect([refused.status, refused.text]).toEqual([
    422,
    expect.stringContaining(`<strong>${named('b!')} is not`),
  ])
  expect(refused.text).toContain('value="d0.throwaway.example"')
})

test('Nobody is named in the page’s URL, which browsers and logs keep, only on the page', async () => {
  for (const [entry, said] of [
    ['ada@example.com', 'ada@example.com'],
    ['192.0.2.7', '192.0.2.7'],
    ['2001:db8::7', '2001:db8::/64'],
    ['192.0.2.0/24', '192.0.2.0/24'],
  ] as const) {
    for (const act of [block, lookUp, remove]) {
      const { place, text } = await after(await act(entry))
      expect(place).toMatch(/^\/admin\/blocked\?carried=[\w.%~-]+(#\w+)?$/)
      expect(decodeURIComponent(place)).not.toContain(entry.slice(0, 7))
      expect([place, text]).toEqual([place, expect.stringContaining(said)])
    }
  }
  // Nor is anybody named by the cursor of the list, in the whole list or in a look-up.
  await api.sql('DELETE FROM signup_blocks')
  await block(Array.from({ length: 101 }, (_, i) => `eve${100 + i}@find.test`).join('\n'))
  const first = await browser('GET', PATH)
  const second = await browser('GET', nextOf(first.text))
  expect(second.text).toContain('value="eve150@find.test"')
  const links = [first, second].flatMap(({ text }) =>
    [...text.matchAll(/href="(\/admin\/blocked[^"]*)"/g)].map(([, href]) => href!),
  )
  expect(links.filter((link) => link.includes('?')).length).toBeGreaterThanOrEqual(3)
  for (const link of links) {
    expect(link).toMatch(/^\/admin\/blocked(\?carried=[\w.%~-]+)?(#\w+)?$/)
    for (const value of new URL(link, 'http://x').searchParams.values())
      expect(Buffer.from(value, 'base64url').toString('latin1')).not.toContain('eve')
  }
  const third = await browser('GET', nextOf(second.text))
  const [, back] = /href="([^"]+)" rel="prev"/.exec(third.text)!
  expect((await browser('GET', back!.replace('#list', ''))).text).toContain('value="eve150@find.test"')
  // Somebody who returns after a long time is at the beginning.
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() - 3_600_000 })
  const old = nextOf((await browser('GET', PATH)).text)
  vi.useRealTimers()
  expect((await browser('GET', old)).text).toContain('value="eve100@find.test"')
  // Nor is an address read from there.
  expect((await browser('GET', `${PATH}?covers=eve@example.com`)).text).not.toContain('eve@example.com')
})

test('A result is only shown to whoever caused it: in no other session, and on no other page', async () => {
  const place = (await block('one.test')).headers.get('location')!
  const other = await openBrowser(api, await api.person({ role: 'admin', password_hash: null, locale: 'en' }))
  for (const path of [place, `${PATH}?done=blocked&count=1`, `${PATH}?carried=x`])
    expect((await other('GET', path)).text).not.toContain('id="message"')
})

test.each(['__proto__', 'hasOwnProperty', 'valueOf'])(
  'An invented URL, with %s as the result, shows nothing, and breaks nothing',
  async (word) => {
    for (const path of [
      `${PATH}?count=1&done=${word}`,
      `${PATH}?count=-1&done=blocked`,
      `${PATH}?count=1e3&done=blocked`,
      `/account/security?problem=${word}`,
      `/account?done=${word}`,
    ]) {
      const { status, text } = await browser('GET', path)
      expect([path, status, text.includes('id="message"')]).toEqual([path, 200, false])
    }
    expect((await api.send('GET', `/signin?done=${word}`)).status).toBe(200)
  },
)

test('The result of unblocking is shown even if the place in the list is invalid', async () => {
  for (const cursor of ['x', 'x'.repeat(2000)]) {
    await block('gone.test')
    const { said } = await after(await remove('gone.test', { cursor }))
    expect(said?.[0]).toBe(`Taken off the list: ${named('gone.test')}`)
    const refused = await remove('b!', { cursor })
    expect([refused.status, refused.text]).toEqual([
      422,
      expect.stringContaining(`<strong>${named('b!')} is not`),
    ])
  }
})

test('An invalid cursor is reported, however long it is', async () => {
  for (const cursor of ['x', 'x'.repeat(2000)]) {
    const { status, text } = await browser('GET', `${PATH}?cursor=${cursor}`)
    expect([status, text]).toEqual([400, expect.stringContaining('This place in the list is gone')])
  }
})

test('An invalid look-up is reported on top, focused, without a list that looks like a result', async () => {
  await block('listed.test')
  const { status, text } = await lookUp('<b>')
  expect(status).toBe(422)
  expect(text).toContain('<title>Error: Blocked sign-ups')
  expect(text).toMatch(/class="notice danger" role="alert" tabindex="-1" autofocus/)
  expect(text).toContain('“\u2068&lt;b&gt;\u2069”')
  expect(text.split('is not an address').length).toBe(2)
  expect(text).toContain('<a href="#covers">')
  expect(text).not.toContain('value="listed.test"')
  expect(text).not.toContain('Nobody is blocked')
  // Beside the box, whose icon is in its middle.
  expect(text).toMatch(/aria-describedby="covers-error"\/><\/div>[\s\S]*id="covers-error"/)
})

test('In German the page and the history are in German, with “dich” for the reader', async () => {
  const person = await api.person({ role: 'admin', password_hash: null, locale: 'de' })
  const german = await openBrowser(api, person)
  const block = (entries: string) => german('POST', PATH, { entries })
  const { headers } = await block('eins.test zwei.test')
  const done = await german('GET', headers.get('location')!)
  expect(done.text).toContain('<strong>Blockiert: 2</strong>')
  await german('POST', `${PATH}/remove`, { entry: 'eins.test' })
  const { text } = await german('GET', '/admin/activity?action=signup_blocks.changed')
  expect(text).toContain('freigegeben durch <strong><bdi>dich</bdi></strong>')
  expect(text).not.toContain('durch <strong><bdi>Du<')
  const full = await block(domains(10_000).join('\n'))
  expect(full.text).toContain('Mehr als 10.000 geht nicht')
})

test('Entries that only the setting blocks are shown as such below the rows, without an empty list', async () => {
  const set = openApi({ ...own.bindings, SIGNUP_BLOCKED: 'covers.test' })
  browser = await openBrowser(set, await api.person({ role: 'admin', password_hash: null, locale: 'en' }))
  const { text } = await after(await lookUp('a@covers.test'))
  expect(text).toContain(`${named('a@covers.test')} cannot sign up. Blocked by:`)
  expect(text).toContain('One entry is in the settings of Roster')
  expect(text).not.toContain('class="rows"')
  expect(text).not.toContain('Nothing here blocks')
  await block('a@covers.test')
  const both = (await after(await lookUp('a@covers.test'))).text
  expect(both.indexOf('class="rows"')).toBeLessThan(both.indexOf('in the settings of Roster'))
})
