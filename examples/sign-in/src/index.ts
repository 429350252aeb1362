import { type Context, Hono } from 'hono'
import { deleteCookie, getSignedCookie, setSignedCookie } from 'hono/cookie'
import * as openid from 'openid-client'

/** An app with a server that signs people in and out with Roster. See docs/guides/server.md. */

interface Env {
  ISSUER: string
  CLIENT_ID: string
  CLIENT_SECRET: string
  /** Signs the cookies of this app. */
  COOKIE_SECRET: string
}
type C = Context<{ Bindings: Env }>

/** What is stored about whoever signed in. */
interface Kept {
  name: string
  email: string
  until: number
  idToken: string
  refreshToken: string
}

let known: openid.Configuration | undefined
async function configOf({ ISSUER, CLIENT_ID, CLIENT_SECRET }: Env) {
  const isLocal = new URL(ISSUER).protocol === 'http:'
  known ??= await openid.discovery(
    new URL(ISSUER),
    CLIENT_ID,
    {},
    openid.ClientSecretBasic(CLIENT_SECRET),
    isLocal ? { execute: [openid.allowInsecureRequests] } : {},
  )
  return known
}

const here = (c: C, path: string) => new URL(path, c.req.url).href
const keep = (c: C, name: string, value: object) =>
  setSignedCookie(c, name, JSON.stringify(value), c.env.COOKIE_SECRET, {
    httpOnly: true,
    path: '/',
    sameSite: 'Lax',
    secure: new URL(c.req.url).protocol === 'https:',
  })
async function kept<T>(c: C, name: string): Promise<T | undefined> {
  const value = await getSignedCookie(c, c.env.COOKIE_SECRET, name)
  return value ? (JSON.parse(value) as T) : undefined
}

/** Stores what this app needs from the tokens: who signed in, and until when that is known. */
async function keepTokens(
  c: C,
  config: openid.Configuration,
  tokens: openid.TokenEndpointResponse & openid.TokenEndpointResponseHelpers,
) {
  const { sub } = tokens.claims()!
  const { name = '', email = '' } = await openid.fetchUserInfo(config, tokens.access_token, sub)
  const until = Date.now() + (tokens.expiresIn() ?? 0) * 1000
  const kept: Kept = {
    name,
    email,
    until,
    idToken: tokens.id_token ?? '',
    refreshToken: tokens.refresh_token ?? '',
  }
  await keep(c, 'app-session', kept)
}

export default new Hono<{ Bindings: Env }>()
  .get('/', async (c) => {
    const session = await kept<Kept>(c, 'app-session')
    if (!session) return c.html(page('Tally', '<p><a href="/signin">Sign in with Roster</a></p>'))
    const until = new Date(session.until).toISOString()
    return c.html(
      page(
        `Hello, ${session.name}`,
        `<p>${escaped(session.email)}, known until <time id="until">${until}</time></p>
        <form method="post" action="/refresh"><button>Refresh</button></form>
        <p><a href="/signout">Sign out</a></p>`,
      ),
    )
  })
  .get('/signin', async (c) => {
    const config = await configOf(c.env)
    const verifier = openid.randomPKCECodeVerifier()
    const [state, nonce] = [openid.randomState(), openid.randomNonce()]
    await keep(c, 'app-asked', { verifier, state, nonce })
    const to = openid.buildAuthorizationUrl(config, {
      redirect_uri: here(c, '/callback'),
      scope: 'openid profile email',
      code_challenge: await openid.calculatePKCECodeChallenge(verifier),
      code_challenge_method: 'S256',
      state,
      nonce,
    })
    return c.redirect(to.href)
  })
  .get('/callback', async (c) => {
    const config = await configOf(c.env)
    const asked = await kept<{ verifier: string; state: string; nonce: string }>(c, 'app-asked')
    if (!asked) return c.redirect('/')
    deleteCookie(c, 'app-asked')
    const tokens = await openid.authorizationCodeGrant(config, new URL(c.req.url), {
      pkceCodeVerifier: asked.verifier,
      expectedState: asked.state,
      expectedNonce: asked.nonce,
    })
    await keepTokens(c, config, tokens)
    return c.redirect('/')
  })
  .post('/refresh', async (c) => {
    const [config, session] = [await configOf(c.env), await kept<Kept>(c, 'app-session')]
    if (!session) return c.redirect('/', 303)
    await keepTokens(c, config, await openid.refreshTokenGrant(config, session.refreshToken))
    return c.redirect('/', 303)
  })
  .get('/signout', async (c) => {
    const [config, session] = [await configOf(c.env), await kept<Kept>(c, 'app-session')]
    deleteCookie(c, 'app-session')
    const to = openid.buildEndSessionUrl(config, {
      post_logout_redirect_uri: here(c, '/'),
      ...(session && { id_token_hint: session.idToken }),
    })
    return c.redirect(to.href)
  })
  .onError((error, c) => {
    // Whoever refused, or came back too late, can start again.
    console.warn(error.name, error.message)
    deleteCookie(c, 'app-session')
    return c.html(page('You are not signed in', '<p><a href="/signin">Sign in with Roster</a></p>'), 400)
  })

const escaped = (text: string) => text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)
const page = (title: string, body: string) =>
  `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
  <title>${escaped(title)}</title><main><h1>${escaped(title)}</h1>${body}</main></html>`
