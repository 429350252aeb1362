import { once } from 'node:events'
import { createServer } from 'node:http'
import * as openid from 'openid-client'

const [issuer, clientId] = process.argv.slice(2)
const isLocal = issuer.startsWith('http://localhost')
const config = await openid.discovery(new URL(issuer), clientId, undefined, openid.None(), {
  execute: isLocal ? [openid.allowInsecureRequests] : [],
})

// Any port will do: http://127.0.0.1/callback is registered, and the port of a loopback address is not compared.
const server = createServer().listen(0, '127.0.0.1')
await once(server, 'listening')
const redirect = `http://127.0.0.1:${server.address().port}/callback`
const verifier = openid.randomPKCECodeVerifier()
const state = openid.randomState()
const to = openid.buildAuthorizationUrl(config, {
  redirect_uri: redirect,
  scope: 'openid profile email offline_access',
  code_challenge: await openid.calculatePKCECodeChallenge(verifier),
  code_challenge_method: 'S256',
  state,
})
console.log(`Open ${to.href}`)

const [request, response] = await once(server, 'request')
const tokens = await openid.authorizationCodeGrant(config, new URL(request.url, redirect), {
  pkceCodeVerifier: verifier,
  expectedState: state,
})
response.end('You are signed in. Close this page.')
server.close()
const { name } = await openid.fetchUserInfo(config, tokens.access_token, tokens.claims().sub)
console.log(`Hello, ${name}`)
// Keep tokens.refresh_token where the system keeps secrets: Keychain, Credential Manager, Secret Service.
