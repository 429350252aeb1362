import { expect, test } from 'vitest'
import { linkIn, openApi, PASSWORD } from '../support/api.ts'

const api = openApi()
const submit = (path: string, fields: Record<string, string>) =>
  api.send('POST', path, { raw: new URLSearchParams(fields) })

test('RS5: opening the link of a mail does nothing; its button does, without JavaScript', async () => {
  const ada = await api.person()
  await api.send('POST', '/v1/auth/forgot_password', { body: { email: ada.email } })
  const { url, token } = linkIn((await api.mailsTo(ada.email))[0]!)
  for (let i = 0; i < 10; i++) {
    const opened = await api.send('GET', url.pathname + url.search)
    expect(opened.status).toBe(200)
    expect(opened.headers.get('referrer-policy')).toBe('no-referrer')
    expect(opened.headers.get('cache-control')).toBe('no-store')
    expect(opened.headers.get('content-security-policy')).toContain("form-action 'self'")
    expect(opened.text).toContain(`value="${token}"`)
    expect(opened.text).not.toContain('<script')
  }
  const weak = await submit(url.pathname, { token, new_password: 'short' })
  expect([weak.status, weak.text.includes('fewer than 12'), weak.text.includes(token)]).toEqual([
    422,
    true,
    true,
  ])
  const done = await submit(url.pathname, { token, new_password: 'nine green bears run' })
  expect(done.text).toContain('Your password is changed')
  await api.logIn({ email: ada.email, password: 'nine green bears run' })
  const again = await submit(url.pathname, { token, new_password: 'nine green bears ran' })
  expect([again.status, again.text.includes('has been used')]).toEqual([400, true])
})

test('Each kind of link has its page', async () => {
  const email = `${crypto.randomUUID()}@people.test`
  await api.send('POST', '/v1/auth/signup', { body: { email, password: PASSWORD, name: 'Ada' } })
  const verification = linkIn((await api.mailsTo(email))[0]!)
  const bare = await submit(verification.url.pathname, { token: verification.token })
  expect([bare.status, bare.text.includes('name="password"')]).toEqual([422, true])
  const proved = { token: verification.token, password: PASSWORD, new_password: '' }
  expect((await submit(verification.url.pathname, proved)).text).toContain('is confirmed')

  const { access_token: token } = await api.logIn({ email, password: PASSWORD })
  const next = `${crypto.randomUUID()}@people.test`
  const body = { new_email: next, current_password: PASSWORD }
  await api.send('POST', '/v1/auth/change_email', { token, body })
  const confirmation = linkIn((await api.mailsTo(next))[0]!)
  const undo = linkIn((await api.mailsTo(email))[0]!)
  expect((await submit(confirmation.url.pathname, { token: confirmation.token })).text).toContain(
    'approve it from the old one',
  )
  const approval = linkIn((await api.mailsTo(email))[0]!)
  expect((await submit(approval.url.pathname, { token: approval.token })).text).toContain('your account now')
  expect((await submit(undo.url.pathname, { token: undo.token })).text).toContain('The change is undone')

  const admin = await api.actor({ role: 'admin' })
  const guest = `${crypto.randomUUID()}@people.test`
  await api.send('POST', '/v1/invitations', { token: admin.token, body: { email: guest } })
  const invitation = linkIn((await api.mailsTo(guest))[0]!)
  const fields = { token: invitation.token, name: '', password: 'nine green bears run' }
  expect((await submit(invitation.url.pathname, fields)).text).toContain('Your account is made')
  await api.logIn({ email: guest, password: 'nine green bears run' })
})

test('AC1: nothing that comes with a link becomes markup', async () => {
  const payload = '"><script>window.__xss = 1</script>'
  const opened = await api.send('GET', `/links/verify_email?token=${encodeURIComponent(payload)}`)
  expect(opened.text).not.toContain('<script')
  const sent = await submit('/links/verify_email', { token: payload })
  expect([sent.status, sent.text.includes('<script')]).toEqual([400, false])
})

test('There is no page for anything else, and only a form is accepted', async () => {
  for (const purpose of ['nothing', '__proto__', 'constructor', 'refresh_token']) {
    expect((await api.send('GET', `/links/${purpose}`)).status).toBe(404)
  }
  expect((await api.send('POST', '/links/verify_email', { body: { token: 'x' } })).status).toBe(415)
})
