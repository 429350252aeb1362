import { expect, test, vi } from 'vitest'
import { sessionCookie } from '../../src/sessions/cookie.ts'
import { openApi, PASSWORD } from '../support/api.ts'
import { addTotp } from '../support/factors.ts'
import { cookieIn, openJar, SESSION } from '../support/jar.ts'
import { codeIn } from '../support/mails.ts'

const api = openApi()

test('AC4: a session cookie is only for this host, not for scripts, and ends with the browser unless asked to stay', async () => {
  const { email } = await api.person()
  const browser = openJar(api)
  const gone = cookieIn((await browser.signIn(email)).headers, SESSION)!
  for (const attribute of ['Path=/', 'HttpOnly', 'Secure', 'SameSite=Lax']) expect(gone).toContain(attribute)
  expect(gone).not.toMatch(/Max-Age|Expires|Domain/)
  const kept = await openJar(api).signIn(email, { remember: 'yes' })
  expect(cookieIn(kept.headers, SESSION)).toContain('Max-Age=2592000')
  expect(cookieIn(kept.headers, '__Host-roster-device')).toContain('HttpOnly')
  expect((await browser.open('/account')).text).toContain('Profile')
})

test('A tampered cookie signs nobody in, whatever was changed', async () => {
  const { email } = await api.person()
  const browser = openJar(api)
  await browser.signIn(email)
  const good = browser.jar.get('__Host-roster')!
  for (const bad of [good.replace('.user.', '.admin.'), `${good}x`, good.slice(0, -1), 'ck_', '']) {
    browser.jar.set('__Host-roster', bad)
    const answer = await browser.open('/admin')
    expect([answer.status, answer.to]).toEqual([303, '/signin?to=%2Fadmin'])
  }
  browser.jar.set('__Host-roster', good)
  expect((await browser.open('/account')).status).toBe(200)
})

test('An ended session leads to the sign-in, and from there back to the requested page', async () => {
  const { email, id } = await api.person()
  const browser = openJar(api)
  await browser.signIn(email)
  await api.sql('UPDATE sessions SET revoked_at = 1 WHERE user_id = ?', [id])
  const ended = await browser.open('/account/activity')
  expect([ended.status, ended.to]).toEqual([303, '/signin?to=%2Faccount%2Factivity'])
  expect(browser.jar.has('__Host-roster')).toBe(false)
  expect((await browser.open(ended.to!)).text).toContain('value="/account/activity"')
  expect((await browser.signIn(email, { to: '/account/activity' })).to).toBe('/account/activity')
})

test('Signing in never redirects to another origin', async () => {
  const { email } = await api.person()
  for (const to of [
    '//evil.test',
    '/\\evil.test',
    'https://evil.test',
    'javascript:alert(1)',
    '/a\n/b',
    '',
  ]) {
    expect((await openJar(api).signIn(email, { to })).to).toBe('/account')
  }
})

test('A former administrator cannot see the console, and their cookie is replaced', async () => {
  const { email, id } = await api.person({ role: 'admin' })
  const browser = openJar(api)
  expect((await browser.signIn(email)).to).toBe('/admin')
  expect((await browser.open('/admin')).text).toContain('Needs attention')
  const before = browser.jar.get('__Host-roster')
  await api.sql("UPDATE users SET role = 'user' WHERE id = ?", [id])
  const first = await browser.open('/admin')
  expect([first.status, first.to, first.text]).toEqual([307, '/admin', ''])
  expect(browser.jar.get('__Host-roster')).not.toBe(before)
  const second = await browser.open('/admin')
  expect([second.status, second.text.includes('Needs attention')]).toEqual([403, false])
  expect((await browser.open('/account')).status).toBe(200)
})

test('A disabled user is out at once, and cannot change anything from a page that is still open', async () => {
  const { email, id } = await api.person()
  const browser = openJar(api)
  await browser.signIn(email)
  const token = await browser.tokenOf('/account')
  await api.sql("UPDATE users SET status = 'disabled', token_epoch = token_epoch + 1 WHERE id = ?", [id])
  await browser.post('/account', { form_token: token, name: 'Changed' })
  expect((await browser.open('/account')).to).toContain('/signin')
  expect((await api.sql('SELECT name FROM users WHERE id = ?', [id]))[0]!.name).toBe('Somebody')
})

test('Reauthenticating makes the login recent; an older cookie never is', async () => {
  const { email, id } = await api.person()
  const browser = openJar(api)
  await browser.signIn(email)
  const other = openJar(api)
  await other.signIn(email)
  await api.sql('UPDATE sessions SET created_at = created_at - 3600000 WHERE user_id = ?', [id])
  const wrong = await browser.submit('/signin/again', '/signin/again', { password: 'not this one at all' })
  expect([wrong.status, wrong.text.includes('not right')]).toEqual([403, true])
  const before = browser.jar.get('__Host-roster')
  const right = await browser.submit('/signin/again', '/signin/again', {
    password: PASSWORD,
    to: '/account/sessions',
  })
  expect([right.status, right.to]).toEqual([303, '/account/sessions'])
  expect(browser.jar.get('__Host-roster')).not.toBe(before)
  const ended = await browser.submit('/account/sessions', '/account/sessions/others')
  expect([ended.status, ended.to]).toEqual([303, '/account/sessions?done=all'])
  expect((await browser.open('/account')).status).toBe(200)
  expect((await other.open('/account')).status).toBe(303)
})

test('CSRF: a form from another origin, or without its token, is refused and changes nothing', async () => {
  const { email, id } = await api.person()
  const browser = openJar(api)
  await browser.signIn(email)
  const form_token = await browser.tokenOf('/account')
  const other = openJar(api)
  await other.signIn((await api.person()).email)
  const strange = await other.tokenOf('/account')
  const post = (fields: Record<string, string>, headers = {}) =>
    browser.post('/account', { name: 'Changed', ...fields }, headers)
  const answers = [
    await post({}),
    await post({ form_token: 'form.x' }),
    await post({ form_token: strange }),
    await post({ form_token }, { origin: 'https://evil.test', 'sec-fetch-site': 'cross-site' }),
    await post({ form_token }, { origin: 'http://sub.roster.test', 'sec-fetch-site': 'same-site' }),
    await post({ form_token }, { origin: 'null', 'sec-fetch-site': 'cross-site' }),
  ]
  expect(answers.map(({ status }) => status)).toEqual([403, 403, 403, 403, 403, 403])
  expect((await api.sql('SELECT name FROM users WHERE id = ?', [id]))[0]!.name).toBe('Somebody')
  expect((await post({ form_token })).status).toBe(303)
  expect((await api.sql('SELECT name FROM users WHERE id = ?', [id]))[0]!.name).toBe('Changed')
})

test('Login CSRF: nobody is signed in with a form from another browser', async () => {
  const { email } = await api.person()
  const form_token = await openJar(api).tokenOf('/signin')
  const victim = openJar(api)
  await victim.open('/signin')
  const answer = await victim.post('/signin', { form_token, email, password: PASSWORD })
  expect([answer.status, victim.jar.has('__Host-roster')]).toEqual([403, false])
})

test('CONSOLE=off removes the console, and everybody keeps their account page', async () => {
  const { email } = await api.person({ role: 'admin' })
  const browser = openJar(openApi({ CONSOLE: 'off' }))
  await browser.signIn(email)
  for (const path of ['/admin', '/admin/people', '/admin/system'])
    expect((await browser.open(path)).status).toBe(404)
  expect((await browser.open('/account')).status).toBe(200)
})

test.each<[string, { upgraded?: true; again?: true }]>([
  ['', {}],
  [', also if the deployment was upgraded meanwhile', { upgraded: true }],
  [', also of a second mail if the deployment was upgraded meanwhile', { upgraded: true, again: true }],
])('Somebody who signs up enters the code in the mail, and can sign in%s', async (_, { upgraded, again }) => {
  const browser = openJar(openApi({ EMAIL_VERIFICATION: 'required' }))
  const email = `${crypto.randomUUID()}@people.test`
  const asked = await browser.submit('/signup', '/signup', { name: 'Ada', email, password: PASSWORD })
  expect(asked.status).toBe(303)
  if (upgraded) {
    // Earlier versions left the sign-up's token in the other cookie.
    browser.jar.set('__Host-roster-verify_email', browser.jar.get('__Host-roster-signed_up')!)
    browser.jar.delete('__Host-roster-signed_up')
  }
  expect((await browser.open(asked.to!)).text).toContain(email)
  const wrong = await browser.submit(asked.to!, '/signup/code', { email, code: '00000000' })
  expect([wrong.status, wrong.text.includes('That code is not right')]).toEqual([400, true])
  if (again) {
    const answer = await browser.submit(asked.to!, '/signup/again', { email, code: '' })
    expect([answer.status, answer.text.includes('name="code"')]).toEqual([200, true])
  }
  const code = codeIn((await api.mailsTo(email)).at(-1)!)
  const right = await browser.submit(asked.to!, '/signup/code', {
    email,
    code: `${code.slice(0, 4)} ${code.slice(4)}`,
  })
  expect([right.status, right.to]).toEqual([303, '/signin?done=confirmed'])
  expect((await browser.signIn(email)).to).toBe('/account')
})

test('Users can download their data with only the cookie', async () => {
  const admin = await api.person({ role: 'admin' })
  const { email, id } = await api.person()
  const browser = openJar(api)
  await browser.signIn(email)
  expect(JSON.parse((await browser.open('/account/data/export')).text).user).toMatchObject({ id, email })
  const console = openJar(api)
  await console.signIn(admin.email)
  expect(JSON.parse((await console.open(`/admin/people/${id}/export`)).text).user).toMatchObject({ id })
  expect((await browser.open(`/admin/people/${id}/export`)).status).toBe(403)
})

test('Signing in leads to an app only if its exact URL is in APP_URLS, and the form’s policy allows only that', async () => {
  const app = `https://app.test/signed-in?from=roster&${'long='.repeat(40)}`
  const apps = openApi({ APP_URLS: `https://other.test/, ${app}` })
  const { id, email } = await apps.person()
  const signInAt = async (path: string) => {
    const jar = openJar(apps)
    const page = await jar.open(path)
    const hidden = Object.fromEntries(
      [...page.text.matchAll(/type="hidden" name="(\w+)" value="([^"]*)"/g)].map(([, name, value]) => [
        name,
        value!,
      ]),
    )
    const policy = page.headers.get('content-security-policy')!
    const answer = (fields: object) =>
      jar.post('/signin', { ...hidden, email, password: PASSWORD, ...fields })
    return { policy, answer, jar, hidden }
  }
  const good = await signInAt(`/signin?redirect_to=${encodeURIComponent(app)}`)
  expect(good.policy).toContain("form-action 'self' https://app.test;")
  const wrong = await good.answer({ password: 'not the one that it is' })
  expect(wrong.headers.get('content-security-policy')).toContain("form-action 'self' https://app.test;")
  expect((await good.answer({})).to).toBe(app)
  for (const url of [
    `${app}x`,
    'https://app.test/',
    'https://evil.test/',
    'https://app.test/signed-in',
    '',
  ]) {
    const bad = await signInAt(`/signin?redirect_to=${encodeURIComponent(url)}`)
    expect(bad.policy).toContain("form-action 'self';")
    expect((await bad.answer({})).to).toBe('/account')
  }
  // It survives the second factor, and a failing passkey.
  const [one] = (await addTotp(apps, { id })).recoveryCodes
  const due = await signInAt(`/signin?redirect_to=${encodeURIComponent(app)}`)
  expect((await due.answer({})).to).toBe('/signin/factor')
  const page = await due.jar.open('/signin/factor')
  expect(page.headers.get('content-security-policy')).toContain("form-action 'self' https://app.test;")
  const failed = await due.jar.post('/signin/passkey', { ...due.hidden, challenge_id: '', credential: '{}' })
  expect((await due.jar.open(failed.to!)).headers.get('content-security-policy')).toContain(
    'https://app.test;',
  )
  const entered = await due.jar.submit('/signin/factor', '/signin/factor', { recovery_code: one! })
  expect(entered.to).toBe(app)
  const forged = await signInAt('/signin')
  await apps.sql('DELETE FROM factors WHERE user_id = ?', [id])
  expect((await forged.answer({ target: app })).to).toBe('/account')
})

test('What was typed into a form comes back after reauthentication, in this session and for ten minutes; it is not sent', async () => {
  const { email, id } = await api.person({ role: 'admin' })
  const jar = openJar(api)
  await jar.signIn(email)
  const other = openJar(api)
  await other.signIn(email)
  for (const one of [jar, other]) one.jar.set(SESSION, await older(one.jar.get(SESSION)!))
  const typed = {
    name: 'Grace Hopper',
    email: `${crypto.randomUUID()}@people.test`,
    password: PASSWORD,
    role: 'manager',
  }
  const asked = await jar.submit('/admin/people/new', '/admin/people/new', typed)
  expect([asked.status, asked.to]).toEqual([
    303,
    expect.stringMatching(/^\/signin\/again\?to=%2Fadmin%2Fpeople%2Fnew&carried=/),
  ])
  expect(asked.to).not.toMatch(/Grace|foxes/)
  const form = (await jar.open(asked.to!)).text
  const carried = /name="carried" value="([^"]+)"/.exec(form)![1]!
  const to = /name="to" value="([^"]+)"/.exec(form)![1]!
  const confirmed = await jar.submit('/signin/again', '/signin/again', { password: PASSWORD, to, carried })
  const back = await jar.open(confirmed.to!)
  expect(back.text).toContain('value="Grace Hopper"')
  expect(back.text).not.toContain(PASSWORD)
  expect(await api.sql('SELECT count(*) AS made FROM users WHERE email = ?', [typed.email])).toEqual([
    { made: 0 },
  ])
  expect((await other.open(confirmed.to!)).text).not.toContain('Grace Hopper')
  const elsewhere = await jar.open(`/admin/people/${id}?carried=${carried}`)
  expect(elsewhere.text).not.toContain('Grace Hopper')
  vi.setSystemTime(Date.now() + 601_000)
  const late = await jar.open(confirmed.to!)
  vi.useRealTimers()
  expect([late.status, late.text.includes('Grace Hopper')]).toEqual([200, false])
})

/** The same cookie, for a login an hour ago. */
async function older(cookie: string): Promise<string> {
  const { session_cookie } = api.config().keys
  const [, sid, turn, sub, role, epoch, authTime, stays] =
    /^ck_([^.]+)\.(\d+)\.([^.]+)\.(\w+)\.(\d+)\.(\d+)\.(\d)/.exec(decodeURIComponent(cookie))!
  const session = { sid: sid!, turn: Number(turn), sub: sub!, role: role as 'admin', epoch: Number(epoch) }
  const [pair] = sessionCookie(session_cookie, {
    ...session,
    auth_time: Number(authTime) - 3600,
    stays: stays === '1',
  }).split(';')
  return pair!.slice(SESSION.length + 1)
}
