import { beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { entriesOf, spellEntry } from '../src/values/blocked.ts'
import { type Actor, type Api, linkIn, openApi, PASSWORD } from './support/api.ts'
import { goTo, newJar, withProviders } from './support/identities.ts'
import { addKey } from './support/keys.ts'
import { openBrowser } from './support/pages.ts'
import { loginCode, newPerson } from './support/requests.ts'
import { freshUpstreams } from './support/upstreams.ts'

let own: Awaited<ReturnType<typeof freshUpstreams>>
let api: Api
let admin: Actor

beforeAll(async () => {
  own = await freshUpstreams()
  api = openApi({ ...own.bindings, ...withProviders({ EMAIL_CODE_SIGNIN: 'on' }) })
  admin = await api.actor({ role: 'admin' })
})

beforeEach(() => api.sql('DELETE FROM signup_blocks'))

const change = (body: object, token = admin.token) => api.send('PATCH', '/v1/signup_blocks', { token, body })
const list = async (query = '') => {
  const { body } = await api.send<{ data: { entry: string }[]; pagination: { next_cursor: string } }>(
    'GET',
    `/v1/signup_blocks${query}`,
    { token: admin.token },
  )
  return { entries: body.data.map(({ entry }) => entry), next: body.pagination.next_cursor }
}
const signUp = async (email: string, ip?: string, headers = {}) => {
  const body = { email, password: PASSWORD, name: 'Ada' }
  const answer = await api.send('POST', '/v1/auth/signup', { body, headers, ...(ip && { ip }) })
  return answer.body.code ?? answer.status
}
/** Inserts a block as somebody else would have made it. */
const block = (entry: string) =>
  api.sql('INSERT INTO signup_blocks (entry, created_at) VALUES (?, 1)', [entry])
const at = (domain: string) => `${crypto.randomUUID()}@${domain}`

describe('Who may not sign up, by rows', () => {
  test('is decided by address, domain and network, from the next request on, and can be undone', async () => {
    const entries = ['Troll@people.test', 'bad.test', '198.51.100.77/24', '2001:DB8:3:0::7', 'bücher.example']
    expect((await change({ add: entries })).status).toBe(204)
    expect((await list()).entries).toEqual([
      '198.51.100.0/24',
      '2001:db8:3::/64',
      'bad.test',
      'troll@people.test',
      'xn--bcher-kva.example',
    ])
    for (const email of [
      'TROLL+2@People.test',
      at('bad.test'),
      at('much.more.bad.test'),
      at('bücher.example'),
    ])
      expect(await signUp(email), email).toBe('signup_blocked')
    for (const ip of ['198.51.100.3', '::ffff:198.51.100.3', '2001:db8:3:0:ffff::1'])
      expect(await signUp(newPerson().email, ip), ip).toBe('signup_blocked')
    for (const [email, ip] of [
      [at('not-bad.test')],
      [at('people.test'), '198.51.101.3'],
      [at('people.test'), '2001:db8:3:1::7'],
    ] as const)
      expect(await signUp(email, ip), email).toBe(201)
    await change({ remove: entries })
    expect((await list()).entries).toEqual([])
    expect(await signUp(at('bad.test'))).toBe(201)
  })

  test('is refused by every way of joining or changing address; existing users stay, and invited ones get in', async () => {
    const ada = await api.actor({ email: at('moved.test'), email_verified_at: Date.now() })
    // Their codes and providers were valid when they asked.
    const late = at('moved.test')
    const code = await loginCode(api, late)
    const jar = newJar(api)
    const claims = {
      sub: crypto.randomUUID(),
      email: at('fjord.test'),
      email_verified: true,
      auth_time: Math.floor(Date.now() / 1000),
    }
    await jar.open((await goTo(jar, 'corp')).back({ claims }))
    const joining = '/signin/with/corp/join'
    const form_token = await jar.tokenOf(joining)
    await change({ add: ['moved.test', 'fjord.test'] })

    const body = { ...code, name: 'Ada' }
    const joined = await api.send('POST', '/v1/auth/login/email_code/confirm', { body })
    expect([joined.status, joined.body.code]).toEqual([403, 'signup_blocked'])
    expect((await jar.post(joining, { form_token, name: 'Ada' })).status).toBe(403)
    const other = newJar(api)
    const refused = await other.open((await goTo(other, 'corp')).back({ claims }))
    expect([refused.status, refused.text]).toEqual([
      403,
      expect.stringContaining('not made for this address'),
    ])
    // No code is mailed, and the answer reveals nothing.
    const asked = at('moved.test')
    const answer = await api.send('POST', '/v1/auth/login/email_code', { body: { email: asked } })
    expect([answer.status, await api.mailsTo(asked)]).toEqual([202, []])
    const moving = { new_email: at('moved.test'), current_password: PASSWORD }
    const moved = await api.send('POST', '/v1/auth/change_email', { token: ada.token, body: moving })
    expect([moved.status, moved.body.code]).toEqual([403, 'signup_blocked'])
    expect(await api.mailsTo(moving.new_email)).toEqual([])

    expect((await api.logIn(ada)).user.id).toBe(ada.id)
    const made = await api.send('POST', '/v1/users', {
      token: admin.token,
      body: { ...newPerson(), email: at('moved.test') },
    })
    expect(made.status).toBe(201)
    const invitation = { email: at('moved.test') }
    expect((await api.send('POST', '/v1/invitations', { token: admin.token, body: invitation })).status).toBe(
      201,
    )
    const { token } = linkIn((await api.mailsTo(invitation.email))[0]!)
    const accepting = { token, password: PASSWORD, name: 'Grace' }
    const accepted = await api.send('POST', '/v1/auth/accept_invitation', { body: accepting })
    expect([accepted.status, accepted.body.email]).toEqual([201, invitation.email])
    expect(
      await api.sql("SELECT count(*) AS n FROM users WHERE email_normalized LIKE '%fjord.test'"),
    ).toEqual([{ n: 0 }])
    await change({ remove: ['moved.test', 'fjord.test'] })
  })

  test.each(['1/', '0/', '192.0.2.1/24'])(
    '%s before the @ does not make an address look like a network',
    async (prefix) => {
      const domain = `${crypto.randomUUID()}.test`
      const email = `${prefix}${crypto.randomUUID().slice(0, 8)}@${domain}`
      const ada = await api.actor({ email_verified_at: Date.now() })
      const refusals = async (blocking: Api) => {
        const joining = { email, password: PASSWORD, name: 'Ada' }
        const joined = await blocking.send('POST', '/v1/auth/signup', { body: joining })
        const moving = { new_email: email, current_password: PASSWORD }
        const moved = await blocking.send('POST', '/v1/auth/change_email', { token: ada.token, body: moving })
        return [joined.body.code, moved.body.code]
      }
      const refused = ['signup_blocked', 'signup_blocked']
      for (const entry of [domain, email]) {
        expect(await refusals(openApi({ ...own.bindings, SIGNUP_BLOCKED: entry })), entry).toEqual(refused)
        expect((await change({ add: [entry] })).status).toBe(204)
        expect(await refusals(api), entry).toEqual(refused)
        expect((await list(`?covers=${encodeURIComponent(email)}`)).entries).toEqual([entry])
        await change({ remove: [entry] })
      }
    },
  )

  test('a repeated sign-up gets its answer again, even if its address is blocked by now', async () => {
    const [email, headers] = [at('later.test'), { 'idempotency-key': crypto.randomUUID() }]
    expect(await signUp(email, undefined, headers)).toBe(201)
    await change({ add: ['later.test'] })
    expect(await signUp(email, undefined, headers)).toBe(201)
    await change({ remove: ['later.test'] })
  })

  test.each(['required', 'optional'])(
    'a block that comes during a sign-up stops it, when verification is %s',
    async (EMAIL_VERIFICATION) => {
      const email = at('meanwhile.test')
      const body = { email, password: PASSWORD, name: 'Ada' }
      const set = openApi({ ...own.bindings, EMAIL_VERIFICATION })
      const { result, wasHeld } = await own.between(
        () => set.send('POST', '/v1/auth/signup', { body }),
        () => block('meanwhile.test'),
      )
      expect([wasHeld, result.status, result.body.code]).toEqual([true, 403, 'signup_blocked'])
      expect(await api.sql('SELECT id FROM users WHERE email_normalized = ?', [email])).toEqual([])
      expect(await api.mailsTo(email)).toEqual([])
      // Its key is not used up by that.
      const headers = { 'idempotency-key': crypto.randomUUID() }
      await api.sql('DELETE FROM signup_blocks')
      const again = () => set.send('POST', '/v1/auth/signup', { body, headers })
      expect((await own.between(again, () => block('meanwhile.test'))).result.status).toBe(403)
      await api.sql('DELETE FROM signup_blocks')
      expect((await again()).status).toBe(EMAIL_VERIFICATION === 'required' ? 202 : 201)
    },
  )

  test('a change of address that was requested before a block cannot be confirmed after it', async () => {
    const moving = async () => {
      const ada = await api.actor({ email_verified_at: Date.now() })
      const new_email = at('later-blocked.test')
      const body = { new_email, current_password: PASSWORD }
      expect((await api.send('POST', '/v1/auth/change_email', { token: ada.token, body })).status).toBe(202)
      const { token } = linkIn((await api.mailsTo(new_email))[0]!)
      return { ada, new_email, token }
    }
    const set = openApi({ ...own.bindings, SIGNUP_BLOCKED: 'later-blocked.test' })
    const [asker, stranger, fast] = [await moving(), await moving(), await moving()]
    const confirm = (by: Api, token: string, of?: Actor) =>
      by.send('POST', '/v1/auth/confirm_email_change', { body: { token }, ...(of && { token: of.token }) })
    expect((await confirm(api, stranger.token)).status).toBe(202)
    const approval = linkIn((await api.mailsTo(stranger.ada.email))[0]!)
    // In another session this is refused before the old address is mailed for nothing.
    await block('later-blocked.test')
    const early = await confirm(api, asker.token, stranger.ada)
    expect([early.status, early.body.code]).toEqual([403, 'signup_blocked'])
    await api.sql('DELETE FROM signup_blocks')
    const about = await api.mailsTo(asker.ada.email)
    expect(about.map(({ subject }) => subject)).toEqual(['Your e-mail address at Roster is being changed'])
    const followed = 'SELECT clicked_at FROM one_time_tokens WHERE purpose = ? AND subject_id = ?'
    expect(await api.sql(followed, ['change_email', asker.ada.id])).toEqual([{ clicked_at: null }])
    const approve = (by: Api) =>
      by.send('POST', '/v1/auth/approve_email_change', { body: { token: approval.token } })
    const raced = await own.between(
      () => confirm(api, fast.token, fast.ada),
      () => block('later-blocked.test'),
    )
    expect(raced.wasHeld).toBe(true)
    for (const refused of [
      raced.result,
      await confirm(api, asker.token, asker.ada),
      await approve(api),
      await confirm(set, asker.token, asker.ada),
      await approve(set),
    ])
      expect([refused.status, refused.body.code]).toEqual([403, 'signup_blocked'])
    for (const { ada } of [asker, stranger, fast])
      expect((await api.logIn({ email: ada.email, password: PASSWORD })).user.email).toBe(ada.email)
    // What was refused is not used up.
    await api.sql('DELETE FROM signup_blocks')
    expect((await confirm(set, asker.token, asker.ada)).body.code).toBe('signup_blocked')
    expect((await confirm(api, asker.token, asker.ada)).status).toBe(204)
    expect((await approve(api)).status).toBe(204)
  })

  test('a change of address that is refused because of a block counts no mail, for either address', async () => {
    const ada = await api.actor({ email_verified_at: Date.now() })
    const new_email = at('counted.test')
    const ask = () =>
      api.send('POST', '/v1/auth/change_email', {
        token: ada.token,
        body: { new_email, current_password: PASSWORD },
      })
    // As many as may be mailed per hour to the address, or the old one, and one more.
    const refused = async (send: () => Promise<{ body: { code?: string } }>) => {
      await block('counted.test')
      const codes = []
      for (let time = 0; time < 4; time++) codes.push((await send()).body.code)
      expect(codes).toEqual(Array(4).fill('signup_blocked'))
      await api.sql('DELETE FROM signup_blocks')
    }
    await refused(ask)
    expect((await ask()).status).toBe(202)
    const { token } = linkIn((await api.mailsTo(new_email))[0]!)
    const confirm = () => api.send('POST', '/v1/auth/confirm_email_change', { body: { token } })
    await refused(confirm)
    expect((await confirm()).status).toBe(202)
    expect((await api.mailsTo(ada.email)).map(({ subject }) => subject)).toHaveLength(2)
  })

  test('a sign-up takes no extra trip, and reads one row for each entry that could match, however long the list is', async () => {
    const cost = async () => {
      const { calls } = await own.measure(() => signUp(at('people.test'), '2001:db8:77::1'))
      const rows = calls.flatMap(({ statements }) => statements).map(({ rowsRead }) => rowsRead)
      return { trips: calls.length, rows: rows.reduce((sum, count) => sum + count, 0) }
    }
    const none = await cost()
    await change({ add: ['one.test'] })
    const few = await cost()
    await api.sql(`WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9000)
      INSERT INTO signup_blocks (entry, created_at) SELECT 'domain-' || i || '.example', 1 FROM n`)
    const many = await cost()
    expect([few.trips, many.trips]).toEqual([none.trips, none.trips])
    expect(Math.abs(many.rows - few.rows)).toBeLessThanOrEqual(2)
    // One look-up for each network around an IPv6 address, and its domain: before the hash, and when the account is
    // made.
    expect(few.rows - none.rows).toBeLessThanOrEqual(2 * 132)
  })

  test('entries that cover somebody are found, page by page, and so are those in the setting, on the page', async () => {
    await change({
      add: ['covers.test', 'more.covers.test', 'a@more.covers.test', 'b@covers.test', '10.0.0.0/8'],
    })
    const covering = '?covers=A%2Bx@more.covers.test'
    expect((await list(covering)).entries).toEqual(['a@more.covers.test', 'covers.test', 'more.covers.test'])
    const first = await list(`${covering}&limit=2`)
    expect([first.entries, (await list(`${covering}&limit=2&cursor=${first.next}`)).entries]).toEqual([
      ['a@more.covers.test', 'covers.test'],
      ['more.covers.test'],
    ])
    expect((await list('?covers=10.2.3.4')).entries).toEqual(['10.0.0.0/8'])
    expect((await list('?covers=10.2.3.4.')).entries).toEqual(['10.0.0.0/8'])
    expect((await list('?covers=10.2.0.0/16')).entries).toEqual(['10.0.0.0/8'])
    expect((await list('?covers=0.0.0.0/4')).entries).toEqual([])
    expect((await list('?covers=test.example')).entries).toEqual([])
    const close = ['2001:db8:9::1/128', '2001:db8:9::/64', '2001:db8:9::2/128']
    await change({ add: close })
    expect((await list('?covers=2001:DB8:9:0::1')).entries).toEqual(['2001:db8:9::/64', '2001:db8:9::1/128'])
    expect((await list('?covers=2001:db8:9::/64')).entries).toEqual(['2001:db8:9::/64'])
    const wrong = await api.send('GET', '/v1/signup_blocks?covers=nobody', { token: admin.token })
    expect([wrong.status, wrong.body.errors]).toEqual([
      422,
      [expect.objectContaining({ pointer: '/covers' })],
    ])

    const set = openApi({ ...own.bindings, SIGNUP_BLOCKED: '192.0.2.77/24,covers.test' })
    const browser = await openBrowser(set, { id: admin.id })
    const looked = await browser('POST', '/admin/blocked/look_up', { covers: '192.0.2.3' })
    const { text } = await browser('GET', looked.headers.get('location')!)
    expect(text).toContain('One entry is in the settings of Roster')
    expect(text).toContain('192.0.2.0/24')
  })

  test('only a key with the permission can change them, and the history says who, without addresses', async () => {
    const { id } = await api.person({ role: 'admin', email_verified_at: 1 })
    const { key } = await addKey(api, { id }, ['signups:manage'])
    expect((await change({ add: ['by-key.test'] }, key)).status).toBe(204)
    expect((await change({ add: ['troll@people.test'], remove: ['by-key.test'] }, key)).status).toBe(204)
    const manager = await api.actor({ role: 'manager' })
    expect((await change({ add: ['x.test'] }, manager.token)).status).toBe(403)
    const { key: other } = await addKey(api, { id }, ['users:create'])
    expect((await change({ add: ['x.test'] }, other)).status).toBe(403)
    const rows = await api.sql(
      "SELECT details FROM user_activity_logs WHERE action = 'signup_blocks.changed' AND actor_id = ? ORDER BY id",
      [id],
    )
    expect(rows.map(({ details }) => JSON.parse(String(details)))).toEqual([
      { added: 1, removed: 0, entry: 'by-key.test' },
      { added: 1, removed: 1 },
    ])
    // Networks of a single host or subscriber count as addresses.
    const details = async (entry: string) => {
      expect((await change({ add: [entry] }, key)).status).toBe(204)
      const [row] = await api.sql(
        "SELECT details FROM user_activity_logs WHERE action = 'signup_blocks.changed' ORDER BY id DESC LIMIT 1",
      )
      return JSON.parse(String(row!.details))
    }
    for (const entry of ['192.0.2.0/24', '192.0.2.2/31', '2001:db8:8::/63'])
      expect(await details(entry)).toEqual({ added: 1, removed: 0, entry })
    for (const entry of [
      '192.0.2.7',
      '192.0.2.7/32',
      '2001:db8:8::1',
      '2001:db8:8::/64',
      '2001:db8:8::1/128',
    ])
      expect(await details(entry)).toEqual({ added: 1, removed: 0 })
  })

  test('invalid or too many entries change nothing, and the answer says which', async () => {
    for (const [body, pointer] of [
      [{ add: ['good.test', 'two words.test'] }, '/add/1'],
      [{ add: ['*.good.test'] }, '/add/0'],
      [{ add: ['192.0.2.0/33'] }, '/add/0'],
      [{ remove: ['test'] }, '/remove/0'],
      [{ add: ['x.test'], remove: ['X.test'] }, ''],
      [{ add: Array.from({ length: 501 }, (_, i) => `d${i}.test`) }, '/add'],
    ] as const) {
      const answer = await change(body)
      expect([answer.status, answer.body.errors]).toEqual([422, [expect.objectContaining({ pointer })]])
    }
    await api.sql(`WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9999)
      INSERT INTO signup_blocks (entry, created_at) SELECT 'd-' || i || '.example', 1 FROM n`)
    const full = await change({ add: ['d-1.example', 'new-1.test', 'new-2.test'] })
    expect([full.status, full.body.code]).toEqual([409, 'too_many_signup_blocks'])
    // Existing entries count once, and removals make room.
    expect((await change({ add: ['d-1.example', 'new-1.test'] })).status).toBe(204)
    expect((await change({ add: ['new-2.test'], remove: ['new-1.test'] })).status).toBe(204)
    expect(await api.sql('SELECT count(*) AS n FROM signup_blocks')).toEqual([{ n: 10_000 }])
  })
})

describe('Blocked sign-ups in the console', () => {
  test('are blocked many at a time, shown, and let in again', async () => {
    const { id } = await api.person({ role: 'admin', password_hash: null })
    const browser = await openBrowser(api, { id })
    expect((await browser('GET', '/admin/blocked')).text).toContain('Nobody is blocked here')
    const entries = 'spam.test, 203.0.113.9\n\n troll@people.test'
    const done = await browser('POST', '/admin/blocked', { entries })
    expect([done.status, (await browser('GET', done.headers.get('location')!)).text]).toEqual([
      303,
      expect.stringContaining('<strong>Blocked: 3</strong>'),
    ])
    const { text } = await browser('GET', '/admin/blocked')
    for (const entry of ['spam.test', '203.0.113.9', 'troll@people.test'])
      expect(text).toContain(`value="${entry}"`)
    expect(await signUp(at('spam.test'))).toBe('signup_blocked')
    await browser('POST', '/admin/blocked/remove', { entry: 'spam.test' })
    expect(await signUp(at('spam.test'))).toBe(201)
    const { text: history } = await browser('GET', `/admin/activity?actor_id=${id}`)
    expect(history).toContain('blocked 3 addresses, domains or networks from signing up')
    expect(history).toContain('no longer blocks spam.test from signing up')
  })

  test('what is wrong is named, and what was typed stays', async () => {
    const browser = await openBrowser(api, { id: admin.id })
    const wrong = await browser('POST', '/admin/blocked', { entries: 'good.test\n*.bad.test' })
    expect([wrong.status, wrong.text]).toEqual([
      422,
      expect.stringContaining('“⁨*.bad.test⁩” is not an address'),
    ])
    expect(wrong.text).toContain('good.test\n*.bad.test</textarea>')
    expect((await browser('POST', '/admin/blocked', { entries: ' ' })).text).toContain('Type what to block')
    expect(await api.sql('SELECT * FROM signup_blocks')).toEqual([])
  })

  test('are hidden from somebody without the permission', async () => {
    const browser = await openBrowser(api, await api.person({ role: 'manager', password_hash: null }))
    expect((await browser('GET', '/admin')).text).not.toContain('/admin/blocked')
  })
})

describe('A change of blocked sign-ups', () => {
  test('is recorded with what was added and removed, and not at all if nothing was', async () => {
    const { id, token } = await api.actor({ role: 'admin' })
    for (const body of [
      { remove: ['never.test'] },
      { add: ['told.test'] },
      { add: ['told.test'] },
      { add: ['told.test', 'more.test', 'most.test'], remove: ['never.test'] },
      { remove: ['never.test', 'told.test'] },
      { add: ['more.test'], remove: ['never.test'] },
    ])
      expect((await change(body, token)).status).toBe(204)
    const rows = await api.sql(
      "SELECT details FROM user_activity_logs WHERE action = 'signup_blocks.changed' AND actor_id = ? ORDER BY id",
      [id],
    )
    expect(rows.map(({ details }) => JSON.parse(String(details)))).toEqual([
      { added: 1, removed: 0, entry: 'told.test' },
      { added: 2, removed: 0 },
      { added: 0, removed: 1 },
    ])
    await change({ remove: ['more.test', 'most.test'] })
  })

  test('sends its lists only once per statement, as they may be long', async () => {
    const { calls } = await own.measure(() => change({ add: ['sent.test'], remove: ['never.test'] }))
    const statements = calls.flatMap(({ statements }) => statements.map(({ sql }) => sql))
    const lists = statements.map((sql) => sql.match(/json_each\(\?\)/g)?.length ?? 0)
    expect(lists.filter((count) => count > 0)).toEqual([2, 1, 1, 2])
  })

  const long = `${`${'a'.repeat(60)}.`.repeat(4)}${'b'.repeat(20)}.test`
  test.each([
    ['0.0.0.0/7', 'larger than /8'],
    ['::/15', '/16 of IPv6'],
    ['https://bad.test/', 'write its domain alone'],
    [long, 'Is not an address, domain or network'],
    ['::ffff:198.51.100.7/24', 'Is not an address, domain or network'],
    ['010.1.1.1', 'Is not an address, domain or network'],
    ['10.1.1.00/24', 'Is not an address, domain or network'],
    ['::ffff:0.0.0.0/97', 'larger than /8'],
  ])('cannot block %s, and says why; an existing entry can be removed', async (entry, why) => {
    const { status, body } = await change({ add: ['good.test', entry] })
    const detail = expect.stringContaining(why)
    expect([status, body.errors]).toEqual([422, [{ pointer: '/add/1', code: 'invalid_entry', detail }]])
    expect((await list('?covers=good.test')).entries).toEqual([])
  })

  test('can remove entries that would be too wide today', async () => {
    await api.sql("INSERT INTO signup_blocks (entry, created_at) VALUES ('0.0.0.0/1', 1)")
    expect((await list('?covers=1.2.3.4')).entries).toEqual(['0.0.0.0/1'])
    expect((await change({ remove: ['0.0.0.0/1'] })).status).toBe(204)
    expect((await list()).entries).toEqual([])
  })
})

describe('An entry', () => {
  test.each([
    ['192.0.2.77/25', '192.0.2.0/25'],
    ['192.0.2.77/32', '192.0.2.77'],
    ['192.0.2.77', '192.0.2.77'],
    ['2001:0DB8::1', '2001:db8::/64'],
    ['2001:db8::1/128', '2001:db8::1/128'],
    ['2001:db8:ffff::/33', '2001:db8:8000::/33'],
    ['::ffff:198.51.100.7/120', '198.51.100.0/24'],
    ['::FFFF:198.51.100.7', '198.51.100.7'],
    ['@example.com', 'example.com'],
    ['Example.com.', 'example.com'],
    ['1/a@example.com', '1/a@example.com'],
    ['0/@example.com', '0/@example.com'],
    [' Ada@BÜCHER.example ', 'ada@xn--bcher-kva.example'],
    ['Example.COM', 'example.com'],
  ])('%s is spelled %s, and covers itself', (typed, spelled) => {
    expect(spellEntry(typed)).toBe(spelled)
    expect(spellEntry(spelled)).toBe(spelled)
    expect(entriesOf(spelled)).toContain(spelled)
  })
})
