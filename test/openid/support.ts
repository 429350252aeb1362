import * as oauth from 'oauth4webapi'
import type { ClientWithSecret } from '../../src/oauth/clients/schemas.ts'
import type { Api } from '../support/api.ts'
import { REDIRECT } from '../support/oauth.ts'
import type { openBrowser } from '../support/pages.ts'

export const ISSUER = 'https://roster.test'

/** The Worker as a third-party client sees it: at its issuer's URL, over HTTP. */
export function fetchOf(api: Api): typeof fetch {
  return (async (input: RequestInfo | URL, init: RequestInit = {}) => {
    const request = new Request(input instanceof Request ? input : String(input), init as never)
    const { pathname, search } = new URL(request.url)
    const headers = Object.fromEntries(request.headers)
    const raw = ['GET', 'HEAD'].includes(request.method) ? undefined : await request.text()
    const answer = await api.send(request.method, pathname + search, {
      headers,
      ...(raw !== undefined && { raw }),
    })
    const hasBody = ![204, 304].includes(answer.status)
    return new Response(hasBody ? answer.text : null, { status: answer.status, headers: answer.headers })
  }) as typeof fetch
}

export const optionsOf = (api: Api) =>
  ({ [oauth.customFetch]: fetchOf(api), [oauth.allowInsecureRequests]: true }) as object

export async function discover(api: Api, of = ISSUER): Promise<oauth.AuthorizationServer> {
  const issuer = new URL(of)
  return oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, optionsOf(api)))
}

export const authOf = ({ client_secret: secret, token_endpoint_auth_method: method }: ClientWithSecret) =>
  secret === undefined
    ? oauth.None()
    : method === 'client_secret_post'
      ? oauth.ClientSecretPost(secret)
      : oauth.ClientSecretBasic(secret)

export interface Begun {
  search: string
  verifier: string
  nonce: string
  state: string
}

/** The authorization request to which an app sends the browser. */
export async function begin(
  app: { client_id: string },
  given: Record<string, string | undefined> = {},
): Promise<Begun> {
  const verifier = oauth.generateRandomCodeVerifier()
  const [nonce, state] = [oauth.generateRandomNonce(), oauth.generateRandomState()]
  const fields: Record<string, string | undefined> = {
    client_id: app.client_id,
    redirect_uri: REDIRECT,
    response_type: 'code',
    scope: 'openid profile email',
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
    nonce,
    state,
    ...given,
  }
  const defined = Object.entries(fields).filter((field): field is [string, string] => field[1] !== undefined)
  return { search: new URLSearchParams(defined).toString(), verifier, nonce, state }
}

export type Browser = Awaited<ReturnType<typeof openBrowser>>

/** Goes through authorize as a user, consents if asked, and returns where the browser is sent. */
export async function authorize(browser: Browser, search: string, decision = 'allow'): Promise<URL> {
  const first = await browser('GET', `/oauth/authorize?${search}`)
  const answer =
    first.status === 200
      ? await browser('POST', actionOf(first.text), { decision, ...shownBy(first.text) })
      : first
  const location = answer.headers.get('location')
  if (location === null) throw new Error(`${answer.status} ${answer.text.slice(0, 2000)}`)
  return new URL(location, ISSUER)
}

/** The action of the consent form. */
export const actionOf = (page: string) => {
  const [, action] = /<form method="post" action="(\/consent\?[^"]+)"/.exec(page) ?? []
  if (!action) throw new Error(`no question: ${page.slice(0, 3000)}`)
  return action.replaceAll('&amp;', '&')
}

/** What the consent form says that it showed. */
export const shownBy = (page: string) => ({ shown: /name="shown" value="([^"]*)"/.exec(page)?.[1] ?? '' })

/** The tokens for a code, checked by oauth4webapi. */
export async function redeem(
  api: Api,
  as: oauth.AuthorizationServer,
  app: ClientWithSecret,
  location: URL,
  { verifier, nonce, state }: Begun,
  checks: { maxAge?: number } = {},
) {
  const client = { client_id: app.client_id, id_token_signed_response_alg: app.id_token_signed_response_alg }
  const params = oauth.validateAuthResponse(as, client, location, state)
  const answer = await oauth.authorizationCodeGrantRequest(
    as,
    client,
    authOf(app),
    params,
    REDIRECT,
    verifier,
    optionsOf(api),
  )
  const tokens = await oauth.processAuthorizationCodeResponse(as, client, answer, {
    expectedNonce: nonce,
    requireIdToken: true,
    ...checks,
  })
  return { client, tokens, claims: oauth.getValidatedIdTokenClaims(tokens)! }
}
