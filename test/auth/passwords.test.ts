import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { beforeEach, describe, expect, test, vi } from 'vitest'
import type { Tokens } from '../../src/auth/schemas.ts'
import { commonPasswords } from '../../src/passwords/common-passwords.ts'
import * as passwords from '../../src/passwords/hashing.ts'
import { type Actor, openApi, PASSWORD } from '../support/api.ts'
import { rounds } from '../support/rounds.ts'

/** Hashing as deployments use it. */
const FULL = { PASSWORD_HASHES: 'full' }
const api = openApi()
const real = openApi(FULL)
const NEW_PASSWORD = 'nine green bears run'

// Spies that pass through: the cost of a request is counted, not timed.
const check = vi.spyOn(passwords, 'checkPassword')
const hash = vi.spyOn(passwords, 'hashPassword')
const hashesSoFar = () => check.mock.calls.length + hash.mock.calls.length
beforeEach(() => void vi.clearAllMocks())

describe('A new password', () => {
  const long = Array.from({ length: 256 }, (_, i) => String.fromCharCode(97 + ((i * 7) % 26))).join('')
  const emoji = '😀😁😂🤣😃😄😅😆😉😊😋😎'

  test.each([
    ['11 characters', 'q7:kW2#mV9x', 422, 'too_small'],
    ['11 emoji', emoji.slice(2), 422, 'too_small'],
    [
      '12 code points that are six characters',
      'e\u0301a\u0301i\u0301o\u0301u\u0301n\u0303',
      422,
      'too_small',
    ],
    ['257 characters', `${long}x`, 422, 'too_big'],
    ['half a surrogate pair', 'nine green bears run\ud800', 422, 'custom'],
    ['two different characters', 'ababababababab', 422, 'weak_password'],
    ['12 characters', 'q7:kW2#mV9xR', 201, undefined],
    ['12 emoji', emoji, 201, undefined],
    ['256 characters', long, 201, undefined],
  ])('PW1: of %s', async (_, password, status, code) => {
    const answer = await signUp(password)
    expect(answer.status).toBe(status)
    if (status === 422) expect(firstErrorOf(answer)).toMatchObject({ pointer: '/password' })
    if (code && code !== 'custom') expect(firstErrorOf(answer)).toMatchObject({ code })
    expect(hashesSoFar()).toBe(status === 201 ? 1 : 0)
  })

  test('PW1: counts to its last character', async () => {
    const ada = await personWith(long)
    expect(await logInStatus(ada, `${long.slice(0, -1)}!`)).toBe(401)
    expect(await logInStatus(ada, long.slice(0, -1))).toBe(401)
    expect(await logInStatus(ada, long)).toBe(200)
  })

  const listed = [...commonPasswords()]
  const refused = [
    ...listed.filter((word) => word.length >= 12).slice(0, 12),
    ...['password1234', 'Password123!', 'PASSWORDpassword', 'qwertyuiopqwerty', 'ｐａｓｓｗｏｒｄ１２３４'],
    ...['adalovelace1', 'ada-lovelace', 'Roster-Ada-Lovelace'],
  ]
  const name = 'Ada Lovelace'

  test('is compared with a list that unpacks to what it was packed from', () => {
    expect(listed).toHaveLength(3308)
    expect(listed).toEqual([...listed].sort())
    expect(listed).toEqual(expect.arrayContaining(['000000', 'password1', 'qwertyuiop', 'zxcvbnmmnbvcxz']))
    expect(createHash('sha256').update(listed.join('\n')).digest('hex')).toBe(
      '536c0788f6da7afd0bd3e1862cbc7f32727b169ad438f0eede5528b3391a92bb',
    )
  })

  test('PW3: is refused, with the reason, if it is common or hardly more than the user’s name: at sign-up', async () => {
    expect(refused).toHaveLength(20)
    for (const password of refused) expect(await reasonFor(signUp(password, name))).toBe('weak_password')
    expect(hashesSoFar()).toBe(0)
  })

  test('PW3: … when an administrator makes the person', async () => {
    const admin = await api.actor({ role: 'admin' })
    const create = (password: string) =>
      api.send('POST', '/v1/users', {
        token: admin.token,
        body: { email: `${crypto.randomUUID()}@people.test`, password, name },
      })
    for (const password of refused) expect(await reasonFor(create(password))).toBe('weak_password')
  })

  test('PW3: … and when it replaces another, which is no failed attempt at the old one', async () => {
    const ada = await api.actor({ name })
    // More attempts than failures are allowed.
    for (const password of refused.slice(0, rounds(12, 20)).concat('ada-lovelace')) {
      const answer = changePassword(ada, { current_password: PASSWORD, new_password: password })
      expect(await reasonFor(answer)).toBe('weak_password')
    }
    expect(await failuresOf(ada)).toBe(0)
    expect(await logInStatus(ada, PASSWORD)).toBe(200)
  })
})

test('PW2: a password may have any characters, and is used exactly as it is', async () => {
  const anyText = fc.string({ unit: 'binary', minLength: 12, maxLength: 40 })
  const property = fc.asyncProperty(anyText, async (password) => {
    fc.pre(password.isWellFormed() && password.trim() !== '')
    const ada = await personWith(password)
    expect(await logInStatus(ada, password)).toBe(200)
    const same = password.normalize('NFKC')
    const others = [password.trim(), [...password].slice(0, -1).join(''), swapCase(password), `${password} `]
    const different = others.filter((other) => other.normalize('NFKC') !== same)
    for (const other of different.slice(0, rounds(2, 4))) expect(await logInStatus(ada, other)).toBe(401)
  })
  await fc.assert(property, {
    numRuns: rounds(3, 200),
    examples: [['nul\0 inside it'], ['a nul at the end\0'], ['Trailing space ']],
  })
})

test('PW2: the only normalisation is NFKC, so another keyboard types the same password', async () => {
  const ada = await personWith('crème brûlée à deux'.normalize('NFC'))
  expect(await logInStatus(ada, 'crème brûlée à deux'.normalize('NFD'))).toBe(200)
  expect(await logInStatus(ada, 'creme brulee a deux')).toBe(401)
  expect(await logInStatus(ada, 'crème brûlée à deux\ud800')).toBe(422)
})

test('PW4: is stored as scrypt with its parameters, a salt of its own and the name of the pepper', async () => {
  const people = [await signUp(PASSWORD, 'Somebody', real), await signUp(PASSWORD, 'Somebody', real)]
  const hashes = await Promise.all(people.map(({ body }) => storedHash(body as { id: string })))
  for (const stored of hashes)
    expect(stored).toMatch(/^\$scrypt\$ln=15,r=8,p=3,k=[0-9a-f]{8}\$[\w-]{22}\$[\w-]{43}$/)
  const [[, , , saltA, macA], [, , , saltB, macB]] = hashes.map((stored) => stored.split('$')) as [
    string[],
    string[],
  ]
  expect(saltA).not.toBe(saltB)
  expect(macA).not.toBe(macB)
  // The runtime's limit; above it, hashing throws in production only.
  const { ln, r, p } = passwords.SCRYPT
  expect(2 ** ln * r * p).toBeLessThanOrEqual(2 ** 20)
})

describe('PW5: an outdated hash', () => {
  const ago = async (password: string, cost: { ln: number; r: number; p: number }, secret?: string) => {
    const { scryptSync, createHmac, createHash } = await import('node:crypto')
    const bindings = { ...api.bindings, ...(secret && { SECRET_KEYS: secret }) }
    const pepper = openApi(bindings).config().keys.password_pepper[0]
    const salt = Buffer.alloc(16, 7)
    const options = { N: 2 ** cost.ln, r: cost.r, p: cost.p, maxmem: 2 ** 26 }
    const mac = createHmac('sha256', pepper)
      .update(scryptSync(`${password}\x01`, salt, 32, options))
      .digest('base64url')
    const id = createHash('sha256').update(pepper).digest('hex').slice(0, 8)
    return `$scrypt$ln=${cost.ln},r=${cost.r},p=${cost.p},k=${id}$${salt.toString('base64url')}$${mac}`
  }

  test('is replaced at the next correct password, and by nothing else', async () => {
    const weak = await ago(PASSWORD, { ln: 12, r: 8, p: 1 })
    const ada = await api.person({ password_hash: weak })
    expect(await logInStatus(ada, NEW_PASSWORD, real)).toBe(401)
    expect(await storedHash(ada)).toBe(weak)
    expect(await logInStatus(ada, PASSWORD, real)).toBe(200)
    const renewed = await storedHash(ada)
    expect(renewed).toContain('$ln=15,r=8,p=3,')
    expect(await logInStatus(ada, PASSWORD, real)).toBe(200)
    expect(await storedHash(ada)).toBe(renewed)
  })

  test('with an older pepper is valid as long as that is kept, and gets the newest', async () => {
    const [old, fresh] = ['q7', 'W2'].map((start) => start + crypto.randomUUID() + crypto.randomUUID())
    const ada = await api.person({ password_hash: await ago(PASSWORD, passwords.SCRYPT, old!) })
    const rotated = openApi({ ...FULL, SECRET_KEYS: `${fresh},${old}` })
    const retired = openApi({ ...FULL, SECRET_KEYS: fresh! })
    const status = async (at: typeof api) => (await at.send('POST', '/v1/auth/login', logInBody(ada))).status
    // Not wrong: nobody can know.
    expect(await status(retired)).toBe(503)
    expect(await status(rotated)).toBe(200)
    expect(await status(retired)).toBe(200)
  })

  test('is replaced by one valid hash when many log in at once', async () => {
    const ada = await api.person({ password_hash: await ago(PASSWORD, { ln: 12, r: 8, p: 1 }) })
    for (let round = 0; round < rounds(1, 5); round++) {
      const answers = await Promise.all(Array.from({ length: 4 }, () => logInStatus(ada, PASSWORD, real)))
      // On a slow machine, one may lose its database call because the others are hashing.
      for (const status of answers) expect([200, 503]).toContain(status)
    }
    expect(await storedHash(ada)).toContain('$ln=15,')
    expect(await logInStatus(ada, PASSWORD, real)).toBe(200)
  })
})

test('PW6: a new password needs the current one, ends the other sessions, and keeps this one', async () => {
  const ada = await api.actor()
  const other = await api.signIn(ada)
  for (const [body, status] of [
    [{ new_password: NEW_PASSWORD }, 422],
    [{ current_password: '', new_password: NEW_PASSWORD }, 422],
    [{ current_password: NEW_PASSWORD, new_password: NEW_PASSWORD }, 403],
  ] as const)
    expect((await changePassword(ada, body)).status).toBe(status)
  expect(await me(other.token)).toBe(200)

  const changed = await changePassword(ada, { current_password: PASSWORD, new_password: NEW_PASSWORD })
  expect(changed.status).toBe(200)
  expect([await me(other.token), await me(ada.token)]).toEqual([401, 401])
  expect((await refresh(other.refreshToken)).body.code).toBe('session_revoked')
  const refreshed = await refresh(changed.body.refresh_token as string)
  expect(await me(refreshed.body.access_token)).toBe(200)
  expect(await logInStatus(ada, PASSWORD)).toBe(401)
  expect(await logInStatus(ada, NEW_PASSWORD)).toBe(200)
  expect(await api.historyOf(ada.id)).toContain('password.changed')
})

test.each([
  ['the moment before', false],
  ['after a refresh by whoever copied it', true],
])('PW6, RT3: a copy of the refresh token from %s a new password is useless', async (_, isRefreshed) => {
  const ada = await api.actor()
  const copied = isRefreshed ? (await refresh(ada.refreshToken)).body.refresh_token : ada.refreshToken
  const changed = await changePassword(ada, { current_password: PASSWORD, new_password: NEW_PASSWORD })
  const mine = changed.body as unknown as Tokens
  expect(mine.refresh_token).not.toBe(copied)
  expect((await refresh(mine.refresh_token)).status).toBe(200)
  expect((await refresh(copied)).body.code).toBe('session_revoked')
})

test('PW6, RT3: a refresh that was under way when the password was changed is refused, and does not end the session', async () => {
  const ada = await api.actor()
  const changed = await changePassword(ada, { current_password: PASSWORD, new_password: NEW_PASSWORD })
  const mine = changed.body as unknown as Tokens
  const refused = await refresh(ada.refreshToken)
  expect([refused.status, refused.body.code]).toEqual([401, 'session_revoked'])
  expect(await me(mine.access_token)).toBe(200)
  expect(await api.historyOf(ada.id)).not.toContain('session.reuse_detected')

  // Later it is a theft.
  await api.sql('UPDATE sessions SET rotated_at = rotated_at - 3600000 WHERE user_id = ?', [ada.id])
  expect((await refresh(ada.refreshToken)).body.code).toBe('session_revoked')
  expect((await refresh(mine.refresh_token)).body.code).toBe('session_revoked')
  expect(await api.historyOf(ada.id)).toContain('session.reuse_detected')
})

describe('PW7: what would cost too much to hash', () => {
  test('is refused unhashed when it is too long', async () => {
    const ada = await api.actor()
    vi.clearAllMocks()
    for (const [length, status] of [
      [1025, 422],
      [60_000, 422],
      [1_000_000, 413],
    ] as const) {
      const password = 'x'.repeat(length)
      const answers = [
        await api.send('POST', '/v1/auth/login', { body: { email: ada.email, password } }),
        await signUp(password),
        await changePassword(ada, { current_password: password, new_password: NEW_PASSWORD }),
        await api.send('DELETE', '/v1/users/me', { token: ada.token, body: { password } }),
      ]
      expect(answers.map((answer) => answer.status)).toEqual(Array(4).fill(status))
    }
    expect(hashesSoFar()).toBe(0)
  })

  const tail = `k=00000000$${'A'.repeat(22)}$${'A'.repeat(43)}`
  test.each([
    `$scrypt$ln=30,r=8,p=1,${tail}`,
    `$scrypt$ln=15,r=99,p=99,${tail}`,
    `$scrypt$ln=20,r=1,p=1,${tail}`,
    `$scrypt$ln=0,r=8,p=1,${tail}`,
    `$scrypt$ln=15,r=0,p=3,${tail}`,
    `$argon2id$v=19$m=4194304,t=3,p=1$${'A'.repeat(22)}$${'A'.repeat(43)}`,
    `$pbkdf2-sha256$i=1000000000$${'A'.repeat(22)}$${'A'.repeat(43)}`,
    `$2b$31$${'A'.repeat(53)}`,
    '',
    'plain text',
  ])('is not computed for a stored hash: %s', async (stored) => {
    const ada = await api.person({ password_hash: stored })
    expect(await logInStatus(ada, PASSWORD)).toBe(401)
  })
})

const signUp = (password: string, name = 'Somebody', at = api) =>
  at.send('POST', '/v1/auth/signup', {
    body: { email: `${crypto.randomUUID()}@people.test`, password, name },
  })
const changePassword = (ada: Actor, body: object) =>
  api.send('POST', '/v1/auth/change_password', { token: ada.token, body, ip: '192.0.2.1' })
const logInBody = ({ email }: { email: string }, password = PASSWORD) => ({ body: { email, password } })
const logInStatus = async (person: { email: string }, password: string, at = api) =>
  (await at.send('POST', '/v1/auth/login', logInBody(person, password))).status
const refresh = (token: string) =>
  api.send<Tokens & { code: string }>('POST', '/v1/auth/refresh_token', { body: { refresh_token: token } })
const me = async (token: string) => (await api.send('GET', '/v1/users/me', { token })).status

type Refusal = { body: Record<string, unknown>; status: number }
const firstErrorOf = ({ body }: Refusal) => (body.errors as { code: string; pointer: string }[])[0]
const reasonFor = async (answer: Promise<Refusal>) => firstErrorOf(await answer)?.code

const personWith = async (password: string) =>
  api.person({ password_hash: await passwords.hashPassword(password, api.config().keys.password_pepper) })
const column = (name: string) => async (person: { id: string }) =>
  (await api.sql(`SELECT ${name} AS value FROM users WHERE id = ?`, [person.id]))[0]!.value
const storedHash = async (person: { id: string }) => (await column('password_hash')(person)) as string
const failuresOf = column('failed_logins')

const swapCase = (text: string) =>
  [...text].map((c) => (c === c.toLowerCase() ? c.toUpperCase() : c.toLowerCase())).join('')
