import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import Provider from 'oidc-provider'

/** Sends another, certified OpenID provider the same requests as Roster: Roster should refuse what it refuses. */

export interface App {
  client_id: string
  client_secret: string
}
export interface Apps {
  redirect: string
  app: App
  service: App
}

interface Place {
  issuer: string
  paths: { authorize: string; token: string; userinfo: string; introspect: string; revoke: string }
}

const basic = ({ client_id, client_secret }: App) => ({
  authorization: `Basic ${btoa(`${client_id}:${client_secret}`)}`,
})

/** The requests by name: each with its endpoint and fields. */
function requests({ app, service, redirect }: Apps) {
  const as = basic(app)
  const token = (fields: Record<string, string>, headers: Record<string, string> = as) =>
    ({ at: 'token', fields, headers }) as const
  const good = {
    client_id: app.client_id,
    redirect_uri: redirect,
    response_type: 'code',
    scope: 'openid',
    state: 'x',
    code_challenge: 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM',
    code_challenge_method: 'S256',
  }
  const authorize = (given: Record<string, string | undefined>) => {
    const fields = Object.entries({ ...good, ...given }).filter(([, value]) => value !== undefined)
    return {
      at: 'authorize',
      fields: Object.fromEntries(fields) as Record<string, string>,
      headers: {},
    } as const
  }
  return {
    'token: nothing': token({}),
    'token: an unknown grant': token({ grant_type: 'magic' }),
    'token: no code': token({ grant_type: 'authorization_code', redirect_uri: redirect }),
    'token: an unknown code': token({ grant_type: 'authorization_code', code: 'x', redirect_uri: redirect }),
    'token: no refresh token': token({ grant_type: 'refresh_token' }),
    'token: an unknown refresh token': token({ grant_type: 'refresh_token', refresh_token: 'x' }),
    'token: a grant that it has not': token({ grant_type: 'client_credentials' }),
    'token: a scope that it has not': token(
      { grant_type: 'client_credentials', scope: 'x:y' },
      basic(service),
    ),
    'token: a wrong secret': token({ grant_type: 'refresh_token' }, basic({ ...app, client_secret: 'x' })),
    'token: an unknown client': token({ grant_type: 'refresh_token' }, basic({ ...app, client_id: 'x' })),
    'token: another way than its own': token({ grant_type: 'refresh_token', ...app }, {}),
    'token: two ways': token({ grant_type: 'refresh_token', ...app }),
    'token: no client': token({ grant_type: 'refresh_token' }, {}),
    'introspect: no token': { at: 'introspect', fields: {}, headers: as },
    'introspect: an unknown token': { at: 'introspect', fields: { token: 'x' }, headers: as },
    'introspect: no client': { at: 'introspect', fields: { token: 'x' }, headers: {} },
    'revoke: no token': { at: 'revoke', fields: {}, headers: as },
    'revoke: an unknown token': { at: 'revoke', fields: { token: 'x' }, headers: as },
    'revoke: a wrong secret': {
      at: 'revoke',
      fields: { token: 'x' },
      headers: basic({ ...app, client_secret: 'x' }),
    },
    'userinfo: no token': { at: 'userinfo', fields: {}, headers: {} },
    'userinfo: an unknown token': { at: 'userinfo', fields: {}, headers: { authorization: 'Bearer x' } },
    'authorize: no client': authorize({ client_id: undefined }),
    'authorize: an unknown client': authorize({ client_id: 'x' }),
    'authorize: an address that is not registered': authorize({ redirect_uri: `${redirect}/else` }),
    'authorize: no response_type': authorize({ response_type: undefined }),
    'authorize: response_type=token': authorize({ response_type: 'token' }),
    'authorize: an unknown response_mode': authorize({ response_mode: 'x' }),
    'authorize: nobody is signed in, prompt=none': authorize({ prompt: 'none' }),
    'authorize: prompt=none login': authorize({ prompt: 'none login' }),
    'authorize: an unknown prompt': authorize({ prompt: 'x' }),
    'authorize: no PKCE': authorize({ code_challenge: undefined, code_challenge_method: undefined }),
    'authorize: plain PKCE': authorize({ code_challenge_method: 'plain' }),
    'authorize: a challenge that is none': authorize({ code_challenge: 'x' }),
    'authorize: max_age=x': authorize({ max_age: 'x' }),
    'authorize: a request object': authorize({ request: 'x.y.z' }),
    'authorize: a request_uri': authorize({ request_uri: 'https://app.example/request' }),
    'authorize: registration': authorize({ registration: '{}' }),
    'authorize: a hint that is none, prompt=none': authorize({ prompt: 'none', id_token_hint: 'x' }),
  } satisfies Record<string, { at: keyof Place['paths']; fields: object; headers: object }>
}

/** What an answer amounts to: status and error of an endpoint; of authorize, the error in its redirect, or a page. */
async function answerOf(
  { issuer, paths }: Place,
  asked: ReturnType<typeof requests>[keyof ReturnType<typeof requests>],
) {
  const { at, fields, headers } = asked
  const query = new URLSearchParams(fields as Record<string, string>)
  if (at === 'authorize') {
    const answer = await fetch(`${issuer}${paths.authorize}?${query}`, { redirect: 'manual' })
    const location = URL.parse(answer.headers.get('location') ?? '', issuer)
    if (!location || location.origin === new URL(issuer).origin)
      return answer.status < 400 ? 'a page' : 'an error page'
    // A request for an answer in a fragment is refused in a fragment.
    const params = new URLSearchParams(`${location.search.slice(1)}&${location.hash.slice(1)}`)
    return `back: ${params.get('error') ?? 'a code'}`
  }
  const answer = await fetch(`${issuer}${paths[at]}`, {
    method: 'POST',
    body: query,
    headers: headers as HeadersInit,
  })
  const text = await answer.text()
  const { error, active } = (text.startsWith('{') ? JSON.parse(text) : {}) as {
    error?: string
    active?: boolean
  }
  const challenge = /error="(\w+)"/.exec(answer.headers.get('www-authenticate') ?? '')?.[1]
  return [answer.status, error ?? challenge, active === false && 'inactive'].filter(Boolean).join(' ')
}

async function startOracle({ app, service, redirect }: Apps): Promise<Place & { close(): void }> {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const configuration = {
    clients: [
      { ...app, redirect_uris: [redirect], grant_types: ['authorization_code', 'refresh_token'] },
      {
        ...service,
        redirect_uris: [],
        response_types: [],
        grant_types: ['client_credentials'],
        scope: 'users:read',
      },
    ],
    pkce: { required: () => true },
    scopes: ['openid', 'offline_access', 'users:read'],
    features: {
      clientCredentials: { enabled: true },
      introspection: { enabled: true },
      revocation: { enabled: true },
      devInteractions: { enabled: false },
    },
  }
  server.on('request', new Provider(issuer, configuration).callback())
  const paths = {
    authorize: '/auth',
    token: '/token',
    userinfo: '/me',
    introspect: '/token/introspection',
    revoke: '/token/revocation',
  }
  return { issuer, paths, close: () => server.close() }
}

const OURS: Place['paths'] = {
  authorize: '/oauth/authorize',
  token: '/oauth/token',
  userinfo: '/oauth/userinfo',
  introspect: '/oauth/introspect',
  revoke: '/oauth/revoke',
}

/** Where Roster answers something else on purpose, and why. */
const MEANT: Record<string, { ours: string; theirs: string; why: string }> = {
  'token: a grant that it has not': {
    ours: '400 unauthorized_client',
    theirs: '400 invalid_request',
    why: 'RFC 6749 section 5.2 has a word for it.',
  },
  'token: a scope that it has not': {
    ours: '400 invalid_scope',
    theirs: '200',
    why: 'A service that is given less than it asked for fails later, where nobody looks.',
  },
  'token: another way than its own': {
    ours: '401 invalid_client',
    theirs: '400 invalid_request',
    why: 'RFC 6749 section 5.2: an authentication method that is not supported is invalid_client.',
  },
  'token: no client': {
    ours: '401 invalid_client',
    theirs: '400 invalid_request',
    why: 'RFC 6749 section 5.2: no client authentication included is invalid_client.',
  },
  'introspect: no client': {
    ours: '401 invalid_client',
    theirs: '400 invalid_request',
    why: 'The same, by RFC 7662 section 2.3.',
  },
  'userinfo: no token': {
    ours: '401',
    theirs: '401 invalid_token',
    why: 'RFC 6750 section 3.1: who brings nothing is told no error.',
  },
  'authorize: an unknown response_mode': {
    ours: 'back: invalid_request',
    theirs: 'back: unsupported_response_mode',
    why: 'RFC 6749 section 4.1.2.1 has no such word.',
  },
  'authorize: a hint that is none, prompt=none': {
    ours: 'back: login_required',
    theirs: 'back: invalid_request',
    why: 'Whom it names is not signed in, whatever it is: OpenID Connect Core section 3.1.2.1.',
  },
}

/** Sends both the same requests. Throws if an answer differs that should not, or does not differ where it should. */
export async function askBoth(issuer: string, apps: Apps): Promise<string> {
  const oracle = await startOracle(apps)
  try {
    const wrong: string[] = []
    const all = Object.entries(requests(apps))
    for (const [name, asked] of all) {
      const [ours, theirs] = [await answerOf({ issuer, paths: OURS }, asked), await answerOf(oracle, asked)]
      const meant = MEANT[name] ?? { ours: theirs, theirs }
      if (meant.ours !== ours || meant.theirs !== theirs)
        wrong.push(`${name}: ${ours}; the oracle: ${theirs}`)
    }
    if (wrong.length > 0) throw new Error(wrong.join('\n'))
    return `${all.length} requests, ${Object.keys(MEANT).length} of them answered otherwise on purpose`
  } finally {
    oracle.close()
  }
}
