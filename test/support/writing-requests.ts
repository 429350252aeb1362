import { decodeBase32IgnorePadding } from '@oslojs/encoding'
import { DEVICE_CODE } from '../../src/oauth/models.ts'
import { type Answer, type Api, type Options, PASSWORD } from './api.ts'
import { softwarePasskey } from './authenticator.ts'
import { addPasskey, addTotp, answerOf, challengeOf, codeOf, mailedCode, withinOneStep } from './factors.ts'
import { comeFrom, comingFrom, goTo } from './identities.ts'
import { openJar } from './jar.ts'
import { codeIn } from './mails.ts'
import { addApp, letApp, REDIRECT } from './oauth.ts'
import { openBrowser } from './pages.ts'
import { loginCode, newPerson } from './requests.ts'
import { addDelivery, makeWebhook, NEW_WEBHOOK } from './webhook-requests.ts'

interface Person {
  id: string
  email: string
}

/** Prepares what a request needs, and returns the request. */
type Ready = (api: Api, ada: Person) => Promise<() => Promise<Answer>>

const VERIFIER = 'v'.repeat(43)
const form = (fields: Record<string, string>) => ({ raw: new URLSearchParams(fields) })
const fieldOf = (page: string, name: string) =>
  new RegExp(`name="${name}" value="([^"]*)"`).exec(page)?.[1] ?? ''

/** A request of the API by somebody who has just signed in. */
const by = async (api: Api, ada: Person, method: string, path: string, options: Options = {}) => {
  const { token } = await api.signIn(ada)
  return () => api.send(method, path, { token, ...options })
}

const byAdmin = async (api: Api, method: string, path: string, options: Options = {}) =>
  by(api, await api.person({ role: 'admin', password_hash: null }), method, path, options)

const keyOf = async (api: Api, ada: Person) => {
  const { token } = await api.signIn(ada)
  const body = { name: 'Report', permissions: [] }
  return (await api.send<{ id: string }>('POST', '/v1/api_keys', { token, body })).body.id
}

const identityOf = async (api: Api, ada: Person, provider = 'corp') => {
  const id = crypto.randomUUID()
  await api.sql(
    'INSERT INTO identities (id, provider, subject, user_id, created_at) VALUES (?1, ?2, ?1, ?3, 1)',
    [id, provider, ada.id],
  )
  return id
}

async function deviceOf(api: Api) {
  const { client_id } = await addApp(api, { type: 'public', grants: [DEVICE_CODE], redirect_uris: [] })
  const asked = await api.send('POST', '/oauth/device_authorization', form({ client_id, scope: 'openid' }))
  return { client_id, ...(asked.body as Record<'device_code' | 'user_code', string>) }
}

const typed = async (api: Api, ada: Person) => {
  const device = await deviceOf(api)
  const browser = await openBrowser(api, ada)
  const { text } = await browser('POST', '/device', { code: device.user_code })
  const decide = (decision: string) =>
    browser('POST', '/device', { device: fieldOf(text, 'device'), shown: fieldOf(text, 'shown'), decision })
  return { device, decide }
}

/** The consent page of an app that has pushed its request. */
async function askedBy(api: Api, ada: Person) {
  const app = await addApp(api, { type: 'public' })
  const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(VERIFIER))
  const pushed = await api.send<{ request_uri: string }>(
    'POST',
    '/oauth/par',
    form({
      client_id: app.client_id,
      redirect_uri: REDIRECT,
      response_type: 'code',
      scope: 'openid profile',
      code_challenge: Buffer.from(digest).toString('base64url'),
      code_challenge_method: 'S256',
    }),
  )
  const browser = await openBrowser(api, ada)
  const arrival = new URLSearchParams({ client_id: app.client_id, request_uri: pushed.body.request_uri })
  const page = await browser('GET', `/oauth/authorize?${arrival}`)
  const action = /action="(\/consent[^"]*)"/.exec(page.text)![1]!.replaceAll('&amp;', '&')
  return { app, allow: () => browser('POST', action, { decision: 'allow', shown: 'openid profile' }) }
}

/** The last step of signing in with a provider, as somebody with that subject and address there. */
async function arriving(api: Api, provider: string, sub: string, email: string) {
  const jar = openJar(api)
  const { back } = await goTo(jar, provider)
  return () => jar.open(back({ claims: { sub, email, email_verified: true } }))
}

const ofFjord = () => `${crypto.randomUUID()}@fjord.test`
const moveTo = (api: Api, { id }: Person, email: string, verifiedAt: number | null) =>
  api.sql('UPDATE users SET email = ?2, email_normalized = ?2, email_verified_at = ?3 WHERE id = ?1', [
    id,
    email,
    verifiedAt,
  ])

/** Good requests by a user about what is their own, with the token of their newest session. */
export const OWN_REQUESTS: Record<string, Ready> = {
  'ending a session': async (api, ada) => {
    const { sessionId } = await api.signIn(ada)
    return by(api, ada, 'DELETE', `/v1/auth/sessions/${sessionId}`)
  },
  'making an API key': (api, ada) =>
    by(api, ada, 'POST', '/v1/api_keys', { body: { name: 'Report', permissions: [] } }),
  'rotating an API key': async (api, ada) =>
    by(api, ada, 'POST', `/v1/api_keys/${await keyOf(api, ada)}/rotate`),
  'revoking an API key': async (api, ada) => by(api, ada, 'DELETE', `/v1/api_keys/${await keyOf(api, ada)}`),
  'beginning an authenticator app': (api, ada) => by(api, ada, 'POST', '/v1/auth/factors/totp'),
  'confirming an authenticator app': async (api, ada) => {
    const { token } = await api.signIn(ada)
    const { body } = await api.send<{ secret: string }>('POST', '/v1/auth/factors/totp', { token })
    const proof = await mailedCode(api, { ...ada, token })
    await withinOneStep()
    const code = codeOf(decodeBase32IgnorePadding(body.secret))
    return () => api.send('POST', '/v1/auth/factors/totp/confirm', { token, body: { code, ...proof } })
  },
  'a code for a first factor': (api, ada) => by(api, ada, 'POST', '/v1/auth/factors/mail_code'),
  'new recovery codes': async (api, ada) => {
    await addTotp(api, ada)
    return by(api, ada, 'POST', '/v1/auth/factors/recovery_codes')
  },
  'removing an authenticator app': async (api, ada) => {
    await addTotp(api, ada)
    return by(api, ada, 'DELETE', '/v1/auth/factors/totp')
  },
  'removing an authenticator app that was never confirmed': async (api, ada) => {
    await addTotp(api, ada)
    await api.sql('UPDATE factors SET confirmed_at = NULL WHERE user_id = ?', [ada.id])
    return by(api, ada, 'DELETE', '/v1/auth/factors/totp')
  },
  'adding a passkey': async (api, ada) => {
    const { token } = await api.signIn(ada)
    const passkey = await softwarePasskey(api.config().ISSUER)
    const { body } = await api.send<{ challenge_id: string; options: never }>(
      'POST',
      '/v1/auth/passkeys/options',
      { token },
    )
    const credential = passkey.create(body.options)
    const proof = await mailedCode(api, { ...ada, token })
    return () =>
      api.send('POST', '/v1/auth/passkeys', {
        token,
        body: { challenge_id: body.challenge_id, credential, ...proof },
      })
  },
  ...Object.fromEntries(
    [
      ['naming a passkey', 'PATCH', { name: 'Phone' }],
      ['removing a passkey', 'DELETE', undefined],
    ].map(([name, method, body]) => [
      name,
      async (api: Api, ada: Person) => {
        await addPasskey(api, ada)
        const [row] = await api.sql('SELECT id FROM passkeys WHERE user_id = ?', [ada.id])
        return by(api, ada, method as string, `/v1/auth/passkeys/${row!.id}`, body ? { body } : {})
      },
    ]),
  ),
  'proving again by passkey': async (api, ada) => {
    const passkey = await addPasskey(api, ada)
    const { token } = await api.signIn(ada)
    const body = await answerOf(api, passkey, '/v1/auth/reauthenticate/options', { token })
    return () => api.send('POST', '/v1/auth/reauthenticate', { token, body })
  },
  'proving again by password and code': async (api, ada) => {
    const { recoveryCodes } = await addTotp(api, ada)
    const body = { password: PASSWORD, recovery_code: recoveryCodes[0] }
    return by(api, ada, 'POST', '/v1/auth/reauthenticate', { body })
  },
  'a code to prove again by': async (api, ada) => {
    await api.sql('UPDATE users SET password_hash = NULL WHERE id = ?', [ada.id])
    return by(api, ada, 'POST', '/v1/auth/reauthenticate/mail_code')
  },
  'proving again by a mailed code': async (api, ada) => {
    await api.sql('UPDATE users SET password_hash = NULL WHERE id = ?', [ada.id])
    const { token } = await api.signIn(ada)
    const asked = await api.send('POST', '/v1/auth/reauthenticate/mail_code', { token })
    const [mail] = await api.mailsTo(ada.email)
    const mail_code = codeIn(mail!)
    const body = { request_token: asked.body.request_token, mail_code }
    return () => api.send('POST', '/v1/auth/reauthenticate', { token, body })
  },
  'disconnecting a provider': async (api, ada) =>
    by(api, ada, 'DELETE', `/v1/auth/identities/${await identityOf(api, ada)}`),
  'letting an app less': async (api, ada) => {
    const { grantId } = await letApp(api, ada, { scope: 'openid email' })
    return by(api, ada, 'PATCH', `/v1/auth/grants/${grantId}`, { body: { scopes: ['openid'] } })
  },
  'letting an app nothing any more': async (api, ada) => {
    const { grantId } = await letApp(api, ada, { scope: 'openid email' })
    return by(api, ada, 'DELETE', `/v1/auth/grants/${grantId}`)
  },
}

/**
 * Good requests that write, other than the one good request that `goodRequests` has for each route: other grants of a
 * route, what pages send, and what needs more preparation than a path and a body.
 */
export const WRITING_REQUESTS: Record<string, Ready> = {
  ...OWN_REQUESTS,
  'adding a webhook': (api) => byAdmin(api, 'POST', '/v1/webhooks', { body: NEW_WEBHOOK }),
  'changing a webhook': async (api) =>
    byAdmin(api, 'PATCH', `/v1/webhooks/${(await makeWebhook(api)).id}`, {
      body: { types: ['user.purged'] },
    }),
  'another secret of a webhook': async (api) =>
    byAdmin(api, 'POST', `/v1/webhooks/${(await makeWebhook(api)).id}/secret`, { body: {} }),
  'testing a webhook': async (api) =>
    byAdmin(api, 'POST', `/v1/webhooks/${(await makeWebhook(api)).id}/test`),
  'a delivery by hand': async (api) => {
    const { id } = await makeWebhook(api)
    return byAdmin(api, 'POST', `/v1/webhooks/deliveries/${await addDelivery(api, id)}/retry`)
  },
  'removing a webhook': async (api) => byAdmin(api, 'DELETE', `/v1/webhooks/${(await makeWebhook(api)).id}`),
  'blocking some from signing up, and others no longer': async (api, { id }) => {
    await api.sql('INSERT INTO signup_blocks (entry, created_at) VALUES (?, 1)', [`${id}.test`])
    const body = { add: [`${id}.example`], remove: [`${id}.test`] }
    return byAdmin(api, 'PATCH', '/v1/signup_blocks', { body })
  },
  'a second factor by an app': async (api, ada) => {
    const { seed } = await addTotp(api, ada)
    const { challenge } = await challengeOf(api, { ...ada, password: PASSWORD })
    await withinOneStep()
    return () => api.send('POST', '/v1/auth/login/second_factor', { body: { challenge, code: codeOf(seed) } })
  },
  'joining by a mailed code': async (api) => {
    const body = { ...(await loginCode(api, newPerson().email)), name: 'Grace' }
    return () => api.send('POST', '/v1/auth/login/email_code/confirm', { body })
  },
  'taking over by a mailed code': async (api, ada) => {
    await api.sql('UPDATE users SET email_verified_at = NULL WHERE id = ?', [ada.id])
    const body = await loginCode(api, ada.email)
    return () => api.send('POST', '/v1/auth/login/email_code/confirm', { body })
  },
  'connecting a provider': async (api, ada) => {
    const jar = openJar(api)
    await jar.signIn(ada.email)
    const page = await jar.submit('/account/security', '/account/security/identities/corp')
    const place = /href="(\/signin\/with\/[^"]+)"/.exec(page.text)![1]!.replaceAll('&amp;', '&')
    const { back } = comingFrom('corp', (await jar.open(place)).to!)
    return () => jar.open(back({ claims: { sub: crypto.randomUUID(), email: ada.email } }))
  },
  'signing in by a provider': async (api, ada) =>
    arriving(api, 'corp', await identityOf(api, ada), ada.email),
  'joining by a provider': async (api) => {
    const jar = openJar(api)
    const sub = crypto.randomUUID()
    await comeFrom(jar, 'corp', { sub, email: ofFjord(), email_verified: true })
    const form_token = await jar.tokenOf('/signin/with/corp/join')
    return () => jar.post('/signin/with/corp/join', { form_token, name: 'Grace' })
  },
  'taking over by a provider': async (api, ada) => {
    const email = ofFjord()
    await moveTo(api, ada, email, null)
    return arriving(api, 'corp', crypto.randomUUID(), email)
  },
  'being connected by a trusted provider': async (api, ada) => {
    const email = ofFjord()
    await moveTo(api, ada, email, 1)
    return arriving(api, 'trusted', crypto.randomUUID(), email)
  },
  'typing the code of a device': async (api, ada) => {
    const { user_code } = await deviceOf(api)
    const browser = await openBrowser(api, ada)
    return () => browser('POST', '/device', { code: user_code })
  },
  'letting a device': async (api, ada) => {
    const { decide } = await typed(api, ada)
    return () => decide('allow')
  },
  'refusing a device': async (api, ada) => {
    const { decide } = await typed(api, ada)
    return () => decide('deny')
  },
  'the tokens of a device': async (api, ada) => {
    const { device, decide } = await typed(api, ada)
    await decide('allow')
    const { client_id, device_code } = device
    return () => api.send('POST', '/oauth/token', form({ client_id, grant_type: DEVICE_CODE, device_code }))
  },
  'letting an app': async (api, ada) => (await askedBy(api, ada)).allow,
  'the tokens of a code': async (api, ada) => {
    const { app, allow } = await askedBy(api, ada)
    const { headers } = await allow()
    const code = new URL(headers.get('location')!).searchParams.get('code')!
    const fields = {
      client_id: app.client_id,
      grant_type: 'authorization_code',
      code,
      redirect_uri: REDIRECT,
      code_verifier: VERIFIER,
    }
    return () => api.send('POST', '/oauth/token', form(fields))
  },
  'an app’s refresh': async (api, ada) => {
    const app = await addApp(api, { type: 'public', scopes: ['openid'] })
    const { refreshToken } = await letApp(api, ada, { scope: 'openid', app })
    const fields = {
      client_id: app.client_id,
      grant_type: 'refresh_token',
      refresh_token: refreshToken,
    }
    return () => api.send('POST', '/oauth/token', form(fields))
  },
  'an app’s revocation, which others are owed word of': async (api, ada) => {
    const app = await addApp(api, { type: 'public', scopes: ['openid'] })
    await owe(api, app)
    const { refreshToken } = await letApp(api, ada, { scope: 'openid', app })
    return () => api.send('POST', '/oauth/revoke', form({ client_id: app.client_id, token: refreshToken }))
  },
  'a logout, which apps are owed word of': async (api, ada) => {
    const app = await addApp(api, { type: 'public', scopes: ['openid'] })
    await owe(api, app)
    const { token, sessionId } = await api.signIn(ada)
    await letApp(api, ada, { scope: 'openid', app, parent: sessionId })
    return () => api.send('POST', '/v1/auth/logout', { token })
  },
}

/** The receiver does not answer there, so what is owed stays. */
const owe = (api: Api, { client_id }: { client_id: string }) =>
  api.sql('UPDATE oauth_clients SET backchannel_logout_uri = ? WHERE id = ?', [
    'http://localhost:9/gone',
    client_id,
  ])
