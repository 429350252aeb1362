import fc from 'fast-check'
import { beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { Keyring } from '../../src/crypto/keyring.ts'
import { makeCursor, openCursor } from '../../src/http/pagination.ts'
import { AppError } from '../../src/http/problem.ts'
import { checkPassword, hashPassword, hasKeyOf, parseHash, SCRYPT } from '../../src/passwords/hashing.ts'
import { makeRefreshToken, openRefreshToken } from '../../src/sessions/refresh-tokens.ts'
import { isEmail, normalizeEmail } from '../../src/values/email.ts'
import { type Actor, type Api, openApi } from '../support/api.ts'
import { rounds } from '../support/rounds.ts'
import { freshUpstreams } from '../support/upstreams.ts'

/*
 * What holds for every input, not only for those that somebody thought of. When a property fails, fast-check prints
 * the smallest input that breaks it, and the seed that finds it again.
 */

const pure = { numRuns: rounds(300, 20_000) }
const overHttp = { numRuns: rounds(60, 2_000) }
/** Strings that nobody would type: any characters, including lone surrogates. */
const anything = fc.string({
  unit: fc.oneof(
    fc.constantFrom(...'@. "\\,;<>%\u0000\u212a\ud800'),
    fc.string({ unit: 'binary', minLength: 1, maxLength: 1 }),
  ),
})

/** A text with one character replaced, added or removed. */
const altered = (text: string, alphabet: string) =>
  fc
    .tuple(
      fc.nat(text.length - 1),
      fc.constantFrom(...alphabet),
      fc.constantFrom<'replace' | 'insert' | 'remove' | 'cut'>('replace', 'insert', 'remove', 'cut'),
    )
    .map(([at, character, how]) => {
      if (how === 'cut') return text.slice(0, at)
      const rest = text.slice(how === 'insert' ? at : at + 1)
      return text.slice(0, at) + (how === 'remove' ? '' : character) + rest
    })
    .filter((other) => other !== text)
const BASE64URL = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'

describe('LE4: one spelling of an address', () => {
  const local = fc.stringMatching(/^[a-z0-9!#$%&'*+/=?^_`{|}~-]{1,8}(\.[a-z0-9+_-]{1,8}){0,3}$/)
  const label = fc.oneof(
    fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,6}[a-z0-9])?$/).filter((text) => text.slice(2, 4) !== '--'),
    fc.constantFrom('bücher', 'éclair', '例え', 'пример', 'straße', 'ω'),
  )
  const mailbox = fc
    .tuple(
      local,
      fc.array(label, { minLength: 1, maxLength: 3 }),
      fc.constantFrom('test', 'org', 'xn--p1ai', 'рф'),
    )
    .map(([user, labels, top]) => `${user}@${[...labels, top].join('.')}`)

  test('Whatever is accepted has one @, is ASCII in lower case, within the lengths, and does not change when normalised again', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          mailbox,
          anything,
          fc.tuple(anything, mailbox).map((two) => two.join('')),
          mailbox.chain((text) => altered(text, '@. %:/\u212a\uff20\u00ad\u3002')),
          mailbox.map((text) => text.replace('@', '')),
        ),
        (typed) => {
          if (!isEmail(typed)) return
          const normalized = normalizeEmail(typed)
          expect(normalized).toMatch(/^[\x21-\x3f\x5b-\x7e]{1,64}@[a-z0-9.-]+$/)
          expect(normalized.length).toBeLessThanOrEqual(254)
          expect(typed.split('@')).toHaveLength(2)
          expect(normalizeEmail(normalized)).toBe(normalized)
          expect(isEmail(normalized)).toBe(true)
          // The part before the @ is what was typed, in lower case, and nothing else.
          expect(normalized.split('@')[0]).toBe(typed.trimStart().split('@')[0]!.toLowerCase())
        },
      ),
      pure,
    )
  })

  test('Every spelling of one mailbox is that mailbox', () => {
    const spelling = fc.tuple(
      mailbox,
      fc.infiniteStream(fc.boolean()),
      fc.constantFrom('', ' ', '\t', '\u00a0\n'),
      fc.boolean(),
    )
    fc.assert(
      fc.property(spelling, ([canonical, coins, space, decomposed]) => {
        const cased = [...canonical]
          .map((letter) => (coins.next().value ? letter.toUpperCase() : letter))
          .join('')
        const respelled = space + cased.normalize(decomposed ? 'NFD' : 'NFC') + space
        // ß has no upper case of its own: SS is another name, and DNS says so too (UTS 46, nontransitional).
        if (canonical.includes('ß')) return
        expect(isEmail(respelled)).toBe(isEmail(canonical))
        expect(normalizeEmail(respelled)).toBe(normalizeEmail(canonical))
      }),
      pure,
    )
  })

  test('Two mailboxes are never one', () => {
    fc.assert(
      fc.property(mailbox, mailbox, ([...one], [...other]) => {
        fc.pre(one.join('') !== other.join(''))
        const [a, b] = [one.join(''), other.join('')]
        expect(normalizeEmail(a)).not.toBe(normalizeEmail(b))
      }),
      pure,
    )
    // Close neighbours, which random addresses hardly ever are.
    fc.assert(
      fc.property(
        mailbox.chain((text) => fc.tuple(fc.constant(text), altered(text, `${BASE64URL.toLowerCase()}.+@`))),
        ([text, neighbour]) => {
          fc.pre(isEmail(text) && isEmail(neighbour))
          expect(normalizeEmail(neighbour)).not.toBe(normalizeEmail(text))
        },
      ),
      pure,
    )
  })
})

describe('AZ8: cursors', () => {
  const config = openApi().config()
  const position = fc.array(fc.oneof(fc.string(), fc.integer(), fc.constant(null)), {
    minLength: 1,
    maxLength: 3,
  })
  const isRefused = (list: string, cursor: string) => {
    try {
      openCursor(config, list, cursor)
      return false
    } catch (error) {
      expect(error).toBeInstanceOf(AppError)
      expect(error).toMatchObject({ status: 400, code: 'invalid_cursor' })
      return true
    }
  }

  test('A cursor opens with what it was made from, and only in its own list', () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), position, (list, other, place) => {
        const cursor = makeCursor(config, list, place)
        expect(openCursor(config, list, cursor)).toEqual(place)
        if (other !== list) expect(isRefused(other, cursor)).toBe(true)
      }),
      pure,
    )
  })

  test('A cursor altered anywhere is refused, and so is anything else', () => {
    const made = fc
      .tuple(fc.string(), position)
      .map(([list, place]) => [list, makeCursor(config, list, place)] as const)
    const changed = made.chain(([list, cursor]) =>
      fc.tuple(fc.constant(list), altered(cursor, `${BASE64URL}+/= .\u212a`)),
    )
    fc.assert(
      fc.property(
        fc.oneof(changed, fc.tuple(fc.string(), anything), fc.tuple(fc.string(), fc.base64String())),
        ([list, cursor]) => {
          expect(isRefused(list, cursor)).toBe(true)
        },
      ),
      pure,
    )
  })
})

describe('RT1: refresh tokens', () => {
  const [current, former, foreign] = [1, 2, 3].map((byte) => new Uint8Array(32).fill(byte)) as [
    Uint8Array,
    Uint8Array,
    Uint8Array,
  ]
  const keys: Keyring = [current, former]
  const parts = fc.tuple(fc.uuid(), fc.nat({ max: 10 ** 9 }))

  test('A token opens with what it was made from, under any key of the ring and no other', () => {
    fc.assert(
      fc.property(parts, ([sessionId, counter]) => {
        for (const key of keys)
          expect(openRefreshToken(keys, makeRefreshToken([key], sessionId, counter))).toEqual({
            sessionId,
            counter,
          })
        expect(openRefreshToken(keys, makeRefreshToken([foreign], sessionId, counter))).toBeUndefined()
      }),
      pure,
    )
  })

  test('A token altered anywhere is invalid, and so is anything else', () => {
    const made = parts.map(([sessionId, counter]) => makeRefreshToken(keys, sessionId, counter))
    fc.assert(
      fc.property(
        fc.oneof(
          made.chain((token) => altered(token, `${BASE64URL}.+/=\n `)),
          anything,
        ),
        (token) => {
          expect(openRefreshToken(keys, token)).toBeUndefined()
        },
      ),
      pure,
    )
  })
})

describe('PW7: stored password strings', () => {
  const peppers: Keyring = [new Uint8Array(32).fill(7)]
  const number = fc.oneof(fc.nat(99), fc.constantFrom(0, 1, 14, 15, 16, 19, 20, 30))
  const hostile = fc
    .tuple(
      number,
      number,
      number,
      fc.stringMatching(/^[0-9a-f]{8}$/),
      fc.constantFrom(22, 23, 86, 2000),
      fc.constantFrom(43, 42),
    )
    .map(
      ([ln, r, p, pepper, salt, mac]) =>
        `$scrypt$ln=${ln},r=${r},p=${p},k=${pepper}$${'A'.repeat(salt)}$${'A'.repeat(mac)}`,
    )
  const foreign = fc.constantFrom(
    '',
    'x',
    '$2b$31$abcdefghijklmnopqrstuuKq9.zZxX8yX8yX8yX8yX8yX8yX8yX8y',
    '$argon2id$v=19$m=4194304,t=9,p=9$c2FsdHNhbHQ$aGFzaA',
    '$pbkdf2-sha256$i=1000000000$c2FsdA$aGFzaA',
  )

  test('A string is only accepted if it costs no more than the runtime permits', () => {
    fc.assert(
      fc.property(fc.oneof(hostile, foreign, anything), (stored) => {
        const cost = parseHash(stored)?.cost
        if (!cost) return
        expect(2 ** cost.ln * cost.r * cost.p).toBeLessThanOrEqual(2 ** 20)
        expect(128 * 2 ** cost.ln * cost.r).toBeLessThan(64 * 2 ** 20)
      }),
      pure,
    )
  })

  test('No stored string makes a check throw, except one whose key is missing', async () => {
    const corrupt = fc
      .constantFrom(await hashPassword('seven brown foxes read', peppers))
      .chain((good) => altered(good, `${BASE64URL}$,=`))
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(
          hostile.filter((stored) => parseHash(stored) !== undefined),
          corrupt,
          foreign,
        ),
        async (stored) => {
          const check = checkPassword('another password', stored, peppers)
          if (hasKeyOf(stored, { password_pepper: peppers, foreign_hash: peppers }))
            expect(await check).toEqual({ isRight: false, isOutdated: false })
          else await expect(check).rejects.toMatchObject({ code: 'misconfigured' })
        },
      ),
      { numRuns: rounds(15, 300) },
    )
  })

  test('PW4: our own cost is within the limits of the runtime', () => {
    expect(2 ** SCRYPT.ln * SCRYPT.r * SCRYPT.p).toBeLessThanOrEqual(2 ** 20)
  })
})

describe('Headers and lists', () => {
  let api: Api
  let admin: Actor

  beforeAll(async () => {
    api = openApi((await freshUpstreams()).bindings)
    admin = await api.actor({ role: 'admin', name: 'Root' })
  })
  // In the full run they take longer than a token is valid.
  beforeEach(async () => {
    admin = { ...admin, ...(await api.signIn(admin)) }
  })

  /** Text that a header can carry. */
  const headerText = fc.string({
    unit: fc.integer({ min: 0x20, max: 0x7e }).map((code) => String.fromCharCode(code)),
    maxLength: 150,
  })

  test('If-Match: a change is only made on the named version; an invalid version is a 400', async () => {
    const ada = await api.person()
    let version = 1
    const tag = fc.oneof(fc.constantFrom('now', 'before', 'later'), fc.nat())
    const tags = fc.array(tag, { minLength: 1, maxLength: 4 })
    await fc.assert(
      fc.asyncProperty(fc.oneof(tags, headerText), fc.uuid(), async (given, name) => {
        const numbers = Array.isArray(given)
          ? given.map((one) =>
              typeof one === 'number' ? one + 10 ** 9 : version + { now: 0, before: -1, later: 1 }[one],
            )
          : undefined
        const header = numbers
          ? numbers.map((one, index) => `${index % 2 ? 'W/' : ''}"${one}"`).join(', ')
          : (given as string)
        const answer = await api.send('PATCH', `/v1/users/${ada.id}`, {
          token: admin.token,
          body: { name },
          headers: { 'if-match': header },
        })
        if (!numbers)
          expect([answer.status, answer.body.code]).toEqual(
            header.trim() === '*' ? [200, undefined] : [400, 'invalid_if_match'],
          )
        else if (numbers.includes(0)) expect(answer.status).toBe(400)
        else expect(answer.status).toBe(numbers.includes(version) ? 200 : 412)
        if (answer.status === 200) expect(answer.headers.get('etag')).toBe(`"${++version}"`)
      }),
      overHttp,
    )
  })

  test('Idempotency-Key: 8 to 128 visible characters, or a 400 before anything is done', async () => {
    // Refused as too weak, so nothing is hashed, but only after the key was checked.
    const body = { email: 'nobody@people.test', password: 'aaaaaaaaaaaaa', name: 'Nobody' }
    await fc.assert(
      fc.asyncProperty(fc.oneof(headerText, fc.stringMatching(/^[\x21-\x7e]{8,128}$/)), async (key) => {
        const answer = await api.send('POST', '/v1/users', {
          token: admin.token,
          body,
          headers: { 'idempotency-key': key },
        })
        const isKey = /^[\x21-\x7e]{8,128}$/.test(key.trim())
        expect([answer.status, answer.body.code]).toEqual(
          isKey ? [422, 'invalid_input'] : [400, 'invalid_idempotency_key'],
        )
      }),
      overHttp,
    )
  })

  test('Idempotency-Key: the same request gets the same answer, another one with that key is a 422', async () => {
    const request = fc.record({
      key: fc.stringMatching(/^[\x21-\x7e]{8,92}$/),
      name: fc.string({ unit: 'grapheme-ascii', minLength: 1 }).filter((name) => /[a-z]/i.test(name)),
      other: fc.constantFrom('name', 'role', 'email', 'password'),
    })
    await fc.assert(
      fc.asyncProperty(request, async ({ key, name, other }) => {
        // A key is valid for one request, also while a failure is being shrunk.
        const id = crypto.randomUUID()
        const body = {
          email: `${id}@people.test`,
          password: admin.password,
          name,
          role: 'user',
        }
        const send = (sent: object) =>
          api.send('POST', '/v1/users', {
            token: admin.token,
            body: sent,
            headers: { 'idempotency-key': `${id}${key}` },
          })
        const [first, again] = [await send(body), await send(body)]
        expect([first.status, again.status]).toEqual([201, 201])
        expect(again.text).toBe(first.text)
        const changes = {
          name: `${name}x`,
          role: 'manager',
          email: `x${body.email}`,
          password: 'nine green bears run',
        }
        expect((await send({ ...body, [other]: changes[other] })).body.code).toBe('idempotency_key_reused')
      }),
      { numRuns: rounds(2, 40) },
    )
  })

  test('AZ8: the pages of a list, one after the other, are the list', async () => {
    for (const [i, name] of [
      'b',
      'B',
      'a',
      'Ä',
      'ä',
      'zoë',
      'Zoe',
      'zoe',
      '😀',
      'a"b',
      '%',
      '_',
      'b',
      'B',
      'A',
    ].entries())
      await api.person({
        name,
        role: (['user', 'manager', 'admin'] as const)[i % 3]!,
        ...(i % 4 === 1 && { status: 'disabled' }),
        ...(i % 5 === 2 && { deleted_at: Date.now() }),
      })
    const query = fc.record(
      {
        role: fc.constantFrom('user', 'manager', 'admin'),
        status: fc.constantFrom('active', 'disabled', 'deleted'),
        sort: fc.constantFrom('created_at', '-created_at', 'email', '-email', 'name', '-name'),
        limit: fc.integer({ min: 1, max: 9 }),
      },
      { requiredKeys: ['sort', 'limit'] },
    )
    await fc.assert(
      fc.asyncProperty(query, fc.boolean(), async (filter, byPage) => {
        const column = { created_at: 'id', email: 'email_normalized', name: 'name' }[
          filter.sort.replace('-', '')
        ]
        const direction = filter.sort.startsWith('-') ? 'DESC' : 'ASC'
        const expected = await api.sql(
          `SELECT id FROM users WHERE role = coalesce(?1, role) AND state = coalesce(?2, state) AND (?2 IS NOT NULL OR state <> 'deleted')
            ORDER BY ${column} ${direction}, id ${direction}`,
          [filter.role ?? null, filter.status ?? null],
        )
        const seen: string[] = []
        for (let page = 1, cursor: string | null = null; ; page++) {
          const params = new URLSearchParams(
            Object.entries(filter).map(([name, value]) => [name, String(value)]),
          )
          if (byPage) params.set('page', String(page))
          else if (cursor) params.set('cursor', cursor)
          const answer = await list(params)
          expect(answer.status).toBe(200)
          expect(answer.body.pagination.total).toBe(expected.length)
          expect(answer.body.data.length).toBeLessThanOrEqual(filter.limit)
          seen.push(...answer.body.data.map(({ id }) => id))
          cursor = answer.body.pagination.next_cursor
          if (!cursor) break
        }
        expect(seen).toEqual(expected.map(({ id }) => id))
      }),
      { numRuns: rounds(12, 300) },
    )
  })

  test('AZ8: any limit, page, cursor and sort is a list or a documented refusal', async () => {
    const value = fc.oneof(
      fc.constantFrom(
        '0',
        '1',
        '2',
        '100',
        '101',
        '-1',
        '1e2',
        '0x10',
        ' 5 ',
        '1.5',
        'NaN',
        'Infinity',
        '9'.repeat(400),
        '١',
        'name',
        '-email',
        'password_hash',
        'x=y',
        'null',
      ),
      anything,
    )
    const query = fc.record(
      { limit: value, page: value, cursor: value, sort: value, q: value, role: value },
      { requiredKeys: [] },
    )
    await fc.assert(
      fc.asyncProperty(query, async (params) => {
        const answer = await list(new URLSearchParams(params))
        const outcome = answer.status === 200 ? '200' : `${answer.status} ${answer.body.code}`
        expect(['200', '422 invalid_input', '400 invalid_cursor', '400 page_too_deep']).toContain(outcome)
      }),
      overHttp,
    )
  })

  const list = (params: URLSearchParams) =>
    api.send<{
      data: { id: string }[]
      pagination: { next_cursor: string | null; total: number | null }
      code: string
    }>('GET', `/v1/users?${params}`, { token: admin.token })
})
