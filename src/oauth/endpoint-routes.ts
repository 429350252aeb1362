import type { Context } from 'hono'
import { createMiddleware } from 'hono/factory'
import type * as z from 'zod'
import type { Bearer } from '../access/bearer.ts'
import { findApp } from '../access/clients.ts'
import { bearerToken } from '../access/credentials.ts'
import { factorEnrolmentRequired, insufficientScope } from '../access/errors.ts'
import { asksForNoCache, limitNetwork } from '../access/guards.ts'
import type { AppEnv } from '../context.ts'
import { digestOf } from '../crypto/digest.ts'
import { bodyTooLarge, bodyTooSlow } from '../http/body.ts'
import { Hono } from '../http/hono.ts'
import { documented, FORM_PROBLEMS, operation, readForm } from '../http/operation.ts'
import { revalidated } from '../http/precondition.ts'
import { AppError, notFound } from '../http/problem.ts'
import { isOfClient, verifyAccessToken } from '../sessions/access-tokens.ts'
import { invalidToken, unauthenticated } from '../sessions/errors.ts'
import { markOf } from '../sessions/refresh-tokens.ts'
import { inWords } from '../values/durations.ts'
import { readClient } from './clients/authenticate.ts'
import { isMarked } from './clients/secrets.ts'
import { openCode } from './codes.ts'
import { beginDevice, isDeviceOver, openDeviceCode } from './device/codes.ts'
import {
  DeviceAuthorization,
  DeviceForm,
  Introspection,
  Metadata,
  OAuthError,
  OneTokenForm,
  PushedForm,
  PushedRequest,
  TokenAnswer,
  TokenForm,
  UserInfo,
  UserInfoForm,
} from './endpoint-schemas.ts'
import { oauthError } from './errors.ts'
import { claimsOf } from './id-tokens.ts'
import { introspect, revoke } from './introspection/service.ts'
import { metadataOf } from './metadata.ts'
import { DEVICE_CODE_MS } from './models.ts'
import { PUSHED_SECONDS, push } from './pushed.ts'
import { answerToken } from './tokens/token.ts'

const tag = 'oauth'

const METADATA_CACHE_CONTROL = 'public, max-age=600'

/** RFC 6749 section 3.2: an empty parameter counts as absent. */
async function readGiven(c: Context): Promise<Record<string, string>> {
  const fields = await readForm(c)
  for (const name of Object.keys(fields)) if (fields[name] === '') delete fields[name]
  return fields
}

/** Requires a form, and reports its errors in OAuth's format. `schema` is for the document. */
const oauthForm = (schema: () => z.ZodType) =>
  documented(
    createMiddleware<AppEnv & { Variables: { fields: Record<string, string> } }>(async (c, next) => {
      if (!/^application\/x-www-form-urlencoded\s*(;|$)/i.test(c.req.header('content-type') ?? ''))
        throw oauthError('invalid_request', 'The request has to be a form.')
      const fields = await readGiven(c).catch((cause) => {
        const isTheirs = cause instanceof AppError && (cause.status === 422 || cause.status === 400)
        throw isTheirs
          ? oauthError('invalid_request', 'A parameter is given twice, or is not text.', cause)
          : cause
      })
      c.set('fields', fields)
      await next()
    }),
    {
      form: schema,
      responses: { 400: OAuthError, 401: OAuthError },
      responseHeaders: {
        401: { 'WWW-Authenticate': 'How a client authenticates (RFC 6749 section 5.2).' },
      },
      problems: [bodyTooSlow, bodyTooLarge],
    },
  )

/** RFC 6750 section 2.1, or by a form (section 2.2). */
async function bearerIn(c: Context): Promise<string> {
  if (c.req.header('authorization') === undefined && c.req.method === 'POST') {
    const { access_token: token } = await readForm(c)
    if (token !== undefined) return token
  }
  return bearerToken(c)
}

/** The claims about the user that the scopes of an app's token allow. */
async function userInfo(c: Context<AppEnv>) {
  const { config, now } = c.var
  const token = await verifyAccessToken(await bearerIn(c), config, now)
  c.set('isSignedIn', true)
  if (!isOfClient(token) || token.sid === undefined)
    throw insufficientScope('This is for the token of an app that somebody has signed in to.')
  const found = await findApp(c.var, { ...token, sid: token.sid })
  if (!found.scopes.includes('openid')) throw insufficientScope()
  return c.json(claimsOf(found, found.scopes))
}

const userInfoParts = (id: string, how: string) =>
  operation({
    id,
    tag,
    summary: `Who signed in, as far as the app may know${how} (OpenID Connect Core section 5.3)`,
    description: 'By the scopes of its token.',
    responses: { 200: UserInfo },
    problems: [unauthenticated, invalidToken, insufficientScope, factorEnrolmentRequired],
  })
const userInfoForm = documented(
  createMiddleware<object>((_c, next) => next()),
  { form: UserInfoForm, problems: FORM_PROBLEMS },
)

/** Requests that a server sends for all its users, or for itself, from one address. */
const isOfServer = (path: string, { grant_type }: Record<string, string>) =>
  path === '/oauth/introspect' ||
  path === '/oauth/par' ||
  (path === '/oauth/token' && grant_type === 'client_credentials')

/** Identifies the server by its secret; a former secret is counted separately. */
function findServer(c: Context<AppEnv>, fields: Record<string, string>): Bearer | undefined {
  try {
    const { id, proof } = readClient(c, fields)
    return isMarked(c.var.config, id, proof)
      ? { id: `secret ${digestOf(proof)}`, isService: true }
      : undefined
  } catch {
    return undefined
  }
}

/**
 * Identifies the code: an app's server has one address for all its users, and a household for all its
 * devices.
 */
async function findCode(c: Context<AppEnv>): Promise<Bearer | undefined> {
  const fields = await readGiven(c).catch((): Record<string, string> => ({}))
  if (isOfServer(c.req.path, fields)) return findServer(c, fields)
  const { code, device_code: ofDevice } = fields
  const device = ofDevice === undefined ? undefined : openDeviceCode(c.var.config, ofDevice)
  if (device && !isDeviceOver({ id: device }, c.var.now))
    return { id: `device code ${device}`, of: 'device codes' }
  const opened = code === undefined ? undefined : await openCode(c.var.config, code)
  return opened && { id: `code ${opened.id}`, of: markOf(opened.userId) }
}

/** Without keys there is no OpenID provider. */
const whereOpenId = documented(
  createMiddleware<AppEnv>((c, next) => {
    if (!c.var.config.OPENID_KEYS) throw notFound()
    return next()
  }),
  { problems: [notFound] },
)

/** The endpoints that apps and services call without a browser, and the checks before all of OAuth. */
export const endpointRoutes = new Hono<AppEnv>()
  .use('/oauth/*', limitNetwork(findCode))
  .use('/oauth/*', whereOpenId)
  .get(
    '/.well-known/openid-configuration',
    operation({
      id: 'getOpenIdConfiguration',
      tag: 'system',
      summary: 'What this OpenID provider can do (OpenID Connect Discovery)',
      description: 'The same as /.well-known/oauth-authorization-server.',
      responses: { 200: Metadata },
    }),
    revalidated,
    (c) => c.json(metadataOf(c.var.config), 200, { 'cache-control': METADATA_CACHE_CONTROL }),
  )
  .get(
    '/.well-known/oauth-authorization-server',
    operation({
      id: 'getIssuerMetadata',
      tag: 'system',
      summary: 'Issuer metadata (RFC 8414)',
      description: 'The same as /.well-known/openid-configuration.',
      responses: { 200: Metadata },
    }),
    revalidated,
    (c) => c.json(metadataOf(c.var.config), 200, { 'cache-control': METADATA_CACHE_CONTROL }),
  )
  .post(
    '/oauth/token',
    operation({
      id: 'token',
      tag,
      summary: 'Tokens for a code, a refresh token, a service or a device (RFC 6749, RFC 8628)',
      description: 'A code that is presented again ends its session.',
      responses: { 200: TokenAnswer },
      responseHeaders: { 200: { Pragma: 'Not to be kept, for caches of HTTP/1.0 (RFC 6749).' } },
    }),
    oauthForm(TokenForm),
    async (c) => {
      const answer = await answerToken(c.var, readClient(c, c.var.fields), c.var.fields)
      return c.json(answer, 200, { pragma: 'no-cache' })
    },
  )
  .post(
    '/oauth/par',
    operation({
      id: 'pushAuthorizationRequest',
      tag,
      summary: 'Pushes an authorization request (RFC 9126)',
      description: `A form with the parameters of /oauth/authorize. It is valid for ${inWords(PUSHED_SECONDS * 1000)}, once, for its client.`,
      responses: { 201: PushedRequest },
    }),
    oauthForm(PushedForm),
    async (c) => c.json(await push(c.var, readClient(c, c.var.fields), c.var.fields), 201),
  )
  .post(
    '/oauth/device_authorization',
    operation({
      id: 'authorizeDevice',
      tag,
      summary: 'Begins the sign-in of a device without a browser (RFC 8628)',
      description: `Whoever uses it types the code at /device, within ${inWords(DEVICE_CODE_MS)}.`,
      responses: { 200: DeviceAuthorization },
    }),
    oauthForm(DeviceForm),
    async (c) => c.json(await beginDevice(c.var, readClient(c, c.var.fields), c.var.fields)),
  )
  .get('/oauth/userinfo', userInfoParts('getUserInfo', ''), userInfo)
  .post('/oauth/userinfo', userInfoParts('postUserInfo', ', the token in a form'), userInfoForm, userInfo)
  .post(
    '/oauth/introspect',
    operation({
      id: 'introspect',
      tag,
      summary: 'Whether a token is valid now (RFC 7662)',
      description: 'Of your own app or resources; with `tokens:introspect`, of any.',
      responses: { 200: Introspection },
    }),
    oauthForm(OneTokenForm),
    async (c) => {
      const { token } = c.var.fields
      const client = readClient(c, c.var.fields)
      if (token === undefined) throw oauthError('invalid_request', 'token is missing.')
      return c.json(await introspect(c.var, client, token, { isFresh: asksForNoCache(c) }))
    },
  )
  .post(
    '/oauth/revoke',
    operation({
      id: 'revoke',
      tag,
      summary: 'Ends the session of a token (RFC 7009)',
      description: 'Only of your own app. Any other changes nothing, with the same answer.',
      responses: { 200: null },
    }),
    oauthForm(OneTokenForm),
    async (c) => {
      const { token } = c.var.fields
      const client = readClient(c, c.var.fields)
      if (token === undefined) throw oauthError('invalid_request', 'token is missing.')
      await revoke(c.var, client, token)
      return c.body(null, 200)
    },
  )
