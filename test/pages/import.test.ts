import { expect, test } from 'vitest'
import { makeFormToken } from '../../src/pages/forms.ts'
import { openApi } from '../support/api.ts'
import { openBrowser, signedIn } from '../support/pages.ts'
import { freshUpstreams } from '../support/upstreams.ts'

const api = openApi((await freshUpstreams()).bindings)
const PAGE = '/admin/people/import'
const boss = await api.person({ role: 'admin', email_verified_at: 1 })

const unique = () => crypto.randomUUID().slice(0, 8)
const address = () => `${unique()}@old.test`
const decoded = (html: string) =>
  html.replaceAll('&quot;', '"').replaceAll('&#39;', "'").replaceAll('&amp;', '&')
/** The form's content, as a browser has it. */
const linesOf = (html: string) => decoded(/<textarea[^>]*>\n?([^<]*)<\/textarea>/.exec(html)![1]!)
const checkedOf = (html: string) => /name="checked" value="([^"]+)"/.exec(html)?.[1] ?? ''
const titleOf = (html: string) => decoded(/id="message".*?<strong>([^<]*)<\/strong>/s.exec(html)?.[1] ?? '')
/** Each line's text, and its badge. */
const resultsOf = (html: string) =>
  [...html.matchAll(/<span class="detail">(.*?)<\/span><\/div><span class="badge[^"]*">([^<]*)</gs)].map(
    ([, detail, badge]) => `${decoded(badge!)}: ${decoded(detail!.replace(/<[^>]*>/g, ''))}`,
  )
const isThere = async (email: string) =>
  (await api.sql('SELECT 1 FROM users WHERE email = ?', [email])).length === 1

test('Lines are first checked without changes, then imported, with a result for each; invalid ones stay in the form', async () => {
  const visit = await openBrowser(api, boss)
  const [ada, grace] = [address(), address()]
  const lines = `email,name,role,email_verified\n${ada},"Ada ""A."" Lovelace",manager,true\n${boss.email},,,\nnobody,Nobody,,\n${grace},Grace,manager,\n`
  const open = await visit('GET', PAGE)
  expect([open.status, checkedOf(open.text), open.text.includes('value="import"')]).toEqual([200, '', false])

  const checked = await visit('POST', PAGE, { lines, act: 'check' })
  expect(titleOf(checked.text)).toBe('1 person would be imported, 1 is here already, 2 refused')
  expect(resultsOf(checked.text)).toEqual([
    'New: Line 2',
    'Exists: Line 3 · There is an account with this address. It stays as it is.',
    'Refused: email: This is not an email address.',
    'Refused: Line 5 · role: Needs a verified address.',
  ])
  expect([await isThere(ada), checked.text.includes('Import 1 person')]).toEqual([false, true])
  expect(linesOf(checked.text)).toBe(lines)

  // A browser sends line breaks as CR LF.
  const sent = { lines: linesOf(checked.text).replaceAll('\n', '\r\n'), checked: checkedOf(checked.text) }
  const done = await visit('POST', PAGE, { ...sent, act: 'import' })
  expect(titleOf(done.text)).toBe('1 person imported, 1 is here already, 2 refused')
  expect(resultsOf(done.text)[0]).toBe('Imported: Line 2')
  const [row] = await api.sql('SELECT id, name, role FROM users WHERE email = ?', [ada])
  expect(row).toMatchObject({ name: 'Ada "A." Lovelace', role: 'manager' })
  expect(done.text).toContain(`href="/admin/people/${row!.id}"`)
  // What is left is the invalid lines, with their column names, unchecked.
  expect(linesOf(done.text)).toBe(`email,name,role,email_verified\nnobody,Nobody,,\n${grace},Grace,manager,`)
  expect([checkedOf(done.text), await isThere(grace)]).toEqual(['', false])
})

test('An existing user with an unproved address is reported if the line says that it is proved', async () => {
  const visit = await openBrowser(api, boss)
  const { email } = await api.person({ email: address() })
  const { text } = await visit('POST', PAGE, { lines: `email,email_verified\n${email},true`, act: 'check' })
  expect(resultsOf(text)).toEqual([
    'Exists: Line 2 · There is an account with this address. It stays as it is. · email: The account here has not proved this address, and may be somebody else’s. Look at it, and delete it if so.',
  ])
})

test('Lines that were changed after the check are checked again, and not imported', async () => {
  const visit = await openBrowser(api, boss)
  const [ada, grace] = [address(), address()]
  const { text } = await visit('POST', PAGE, { lines: `email\n${ada}`, act: 'check' })
  for (const checked of [checkedOf(text), '', 'x']) {
    const other = { lines: `email\n${grace}`, checked, act: 'import' }
    const answer = await visit('POST', PAGE, other)
    expect([titleOf(answer.text), await isThere(grace)]).toEqual(['1 person would be imported', false])
    expect(answer.text).toContain('They were checked again.')
  }
  const ticked = { lines: `email\n${ada}`, checked: checkedOf(text), include_erased: 'on', act: 'import' }
  const answer = await visit('POST', PAGE, ticked)
  expect(await isThere(ada)).toBe(false)
  expect(answer.text).toContain('The lines or the box have changed.')
})

test('A file, CSV or NDJSON, is accepted as browsers send it, and replaces the lines in the form', async () => {
  const { binding, cookie } = await signedIn(api, boss)
  const send = (parts: [string, string | Blob][]) => {
    const raw = new FormData()
    const form_token = makeFormToken({ config: api.config(), now: Date.now() }, binding)
    for (const [name, value] of [['form_token', form_token], ...parts] as [string, string | Blob][])
      typeof value === 'string' ? raw.append(name, value) : raw.append(name, value, 'people.ndjson')
    return api.send('POST', PAGE, { raw, headers: { cookie } })
  }
  const ada = address()
  const file = new Blob([
    `\ufeff${JSON.stringify({ email: ada, name: 'Zoë', metadata: { a: 'ü' } })}\r\n{"email":"x"}\r\n`,
  ])
  const checked = await send([
    ['file', file],
    ['lines', 'email\nother@old.test'],
  ])
  expect([checked.status, titleOf(checked.text)]).toEqual([200, '1 person would be imported, 1 refused'])
  const done = await send([
    ['file', new Blob([])],
    ['lines', linesOf(checked.text)],
    ['checked', checkedOf(checked.text)],
    ['act', 'import'],
  ])
  expect(titleOf(done.text)).toBe('1 person imported, 1 refused')
  expect(linesOf(done.text)).toBe('{"email":"x"}')
  const [row] = await api.sql('SELECT name, metadata FROM users WHERE email = ?', [ada])
  expect(row).toEqual({ name: 'Zoë', metadata: '{"a":"ü"}' })
  expect((await api.sql("SELECT 1 FROM users WHERE email = 'other@old.test'")).length).toBe(0)

  const latin = await send([['file', new Blob([new Uint8Array([0x65, 0xe4, 0x0a])])]])
  const large = await send([['file', new Blob(['x'.repeat(1_200_000)])]])
  for (const [refused, status, sentence] of [
    [latin, 422, 'This is not UTF-8. Save the file as UTF-8.'],
    [large, 413, 'The file is over 1 MB. Split it, and import one part after the other.'],
  ] as const) {
    expect([refused.status, titleOf(refused.text)]).toEqual([status, sentence])
    expect(refused.text).toContain('enctype="multipart/form-data"')
  }
  const headers = { cookie, 'content-type': 'multipart/form-data; boundary=x' }
  expect((await api.send('POST', PAGE, { raw: 'no parts', headers })).status).toBe(422)
  const twice = await send([
    ['lines', 'a'],
    ['lines', 'b'],
  ])
  expect(twice.status).toBe(422)
})

test('A role or a factor comes only with a recent login, which is asked for beside the lines', async () => {
  const late = await openBrowser(api, boss, { provedSecondsAgo: 700 })
  const lines = `email,role,email_verified\n${address()},manager,true\n${address()},,`
  const { text } = await late('POST', PAGE, { lines })
  expect(titleOf(text)).toBe('1 person would be imported, 1 refused')
  expect(resultsOf(text)[0]).toBe('Refused: Line 2 · role: Confirm who you are first.')
  expect(text).toMatch(/<a href="\/signin\/again\?to=%2Fadmin%2Fpeople%2Fimport" target="_blank"/)
  expect(linesOf(text)).toBe(lines)
  // Whatever was checked a while ago, the import itself asks again.
  const recent = await openBrowser(api, boss)
  const fine = await recent('POST', PAGE, { lines })
  expect(titleOf(fine.text)).toBe('2 people would be imported')
  const done = await late('POST', PAGE, { lines, checked: checkedOf(fine.text), act: 'import' })
  expect(titleOf(done.text)).toBe('1 person imported, 1 refused')
})

test('An error about the whole input is shown, and the input stays in the form', async () => {
  const visit = await openBrowser(api, boss)
  const many = `email\n${Array.from({ length: 501 }, (_, at) => `m${at}@old.test`).join('\n')}`
  for (const [lines, sentence] of [
    ['', 'Choose a file, or paste the lines.'],
    ['email,colour\na@old.test,red', 'There is no column “colour” here.'],
    ['email,email\na@old.test,b@old.test', 'email: This is there twice.'],
    [many, 'That is more than 500 lines. Send them in parts, or use the script.'],
  ] as const) {
    const { status, text } = await visit('POST', PAGE, { lines })
    expect([status, titleOf(text)]).toEqual([422, sentence])
    expect(linesOf(text)).toBe(lines)
  }
})

test('Users who need a new password have a badge, and their own list', async () => {
  const email = address()
  const visit = await openBrowser(api, boss)
  expect((await visit('GET', '/admin/people')).text).not.toContain('needs_reset')
  // A hash as Django makes it with argon2, which needs 100 MiB.
  const hash =
    'argon2$argon2id$v=19$m=102400,t=2,p=8$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g'
  const lines = JSON.stringify({ email, name: 'Django', email_verified: true, password_hash: hash })
  const checked = await visit('POST', PAGE, { lines })
  expect(resultsOf(checked.text)).toEqual([
    'New: Line 1 · Chooses a new password by mail, as the old one cannot be checked here.',
  ])
  await visit('POST', PAGE, { lines, checked: checkedOf(checked.text), act: 'import' })
  const { text } = await visit('GET', '/admin/people?needs_reset=true')
  expect(text).toMatch(
    /href="\/admin\/people\?needs_reset=true" aria-current="page">New password needed<span>1</,
  )
  const rows = text.match(/<tbody>.*<\/tbody>/s)![0]
  expect([rows.includes(email), rows.includes(boss.email)]).toEqual([true, false])
  expect(rows).toContain('>Needs new password</span>')
})

test('Only administrators may use it, and no other site’s form can', async () => {
  const manager = await openBrowser(api, await api.person({ role: 'manager', email_verified_at: 1 }))
  const lines = `email\n${address()}`
  expect((await manager('GET', PAGE)).status).toBe(403)
  expect((await manager('POST', PAGE, { lines })).status).toBe(403)
  expect((await manager('GET', '/admin/people')).text).not.toContain(PAGE)
  const visit = await openBrowser(api, boss)
  expect((await visit('POST', PAGE, { lines, form_token: 'x' })).status).toBe(403)
})
