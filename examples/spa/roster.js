import * as openid from 'openid-client'

let config
/** Only in memory: a script that gets into the page could read the browser's storage at any time. */
let tokens

/** Once, when the page is loaded. */
export async function open(issuer, clientId, options) {
  config = await openid.discovery(new URL(issuer), clientId, undefined, openid.None(), options)
}

export async function signIn() {
  const verifier = openid.randomPKCECodeVerifier()
  const state = openid.randomState()
  sessionStorage.setItem('signing-in', JSON.stringify({ verifier, state }))
  const to = openid.buildAuthorizationUrl(config, {
    redirect_uri: `${location.origin}/callback`,
    scope: 'openid profile email',
    code_challenge: await openid.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
    state,
  })
  location.assign(to.href)
}

/** On /callback: returns who signed in. */
export async function comeBack() {
  const { verifier, state } = JSON.parse(sessionStorage.getItem('signing-in') ?? '{}')
  sessionStorage.removeItem('signing-in')
  tokens = await openid.authorizationCodeGrant(config, new URL(location.href), {
    pkceCodeVerifier: verifier,
    expectedState: state,
  })
  history.replaceState(null, '', '/')
  return openid.fetchUserInfo(config, tokens.access_token, tokens.claims().sub)
}

/** For your own API, which verifies it. Valid for ten minutes; refreshed half a minute before it expires. */
export async function accessToken() {
  if (tokens.expiresIn() < 30) tokens = await openid.refreshTokenGrant(config, tokens.refresh_token)
  return tokens.access_token
}

export function signOut() {
  const to = openid.buildEndSessionUrl(config, {
    id_token_hint: tokens.id_token,
    post_logout_redirect_uri: `${location.origin}/`,
  })
  tokens = undefined
  location.assign(to.href)
}
