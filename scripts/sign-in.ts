import { setTimeout as pause } from 'node:timers/promises'
import * as oauth from 'oauth4webapi'
import type { Permission } from '../src/access/permissions.ts'
import { isLoopback } from '../src/config/checks.ts'
import { scopesIn } from '../src/oauth/scopes.ts'

/**
 * All scripts sign in by this one app, at each deployment that allows them (`npm run client:create --
 * --scripts`). It has no secret: the person who runs a script approves it at /device each time.
 */
export const SCRIPTS_CLIENT_ID = '00000000-0000-7000-8000-000000000001'
/** The scopes that scripts use. */
export const SCRIPT_SCOPES = ['users:export', 'users:import'] as const satisfies readonly Permission[]

const POLL_SECONDS = 5
const TIMEOUT_MS = 30_000
const client: oauth.Client = { client_id: SCRIPTS_CLIENT_ID }

interface SigningIn {
  /** Of the deployment: its ISSUER. */
  url: string
  /** The permissions that the script needs. */
  scopes: readonly (typeof SCRIPT_SCOPES)[number][]
  /** Used instead of the global `fetch`. */
  fetch?: (url: string, init: RequestInit) => Promise<Response>
  /** Where to tell the user what to do: standard output is for the script's result. */
  say?: (sentence: string) => void
  sleep?: (ms: number) => Promise<unknown>
}

/**
 * Signs the person who runs a script in to a deployment, as a device without a browser (RFC 8628). Throws errors as
 * sentences.
 *
 * @returns an access token with these permissions, valid for ten minutes. Its login counts as recent.
 */
export async function signIn({
  url,
  scopes,
  fetch = globalThis.fetch,
  say = console.error,
  sleep = pause,
}: SigningIn): Promise<string> {
  const issuer = URL.parse(url)
  if (!issuer) throw new Error(`${url} is not a URL.`)
  const options = {
    [oauth.customFetch]: fetch,
    [oauth.allowInsecureRequests]: isLoopback(issuer.hostname),
    signal: () => AbortSignal.timeout(TIMEOUT_MS),
  } as object
  const as = await discover(issuer, options)
  const begun = await begin(as, scopes, options)
  say(`Open ${begun.verification_uri} and type ${begun.user_code}`)
  const tokens = await waitFor(as, begun, { options, sleep })
  const lacking = scopes.filter((scope) => !scopesIn(tokens.scope).includes(scope))
  if (lacking.length > 0)
    throw new Error(
      `This account, or the app of the scripts, may not do it: ${lacking.join(', ')} is missing. ${HOW_TO_LET}`,
    )
  return tokens.access_token
}

const HOW_TO_LET =
  '`npm run client:create -- --scripts`, with the settings of the Worker, lets scripts do all that they are made for.'

async function discover(issuer: URL, options: object): Promise<oauth.AuthorizationServer> {
  try {
    const as = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, options))
    if (as.device_authorization_endpoint) return as
  } catch (cause) {
    const { message } = cause as Error
    throw new Error(`${issuer.href} does not answer as a deployment of Roster with this ISSUER: ${message}`, {
      cause,
    })
  }
  throw new Error(`${issuer.href} cannot sign in scripts: OPENID_KEYS is not set there.`)
}

async function begin(as: oauth.AuthorizationServer, scopes: readonly string[], options: object) {
  const asked = { scope: scopes.join(' ') }
  const answer = await oauth.deviceAuthorizationRequest(as, client, oauth.None(), asked, options)
  if (!(await wordOf(answer)))
    throw new Error(
      `${as.issuer} answered ${answer.status}, but not as Roster does: something is in between, such as a proxy or a gateway.`,
    )
  // 401: the app does not exist. 400: it may have none of these scopes.
  if (answer.status === 401 || answer.status === 400)
    throw new Error(`${as.issuer} lets no script do that. ${HOW_TO_LET}`)
  return oauth.processDeviceAuthorizationResponse(as, client, answer)
}

/** What a device is told other than to keep asking (RFC 8628 section 3.5). */
const ENDED: Record<string, string> = {
  access_denied: 'It was refused at the page.',
  expired_token: 'Nobody typed the code within ten minutes. Start again.',
  invalid_grant: 'Whoever approved it has been signed out since. Start again.',
}

async function waitFor(
  as: oauth.AuthorizationServer,
  begun: oauth.DeviceAuthorizationResponse,
  { options, sleep }: { options: object; sleep: (ms: number) => Promise<unknown> },
): Promise<oauth.TokenEndpointResponse> {
  const until = Date.now() + begun.expires_in * 1000
  let seconds = begun.interval ?? POLL_SECONDS
  while (Date.now() < until) {
    await sleep(seconds * 1000)
    const answer = await oauth
      .deviceCodeGrantRequest(as, client, oauth.None(), begun.device_code, options)
      .catch(() => undefined)
    const word = answer && (await wordOf(answer))
    if (word && answer.ok) return oauth.processDeviceCodeResponse(as, client, answer)
    const error = word && answer.status === 400 ? String(word.error) : 'slow_down'
    if (ENDED[error]) throw new Error(ENDED[error])
    // A timeout makes it poll less often, too.
    if (error === 'slow_down') seconds += POLL_SECONDS
    else if (error !== 'authorization_pending') throw new Error(`Signing in has failed: ${error}`)
  }
  throw new Error(ENDED.expired_token)
}

/** Roster's own answer; undefined for a page from a proxy in between, or an answer that was cut off. */
async function wordOf(answer: Response): Promise<{ error?: unknown } | undefined> {
  const word: unknown = await answer
    .clone()
    .json()
    .catch(() => undefined)
  return typeof word === 'object' && word !== null ? word : undefined
}
