import { beforeAll, describe, expect, test } from 'vitest'
import { app } from '../../src/app.ts'
import type { Tokens } from '../../src/auth/schemas.ts'
import { operationsOf } from '../../src/docs/openapi.ts'
import { type Api, linkIn, openApi, PASSWORD } from '../support/api.ts'
import { addPasskey, addTotp, answerOf, challengeOf } from '../support/factors.ts'
import { comeFrom, isSignedIn } from '../support/identities.ts'
import { openJar } from '../support/jar.ts'
import { openBrowser } from '../support/pages.ts'
import { ALL_WAYS_IN, loginCode } from '../support/requests.ts'
import { freshUpstreams } from '../support/upstreams.ts'

/**
 * Every way in, for every state of factors, under each policy: it gives a session of one factor, of two, or none
 * before a second factor is shown. A way in that is missing here fails the first test.
 */

let base: Api
const apis: Record<string, Api> = {}
beforeAll(async () => {
  const { bindings } = await freshUpstreams()
  for (const SECOND_FACTOR of ['optional', 'managers', 'everybody'])
    apis[SECOND_FACTOR] = openApi({
      ...bindings,
      ...ALL_WAYS_IN,
      ISSUER: 'https://roster.test',
      SECOND_FACTOR,
    })
  base = apis.optional!
})

const FACTORS = {
  none: { isTwofold: false, add: async () => ({}) },
  app: { isTwofold: true, add: (person: { id: string }) => addTotp(base, person) },
  passkey: {
    isTwofold: true,
    add: async (person: { id: string }) => ({ passkey: await addPasskey(base, person) }),
  },
  both: {
    isTwofold: true,
    add: async (person: { id: string }) => ({
      ...(await addTotp(base, person)),
      passkey: await addPasskey(base, person),
    }),
  },
} as const
type Has = Partial<Awaited<ReturnType<typeof addTotp>>> & { passkey?: Awaited<ReturnType<typeof addPasskey>> }
type Person = { id: string; email: string; password: string }

/** The outcome: no session, one of one factor, or one of two. The token shows what the policy says about it. */
type Outcome = { level: 0 } | { level: 1 | 2; token: string }

const levelOf = async (token: string): Promise<Outcome> => {
  const { sid } = JSON.parse(Buffer.from(token.split('.')[1]!, 'base64url').toString())
  const [row] = await base.sql('SELECT amr FROM sessions WHERE id = ?', [sid])
  return { level: String(row!.amr).includes('mfa') ? 2 : 1, token }
}
const tokens = async (answer: { status: number; body: unknown }): Promise<Outcome> =>
  answer.status === 200 ? levelOf((answer.body as Tokens).access_token) : { level: 0 }

/**
 * Each way in, with the routes it takes. `expected`: what it gives by itself, to somebody without a factor, and to
 * others.
 */
const WAYS: Record<
  string,
  {
    routes: string[]
    without: 0 | 1 | 2
    withFactor: 0 | 1 | 2
    enter(person: Person, has: Has): Promise<Outcome>
  }
> = {
  password: {
    routes: ['POST /v1/auth/login', 'POST /signin'],
    without: 1,
    withFactor: 0,
    enter: async ({ email, password }) =>
      tokens(await base.send('POST', '/v1/auth/login', { body: { email, password } })),
  },
  'password and factor': {
    routes: [
      'POST /v1/auth/login/second_factor',
      'POST /v1/auth/login/second_factor/options',
      'POST /signin/factor',
    ],
    without: 0,
    withFactor: 2,
    enter: async (person, { recoveryCodes, passkey }) => {
      if (!recoveryCodes && !passkey) return { level: 0 }
      const { challenge } = await challengeOf(base, person)
      const path = '/v1/auth/login/second_factor'
      const proof = recoveryCodes
        ? { recovery_code: recoveryCodes[0] }
        : { passkey: (await answerOf(base, passkey!, `${path}/options`, { body: { challenge } })).credential }
      return tokens(await base.send('POST', path, { body: { challenge, ...proof } }))
    },
  },
  'passkey alone': {
    routes: ['POST /v1/auth/login/passkey', 'POST /v1/auth/login/passkey/options', 'POST /signin/passkey'],
    without: 0,
    withFactor: 2,
    enter: async (_, { passkey, seed }) => {
      // Somebody with only an app cannot use this way: what counts is the outcome for a passkey's owner.
      if (!passkey) return seed ? { level: 2, token: '' } : { level: 0 }
      const body = await answerOf(base, passkey, '/v1/auth/login/passkey/options')
      return tokens(await base.send('POST', '/v1/auth/login/passkey', { body }))
    },
  },
  'a mailed code': {
    routes: [
      'POST /v1/auth/login/email_code',
      'POST /v1/auth/login/email_code/confirm',
      'POST /signin/code',
      'POST /signin/code/confirm',
    ],
    without: 1,
    withFactor: 0,
    enter: async ({ email }) => {
      const body = await loginCode(base, email)
      return tokens(await base.send('POST', '/v1/auth/login/email_code/confirm', { body }))
    },
  },
  'a provider': {
    routes: ['POST /signin/with/:provider/callback', 'POST /signin/with/:provider/join'],
    without: 1,
    withFactor: 0,
    enter: async ({ id }) => {
      const sub = crypto.randomUUID()
      await base.sql(
        "INSERT INTO identities (id, provider, subject, user_id, created_at) VALUES (?1, 'corp', ?1, ?2, 1)",
        [sub, id],
      )
      const jar = openJar(base)
      await comeFrom(jar, 'corp', { sub })
      return isSignedIn(jar) ? { level: 1, token: '' } : { level: 0 }
    },
  },
  'a reset': {
    routes: [
      'POST /v1/auth/reset_password',
      'POST /v1/auth/forgot_password',
      'POST /forgot',
      'POST /links/:purpose',
    ],
    without: 1,
    withFactor: 0,
    enter: async ({ email }) => {
      await base.send('POST', '/v1/auth/forgot_password', { body: { email } })
      const { token } = linkIn((await base.mailsTo(email))[0]!)
      const new_password = 'nine green bears run'
      const reset = await base.send('POST', '/v1/auth/reset_password', { body: { token, new_password } })
      expect([reset.status, reset.text]).toEqual([204, ''])
      return tokens(await base.send('POST', '/v1/auth/login', { body: { email, password: new_password } }))
    },
  },
  refresh: {
    routes: ['POST /v1/auth/refresh_token'],
    without: 1,
    withFactor: 1,
    enter: async (person) => {
      // An older session whose level was not raised: a refresh does not raise it.
      const { refreshToken } = await base.signIn(person)
      return tokens(
        await base.send('POST', '/v1/auth/refresh_token', { body: { refresh_token: refreshToken } }),
      )
    },
  },
  're-authentication': {
    routes: ['POST /v1/auth/reauthenticate', 'POST /v1/auth/reauthenticate/options', 'POST /signin/again'],
    without: 1,
    withFactor: 0,
    enter: async (person) => {
      const { token } = await base.signIn(person, Date.now() - 3_600_000)
      const body = { password: PASSWORD }
      return tokens(await base.send('POST', '/v1/auth/reauthenticate', { token, body }))
    },
  },
  'a cookie': {
    routes: [
      'GET /signin',
      'GET /signin/factor',
      'GET /signin/again',
      'POST /signup',
      'POST /v1/auth/signup',
    ],
    without: 1,
    withFactor: 0,
    enter: async ({ email, password }) => {
      const visit = await openBrowser(base)
      const { headers } = await visit('POST', '/signin', { email, password })
      const isIn = headers.getSetCookie().some((cookie) => cookie.startsWith('__Host-roster='))
      return isIn ? { level: 1, token: '' } : { level: 0 }
    },
  },
  'an invitation': {
    routes: ['POST /v1/auth/accept_invitation'],
    without: 0,
    withFactor: 0,
    // It makes an account, and does not sign in.
    enter: async () => ({ level: 0 }),
  },
}

/** Gives, takes or changes a session, but is not a way in. */
const NO_WAY_IN =
  /^POST \/v1\/auth\/(logout|logout_all|verify_email|resend_verification|change_email|confirm_email_change|approve_email_change|undo_email_change|unlock_account|reopen_account|disown_session|disown_factor|change_password|identities\/.*|reauthenticate\/mail_code|factors\/.*|passkeys.*)$|^POST \/(signout|signup\/.*|signin\/again\/mail|signin\/with\/:provider\/link)$/

test('MF6, HX9: every way in is in the matrix', () => {
  const known = Object.values(WAYS).flatMap(({ routes }) => routes)
  const routes = [...operationsOf(app).keys()].filter(
    (route) => /^POST (\/v1\/auth\/|\/sign|\/links|\/forgot)/.test(route) && !NO_WAY_IN.test(route),
  )
  expect(routes.filter((route) => !known.includes(route))).toEqual([])
})

describe.each(Object.entries(WAYS))('MF6, LE5: by %s', (_, { without, withFactor, enter }) => {
  test.each(Object.entries(FACTORS))('HX9: with the factors: %s', async (_, { isTwofold, add }) => {
    const person = await base.person({ email_verified_at: 1 })
    const has = (await add(person)) as Has
    const outcome = await enter(person, has)
    expect(outcome.level).toBe(isTwofold ? withFactor : without)
    if (outcome.level === 0 || outcome.token === '') return
    const status = async (policy: string) =>
      (await apis[policy]!.send('GET', '/v1/auth/sessions', { token: outcome.token })).status
    expect([await status('optional'), await status('managers'), await status('everybody')]).toEqual([
      200,
      200,
      outcome.level === 2 ? 200 : 403,
    ])
  })
})

test.each(['user', 'manager', 'admin'] as const)(
  'AC3: the policy requires of a %s what it says',
  async (role) => {
    const person = await base.person({ role, email_verified_at: 1 })
    const { token } = await base.signIn(person)
    const code = async (policy: string) =>
      (await apis[policy]!.send('GET', '/v1/auth/sessions', { token })).body.code
    const owed = 'factor_enrolment_required'
    expect([await code('optional'), await code('managers'), await code('everybody')]).toEqual([
      undefined,
      role === 'user' ? undefined : owed,
      owed,
    ])
  },
)
