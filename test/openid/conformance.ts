import * as oauth from 'oauth4webapi'
import type { ClientWithSecret } from '../../src/oauth/clients/schemas.ts'
import { type Api, openApi, PASSWORD } from '../support/api.ts'
import { addApp, REDIRECT } from '../support/oauth.ts'
import { openBrowser } from '../support/pages.ts'
import { freshUpstreams } from '../support/upstreams.ts'
import { actionOf, authOf, type Browser, discover, ISSUER, optionsOf, shownBy } from './support.ts'

/** What the modules of the OpenID conformance suite need: a provider, its clients, and a user with a browser. */

type Fields = Record<string, string | undefined>

/** Clients as in the suite's plans: registered beforehand, with secrets and without PKCE. */
export async function openProvider(given: object = {}, settings: { ISSUER?: string } = {}) {
  const api = openApi({ ...(await freshUpstreams()).bindings, ...settings })
  const scopes = ['openid', 'profile', 'email', 'offline_access', 'roles']
  const one = (more: object = {}) => addApp(api, { require_pkce: false, scopes, ...given, ...more })
  return {
    api,
    as: await discover(api, settings.ISSUER),
    app: await one(),
    other: await one({ name: 'Notes' }),
    byForm: await one({ token_endpoint_auth_method: 'client_secret_post' }),
  }
}
export type Provider = Awaited<ReturnType<typeof openProvider>>

export interface Visit {
  /** Where the browser was sent back to; undefined if it stays on a page of the provider. */
  location: URL | undefined
  status: number
  page: string
  /** Whether the user had to authenticate on the way. */
  wasProved: boolean
}

/** A user with a browser, who signs in and consents when asked. */
export async function openUser(api: Api) {
  const user = await api.person({ email_verified_at: Date.now() })
  const browser = await openBrowser(api, user)
  return { ...user, browser, visit: (path: string, fields: Fields = {}) => visit(browser, path, fields) }
}
export type User = Awaited<ReturnType<typeof openUser>>

async function visit(browser: Browser, path: string, fields: Fields): Promise<Visit> {
  const defined = Object.entries(fields).filter((field): field is [string, string] => field[1] !== undefined)
  let answer = await browser('GET', `${path}?${new URLSearchParams(defined)}`)
  let wasProved = false
  for (let steps = 0; steps < 8; steps++) {
    const { status, text } = answer
    if (status === 200 && text.includes('action="/consent?'))
      answer = await browser('POST', actionOf(text), { decision: 'allow', ...shownBy(text) })
    else if (status < 300 || status >= 400) break
    const to = answer.headers.get('location')
    if (to === null) break
    const location = new URL(to, ISSUER)
    if (location.origin !== ISSUER) return { location, status, page: '', wasProved }
    if (location.pathname === '/signin/again') {
      const back = location.searchParams.get('to')!
      answer = await browser('POST', '/signin/again', { password: PASSWORD, to: back })
      wasProved = true
    } else answer = await browser('GET', location.pathname + location.search)
  }
  return { location: undefined, status: answer.status, page: answer.text, wasProved }
}

/** The suite's default request. */
export const requestOf = ({ client_id }: { client_id: string }, given: Fields = {}) => ({
  client_id,
  redirect_uri: REDIRECT,
  response_type: 'code',
  scope: 'openid',
  state: oauth.generateRandomState(),
  nonce: oauth.generateRandomNonce(),
  ...given,
})

/** Goes through authorize and redeems the code, with all checks of oauth4webapi. */
export async function signIn(provider: Provider, user: User, given: Fields = {}, of?: ClientWithSecret) {
  const app = of ?? provider.app
  const verifier = given.code_challenge && oauth.generateRandomCodeVerifier()
  const asked = requestOf(app, {
    ...given,
    ...(verifier && { code_challenge: await oauth.calculatePKCECodeChallenge(verifier) }),
  }) as Fields
  const visited = await user.visit('/oauth/authorize', asked)
  if (!visited.location) throw new Error(`${visited.status} ${visited.page.slice(0, 1500)}`)
  const client = { client_id: app.client_id, id_token_signed_response_alg: app.id_token_signed_response_alg }
  const params = oauth.validateAuthResponse(provider.as, client, visited.location, asked.state)
  const trade = () =>
    oauth.authorizationCodeGrantRequest(
      provider.as,
      client,
      authOf(app),
      params,
      REDIRECT,
      verifier || oauth.nopkce,
      optionsOf(provider.api),
    )
  const answer = await trade()
  const tokens = await oauth.processAuthorizationCodeResponse(provider.as, client, answer.clone(), {
    expectedNonce: asked.nonce ?? oauth.expectNoNonce,
    requireIdToken: true,
  })
  const claims = oauth.getValidatedIdTokenClaims(tokens)!
  return { ...visited, app, client, answer, tokens, claims, trade }
}

/** The checked userinfo response. */
export async function userInfo(
  { as, api }: Provider,
  { client, tokens, claims }: Awaited<ReturnType<typeof signIn>>,
) {
  const info = await oauth.userInfoRequest(as, client, tokens.access_token, optionsOf(api))
  return oauth.processUserInfoResponse(as, client, claims.sub, info)
}

/** The error in the redirect to the app, with what always accompanies it. */
export const refusalIn = ({ location }: Visit) => {
  const { error, state, iss, code } = Object.fromEntries(location?.searchParams ?? [])
  return { error, state, iss, code }
}
