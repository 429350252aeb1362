import { decodeJwt } from 'jose'
import { beforeAll, describe, expect, test, vi } from 'vitest'
import type { Tokens } from '../../src/auth/schemas.ts'
import { type Api, openApi, PASSWORD } from '../support/api.ts'
import { type Algorithm, type Bent, softwarePasskey } from '../support/authenticator.ts'
import { addTotp, challengeOf, codeOf, mailedCode, withinOneStep } from '../support/factors.ts'
import { freshUpstreams } from '../support/upstreams.ts'

const ORIGIN = 'https://roster.test'

let api: Api
beforeAll(async () => {
  api = openApi({ ...(await freshUpstreams()).bindings, ISSUER: ORIGIN })
})

type Somebody = { id: string; email: string; token: string; password: string }
type Options = { challenge_id: string; options: never }
const verified = (given = {}) => api.actor({ email_verified_at: 1, ...given })

const optionsOf = async (path: string, { token, body }: { token?: string; body?: object } = {}) => {
  const answer = await api.send<Options>('POST', path, { token, ...(body && { body }) })
  expect(answer.status, answer.text).toBe(200)
  return answer.body
}

/** Registers a passkey for somebody, with the mailed code that a first factor needs. */
async function register(
  { email, token }: Pick<Somebody, 'email' | 'token'>,
  {
    algorithm,
    bent = {},
    isFirst = true,
    origin = ORIGIN,
  }: {
    algorithm?: Algorithm
    bent?: Bent
    isFirst?: boolean
    origin?: string
  } = {},
) {
  const passkey = await softwarePasskey(origin, algorithm)
  const { challenge_id, options } = await optionsOf('/v1/auth/passkeys/options', { token })
  const credential = passkey.create(options, bent)
  const proof = isFirst ? await mailedCode(api, { email, token }) : {}
  const answer = await api.send<{ id: string; recovery_codes: string[]; code?: string }>(
    'POST',
    '/v1/auth/passkeys',
    { token, body: { challenge_id, credential, name: 'Laptop', ...proof } },
  )
  return { passkey, answer, challenge_id, credential }
}
type Registered = Awaited<ReturnType<typeof register>>

/** Signs in with only a passkey. */
async function signIn({ passkey }: Pick<Registered, 'passkey'>, bent: Bent = {}) {
  const { challenge_id, options } = await optionsOf('/v1/auth/login/passkey/options')
  const credential = await passkey.get(options, bent)
  const body = { challenge_id, credential }
  return {
    body,
    answer: await api.send<Tokens & { code?: string }>('POST', '/v1/auth/login/passkey', { body }),
  }
}

describe.each(['ES256', 'EdDSA', 'RS256'] as const)('PK3: a passkey of %s', (algorithm) => {
  test('is registered, signs in by itself as both factors, but not with one bit changed', async () => {
    const ada = await verified()
    const registered = await register(ada, { algorithm })
    expect(registered.answer.status, registered.answer.text).toBe(201)
    expect(registered.answer.body.recovery_codes).toHaveLength(10)
    const { answer } = await signIn(registered)
    expect(answer.status, answer.text).toBe(200)
    expect(answer.body.user.id).toBe(ada.id)
    expect(decodeJwt<{ amr: string[] }>(answer.body.access_token).amr).toEqual(['pop', 'user', 'mfa'])
    for (const tamper of ['signature', 'authenticatorData', 'clientData'] as const) {
      const refused = await signIn(registered, { tamper })
      expect([tamper, refused.answer.status, refused.answer.body.code]).toEqual([
        tamper,
        401,
        'invalid_credentials',
      ])
    }
  })
})

describe('PK2: what is not exactly ours is refused', () => {
  const BENT: [string, Bent][] = [
    ['a subdomain', { origin: 'https://app.roster.test' }],
    ['another port', { origin: 'https://roster.test:8080' }],
    ['another scheme', { origin: 'http://roster.test' }],
    ['a frame of another origin', { crossOrigin: true }],
    ['another relying party', { rpId: 'test' }],
    ['no user verification', { flags: 0x01 | 0x40 }],
    ['nobody present', { flags: 0x04 | 0x40 }],
    ['synced, but not to be', { flags: 0x01 | 0x04 | 0x10 | 0x40 }],
    ['another challenge', { challenge: 'AAAAAAAAAAAAAAAAAAAAAA' }],
  ]

  test.each([
    ...BENT,
    ['the other ceremony', { type: 'webauthn.get' }],
    ['an attestation', { format: 'packed' }],
    ['an algorithm that was not offered', { alg: -65535 }],
    ['no algorithm', { alg: 0 }],
  ] as [string, Bent][])('at registration: %s', async (_, bent) => {
    const ada = await verified()
    const { answer } = await register(ada, { bent })
    expect([answer.status, answer.body.code]).toEqual([400, 'invalid_passkey'])
    await api.logIn(ada)
  })

  test('at signing in: all of these', async () => {
    const registered = await register(await verified())
    const all: [string, Bent][] = [
      ...BENT.map(([name, bent]): [string, Bent] => [
        name,
        bent.flags === undefined ? bent : { flags: bent.flags & ~0x40 },
      ]),
      ['the other ceremony', { type: 'webauthn.create' }],
      ['somebody else', { userHandle: 'AAAAAAAAAAAAAAAAAAAAAA' }],
      ['nobody named', { userHandle: null }],
    ]
    for (const [name, bent] of all) {
      const { answer } = await signIn(registered, bent)
      expect([name, answer.status]).toEqual([name, 401])
    }
    expect((await signIn(registered)).answer.status).toBe(200)
  })

  test('another origin is accepted if WEBAUTHN_ORIGINS names it', async () => {
    const related = openApi({ ...api.bindings, WEBAUTHN_ORIGINS: 'https://app.example.com' })
    const listed = await related.send('GET', '/.well-known/webauthn')
    expect(listed.body).toEqual({ origins: [ORIGIN, 'https://app.example.com'] })
    const ada = await verified()
    const passkey = await softwarePasskey('https://app.example.com')
    const { body } = await related.send<Options>('POST', '/v1/auth/passkeys/options', { token: ada.token })
    const made = await related.send('POST', '/v1/auth/passkeys', {
      token: ada.token,
      body: {
        challenge_id: body.challenge_id,
        credential: passkey.create(body.options),
        ...(await mailedCode(api, ada)),
      },
    })
    expect(made.status, made.text).toBe(201)
    expect((await signIn({ passkey })).answer.status).toBe(401)
  })
})

describe('PK1: a challenge of a passkey', () => {
  test('can be used once, even by twenty at once', async () => {
    const registered = await register(await verified())
    const { challenge_id, options } = await optionsOf('/v1/auth/login/passkey/options')
    const body = { challenge_id, credential: await registered.passkey.get(options) }
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => api.send('POST', '/v1/auth/login/passkey', { body })),
    )
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1)
    expect(answers.filter(({ status }) => status === 401)).toHaveLength(19)
  })

  test('is used up by a wrong attempt, and is for one ceremony, user and session', async () => {
    const [ada, eve] = [await verified(), await verified()]
    const registered = await register(ada)
    const { passkey } = registered
    const { challenge_id, options } = await optionsOf('/v1/auth/login/passkey/options')
    const tryIt = async (bent: Bent) =>
      (
        await api.send('POST', '/v1/auth/login/passkey', {
          body: { challenge_id, credential: await passkey.get(options, bent) },
        })
      ).status
    expect([await tryIt({ tamper: 'signature' }), await tryIt({})]).toEqual([401, 401])

    const own = await optionsOf('/v1/auth/passkeys/options', { token: ada.token })
    const another = await softwarePasskey(ORIGIN)
    const credential = another.create(own.options)
    const asEve = await api.send('POST', '/v1/auth/passkeys', {
      token: eve.token,
      body: { challenge_id: own.challenge_id, credential, ...(await mailedCode(api, eve)) },
    })
    expect([asEve.status, asEve.body.code]).toEqual([400, 'invalid_passkey'])
    const otherSession = await api.signIn(ada)
    const elsewhere = await api.send('POST', '/v1/auth/passkeys', {
      token: otherSession.token,
      body: { challenge_id: own.challenge_id, credential },
    })
    expect([elsewhere.status, elsewhere.body.code]).toEqual([400, 'invalid_passkey'])
    const asLogin = await api.send('POST', '/v1/auth/login/passkey', {
      body: { challenge_id: own.challenge_id, credential: await passkey.get(options) },
    })
    expect(asLogin.status).toBe(401)
  })

  test('expires after five minutes', async () => {
    const registered = await register(await verified())
    const { challenge_id, options } = await optionsOf('/v1/auth/login/passkey/options')
    const credential = await registered.passkey.get(options)
    vi.useFakeTimers({ now: Date.now() + 301_000, toFake: ['Date'] })
    try {
      const late = await api.send('POST', '/v1/auth/login/passkey', { body: { challenge_id, credential } })
      expect(late.status).toBe(401)
    } finally {
      vi.useRealTimers()
    }
  })
})

describe('PK3: a passkey', () => {
  test('that is refused uses up no try of the mailed code', async () => {
    const ada = await verified()
    const proof = await mailedCode(api, ada)
    const passkey = await softwarePasskey(ORIGIN)
    const add = async (bent: Bent = {}) => {
      const { challenge_id, options } = await optionsOf('/v1/auth/passkeys/options', ada)
      const body = { challenge_id, credential: passkey.create(options, bent), ...proof }
      return api.send('POST', '/v1/auth/passkeys', { token: ada.token, body })
    }
    for (let i = 0; i < 5; i++) {
      const { status, body } = await add({ origin: 'https://evil.test' })
      expect([status, body.code]).toEqual([400, 'invalid_passkey'])
    }
    expect(await api.sql('SELECT id FROM passkeys WHERE user_id = ?', [ada.id])).toEqual([])
    const added = await add()
    expect([added.status, added.body.code]).toEqual([201, undefined])
  })

  test('that is on one account cannot be added to another', async () => {
    const [ada, eve] = [await verified(), await verified()]
    const { passkey } = await register(ada)
    const { challenge_id, options } = await optionsOf('/v1/auth/passkeys/options', { token: eve.token })
    const credential = passkey.create(options)
    const answer = await api.send('POST', '/v1/auth/passkeys', {
      token: eve.token,
      body: { challenge_id, credential, ...(await mailedCode(api, eve)) },
    })
    expect([answer.status, answer.body.code]).toEqual([409, 'passkey_exists'])
  })

  test('whose counter goes back is recorded in the history, and needs a code as well', async () => {
    await withinOneStep()
    const ada = await verified()
    const registered = await register(ada)
    registered.passkey.state.signCount = 5
    expect((await signIn(registered)).answer.status).toBe(200)
    registered.passkey.state.signCount = 3
    const { answer } = await signIn(registered)
    expect([answer.status, answer.body.code]).toEqual([403, 'second_factor_required'])
    const { challenge, methods } = answer.body as unknown as { challenge: string; methods: string[] }
    expect(methods).toEqual(['recovery_code'])
    expect(await api.historyOf(ada.id)).toContain('passkey.counter_went_back')
    const recovery_code = registered.answer.body.recovery_codes[0]
    const proved = await api.send<Tokens>('POST', '/v1/auth/login/second_factor', {
      body: { challenge, recovery_code },
    })
    expect(proved.status).toBe(200)
    registered.passkey.state.signCount = 6
    expect((await signIn(registered)).answer.status).toBe(200)
  })

  test('of another relying party is not a way in, and the page says so', async () => {
    const ada = await verified()
    const { answer } = await register(ada)
    await api.sql("UPDATE passkeys SET rp_id = 'former.test' WHERE id = ?", [answer.body.id])
    const { body } = await api.send<{ passkeys: { usable: boolean }[] }>('GET', '/v1/auth/factors', {
      token: ada.token,
    })
    expect(body.passkeys).toMatchObject([{ usable: false }])
    // It is a second factor all the same: the password alone is not enough.
    expect((await challengeOf(api, ada)).methods).toEqual(['recovery_code'])
  })
})

describe('A passkey after the password', () => {
  test('MF6: is the second factor, for its owner only', async () => {
    const [ada, eve] = [await verified(), await verified()]
    const [mine, theirs] = [await register(ada), await register(eve)]
    const answerWith = async ({ passkey }: Registered, bent: Bent = {}) => {
      const { challenge } = await challengeOf(api, ada)
      const { options } = await optionsOf('/v1/auth/login/second_factor/options', { body: { challenge } })
      const body = { challenge, passkey: await passkey.get(options, bent) }
      return api.send<Tokens & { code?: string }>('POST', '/v1/auth/login/second_factor', { body })
    }
    const foreign = await answerWith(theirs)
    expect([foreign.status, foreign.body.code]).toEqual([401, 'invalid_second_factor'])
    expect((await answerWith(mine, { flags: 0x01 })).status).toBe(401)
    const right = await answerWith(mine, { userHandle: null })
    expect(right.status, right.text).toBe(200)
    expect(decodeJwt<{ amr: string[] }>(right.body.access_token).amr).toEqual(['pwd', 'pop', 'user', 'mfa'])
  })
})

describe('PK4: passkeys', () => {
  test('are renamed and removed by their owner alone', async () => {
    const [ada, eve] = [await verified(), await verified()]
    const { answer } = await register(ada)
    const path = `/v1/auth/passkeys/${answer.body.id}`
    const rename = (token: string) => api.send('PATCH', path, { token, body: { name: 'Phone' } })
    expect((await rename(eve.token)).status).toBe(404)
    expect((await api.send('DELETE', path, { token: eve.token })).status).toBe(404)
    const renamed = await rename(ada.token)
    expect([renamed.status, renamed.body]).toEqual([
      200,
      {
        id: answer.body.id,
        name: 'Phone',
        created_at: expect.any(String),
        last_used_at: null,
        synced: true,
        usable: true,
      },
    ])
    expect((await api.send('DELETE', path, { token: ada.token })).status).toBe(204)
    expect(await api.sql('SELECT * FROM recovery_codes WHERE user_id = ?', [ada.id])).toEqual([])
    expect((await api.mailsTo(ada.email))[0]!.subject).toContain('passkey was removed')
    await api.logIn(ada)
  })

  test('the last way in stays, even if two are removed at once', async () => {
    const ada = await verified()
    const first = await register(ada)
    const second = await register(ada, { isFirst: false })
    expect(second.answer.body.recovery_codes).toEqual([])
    await api.sql('UPDATE users SET password_hash = NULL WHERE id = ?', [ada.id])
    const { answer } = await signIn(first)
    const token = answer.body.access_token
    const remove = ({ answer: { body } }: Registered) =>
      api.send('DELETE', `/v1/auth/passkeys/${body.id}`, { token })
    const answers = await Promise.all([remove(first), remove(second)])
    expect(answers.map(({ status }) => status).sort()).toEqual([204, 409])
    expect(answers.find(({ status }) => status === 409)!.body.code).toBe('last_way_in')
    expect(await api.sql('SELECT count(*) AS left FROM passkeys WHERE user_id = ?', [ada.id])).toEqual([
      { left: 1 },
    ])
  })

  test('are at most twenty', async () => {
    const ada = await verified()
    await register(ada)
    for (let i = 0; i < 19; i++)
      await api.sql(
        `INSERT INTO passkeys (id, user_id, credential_id, rp_id, public_key, sign_count, transports, aaguid,
          may_be_synced, is_synced, name, created_at) VALUES (?1, ?2, ?1, 'r', '{}', 0, '[]', '', 0, 0, 'n', 0)`,
        [crypto.randomUUID(), ada.id],
      )
    const answer = await api.send('POST', '/v1/auth/passkeys/options', { token: ada.token })
    expect([answer.status, answer.body.code]).toEqual([409, 'too_many_passkeys'])
  })
})

describe('LE6: by a passkey', () => {
  test('whoever is disabled or deleted does not get in', async () => {
    const ada = await verified()
    const registered = await register(ada)
    await api.sql("UPDATE users SET status = 'disabled' WHERE id = ?", [ada.id])
    const disabled = await signIn(registered)
    expect([disabled.answer.status, disabled.answer.body.code]).toEqual([403, 'account_disabled'])
    await api.sql("UPDATE users SET status = 'active', deleted_at = 1 WHERE id = ?", [ada.id])
    const deleted = await signIn(registered)
    expect([deleted.answer.status, deleted.answer.body.code]).toEqual([401, 'invalid_credentials'])
  })

  test('RL3: somebody whose password strangers have locked gets in', async () => {
    const ada = await verified()
    const registered = await register(ada)
    await api.sql('UPDATE users SET failed_logins = 100 WHERE id = ?', [ada.id])
    expect((await signIn(registered)).answer.status).toBe(200)
    await challengeOf(api, { email: ada.email, password: PASSWORD })
  })
})

test('If two factors are added at once, one is the first: its recovery codes are the valid ones', async () => {
  await withinOneStep()
  const ada = await verified()
  await addTotp(api, ada)
  const { answer } = await register(ada, { isFirst: false })
  expect([answer.status, answer.body.recovery_codes]).toEqual([201, []])
  expect((await challengeOf(api, ada)).methods).toEqual(['totp', 'recovery_code', 'passkey'])
  void codeOf
})

test('The endpoints that password managers look for lead to the page that has them', async () => {
  const { body } = await api.send('GET', '/.well-known/passkey-endpoints')
  expect(body).toEqual({ enroll: `${ORIGIN}/account/security`, manage: `${ORIGIN}/account/security` })
})

test('SE2: undoing a change of address removes passkeys and codes added since, and no older ones', async () => {
  const ada = await verified()
  const old = await register(ada)
  const asked = await api.send('POST', '/v1/auth/change_email', {
    token: ada.token,
    body: { new_email: `${crypto.randomUUID()}@people.test`, current_password: PASSWORD },
  })
  expect(asked.status).toBe(202)
  const [mail] = await api.mailsTo(ada.email)
  const thiefs = await register(ada, { isFirst: false })
  expect(thiefs.answer.status).toBe(201)
  const token = new URL(/^http\S+$/m.exec(mail!.text)![0]).searchParams.get('token')
  expect((await api.send('POST', '/v1/auth/undo_email_change', { body: { token } })).status).toBe(204)
  expect((await signIn(thiefs)).answer.status).toBe(401)
  expect((await signIn(old)).answer.status).toBe(200)
})

describe('PK4: only what works now counts as the last way in', () => {
  const remove = (id: string, token: string) => api.send('DELETE', `/v1/auth/passkeys/${id}`, { token })
  const set = (what: string, { id }: { id: string }) => api.sql(`UPDATE users SET ${what} WHERE id = ?`, [id])

  test('a locked password is not one, nor one whose only factor belongs to another domain', async () => {
    const locked = await verified()
    const one = await register(locked)
    await set('failed_logins = 100', locked)
    const refused = await remove(one.answer.body.id, locked.token)
    expect([refused.status, refused.body.code]).toEqual([409, 'last_way_in'])
    await set('failed_logins = 0', locked)
    expect((await remove(one.answer.body.id, locked.token)).status).toBe(204)

    const moved = await verified()
    const [former, ours] = [await register(moved), await register(moved, { isFirst: false })]
    await api.sql("UPDATE passkeys SET rp_id = 'former.test' WHERE id = ?", [former.answer.body.id])
    await api.sql('DELETE FROM recovery_codes WHERE user_id = ?', [moved.id])
    expect((await remove(ours.answer.body.id, moved.token)).body.code).toBe('last_way_in')
    expect((await remove(former.answer.body.id, moved.token)).status).toBe(204)
  })

  test('an app can only be removed if the account can be opened without it', async () => {
    const ada = await verified()
    const former = await register(ada)
    await addTotp(api, ada)
    await api.sql("UPDATE passkeys SET rp_id = 'former.test' WHERE id = ?", [former.answer.body.id])
    await api.sql('DELETE FROM recovery_codes WHERE user_id = ?', [ada.id])
    const removeApp = () => api.send('DELETE', '/v1/auth/factors/totp', { token: ada.token })
    expect((await removeApp()).body.code).toBe('last_way_in')
    await api.sql('DELETE FROM passkeys WHERE user_id = ?', [ada.id])
    expect((await removeApp()).status).toBe(204)
  })

  test('if an app and a passkey are removed at once, and each is the other’s way in, one stays', async () => {
    for (let i = 0; i < 3; i++) {
      const ada = await verified()
      const { answer } = await register(ada)
      const former = await register(ada, { isFirst: false })
      await addTotp(api, ada)
      await api.sql("UPDATE passkeys SET rp_id = 'former.test' WHERE id = ?", [former.answer.body.id])
      await api.sql('DELETE FROM recovery_codes WHERE user_id = ?', [ada.id])
      const answers = await Promise.all([
        remove(answer.body.id, ada.token),
        api.send('DELETE', '/v1/auth/factors/totp', { token: ada.token }),
      ])
      expect(answers.map(({ status }) => status).sort()).toEqual([204, 409])
    }
  })
})

test('LG1, PK2: the log has a code for why a passkey was refused, and names nobody', async () => {
  const ada = await verified()
  const registered = await register(ada)
  const reasonOf = async (bent: Bent) => {
    const lines: Record<string, unknown>[] = []
    const spy = vi.spyOn(console, 'warn').mockImplementation((line) => void lines.push(JSON.parse(line)))
    await signIn(registered, bent)
    spy.mockRestore()
    const mine = lines.filter(({ route }) => route === '/v1/auth/login/passkey')
    expect(JSON.stringify(mine)).not.toContain(ada.email)
    return mine.map(({ reason }) => reason)
  }
  expect(await reasonOf({ origin: 'https://evil.test' })).toEqual(['passkey_origin'])
  expect(await reasonOf({ rpId: 'evil.test' })).toEqual(['passkey_rp_id'])
  expect(await reasonOf({ flags: 0x01 })).toEqual(['passkey_user_verified'])
  expect(await reasonOf({ tamper: 'signature' })).toEqual(['passkey_signature'])
  expect(await reasonOf({ userHandle: null })).toEqual(['passkey_user_handle'])
})
