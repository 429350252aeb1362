import { describe, expect, test } from 'vitest'
import { linkIn, openApi, PASSWORD } from '../support/api.ts'
import { type Jar, openJar, SESSION } from '../support/jar.ts'
import { limiter } from '../support/limiter.ts'

const api = openApi({ EMAIL_VERIFICATION: 'required' })
const NEW = 'nine green bears run'
const newAddress = () => `${crypto.randomUUID()}@people.test`

/** Opens the newest link that an address was mailed, as its button's form. */
async function follow(jar: Jar, email: string, subject?: RegExp) {
  const mails = await api.mailsTo(email)
  const { url, token } = linkIn(mails.find((mail) => !subject || subject.test(mail.subject))!)
  const page = url.pathname + url.search
  const press = (fields: Record<string, string> = {}, headers = {}) =>
    jar.submit(page, url.pathname, { token, ...fields }, headers)
  return { page, path: url.pathname, token, press, opened: await jar.open(page) }
}
const forgot = (email: string) => api.send('POST', '/v1/auth/forgot_password', { body: { email } })

async function invited(by = 'Ingrid', more: object = {}) {
  const admin = await api.quickActor({ role: 'admin', name: by, email_verified_at: 1 })
  const email = newAddress()
  const body = { email, name: 'Ada', ...more }
  await api.send('POST', '/v1/invitations', { token: admin.token, body })
  return { email, admin }
}

test('RS5: a link’s page has no script and does not reveal its URL, and opening it does nothing', async () => {
  const { email } = await api.person({ email_verified_at: 1 })
  await forgot(email)
  const jar = openJar(api)
  const { opened, page } = await follow(jar, email)
  expect([opened.status, opened.headers.get('referrer-policy')]).toEqual([200, 'no-referrer'])
  expect(opened.text).not.toContain('<script')
  expect(opened.text).toContain('/roster.css')
  expect((await jar.open(page)).status).toBe(200)
})

test('AC2: the refusals of a link’s page are in the document, and so are the answers of /ready', async () => {
  const document = await api.send<{
    paths: Record<string, Record<string, { responses: Record<string, unknown> }>>
  }>('GET', '/openapi.json')
  const statusesOf = (method: string, path: string) =>
    Object.keys(document.body.paths[path]![method]!.responses).map(Number)
  const [shown, pressed] = [statusesOf('get', '/links/{purpose}'), statusesOf('post', '/links/{purpose}')]

  const { email } = await api.person({ email_verified_at: 1 })
  await forgot(email)
  const { press, path } = await follow(openJar(api), email)
  expect(shown).toContain((await api.send('GET', path)).status)
  const forged = await api.send('GET', '/links/accept_invitation?token=abc')
  expect([forged.status, shown.includes(400)]).toEqual([400, true])
  const evil = { origin: 'https://evil.test', 'sec-fetch-site': 'cross-site' }
  const elsewhere = await press({ new_password: NEW }, evil)
  expect([elsewhere.status, pressed.includes(403)]).toEqual([403, true])

  // An address that somebody else has proved since.
  const ada = await api.quickActor({ email_verified_at: 1 })
  const change = { new_email: newAddress(), current_password: PASSWORD }
  await api.send('POST', '/v1/auth/change_email', { token: ada.token, body: change })
  const undo = await follow(openJar(api), ada.email)
  await api.sql('UPDATE users SET email = ?1, email_normalized = ?1 WHERE id = ?2', [newAddress(), ada.id])
  await api.person({ email: ada.email, email_verified_at: 1 })
  expect([(await undo.press()).status, pressed.includes(409)]).toEqual([409, true])

  const ready = await api.send('GET', '/ready', { token: 'x' })
  expect(statusesOf('get', '/ready')).toContain(ready.status)
})

test('A new password leads to the sign-in, which says so', async () => {
  const { email } = await api.person({ email_verified_at: 1 })
  await forgot(email)
  const jar = openJar(api)
  const { press } = await follow(jar, email)
  const weak = await press({ new_password: 'short' })
  expect([weak.status, weak.text.includes('fewer than 12'), weak.text.includes('aria-invalid')]).toEqual([
    422,
    true,
    true,
  ])
  const done = await press({ new_password: NEW })
  expect([done.status, done.to]).toEqual([303, '/signin?done=reset'])
  expect((await jar.open(done.to!)).text).toContain('Your password is changed')
  const used = await press({ new_password: NEW })
  expect([used.status, used.text.includes('has been used'), used.text.includes('href="/forgot"')]).toEqual([
    400,
    true,
    true,
  ])
})

test('An invitation shows who invites, to what role, and the address, and whoever accepts it is signed in', async () => {
  const { email } = await invited('Ingrid', { role: 'manager' })
  const jar = openJar(api)
  const { opened, press } = await follow(jar, email)
  for (const text of ['Ingrid invited you to', email, 'Manager', 'value="Ada"'])
    expect(opened.text).toContain(text)
  const weak = await press({ name: 'Ada L', password: 'short' })
  expect([
    weak.status,
    weak.text.includes('value="Ada L"'),
    weak.text.includes('Ingrid invited you'),
  ]).toEqual([422, true, true])
  const done = await press({ name: 'Ada L', password: NEW })
  expect([done.status, done.to, jar.jar.has(SESSION), jar.jar.has('__Host-roster-device')]).toEqual([
    303,
    '/admin',
    true,
    true,
  ])
  expect((await jar.open('/v1/users/me')).body).toMatchObject({ email, name: 'Ada L', role: 'manager' })
})

test('HD2: an invitation does not sign anybody in with a form of another site or browser', async () => {
  const { email } = await invited()
  const thief = openJar(api)
  const { path, token } = await follow(thief, email)
  const form_token = await thief.tokenOf(path + `?token=${token}`)
  const fields = { token, password: NEW, form_token }
  const victim = openJar(api)
  await victim.open('/signin')
  for (const headers of [
    { origin: 'https://evil.test', 'sec-fetch-site': 'cross-site' },
    { origin: 'null', 'sec-fetch-site': 'cross-site' },
  ]) {
    const answer = await victim.post(path, fields, headers)
    expect([answer.status, victim.jar.has(SESSION)]).toEqual([403, false])
  }
  const strange = await victim.post(path, fields)
  expect([strange.status, strange.text.includes('Your account is made'), victim.jar.has(SESSION)]).toEqual([
    200,
    true,
    false,
  ])
})

test('A change of address that was requested on a page is confirmed in that browser with one press', async () => {
  const { email, id } = await api.person({ email_verified_at: 1 })
  const jar = openJar(api)
  await jar.signIn(email)
  const next = newAddress()
  const asked = await jar.submit('/account', '/account/email', {
    new_email: next,
    current_password: PASSWORD,
  })
  expect(asked.to).toBe('/account?done=asked')
  const { press } = await follow(jar, next)
  const done = await press()
  expect([done.status, done.to]).toEqual([303, '/account?done=address'])
  expect((await jar.open(done.to!)).text).toContain('This is the address of your account now')
  expect(await api.sql('SELECT email FROM users WHERE id = ?', [id])).toEqual([{ email: next }])
})

test('In another browser, or after the session has ended, the old address must approve as well', async () => {
  for (const isOver of [false, true]) {
    const { email, id } = await api.person({ email_verified_at: 1 })
    const jar = openJar(api)
    await jar.signIn(email)
    const next = newAddress()
    await jar.submit('/account', '/account/email', { new_email: next, current_password: PASSWORD })
    if (isOver) await api.sql('UPDATE sessions SET revoked_at = 1 WHERE user_id = ?', [id])
    const other = isOver ? jar : openJar(api)
    const asked = await (await follow(other, next)).press()
    expect([asked.status, asked.text.includes('approve it from the old one')]).toEqual([200, true])
    const approved = await (await follow(other, email, /[Aa]pprove/)).press()
    expect([approved.status, approved.text.includes('your account now')]).toEqual([200, true])
  }
})

test('Whoever signed up confirms with one press, and anybody else must enter a password', async () => {
  const email = newAddress()
  const jar = openJar(api)
  await jar.submit('/signup', '/signup', { name: 'Ada', email, password: PASSWORD })
  const stranger = await follow(openJar(api), email)
  expect(stranger.opened.text).toContain('name="password"')
  const refused = await stranger.press()
  expect([refused.status, refused.text.includes('Reading the mail is not enough')]).toEqual([422, true])
  const { opened, press } = await follow(jar, email)
  expect(opened.text).not.toContain('name="password"')
  const done = await press()
  expect([done.status, done.to]).toEqual([303, '/signin?done=confirmed'])
})

test('RL6: a link’s page that is requested too often is still a page, says how long to wait, and keeps its form', async () => {
  const { email } = await api.person({ email_verified_at: 1 })
  await forgot(email)
  const { page, path, token } = await follow(openJar(api), email)
  const crowded = openJar(openApi({ RATE_LIMIT_BY_IP: limiter(0), RATE_LIMIT_BY_TOKEN: limiter(0) }))
  for (const refused of [
    await crowded.open(page),
    await crowded.post(path, { token, new_password: NEW, form_token: 'x' }),
  ]) {
    expect([refused.status, refused.headers.get('retry-after'), refused.headers.get('content-type')]).toEqual(
      [429, '60', 'text/html; charset=UTF-8'],
    )
    for (const text of ['Too many tries', 'Wait a minute, until', `value="${token}"`, 'name="new_password"'])
      expect(refused.text).toContain(text)
  }
})

test('A link that has expired offers the next step, in the language of whoever reads it', async () => {
  const jar = openJar(api)
  const next = {
    verify_email: '/signup/resend',
    reset_password: '/forgot',
    change_email: '/account',
    approve_email_change: '/account',
    undo_email_change: '/forgot',
    unlock_account: '/forgot',
    reopen_account: '/signin',
    accept_invitation: '/signin',
  }
  for (const [purpose, href] of Object.entries(next)) {
    const fields = { token: 'x', password: NEW, new_password: NEW }
    const wanted: Record<string, string> =
      purpose === 'accept_invitation'
        ? { token: 'x', password: NEW }
        : purpose === 'reset_password'
          ? { token: 'x', new_password: NEW }
          : purpose === 'verify_email'
            ? fields
            : { token: 'x' }
    const answer = await jar.post(`/links/${purpose}`, wanted)
    expect([purpose, answer.status, answer.text.includes(`href="${href}"`)]).toEqual([purpose, 400, true])
    const german = await jar.post(`/links/${purpose}?lang=de`, wanted)
    expect(german.text).toContain('Dieser Link ist abgelaufen')
  }
  expect((await jar.open('/links/accept_invitation?token=x')).status).toBe(400)
  // Another browser: this one goes on in German.
  const bare = await openJar(api).open('/links/verify_email')
  expect([bare.status, bare.text.includes('Open the link in your mail')]).toEqual([400, true])
})

test('Somebody who asks for the confirmation again enters the code of the new mail in that browser', async () => {
  const email = newAddress()
  await openJar(api).submit('/signup', '/signup', { name: 'Ada', email, password: PASSWORD })
  const jar = openJar(api)
  const asked = await jar.submit('/signup/resend', '/signup/again', { email })
  expect([asked.status, asked.to]).toEqual([303, '/links/verify_email?done=sent'])
  const form = await jar.open(asked.to!)
  expect([form.text.includes('Sent. It can take a minute.'), form.text.includes('name="password"')]).toEqual([
    true,
    true,
  ])
  const { code } = linkIn((await api.mailsTo(email))[0]!)
  const typed = { code: '0000 0000', password: PASSWORD }
  const wrong = await jar.submit('/links/verify_email', '/links/verify_email', typed)
  expect(wrong.status).toBe(400)
  // The page speaks of the code, not of a link or of one press, and leads to another mail.
  for (const { text } of [form, wrong]) {
    expect(text).toContain('href="/signup/resend"')
    expect(text).not.toMatch(/link has expired|One press/)
  }
  const done = await jar.submit('/links/verify_email', '/links/verify_email', {
    code: `${code.slice(0, 4)} ${code.slice(4)}`,
    password: PASSWORD,
  })
  expect([done.status, done.to]).toEqual([303, '/signin?done=confirmed'])
})

test('Somebody who asks for the confirmation of an older account, after signing up with another address, enters its code', async () => {
  const [older, newer] = [newAddress(), newAddress()]
  await openJar(api).submit('/signup', '/signup', { name: 'Ada', email: older, password: PASSWORD })
  const jar = openJar(api)
  await jar.submit('/signup', '/signup', { name: 'Ada', email: newer, password: PASSWORD })
  expect((await jar.submit('/signup/resend', '/signup/again', { email: older })).to).toBe(
    '/links/verify_email?done=sent',
  )
  const { code } = linkIn((await api.mailsTo(older))[0]!)
  const fields = { code, password: PASSWORD }
  const done = await jar.submit('/links/verify_email', '/links/verify_email', fields)
  expect([done.status, done.to]).toEqual([303, '/signin?done=confirmed'])
  // Asking again for the address that signed up here keeps what shows who did.
  const other = openJar(api)
  await other.submit('/signup', '/signup', { name: 'Ada', email: `a.${newer}`, password: PASSWORD })
  await other.submit('/signup/resend', '/signup/again', { email: ` A.${newer}`.toUpperCase() })
  const confirmed = await other.submit('/signup/check', '/signup/code', {
    email: `a.${newer}`,
    code: linkIn((await api.mailsTo(`a.${newer}`))[0]!).code,
  })
  expect([confirmed.status, confirmed.to]).toEqual([303, '/signin?done=confirmed'])
})

describe('Somebody who signs up with an address that is taken, but not confirmed, enters the code and a password', () => {
  const signUp = async (jar: ReturnType<typeof openJar>, email: string) => {
    const { to } = await jar.submit('/signup', '/signup', { name: 'Ada', email, password: PASSWORD })
    const { code } = linkIn((await api.mailsTo(email))[0]!)
    return { page: to!, code }
  }
  const isConfirmed = async (email: string) =>
    (await api.sql('SELECT email_verified_at IS NOT NULL AS is_so FROM users WHERE email = ?', [email]))[0]!
      .is_so

  test.each(['their own', 'somebody else’s'])('whether the first sign-up was %s', async (whose) => {
    const email = newAddress()
    const jar = openJar(api)
    await signUp(whose === 'their own' ? jar : openJar(api), email)
    const { page, code } = await signUp(jar, email)
    const wrong = await jar.submit(page, '/signup/code', { email, code: '00000000' })
    expect([wrong.status, wrong.text.includes('That code is not right')]).toEqual([400, true])
    const asked = await jar.submit(page, '/signup/code', { email, code })
    expect([asked.status, asked.to, await isConfirmed(email)]).toEqual([303, '/links/verify_email', 0])
    const form = await jar.open(asked.to!)
    expect([form.text.includes('name="password"'), form.text.includes('Sent.')]).toEqual([true, false])
    const proof = whose === 'their own' ? { password: PASSWORD } : { new_password: 'nine green bears run' }
    const done = await jar.submit(asked.to!, asked.to!, { code, ...proof })
    expect([done.status, done.to, await isConfirmed(email)]).toEqual([303, '/signin?done=confirmed', 1])
  })

  test('of the mail that they ask for again, too', async () => {
    const email = newAddress()
    await signUp(openJar(api), email)
    const jar = openJar(api)
    const { page } = await signUp(jar, email)
    await jar.submit(page, '/signup/again', { email, code: '' })
    const { code } = linkIn((await api.mailsTo(email))[0]!)
    expect((await jar.submit(page, '/signup/code', { email, code })).to).toBe('/links/verify_email')
  })
})

test('LE1: a failed login only says that the address is not confirmed in the browser that signed up', async () => {
  const email = newAddress()
  const jar = openJar(api)
  await jar.submit('/signup', '/signup', { name: 'Ada', email, password: PASSWORD })
  const here = await jar.signIn(email)
  expect([
    here.status,
    here.text.includes('Confirm your email first'),
    here.text.includes('href="/signup/resend"'),
  ]).toEqual([403, true, true])
  const elsewhere = await openJar(api).signIn(email)
  expect([elsewhere.status, elsewhere.text.includes('Confirm your email first')]).toEqual([401, false])
})

test('If nothing must be confirmed, signing up makes this a known device at once', async () => {
  const jar = openJar(openApi({ EMAIL_VERIFICATION: 'optional' }))
  const done = await jar.submit('/signup', '/signup', {
    name: 'Ada',
    email: newAddress(),
    password: PASSWORD,
  })
  expect([done.status, done.to, jar.jar.has('__Host-roster-device')]).toEqual([303, '/account', true])
})

test('Somebody who deletes their account gets a confirmation', async () => {
  const { email } = await api.person({ email_verified_at: 1 })
  const jar = openJar(api)
  await jar.signIn(email)
  const left = await jar.submit('/account/data', '/account/data/leave', { password: PASSWORD })
  expect([left.status, left.to, jar.jar.has(SESSION)]).toEqual([303, '/signin?done=left', false])
  expect((await jar.open(left.to!)).text).toContain('role="status"')
})
