import { describe, expect, test } from 'vitest'
import { sealForeignHash } from '../../src/passwords/foreign/sealing.ts'
import { linkIn, openApi, randomIp } from '../support/api.ts'
import { addTotp, challengeOf, codeOf } from '../support/factors.ts'
import { openJar } from '../support/jar.ts'
import { codeIn } from '../support/mails.ts'
import made from './vectors.json'

const api = openApi({ EMAIL_VERIFICATION: 'optional' })

const PLAIN = 'correct horse battery'
const of = (by: string) => made.find((vector) => vector.by === by && vector.password === PLAIN)!.hash
/** Quick to verify. */
const QUICK = of('passlib bcrypt $2y$')
/** Takes a second, in slices. */
const SLOW = of('Django 5.2 pbkdf2_sha256')
/** Eleven characters, from the tests of dotnet/aspnetcore. */
const WEAK = {
  password: 'my password',
  hash: 'AQAAAAIAAAAyAAAAEOMwvh3+FZxqkdMBz2ekgGhwQ4B6pZWND6zgESBuWiHw',
}

/** Somebody who was imported with a hash. */
async function imported(hash: string, given: Parameters<typeof api.person>[0] = {}) {
  const { id, email } = await api.person(given)
  const sealed = await sealForeignHash(api.config(), id, hash)
  await api.sql('UPDATE users SET password_hash = ? WHERE id = ?', [sealed, id])
  return { id, email, password: PLAIN }
}
const rowOf = async ({ id }: { id: string }) =>
  (await api.sql('SELECT password_hash, failed_logins, needs_reset FROM users WHERE id = ?', [id]))[0]!
const logIn = ({ email, password }: { email: string; password: string }, ip = randomIp(), by = api) =>
  by.send('POST', '/v1/auth/login', { body: { email, password }, ip })

const ONE_OF_EACH = [
  'Django 5.2 bcrypt_sha256',
  'passlib argon2',
  'passlib scrypt',
  'passlib pbkdf2_sha512',
  'passlib ldap_salted_sha512',
]

test.each(ONE_OF_EACH)(
  'PW5: a right password makes a hash of %s one of ours; a wrong one never does',
  async (by) => {
    const ada = await imported(of(by))
    const before = await rowOf(ada)
    expect(before.password_hash).toMatch(/^\$foreign\$/)
    expect((await logIn({ ...ada, password: `${PLAIN}!` })).status).toBe(401)
    expect(await rowOf(ada)).toMatchObject({ password_hash: before.password_hash, failed_logins: 1 })
    expect((await logIn(ada)).status).toBe(200)
    expect(await rowOf(ada)).toMatchObject({
      password_hash: expect.stringMatching(/^\$scrypt\$/),
      failed_logins: 0,
    })
    expect((await logIn(ada)).status).toBe(200)
  },
)

test('PW5: of twenty at once one gets in, and others get a 503, and succeed when they repeat it', async () => {
  const ada = await imported(of('passlib pbkdf2_sha256'))
  let left = 20
  let letIn = 0
  for (let round = 0; left > 0 && round < 20; round++) {
    const answers = await Promise.all(Array.from({ length: left }, () => logIn(ada)))
    for (const { status, body, headers } of answers)
      if (status === 503) expect([body.code, headers.get('retry-after')]).toEqual(['hashing_busy', '1'])
      else expect(status).toBe(200)
    letIn += answers.filter(({ status }) => status === 200).length
    expect(letIn).toBeGreaterThan(0)
    left = answers.filter(({ status }) => status === 503).length
  }
  expect([letIn, left]).toEqual([20, 0])
  expect(await rowOf(ada)).toMatchObject({
    failed_logins: 0,
    password_hash: expect.stringMatching(/^\$scrypt\$/),
  })
})

test('Logins with our own hashes do not wait for foreign ones', async () => {
  const [ada, eve] = [await imported(SLOW), await api.person()]
  const real = openApi({ PASSWORD_HASHES: 'full', EMAIL_VERIFICATION: 'optional' })
  const order: string[] = []
  const foreign = logIn(ada, randomIp(), real).then(({ status }) => order.push(`foreign ${status}`))
  const ours = logIn(eve, randomIp(), real).then(({ status }) => order.push(`ours ${status}`))
  await Promise.all([foreign, ours])
  expect(order).toEqual(['ours 200', 'foreign 200'])
})

test('An encrypted hash cannot be used for another user', async () => {
  const [ada, eve] = [await imported(QUICK), await api.person()]
  const { password_hash } = await rowOf(ada)
  await api.sql('UPDATE users SET password_hash = ? WHERE id = ?', [password_hash as string, eve.id])
  const { status, body } = await logIn({ email: eve.email, password: PLAIN })
  expect([status, body.code]).toEqual([503, 'misconfigured'])
  expect(await rowOf(eve)).toMatchObject({ failed_logins: 0 })
})

test('A password that our policy refuses signs in, and its user is asked for a better one, once', async () => {
  const ada = { ...(await imported(WEAK.hash)), password: WEAK.password }
  const first = await logIn(ada)
  expect([first.status, first.body.needs_better_password]).toEqual([200, true])
  const second = await logIn(ada)
  expect([second.status, second.body.needs_better_password]).toEqual([200, undefined])
  const other = await logIn(await imported(QUICK))
  expect([other.status, other.body.needs_better_password]).toEqual([200, undefined])
})

test('That is so behind a second factor as well: by the API, and on the page', async () => {
  const ada = { ...(await imported(WEAK.hash)), password: WEAK.password }
  const { seed, recoveryCodes } = await addTotp(api, ada)
  const { challenge } = await challengeOf(api, ada)
  const second = (body: object) => api.send('POST', '/v1/auth/login/second_factor', { body })
  const done = await second({ challenge, code: codeOf(seed) })
  expect([done.status, done.body.needs_better_password]).toEqual([200, true])
  // The hash is ours by now, so they are not asked for a better password again.
  const { challenge: other } = await challengeOf(api, ada)
  const again = await second({ challenge: other, recovery_code: recoveryCodes[0] })
  expect([again.status, again.body.needs_better_password]).toEqual([200, undefined])

  const eve = { ...(await imported(WEAK.hash)), password: WEAK.password }
  const app = await addTotp(api, eve)
  const jar = openJar(api)
  await jar.submit('/signin', '/signin', { email: eve.email, password: eve.password })
  const entered = await jar.submit('/signin/factor', '/signin/factor', { code: codeOf(app.seed) })
  expect([entered.status, entered.to]).toEqual([303, '/account/security?done=weak'])
})

test('If a second factor is due, the correct password alone already makes the hash one of ours', async () => {
  const ada = await imported(QUICK)
  await addTotp(api, ada)
  await challengeOf(api, ada)
  expect((await rowOf(ada)).password_hash).toMatch(/^\$scrypt\$/)
})

describe('An address that nobody has proved', () => {
  test('keeps the imported password if it is entered with the proof', async () => {
    const ada = await imported(QUICK)
    const mailed = await api.send('POST', '/v1/auth/resend_verification', { body: { email: ada.email } })
    const { code } = linkIn((await api.mailsTo(ada.email)).at(-1)!)
    const proof = { code, request_token: mailed.body.request_token }
    const bare = await api.send('POST', '/v1/auth/verify_email', { body: proof })
    expect([bare.status, bare.body.code]).toEqual([422, 'proof_needed'])
    const wrong = { ...proof, password: 'another one' }
    expect((await api.send('POST', '/v1/auth/verify_email', { body: wrong })).status).toBe(403)
    const right = { ...proof, password: PLAIN }
    expect((await api.send('POST', '/v1/auth/verify_email', { body: right })).status).toBe(204)
    expect((await logIn(ada)).status).toBe(200)
  })

  test('loses it to a mailed code', async () => {
    const codes = openApi({ EMAIL_CODE_SIGNIN: 'on' })
    const ada = await imported(QUICK)
    const asked = await codes.send('POST', '/v1/auth/login/email_code', { body: { email: ada.email } })
    const code = codeIn((await codes.mailsTo(ada.email)).at(-1)!)
    const body = { code, login_token: asked.body.login_token }
    expect((await codes.send('POST', '/v1/auth/login/email_code/confirm', { body })).status).toBe(200)
    expect((await logIn(ada)).status).toBe(401)
  })
})

test('Somebody imported with a hash that cannot be verified has no password, until a reset', async () => {
  const ada = await api.person({ password_hash: null, needs_reset: 1, email_verified_at: 1 })
  const refused = await logIn({ ...ada, password: PLAIN })
  const unknown = await logIn({ email: 'nobody@people.test', password: PLAIN })
  expect([refused.status, refused.body.code]).toEqual([unknown.status, unknown.body.code])
  const asked = await api.send('POST', '/v1/auth/forgot_password', { body: { email: ada.email } })
  const { code } = linkIn((await api.mailsTo(ada.email)).at(-1)!)
  const fresh = 'nine green bears run'
  const body = { code, request_token: asked.body.request_token, new_password: fresh }
  expect((await api.send('POST', '/v1/auth/reset_password', { body })).status).toBe(204)
  expect(await rowOf(ada)).toMatchObject({ needs_reset: 0 })
  expect((await logIn({ ...ada, password: fresh })).status).toBe(200)
})

test('A reset replaces a foreign hash', async () => {
  const ada = await imported(QUICK, { email_verified_at: 1 })
  const asked = await api.send('POST', '/v1/auth/forgot_password', { body: { email: ada.email } })
  const { code } = linkIn((await api.mailsTo(ada.email)).at(-1)!)
  const body = { code, request_token: asked.body.request_token, new_password: 'nine green bears run' }
  expect((await api.send('POST', '/v1/auth/reset_password', { body })).status).toBe(204)
  expect((await logIn(ada)).status).toBe(401)
  expect((await rowOf(ada)).password_hash).toMatch(/^\$scrypt\$/)
})
