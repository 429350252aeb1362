import { expect, test } from 'vitest'
import { openApi, PASSWORD } from '../support/api.ts'
import { openJar } from '../support/jar.ts'
import { codeIn } from '../support/mails.ts'
import { newPerson } from '../support/requests.ts'

const api = openApi({ EMAIL_CODE_SIGNIN: 'on', TERMS_URL: 'https://fjord.test/terms' })
const newest = async (email: string) => codeIn((await api.mailsTo(email))[0]!)

test('HX7: somebody with only a mailbox signs in with a code, only in the browser that asked', async () => {
  const ada = await api.person({ email_verified_at: 1, terms_version: '1' })
  const [mine, theirs] = [openJar(api), openJar(api)]
  const page = await mine.open('/signin')
  expect(page.text).toContain('formaction="/signin/code"')
  await theirs.open('/signin')
  const asked = await mine.submit('/signin/code', '/signin/code', {
    email: ada.email,
    remember: 'yes',
    to: '/account/sessions',
  })
  expect(asked.text).toContain(ada.email)
  const code = await newest(ada.email)
  const stolen = await theirs.submit('/signin/code', '/signin/code/confirm', { email: ada.email, code })
  expect(stolen.status).toBe(422)
  const wrong = await mine.submit('/signin/code', '/signin/code/confirm', {
    email: ada.email,
    code: '0000 0000',
  })
  expect([wrong.status, wrong.text.includes('That code is not right')]).toEqual([400, true])
  const typed = `${code.slice(0, 4)} ${code.slice(4)}`
  const fields = { email: ada.email, code: typed, to: '/account/sessions' }
  const done = await mine.submit('/signin/code', '/signin/code/confirm', fields)
  expect([done.status, done.to]).toEqual([303, '/account/sessions'])
  expect((await mine.open('/account/sessions')).status).toBe(200)
})

test('HX7: an account is made after a page with name, address, terms and a button', async () => {
  const { email } = newPerson()
  const jar = openJar(api)
  await jar.open('/signin/code')
  await jar.submit('/signin/code', '/signin/code', { email })
  const code = await newest(email)
  const page = await jar.submit('/signin/code', '/signin/code/confirm', { email, code })
  expect([page.status, page.text.includes(`There is no account with ${email} yet.`)]).toEqual([200, true])
  expect(await api.sql('SELECT id FROM users WHERE email = ?', [email])).toEqual([])
  const joins = { email, code, joins: 'yes', name: 'Ada' }
  const refused = await jar.submit('/signin/code', '/signin/code/confirm', joins)
  expect([refused.status, refused.text.includes('value="Ada"')]).toEqual([422, true])
  const made = await jar.submit('/signin/code', '/signin/code/confirm', { ...joins, terms_version: '1' })
  expect([made.status, made.to]).toEqual([303, '/account'])
  expect(await api.sql('SELECT name, terms_version FROM users WHERE email = ?', [email])).toEqual([
    { name: 'Ada', terms_version: '1' },
  ])
})

test('Somebody who signed up in this browser keeps their password when the code confirms the address', async () => {
  const plain = openApi({ EMAIL_CODE_SIGNIN: 'on', EMAIL_VERIFICATION: 'required' })
  const jar = openJar(plain)
  const { email } = newPerson()
  await jar.open('/signup')
  await jar.submit('/signup', '/signup', { email, password: PASSWORD, name: 'Ada' })
  await jar.submit('/signin/code', '/signin/code', { email })
  const code = codeIn((await plain.mailsTo(email))[0]!)
  expect((await jar.submit('/signin/code', '/signin/code/confirm', { email, code })).status).toBe(303)
  expect((await plain.logIn({ email, password: PASSWORD })).user.email_verified).toBe(true)
})
