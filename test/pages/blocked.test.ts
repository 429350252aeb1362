import { beforeAll, beforeEach, describe, expect, test } from 'vitest'
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
/** The page behind a form, and what it says on top. */
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
  test('is taken as it is published: thousands of lines, remarks, empty lines, and some of them twice', async () => {
    const lines = ['# from a list, 2026', '', ...domains(9999), 'last.example # and why', ...domains(600)]
    const { said } = await after(await block(lines.join('\r\n')))
    expect([await count(), said]).toEqual([10_000, ['Blocked: 10,000', undefined]])
  })

  test('is taken with the remarks of Spamhaus, while a semicolon in a line separates', async () => {
    const lines = ['; Spamhaus DROP List\u2028d.test', '192.0.2.0/24 ; SBL123', 'a.test;b.test; c.test']
    const { said } = await after(await block(lines.join('\n')))
    const rows = await api.sql('SELECT entry FROM signup_blocks ORDER BY entry')
    expect([said?.[0], rows.map(({ entry }) => entry)]).toEqual([
      'Blocked: 5',
      ['192.0.2.0/24', 'a.test', 'b.test', 'c.test', 'd.test'],
    ])
  })

  test('stays in the form where it is too much, and nothing of it is blocked', async () => {
    const lines = domains(12_000).join('\n')
    const many = await block(lines)
    expect([many.status, many.text]).toEqual([
      422,
      expect.stringContaining('These are 12,000, and there may be 10,000'),
    ])
    expect(many.text).toContain(`\n${lines}</textarea>`)
    await block('before.example')
    const full = await block(domains(10_000).join('\n'))
    expect([full.status, full.text]).toEqual([409, expect.stringContaining('There may be 10,000 of them')])
    expect(full.text).toContain('d9999.throwaway.example</textarea>')
    const huge = await block('x'.repeat(1024 * 1024))
    expect([huge.status, huge.text]).toEqual([413, expect.stringContaining('Block up to 10,000 at a time')])
    expect(huge.text).toContain('<title>Error: ')
    expect(await count()).toBe(1)
  })

  test('has its first few mistakes named by kind, cut, and nothing in them turns the sentence around', async () => {
    const long = `${'y'.repeat(70)}!`
    const lines = ['good.test', 'a!', '\u202eb!', long, 'd!', 'e!', '0.0.0.0/1', 'https://bad.test/']
    const { status, text } = await block(lines.join('\n'))
    expect(status).toBe(422)
    const shown = `“\u2068a!\u2069”, “\u2068\ufffdb!\u2069”, “\u2068${'y'.repeat(60)}…\u2069” and 2 more.`
    expect(text).toContain(`No address, no domain and no network: ${shown}`)
    expect(text).toContain('16 of IPv6: “\u20680.0.0.0/1\u2069”.')
    expect(text).toContain('instead of “\u2068https://bad.test/\u2069”.')
    expect(await count()).toBe(0)
  })
})

test('What was blocked is said: which one, or how many, and how many were already', async () => {
  expect((await after(await block('one.test'))).said).toEqual(['Blocked: “\u2068one.test\u2069”', undefined])
  expect((await after(await block('one.test'))).said).toEqual([
    'Nothing new to block',
    '1 was blocked already.',
  ])
  const many = await after(await block('one.test two.test three.test'))
  expect(many.said).toEqual(['Blocked: 2', '1 was blocked already.'])
  const gone = await after(await browser('POST', `${PATH}/remove`, { entry: 'one.test' }))
  expect(gone.said).toEqual(['No longer blocked: “\u2068one.test\u2069”', undefined])
  const again = await after(await browser('POST', `${PATH}/remove`, { entry: 'one.test' }))
  expect(again.said).toEqual(['It was not blocked any more', undefined])
  const wrong = await browser('POST', `${PATH}/remove`, { entry: 'b!' })
  expect([wrong.status, wrong.text.includes('marked below')]).toEqual([422, false])
  expect(wrong.text).toContain('<strong>No address, no domain and no network: “\u2068b!\u2069”.</strong>')
})

test('Whoever unblocks stays where they were, in a look-up and on a further page', async () => {
  await block([...domains(51), 'find.test'].join('\n'))
  const found = await browser('GET', `${PATH}?covers=a@find.test`)
  expect(found.text).toContain('<input type="hidden" name="covers" value="a@find.test"/>')
  const fields = { entry: 'find.test', covers: 'a@find.test' }
  const here = await after(await browser('POST', `${PATH}/remove`, fields))
  expect(here.place).toContain('covers=a%40find.test')
  expect(here.text).toContain('Nothing here blocks “\u2068a@find.test\u2069”')
  const first = await browser('GET', PATH)
  const [, cursor] = /\?cursor=([\w.~%-]+)/.exec(first.text)!
  const place = { entry: 'd9.throwaway.example', cursor: decodeURIComponent(cursor!) }
  const { headers } = await browser('POST', `${PATH}/remove`, place)
  expect(headers.get('location')).toContain(`cursor=${cursor}`)
  // Nothing is left on that page.
  const last = await browser('GET', headers.get('location')!)
  const said = `${PATH}?done=unblocked&count=1&entry=d9.throwaway.example`
  expect([last.status, last.headers.get('location')]).toEqual([303, said])
  // What is refused there is said all the same, above the first page.
  const refused = await browser('POST', `${PATH}/remove`, { ...place, entry: 'b!' })
  expect([refused.status, refused.text]).toEqual([422, expect.stringContaining('“\u2068b!\u2069”.</strong>')])
  expect(refused.text).toContain('value="d0.throwaway.example"')
})

test('What was done names no single address in the address of the page, as a browser keeps that', async () => {
  for (const entry of ['ada@example.com', '192.0.2.7', '2001:db8::1/128']) {
    const done = await block(entry)
    expect(done.headers.get('location')).toBe(`${PATH}?done=blocked&count=1`)
    expect((await after(done)).said?.[0]).toBe('Blocked: 1')
    const gone = await browser('POST', `${PATH}/remove`, { entry })
    expect(gone.headers.get('location')).toBe(`${PATH}?done=unblocked&count=1`)
  }
  expect((await block('192.0.2.0/24')).headers.get('location')).toContain('entry=192.0.2.0%2F24')
})

test.each(['__proto__', 'hasOwnProperty', 'valueOf'])(
  'An address that somebody made up, with %s as what was done, says nothing, and breaks nothing',
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

test('A cursor that is none is said to be that, however long it is', async () => {
  for (const cursor of ['x', 'x'.repeat(2000)]) {
    const { status, text } = await browser('GET', `${PATH}?cursor=${cursor}`)
    expect([status, text]).toEqual([400, expect.stringContaining('This place in the list is gone')])
  }
})

test('A look-up that is none says so on top, focused, and shows no list as if it were found', async () => {
  await block('listed.test')
  const { status, text } = await browser('GET', `${PATH}?covers=%3Cb%3E`)
  expect(status).toBe(422)
  expect(text).toContain('<title>Error: Blocked sign-ups')
  expect(text).toMatch(/class="notice danger" role="alert" tabindex="-1" autofocus/)
  expect(text).toContain('“\u2068&lt;b&gt;\u2069”')
  expect(text).not.toContain('value="listed.test"')
  expect(text).not.toContain('Nobody is blocked')
  // Beside the box, whose icon is in its middle.
  expect(text).toMatch(/aria-describedby="covers-error"\/><\/div>[\s\S]*id="covers-error"/)
})

test('In German the page and the history speak German, of the reader by “dich”', async () => {
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
  expect(full.text).toContain('Es dürfen 10.000 sein')
})

test('What the setting alone blocks is said so, with no empty list below', async () => {
  const set = openApi({ ...own.bindings, SIGNUP_BLOCKED: 'covers.test' })
  const person = await api.person({ role: 'admin', password_hash: null, locale: 'en' })
  const { text } = await (await openBrowser(set, person))('GET', `${PATH}?covers=a@covers.test`)
  expect(text).toContain('One is blocked by the setting SIGNUP_BLOCKED')
  expect(text).not.toContain('class="rows"')
  expect(text).not.toContain('Nothing here blocks')
})
