import { beforeAll, describe, expect, test } from 'vitest'
import { openProvider, openUser, type Provider, signIn, type User } from './conformance.ts'
import { ISSUER } from './support.ts'

/* Like conformance.test.ts, for the plan for RP-initiated logout. */

const AFTER = 'https://app.example/signed-out'
let provider: Provider

beforeAll(async () => {
  provider = await openProvider({ post_logout_redirect_uris: [AFTER] })
})

/** Somebody who has just signed in to the app. */
async function open() {
  const user = await openUser(provider.api)
  const { tokens } = await signIn(provider, user)
  return { user, hint: tokens.id_token! }
}
/** One answer of the end-session endpoint, without following it. */
const ask = async ({ browser }: User, fields: Record<string, string>) => {
  const answer = await browser('GET', `/oauth/logout?${new URLSearchParams(fields)}`)
  const location = answer.headers.get('location')
  return { status: answer.status, text: answer.text, location }
}
const isSignedIn = async ({ browser }: User) => (await browser('GET', '/account')).status === 200
/** The question: there is no redirect, and nothing ends before they agree. */
const expectQuestion = async (user: User, fields: Record<string, string>) => {
  const asked = await ask(user, fields)
  expect([asked.status, asked.location, asked.text.includes('Sign out?')]).toEqual([200, null, true])
  expect(await isSignedIn(user)).toBe(true)
  const place = /name="place" value="([^"]+)"/.exec(asked.text)?.[1]
  const ended = await user.browser('POST', '/signout', place ? { place } : {})
  expect(await isSignedIn(user)).toBe(false)
  return new URL(ended.headers.get('location')!, ISSUER)
}
/** An error page: there is no redirect, and nothing ends. */
const expectErrorPage = async (user: User, fields: Record<string, string>) => {
  const asked = await ask(user, fields)
  expect([asked.status, asked.location]).toEqual([400, null])
  expect(await isSignedIn(user)).toBe(true)
}

describe('RP-initiated logout', () => {
  test('oidcc-rp-initiated-logout-discovery-endpoint-verification', async () => {
    expect(provider.as.end_session_endpoint).toBe(`${ISSUER}/oauth/logout`)
  })

  test('oidcc-rp-initiated-logout', async () => {
    const { user, hint } = await open()
    const state = crypto.randomUUID()
    const { location } = await ask(user, { id_token_hint: hint, post_logout_redirect_uri: AFTER, state })
    expect(location).toBe(`${AFTER}?state=${state}`)
    expect(await isSignedIn(user)).toBe(false)
  })

  test('oidcc-rp-initiated-logout-bad-post-logout-redirect-uri', async () => {
    const { user, hint } = await open()
    await expectErrorPage(user, {
      id_token_hint: hint,
      post_logout_redirect_uri: `${AFTER}/else`,
      state: 'x',
    })
  })

  test('oidcc-rp-initiated-logout-modified-id-token-hint', async () => {
    const { user, hint } = await open()
    const [header, , signature] = hint.split('.')
    const claims = Buffer.from(JSON.stringify({ iss: ISSUER, sub: user.id })).toString('base64url')
    await expectErrorPage(user, {
      id_token_hint: `${header}.${claims}.${signature}`,
      post_logout_redirect_uri: AFTER,
      state: 'x',
    })
  })

  test('oidcc-rp-initiated-logout-no-id-token-hint', async () => {
    const { user } = await open()
    await expectErrorPage(user, { post_logout_redirect_uri: AFTER, state: 'x' })
    const named = { client_id: provider.app.client_id, post_logout_redirect_uri: AFTER, state: 'x' }
    expect((await expectQuestion(user, named)).href).toBe(`${AFTER}?state=x`)
  })

  test('oidcc-rp-initiated-logout-no-params', async () => {
    expect((await expectQuestion((await open()).user, {})).origin).toBe(ISSUER)
  })

  test('oidcc-rp-initiated-logout-no-post-logout-redirect-uri', async () => {
    const { user, hint } = await open()
    const { location } = await ask(user, { id_token_hint: hint, state: 'x' })
    expect(location).toBe('/signin?done=signed_out')
    expect(await isSignedIn(user)).toBe(false)
  })

  test('oidcc-rp-initiated-logout-no-state', async () => {
    const { user, hint } = await open()
    const { location } = await ask(user, { id_token_hint: hint, post_logout_redirect_uri: AFTER })
    expect(location).toBe(AFTER)
    expect(await isSignedIn(user)).toBe(false)
  })

  test('oidcc-rp-initiated-logout-only-state', async () => {
    expect((await expectQuestion((await open()).user, { state: 'x' })).origin).toBe(ISSUER)
  })

  test('oidcc-rp-initiated-logout-query-added-to-post-logout-redirect-uri', async () => {
    const { user, hint } = await open()
    await expectErrorPage(user, {
      id_token_hint: hint,
      post_logout_redirect_uri: `${AFTER}?foo=bar`,
      state: 'x',
    })
  })

  test('oidcc-rp-initiated-logout-bad-id-token-hint', async () => {
    const { user } = await open()
    await expectErrorPage(user, { id_token_hint: 'nonsense', post_logout_redirect_uri: AFTER, state: 'x' })
  })
})
