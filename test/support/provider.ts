import { createHash } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { exportJWK, generateKeyPair, SignJWT, UnsecuredJWT } from 'jose'

/** How an answer is sent. */
export interface How {
  status?: number
  /** Replaces the usual body. */
  body?: string
  type?: string
  location?: string
  delayMs?: number
  megabytes?: number
}

/**
 * A provider that answers what a test tells it to, with GitHub's three endpoints as well. It stores nothing: a code
 * contains the answer to give, written by the test (`Say`). Any path before `/.well-known` is an issuer of its own.
 */
export interface Say extends How {
  claims?: Record<string, unknown>
  /** The challenge of the authorization request; the code verifier must match it. */
  challenge?: string
  /** How the ID token is signed. */
  signed?: 'well' | 'none' | 'other_key' | 'hs256' | 'tampered'
  /** The answer to a request with the access token, and how it is sent. */
  userinfo?: Record<string, unknown>
  informs?: How
  /** Only GitHub's. */
  user?: Record<string, unknown>
  emails?: unknown
}

const read = async (request: IncomingMessage) => {
  let text = ''
  for await (const chunk of request) text += chunk
  return text
}
async function write(response: ServerResponse, how: How, value: unknown) {
  if (how.delayMs) await new Promise((resolve) => setTimeout(resolve, how.delayMs))
  const headers = {
    'content-type': how.type ?? 'application/json',
    ...(how.location && { location: how.location }),
  }
  response.writeHead(how.status ?? 200, headers)
  for (let i = 0; i < (how.megabytes ?? 0) && response.writable; i++) response.write('x'.repeat(1_000_000))
  response.end(how.megabytes ? undefined : (how.body ?? JSON.stringify(value)))
}
const decode = (text: string) => JSON.parse(Buffer.from(text, 'base64url').toString()) as Say

/** Issuers whose metadata is wrong, by name, and how. */
const WRONG_METADATA: Record<string, (issuer: string) => object> = {
  other_issuer: () => ({ issuer: 'https://accounts.example' }),
  no_token_endpoint: () => ({ token_endpoint: undefined }),
  elsewhere: () => ({ token_endpoint: 'http://169.254.169.254/latest/meta-data' }),
}

export async function startProvider() {
  const [good, other] = await Promise.all([generateKeyPair('RS256'), generateKeyPair('RS256')])
  const jwk = { ...(await exportJWK(good.publicKey)), kid: 'one', alg: 'RS256', use: 'sig' }
  /** What an issuer publishes differently since, by its path. */
  const changes = new Map<string, { metadata?: object; keys?: 'other' }>()
  /** The documents of apps, by path. */
  const apps = new Map<string, { document: object; how?: How }>()
  const otherJwk = { ...(await exportJWK(other.publicKey)), kid: 'one', alg: 'RS256', use: 'sig' }
  /** How often each path was requested. */
  const asked = new Map<string, number>()

  async function sign({ claims = {}, signed = 'well' }: Say): Promise<string> {
    if (signed === 'none') return new UnsecuredJWT(claims).encode()
    if (signed === 'hs256')
      return new SignJWT(claims)
        .setProtectedHeader({ alg: 'HS256', kid: 'one' })
        .sign(new TextEncoder().encode('the client secret that is shared with nobody'))
    const key = signed === 'other_key' ? other.privateKey : good.privateKey
    const token = await new SignJWT(claims).setProtectedHeader({ alg: 'RS256', kid: 'one' }).sign(key)
    if (signed !== 'tampered') return token
    const [header, , mac] = token.split('.')
    const moved = Buffer.from(JSON.stringify({ ...claims, sub: 'somebody-else' })).toString('base64url')
    return `${header}.${moved}.${mac}`
  }

  async function answerTokens(request: IncomingMessage, response: ServerResponse, isGitHub: boolean) {
    const form = new URLSearchParams(await read(request))
    const say = decode(form.get('code') ?? '')
    const verifier = createHash('sha256')
      .update(form.get('code_verifier') ?? '')
      .digest('base64url')
    if (say.challenge !== undefined && say.challenge !== verifier)
      return void response
        .writeHead(400, { 'content-type': 'application/json' })
        .end('{"error":"invalid_grant"}')
    const tokens = isGitHub
      ? {
          access_token: Buffer.from(JSON.stringify(say)).toString('base64url'),
          token_type: 'bearer',
          scope: 'user:email',
        }
      : {
          access_token: say.userinfo ? Buffer.from(JSON.stringify(say)).toString('base64url') : 'at',
          token_type: 'Bearer',
          expires_in: 60,
          ...(say.claims && { id_token: await sign(say) }),
        }
    await write(response, say, tokens)
  }

  const server = createServer(async (request, response) => {
    const url = new URL(request.url ?? '/', 'http://localhost')
    const json = (value: unknown) =>
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(value))
    try {
      asked.set(url.pathname, (asked.get(url.pathname) ?? 0) + 1)
      if (url.pathname === '/__change') {
        changes.set(url.searchParams.get('issuer')!, JSON.parse(await read(request)))
        return void json({})
      }
      if (url.pathname === '/__app') {
        apps.set(url.searchParams.get('path')!, JSON.parse(await read(request)))
        return void json({})
      }
      const app = apps.get(url.pathname)
      if (app) return void (await write(response, app.how ?? {}, app.document))
      if (url.pathname === '/__asked') return void json(Object.fromEntries(asked))
      const [, path = '', rest = ''] =
        /^(.*?)(\/\.well-known\/openid-configuration|\/jwks|\/userinfo|\/token|\/login\/oauth\/access_token|\/api\/v3\/user|\/api\/v3\/user\/emails)$/.exec(
          url.pathname,
        ) ?? []
      const issuer = `http://localhost:${port}${path}`
      if (rest.startsWith('/.well-known')) {
        const wrong = WRONG_METADATA[path.split('/')[1] ?? '']?.(issuer)
        const isOfAll = path.endsWith('/organizations/v2.0')
        return void json({
          issuer: isOfAll ? issuer.replace('organizations', '{tenantid}') : issuer,
          authorization_endpoint: `${issuer}/authorize`,
          token_endpoint: `${issuer}/token`,
          jwks_uri: `${issuer}/jwks`,
          response_types_supported: ['code'],
          subject_types_supported: ['public'],
          id_token_signing_alg_values_supported: ['RS256'],
          authorization_response_iss_parameter_supported: path.startsWith('/iss'),
          ...(path.startsWith('/informs') && { userinfo_endpoint: `${issuer}/userinfo` }),
          ...wrong,
          ...changes.get(path)?.metadata,
        })
      }
      if (rest === '/jwks') return void json({ keys: [changes.get(path)?.keys ? otherJwk : jwk] })
      if (rest === '/token' || rest === '/login/oauth/access_token')
        return void (await answerTokens(request, response, rest !== '/token'))
      const say = decode((request.headers.authorization ?? '').replace('Bearer ', ''))
      if (rest === '/userinfo') return void (await write(response, say.informs ?? {}, say.userinfo))
      if (rest === '/api/v3/user') return void json(say.user)
      if (rest === '/api/v3/user/emails') return void json(say.emails)
      response.writeHead(404).end()
    } catch {
      response.writeHead(500).end()
    }
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    url: `http://localhost:${port}`,
    close: () =>
      new Promise<void>((resolve) => {
        server.closeAllConnections()
        server.close(() => resolve())
      }),
  }
}
