import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { html } from 'hono/html'
import Provider, { type Context } from 'oidc-provider'
import { isLocal } from '../local-only.ts'

/**
 * Another company's OpenID provider: `oidc-provider`, which is certified, unmodified. It asks for a name and an
 * address and believes them, so it is only for this machine. It keeps nothing.
 */
export interface ProviderOptions {
  port: number
  client_id: string
  client_secret: string
  /** Where it may redirect people to. */
  redirect_uris: string[]
}

interface Person {
  email: string
  name: string
}

const { port, ...client }: ProviderOptions = JSON.parse(readFileSync(process.argv[2] ?? '', 'utf8'))
const issuer = `http://127.0.0.1:${port}`
/** Who has signed in here, by subject: with the address they gave first. */
const people = new Map<string, Person>()

const provider = new Provider(issuer, {
  clients: [{ ...client, token_endpoint_auth_method: 'client_secret_post' }],
  claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name'] },
  cookies: { keys: [randomBytes(32).toString('hex')] },
  features: { devInteractions: { enabled: false } },
  interactions: { url: (_: Context, { uid }: { uid: string }) => `/interaction/${uid}` },
  jwks: {
    keys: [
      {
        ...generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ format: 'jwk' }),
        alg: 'RS256',
        use: 'sig',
      },
    ],
  },
  pkce: { required: () => true },
  ttl: { AccessToken: 60, AuthorizationCode: 60, Grant: 3600, IdToken: 300, Interaction: 600, Session: 3600 },
  findAccount: (_: Context, sub: string) => ({
    accountId: sub,
    claims: () => ({ sub, email_verified: true, ...people.get(sub) }),
  }),
  // There is only one app, so whoever signs in has consented.
  async loadExistingGrant({ oidc }: Context) {
    const { clientId } = oidc.client
    const known = oidc.session.grantIdFor(clientId)
    if (known) return oidc.provider.Grant.find(known)
    const grant = new oidc.provider.Grant({ clientId, accountId: oidc.session.accountId })
    grant.addOIDCScope('openid email profile')
    await grant.save()
    return grant
  },
})

const page = (uid: string) => html`<!doctype html>
  <html lang="en">
    <meta charset="utf-8" />
    <meta name="viewport" content="width=device-width" />
    <title>Nordlys</title>
    <style>
      :root { color-scheme: light dark; font: 1rem/1.5 system-ui; }
      form { display: grid; gap: 1rem; max-width: 20rem; margin: 15vh auto; padding: 0 1rem; }
      label { display: grid; gap: .25rem; }
      input, button { font: inherit; padding: .5rem; }
    </style>
    <form method="post" action="/interaction/${uid}">
      <h1>Nordlys</h1>
      <p>A company that believes whoever comes.</p>
      <label>Your name <input name="name" required autofocus /></label>
      <label>Your address <input name="email" type="email" required /></label>
      <button>Sign in at Nordlys</button>
      <button name="no" value="yes" formnovalidate>Not now</button>
    </form>
  </html>`

/** Its own pages, which ask who somebody is. Everything else is the provider's. */
async function ask(request: IncomingMessage, response: ServerResponse) {
  const { uid } = await provider.interactionDetails(request, response)
  if (request.method !== 'POST')
    return void response.writeHead(200, { 'content-type': 'text/html' }).end(String(page(uid)))
  const fields = new URLSearchParams(Buffer.concat(await request.toArray()).toString())
  if (fields.has('no')) return provider.interactionFinished(request, response, { error: 'access_denied' })
  const [email, name] = [fields.get('email') ?? '', fields.get('name') ?? '']
  const accountId = Buffer.from(email.toLowerCase()).toString('base64url')
  people.set(accountId, { email, name })
  return provider.interactionFinished(request, response, { login: { accountId } })
}

/** An app that nobody has registered describes itself here (OAuth Client ID Metadata Document). */
const SCRIBE = '/scribe.json'
function tellOfScribe(response: ServerResponse) {
  const document = {
    client_id: issuer + SCRIBE,
    client_name: 'Scribe',
    redirect_uris: ['https://scribe.example/back'],
    token_endpoint_auth_method: 'none',
  }
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(document))
}

const answer = provider.callback()
createServer((request, response) => {
  if (!isLocal(request.headers)) return response.writeHead(403).end('Not from this machine.')
  if (request.url === SCRIBE) return tellOfScribe(response)
  if (!request.url?.startsWith('/interaction/')) return answer(request, response)
  ask(request, response).catch(() => response.writeHead(400).end('This sign-in is over. Start again.'))
}).listen(port, '127.0.0.1', () => console.log(`ready ${issuer}`))
