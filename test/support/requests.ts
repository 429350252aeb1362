import { v7 as uuidv7 } from 'uuid'
import { expect } from 'vitest'
import { MAX_FAILURES_IN_A_ROW } from '../../src/throttle/limits.ts'
import type { Role } from '../../src/users/models.ts'
import { type Api, linkIn, PASSWORD } from './api.ts'
import { addPasskey, addTotp, answerOf, challengeOf } from './factors.ts'
import { withProviders } from './identities.ts'
import { codeIn } from './mails.ts'
import { requestsOfApps, WHO_OF_APPS } from './oauth.ts'
import { requestsOfWebhooks, WHO_OF_WEBHOOKS } from './webhook-requests.ts'

/**
 * Who gets through each route: `anyone`, whoever is `signed in`, a `manager` and above, or an `admin`. A route that
 * is missing here fails the first test.
 */
export const WHO: Record<string, 'anyone' | 'signed in' | 'manager' | 'admin'> = {
  'GET /health': 'anyone',
  'GET /ready': 'anyone',
  'GET /.well-known/jwks.json': 'anyone',
  'GET /.well-known/oauth-authorization-server': 'anyone',
  'GET /openapi.json': 'anyone',
  'GET /docs': 'anyone',
  'GET /problems/:code': 'anyone',
  'POST /v1/auth/signup': 'anyone',
  'POST /v1/auth/login': 'anyone',
  'POST /v1/auth/login/second_factor': 'anyone',
  'POST /v1/auth/login/second_factor/options': 'anyone',
  'POST /v1/auth/login/passkey/options': 'anyone',
  'POST /v1/auth/login/passkey': 'anyone',
  'POST /v1/auth/login/email_code': 'anyone',
  'POST /v1/auth/login/email_code/confirm': 'anyone',
  'GET /v1/auth/identity_providers': 'anyone',
  'GET /v1/auth/identities': 'signed in',
  'POST /v1/auth/identities/:id': 'signed in',
  'DELETE /v1/auth/identities/:id': 'signed in',
  'GET /.well-known/webauthn': 'anyone',
  'GET /.well-known/passkey-endpoints': 'anyone',
  'POST /v1/auth/passkeys/options': 'signed in',
  'POST /v1/auth/passkeys': 'signed in',
  'PATCH /v1/auth/passkeys/:id': 'signed in',
  'DELETE /v1/auth/passkeys/:id': 'signed in',
  'POST /v1/auth/reauthenticate/options': 'signed in',
  'POST /v1/auth/reauthenticate/mail_code': 'signed in',
  'GET /v1/auth/factors': 'signed in',
  'POST /v1/auth/factors/totp': 'signed in',
  'POST /v1/auth/factors/totp/confirm': 'signed in',
  'DELETE /v1/auth/factors/totp': 'signed in',
  'POST /v1/auth/factors/mail_code': 'signed in',
  'POST /v1/auth/factors/recovery_codes': 'signed in',
  'DELETE /v1/users/:id/factors': 'manager',
  'POST /v1/auth/refresh_token': 'anyone',
  'POST /v1/auth/verify_email': 'anyone',
  'POST /v1/auth/resend_verification': 'anyone',
  'POST /v1/auth/forgot_password': 'anyone',
  'POST /v1/auth/reset_password': 'anyone',
  'POST /v1/auth/confirm_email_change': 'anyone',
  'POST /v1/auth/approve_email_change': 'anyone',
  'POST /v1/auth/undo_email_change': 'anyone',
  'POST /v1/auth/accept_invitation': 'anyone',
  'POST /v1/auth/unlock_account': 'anyone',
  'POST /v1/auth/reopen_account': 'anyone',
  'POST /v1/auth/disown_session': 'anyone',
  'POST /v1/auth/disown_factor': 'anyone',
  'GET /links/:purpose': 'anyone',
  'POST /links/:purpose': 'anyone',
  'POST /v1/auth/logout_all': 'signed in',
  'POST /v1/auth/change_email': 'signed in',
  'POST /v1/auth/change_password': 'signed in',
  'POST /v1/auth/reauthenticate': 'signed in',
  'GET /v1/auth/sessions': 'signed in',
  'DELETE /v1/auth/sessions/:id': 'signed in',
  'GET /v1/users/me': 'signed in',
  'PATCH /v1/users/me': 'signed in',
  'DELETE /v1/users/me': 'signed in',
  'GET /v1/users/me/activity': 'signed in',
  'GET /v1/users/me/export': 'signed in',
  'GET /v1/users': 'manager',
  'POST /v1/users': 'manager',
  'GET /v1/users/:id': 'manager',
  'PATCH /v1/users/:id': 'manager',
  'DELETE /v1/users/:id': 'admin',
  'POST /v1/users/:id/restore': 'admin',
  'POST /v1/users/:id/disable': 'manager',
  'POST /v1/users/:id/enable': 'manager',
  'POST /v1/users/:id/unlock': 'manager',
  'POST /v1/users/:id/send_reset': 'manager',
  'POST /v1/users/:id/send_verification': 'manager',
  'GET /v1/users/:id/export': 'admin',
  'GET /v1/users/:id/sessions': 'manager',
  'DELETE /v1/users/:id/sessions': 'manager',
  'GET /v1/users/:id/activity': 'manager',
  'GET /v1/invitations': 'manager',
  'POST /v1/invitations': 'manager',
  'POST /v1/invitations/:id/resend': 'manager',
  'DELETE /v1/invitations/:id': 'manager',
  'GET /v1/signup_blocks': 'admin',
  'PATCH /v1/signup_blocks': 'admin',
  'GET /v1/activity': 'manager',
  'GET /v1/stats': 'manager',
  'POST /v1/users/bulk': 'manager',
  'POST /v1/users/import': 'admin',
  'POST /v1/invitations/bulk': 'manager',
  'GET /v1/users/export': 'admin',
  'GET /v1/activity/export': 'manager',
  'GET /v1/mails': 'admin',
  'POST /v1/mails/:id/retry': 'admin',
  'GET /v1/cleanup/runs': 'admin',
  ...WHO_OF_APPS,
  ...WHO_OF_WEBHOOKS,
}

/** Enables every way to sign in that is off by default. */
export const ALL_WAYS_IN = { EMAIL_CODE_SIGNIN: 'on', ...withProviders() }

/** The code of a sign-in mail, with the token of whoever asked for it. */
export async function loginCode(api: Api, email: string): Promise<{ login_token: string; code: string }> {
  const asked = await api.send<{ login_token: string }>('POST', '/v1/auth/login/email_code', {
    body: { email },
  })
  expect(asked.status, asked.text).toBe(202)
  const [mail] = await api.mailsTo(email)
  return { login_token: asked.body.login_token, code: codeIn(mail!) }
}

export const newPerson = (role?: Role) => ({
  email: `${crypto.randomUUID()}@people.test`,
  password: PASSWORD,
  name: 'Grace',
  ...(role && { role }),
})

const changeOfEmail = () => ({ new_email: newPerson().email, current_password: PASSWORD })

type Request = [path: string, body?: unknown]

/** A body as it is sent: JSON, unless it has its own type. */
export const asSent = (body: unknown) =>
  body instanceof URLSearchParams || body instanceof Blob ? { raw: body } : { body }

/** One good request of every route, by somebody who may send it; `ada` is the person it is about. */
export function goodRequests(
  open: () => Api,
): Record<string, (ada: { id: string; email: string }) => Promise<Request>> {
  const signInAs = async (somebody: { id: string }) => (await open().signIn(somebody)).token

  /** The token of the mail that a route sends to `to`; `by` asks for it, where that matters. */
  async function mailed(to: { email: string }, route: string, body: object, by?: { id: string }) {
    const token = by && (await signInAs(by))
    expect((await open().send('POST', `/v1/auth/${route}`, { token, body })).status).toBe(202)
    return linkIn((await open().mailsTo(to.email))[0]!).token
  }

  const verify = ({ id }: { id: string }) =>
    open().sql('UPDATE users SET email_verified_at = 1 WHERE id = ?', [id])

  /** What confirms an address that nobody has confirmed yet. */
  async function verification(ada: { id: string; email: string }) {
    await open().sql('UPDATE users SET email_verified_at = NULL WHERE id = ?', [ada.id])
    return {
      token: await mailed(ada, 'resend_verification', { email: ada.email }),
      password: PASSWORD,
    }
  }

  async function invited() {
    const body = { email: newPerson().email }
    const answer = await open().send('POST', '/v1/invitations', {
      token: await signInAs(await open().person({ role: 'admin' })),
      body,
    })
    return answer.body as { id: string; email: string }
  }

  return {
    'GET /health': async () => ['/health'],
    'GET /ready': async () => ['/ready'],
    'GET /.well-known/jwks.json': async () => ['/.well-known/jwks.json'],
    'GET /.well-known/oauth-authorization-server': async () => ['/.well-known/oauth-authorization-server'],
    'GET /openapi.json': async () => ['/openapi.json'],
    'GET /docs': async () => ['/docs'],
    'GET /problems/:code': async () => ['/problems/not_found'],
    'POST /v1/auth/signup': async () => ['/v1/auth/signup', newPerson()],
    'POST /v1/auth/login': async ({ email }) => ['/v1/auth/login', { email, password: PASSWORD }],
    'POST /v1/auth/login/second_factor': async (ada) => {
      const { recoveryCodes } = await addTotp(open(), ada)
      const { challenge } = await challengeOf(open(), { ...ada, password: PASSWORD })
      return ['/v1/auth/login/second_factor', { challenge, recovery_code: recoveryCodes[0] }]
    },
    'POST /v1/auth/login/second_factor/options': async (ada) => {
      await addPasskey(open(), ada)
      const { challenge } = await challengeOf(open(), { ...ada, password: PASSWORD })
      return ['/v1/auth/login/second_factor/options', { challenge }]
    },
    'POST /v1/auth/login/passkey/options': async () => ['/v1/auth/login/passkey/options'],
    'POST /v1/auth/login/passkey': async (ada) => {
      const passkey = await addPasskey(open(), ada)
      return ['/v1/auth/login/passkey', await answerOf(open(), passkey, '/v1/auth/login/passkey/options')]
    },
    'POST /v1/auth/login/email_code': async ({ email }) => ['/v1/auth/login/email_code', { email }],
    'POST /v1/auth/login/email_code/confirm': async ({ email }) => [
      '/v1/auth/login/email_code/confirm',
      await loginCode(open(), email),
    ],
    'GET /v1/auth/identity_providers': async () => ['/v1/auth/identity_providers'],
    'GET /v1/auth/identities': async () => ['/v1/auth/identities'],
    'GET /.well-known/webauthn': async () => ['/.well-known/webauthn'],
    'GET /.well-known/passkey-endpoints': async () => ['/.well-known/passkey-endpoints'],
    'POST /v1/auth/passkeys/options': async () => ['/v1/auth/passkeys/options'],
    'POST /v1/auth/reauthenticate/options': async () => ['/v1/auth/reauthenticate/options'],
    'GET /v1/auth/factors': async () => ['/v1/auth/factors'],
    'POST /v1/auth/factors/totp': async () => ['/v1/auth/factors/totp'],
    'DELETE /v1/users/:id/factors': async ({ id }) => [`/v1/users/${id}/factors`],
    'POST /v1/auth/refresh_token': async (ada) => [
      '/v1/auth/refresh_token',
      { refresh_token: (await open().signIn(ada)).refreshToken },
    ],
    'POST /v1/auth/logout': async () => ['/v1/auth/logout'],
    'POST /v1/auth/logout_all': async () => ['/v1/auth/logout_all'],
    'POST /v1/auth/change_password': async () => [
      '/v1/auth/change_password',
      { current_password: PASSWORD, new_password: 'nine green bears run' },
    ],
    'POST /v1/auth/reauthenticate': async () => ['/v1/auth/reauthenticate', { password: PASSWORD }],
    'POST /v1/auth/resend_verification': async ({ email }) => ['/v1/auth/resend_verification', { email }],
    'POST /v1/auth/verify_email': async (ada) => ['/v1/auth/verify_email', await verification(ada)],
    'POST /v1/auth/forgot_password': async ({ email }) => ['/v1/auth/forgot_password', { email }],
    'POST /v1/auth/reset_password': async (ada) => [
      '/v1/auth/reset_password',
      {
        token: await mailed(ada, 'forgot_password', { email: ada.email }),
        new_password: 'nine green bears run',
      },
    ],
    'POST /v1/auth/change_email': async () => ['/v1/auth/change_email', changeOfEmail()],
    'POST /v1/auth/confirm_email_change': async (ada) => {
      await verify(ada)
      const change = changeOfEmail()
      const token = await mailed({ ...ada, email: change.new_email }, 'change_email', change, ada)
      return ['/v1/auth/confirm_email_change', { token }]
    },
    'POST /v1/auth/approve_email_change': async (ada) => {
      await verify(ada)
      const change = changeOfEmail()
      const token = await mailed({ email: change.new_email }, 'change_email', change, ada)
      return [
        '/v1/auth/approve_email_change',
        { token: await mailed(ada, 'confirm_email_change', { token }) },
      ]
    },
    'POST /v1/auth/undo_email_change': async (ada) => {
      await verify(ada)
      return [
        '/v1/auth/undo_email_change',
        { token: await mailed(ada, 'change_email', changeOfEmail(), ada) },
      ]
    },
    'POST /v1/auth/accept_invitation': async () => {
      const { email } = await invited()
      const { token } = linkIn((await open().mailsTo(email))[0]!)
      return ['/v1/auth/accept_invitation', { token, password: 'nine green bears run' }]
    },
    'POST /v1/auth/unlock_account': async ({ id, email }) => {
      const locked = [MAX_FAILURES_IN_A_ROW - 1, Date.now(), id]
      await open().sql('UPDATE users SET failed_logins = ?, email_verified_at = ? WHERE id = ?', locked)
      await open().send('POST', '/v1/auth/login', { body: { email, password: 'nine green bears run' } })
      const [mail] = await open().mailsTo(email)
      const link = new URL(/^http\S+$/m.exec(mail!.text)![0])
      return ['/v1/auth/unlock_account', { token: link.searchParams.get('token') }]
    },
    'POST /v1/auth/reopen_account': async (ada) => {
      await verify(ada)
      const body = { password: PASSWORD }
      await open().send('DELETE', '/v1/users/me', { token: (await open().signIn(ada)).token, body })
      const { token } = linkIn((await open().mailsTo(ada.email))[0]!)
      return ['/v1/auth/reopen_account', { token }]
    },
    'POST /v1/auth/disown_session': async (ada) => {
      await verify(ada)
      for (let i = 0; i < 2; i++) await open().logIn({ ...ada, password: PASSWORD })
      const { token } = linkIn((await open().mailsTo(ada.email))[0]!)
      return ['/v1/auth/disown_session', { token }]
    },
    'POST /v1/auth/disown_factor': async (ada) => {
      await verify(ada)
      await addTotp(open(), ada)
      const { token } = await open().signIn(ada)
      expect((await open().send('DELETE', '/v1/auth/factors/totp', { token })).status).toBe(204)
      const mail = linkIn((await open().mailsTo(ada.email))[0]!)
      return ['/v1/auth/disown_factor', { token: mail.token }]
    },
    'GET /links/:purpose': async () => ['/links/verify_email?token=x'],
    'POST /links/:purpose': async (ada) => [
      '/links/verify_email',
      new URLSearchParams(await verification(ada)),
    ],
    'GET /v1/invitations': async () => ['/v1/invitations'],
    'POST /v1/invitations': async () => ['/v1/invitations', { email: newPerson().email }],
    'POST /v1/invitations/:id/resend': async () => [`/v1/invitations/${(await invited()).id}/resend`],
    'DELETE /v1/invitations/:id': async () => [`/v1/invitations/${(await invited()).id}`],
    'GET /v1/users/me/export': async () => ['/v1/users/me/export'],
    'GET /v1/users/:id/export': async ({ id }) => [`/v1/users/${id}/export`],
    'GET /v1/auth/sessions': async () => ['/v1/auth/sessions'],
    'GET /v1/users/me': async () => ['/v1/users/me'],
    'PATCH /v1/users/me': async () => ['/v1/users/me', { name: 'Grace' }],
    'DELETE /v1/users/me': async () => ['/v1/users/me', { password: PASSWORD }],
    'GET /v1/users/me/activity': async () => ['/v1/users/me/activity'],
    'GET /v1/users': async () => ['/v1/users?limit=100'],
    'POST /v1/users': async () => ['/v1/users', newPerson()],
    'GET /v1/users/:id': async ({ id }) => [`/v1/users/${id}`],
    'PATCH /v1/users/:id': async ({ id }) => [`/v1/users/${id}`, { name: 'Grace' }],
    'DELETE /v1/users/:id': async ({ id }) => [`/v1/users/${id}`],
    'POST /v1/users/:id/restore': async ({ id }) => [`/v1/users/${id}/restore`],
    'POST /v1/users/:id/disable': async ({ id }) => [`/v1/users/${id}/disable`, { reason: 'left' }],
    'POST /v1/users/:id/enable': async ({ id }) => [`/v1/users/${id}/enable`],
    'POST /v1/users/:id/unlock': async ({ id }) => [`/v1/users/${id}/unlock`],
    'POST /v1/users/:id/send_reset': async ({ id }) => [`/v1/users/${id}/send_reset`],
    'POST /v1/users/:id/send_verification': async ({ id }) => [`/v1/users/${id}/send_verification`],
    'GET /v1/users/:id/sessions': async ({ id }) => [`/v1/users/${id}/sessions`],
    'DELETE /v1/users/:id/sessions': async ({ id }) => [`/v1/users/${id}/sessions`],
    'GET /v1/users/:id/activity': async ({ id }) => [`/v1/users/${id}/activity`],
    'GET /v1/activity': async () => ['/v1/activity?limit=100'],
    'GET /v1/signup_blocks': async () => ['/v1/signup_blocks'],
    'PATCH /v1/signup_blocks': async () => ['/v1/signup_blocks', { add: [`${uuidv7()}.example`] }],
    ...requestsOfApps(open),
    ...requestsOfWebhooks(open),
    'GET /v1/cleanup/runs': async () => ['/v1/cleanup/runs'],
    'GET /v1/stats': async () => ['/v1/stats'],
    'POST /v1/users/bulk': async ({ id }) => ['/v1/users/bulk', { action: 'disable', ids: [id] }],
    'POST /v1/users/import': async () => {
      const line = JSON.stringify({ email: newPerson().email, external_id: uuidv7() })
      return ['/v1/users/import', new Blob([line], { type: 'application/x-ndjson' })]
    },
    'POST /v1/invitations/bulk': async () => [
      '/v1/invitations/bulk',
      { invitations: [{ email: newPerson().email }] },
    ],
    'GET /v1/users/export': async () => ['/v1/users/export'],
    'GET /v1/activity/export': async () => ['/v1/activity/export?format=ndjson'],
    'GET /v1/mails': async () => ['/v1/mails'],
    'POST /v1/mails/:id/retry': async ({ id }) => {
      const mail = uuidv7()
      await open().sql(
        `INSERT INTO outbox (id, kind, user_id, recipient, recipient_normalized, created_at, expires_at, attempts,
          next_attempt_at, dead_at) VALUES (?, 'password_changed', ?, 'e@e.test', 'e@e.test', 0, 9000000000000, 5, 0, 1)`,
        [mail, id],
      )
      return [`/v1/mails/${mail}/retry`]
    },
  }
}
