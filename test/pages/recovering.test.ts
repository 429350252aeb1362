import { expect, test } from 'vitest'
import { linkIn, openApi, PASSWORD } from '../support/api.ts'
import { type Jar, openJar, SESSION } from '../support/jar.ts'

/** Recovering an account when sessions are in cookies: every other session has ended, however it is checked. */

const api = openApi({ EMAIL_VERIFICATION: 'required' })
const NEW = 'nine green bears run'
const newAddress = () => `${crypto.randomUUID()}@people.test`

/** Presses the button of the newest link that an address was mailed. */
async function follow(jar: Jar, email: string, fields: Record<string, string>, subject?: RegExp) {
  const mails = await api.mailsTo(email)
  const { url, token } = linkIn(mails.find((mail) => !subject || subject.test(mail.subject))!)
  return jar.submit(url.pathname + url.search, url.pathname, { token, ...fields })
}
async function signedIn({ email }: { email: string }) {
  const jar = openJar(api)
  await jar.signIn(email)
  // Requested twice, so that the copies have it as well.
  for (let i = 0; i < 2; i++) expect(await seen(jar)).toEqual([200, 200])
  return jar
}
/** The answers of a page and the API to the browser's present cookie. */
async function seen(jar: Jar) {
  const cookie = jar.jar.get(SESSION)!
  const me = await jar.ask('GET', '/v1/users/me')
  jar.jar.set(SESSION, cookie)
  const page = await jar.open('/account')
  if (page.status === 200) jar.jar.set(SESSION, cookie)
  return [me.status, page.status]
}
const emailOf = async (id: string) => (await api.sql('SELECT email FROM users WHERE id = ?', [id]))[0]!.email

test('RS4: a reset by mail ends every cookie session, and the browser that did it must sign in again', async () => {
  const ada = await api.person({ email_verified_at: 1 })
  const [mine, thiefs] = [await signedIn(ada), await signedIn(ada)]
  await api.send('POST', '/v1/auth/forgot_password', { body: { email: ada.email } })
  const done = await follow(mine, ada.email, { new_password: NEW })
  expect(done.status).toBe(303)
  expect(await seen(thiefs)).toEqual([401, 303])
  const left = await api.sql('SELECT id FROM sessions WHERE user_id = ? AND revoked_at IS NULL', [ada.id])
  expect(left).toEqual([])
  expect((await mine.signIn(ada.email, { password: NEW })).to).toBe('/account')
  expect((await thiefs.signIn(ada.email)).status).toBe(401)
})

test('SE2: an undo from the mailbox takes the account back from a cookie session, whatever that could still do', async () => {
  const ada = await api.person({ email_verified_at: 1 })
  const [mine, thiefs] = [await signedIn(ada), await signedIn(ada)]
  const moved = newAddress()
  const asked = await thiefs.submit('/account', '/account/email', {
    new_email: moved,
    current_password: PASSWORD,
  })
  expect(asked.status).toBe(303)
  expect((await follow(thiefs, moved, {})).status).toBeLessThan(400)
  expect(await emailOf(ada.id)).toBe(moved)

  const undone = await follow(mine, ada.email, {}, /address/i)
  expect(undone.status).toBeLessThan(400)
  expect(await emailOf(ada.id)).toBe(ada.email)
  for (const jar of [thiefs]) expect(await seen(jar)).toEqual([401, 303])
  expect((await thiefs.signIn(ada.email)).status).toBe(401)
  // The owner chooses a password by mail, and gets in.
  await api.send('POST', '/v1/auth/forgot_password', { body: { email: ada.email } })
  await follow(mine, ada.email, { new_password: NEW }, /password/i)
  expect((await mine.signIn(ada.email, { password: NEW })).to).toBe('/account')
})
