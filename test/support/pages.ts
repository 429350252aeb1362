import { makeFormToken } from '../../src/pages/forms.ts'
import { sessionCookie } from '../../src/sessions/cookie.ts'
import type { Role } from '../../src/users/models.ts'
import { type Answer, type Api, PASSWORD } from './api.ts'
import { letApp, REDIRECT } from './oauth.ts'
import { newPerson } from './requests.ts'

/**
 * Who may see each page, like WHO for the routes of the API. Everybody else is asked to sign in, or told that they
 * may not. A page that is missing here fails a test.
 */
export const PAGES: Record<string, 'anyone' | 'signed in' | 'manager' | 'admin'> = {
  'GET /': 'anyone',
  'GET /.well-known/change-password': 'anyone',
  'GET /:brand{brand\\.[0-9a-f]+\\.css}': 'anyone',
  'GET /oauth/authorize': 'anyone',
  'POST /oauth/authorize': 'anyone',
  'POST /consent': 'anyone',
  'GET /oauth/logout': 'anyone',
  'POST /oauth/logout': 'anyone',
  'GET /device': 'signed in',
  'POST /device': 'signed in',
  'GET /signin': 'anyone',
  'POST /signin': 'anyone',
  'GET /signup': 'anyone',
  'POST /signup': 'anyone',
  'GET /signup/resend': 'anyone',
  'GET /signup/check': 'anyone',
  'POST /signup/code': 'anyone',
  'POST /signup/again': 'anyone',
  'GET /forgot': 'anyone',
  'POST /forgot': 'anyone',
  'GET /signin/code': 'anyone',
  'POST /signin/code': 'anyone',
  'POST /signin/code/confirm': 'anyone',
  'GET /signin/with/:provider': 'anyone',
  'GET /signin/with/:provider/callback': 'anyone',
  'POST /signin/with/:provider/callback': 'anyone',
  'GET /signin/with/:provider/join': 'anyone',
  'POST /signin/with/:provider/join': 'anyone',
  'GET /signin/with/:provider/link': 'signed in',
  'POST /signin/with/:provider/link': 'signed in',
  'POST /account/security/identities/:provider': 'signed in',
  'POST /account/security/identities/:id/remove': 'signed in',
  'GET /signin/factor': 'anyone',
  'POST /signin/factor': 'anyone',
  'POST /signin/passkey': 'anyone',
  'POST /account/security/totp': 'signed in',
  'POST /account/security/totp/confirm': 'signed in',
  'POST /account/security/totp/remove': 'signed in',
  'POST /account/security/recovery_codes': 'signed in',
  'POST /account/security/recovery_codes/download': 'signed in',
  'POST /account/security/passkeys/new': 'signed in',
  'POST /account/security/passkeys': 'signed in',
  'POST /account/security/passkeys/:id/rename': 'signed in',
  'POST /account/security/passkeys/:id/remove': 'signed in',
  'GET /terms': 'signed in',
  'POST /terms': 'signed in',
  'GET /signin/again': 'signed in',
  'POST /signin/again': 'signed in',
  'POST /signin/again/mail': 'signed in',
  'POST /signout': 'signed in',
  'GET /account': 'signed in',
  'POST /account': 'signed in',
  'POST /account/language': 'signed in',
  'POST /account/email': 'signed in',
  'POST /account/verification': 'signed in',
  'GET /account/security': 'signed in',
  'POST /account/password': 'signed in',
  'GET /account/sessions': 'signed in',
  'POST /account/sessions/end': 'signed in',
  'POST /account/sessions/others': 'signed in',
  'GET /account/apps': 'signed in',
  'POST /account/apps/change': 'signed in',
  'POST /account/apps/remove': 'signed in',
  'GET /account/apps/keys/new': 'signed in',
  'POST /account/apps/keys/new': 'signed in',
  'POST /account/apps/keys/:id/rotate': 'signed in',
  'POST /account/apps/keys/:id/revoke': 'signed in',
  'GET /account/activity': 'signed in',
  'GET /account/data': 'signed in',
  'GET /account/data/export': 'signed in',
  'POST /account/data/leave': 'signed in',
  'GET /admin': 'manager',
  'GET /admin/people': 'manager',
  'GET /admin/people/bulk': 'manager',
  'POST /admin/people/bulk': 'manager',
  'POST /admin/people/bulk/run': 'manager',
  'GET /admin/people/import': 'admin',
  'POST /admin/people/import': 'admin',
  'GET /admin/people/new': 'manager',
  'POST /admin/people/new': 'manager',
  'GET /admin/people/:id': 'manager',
  'POST /admin/people/:id': 'manager',
  'POST /admin/people/:id/disable': 'manager',
  'POST /admin/people/:id/enable': 'manager',
  'POST /admin/people/:id/end_sessions': 'manager',
  'POST /admin/people/:id/reset_factors': 'manager',
  'POST /admin/people/:id/delete': 'admin',
  'POST /admin/people/:id/restore': 'admin',
  'POST /admin/people/:id/erase': 'admin',
  'GET /admin/people/export': 'admin',
  'POST /admin/people/:id/unlock': 'manager',
  'POST /admin/people/:id/send_reset': 'manager',
  'GET /admin/activity/export': 'manager',
  'POST /admin/system/mails/:id/retry': 'admin',
  'POST /admin/people/:id/send_verification': 'manager',
  'GET /admin/people/:id/export': 'admin',
  'GET /admin/invitations': 'manager',
  'POST /admin/invitations': 'manager',
  'POST /admin/invitations/:id/resend': 'manager',
  'POST /admin/invitations/:id/withdraw': 'manager',
  'GET /admin/apps': 'admin',
  'GET /admin/apps/new': 'admin',
  'POST /admin/apps/new': 'admin',
  'GET /admin/apps/:id': 'admin',
  'POST /admin/apps/:id': 'admin',
  'POST /admin/apps/:id/secret': 'admin',
  'POST /admin/apps/:id/take_over': 'admin',
  'POST /admin/apps/:id/logouts/retry': 'admin',
  'POST /admin/apps/:id/delete': 'admin',
  'GET /admin/webhooks': 'admin',
  'GET /admin/webhooks/new': 'admin',
  'POST /admin/webhooks/new': 'admin',
  'GET /admin/webhooks/:id': 'admin',
  'POST /admin/webhooks/:id': 'admin',
  'POST /admin/webhooks/:id/secret': 'admin',
  'POST /admin/webhooks/:id/test': 'admin',
  'POST /admin/webhooks/:id/retry': 'admin',
  'POST /admin/webhooks/:id/delete': 'admin',
  'GET /admin/blocked': 'admin',
  'POST /admin/blocked': 'admin',
  'POST /admin/blocked/look_up': 'admin',
  'POST /admin/blocked/remove': 'admin',
  'GET /admin/activity': 'manager',
  'GET /admin/system': 'admin',
}

type Visit = (
  method: string,
  path: string,
  fields?: Record<string, string>,
  headers?: Record<string, string>,
) => Promise<Answer>

/** A browser, with somebody's session or without one. Its forms carry the token that the pages would give it. */
export async function openBrowser(
  api: Api,
  somebody?: { id: string },
  { provedSecondsAgo = 0 } = {},
): Promise<Visit> {
  const config = api.config()
  const given = somebody ? await signedIn(api, somebody, provedSecondsAgo) : stranger()
  let { cookie } = given
  return async (method, path, fields = {}, more = {}) => {
    const form_token = makeFormToken({ config, now: Date.now() }, given.binding)
    const raw = new URLSearchParams({ form_token, ...fields })
    const headers = { cookie, ...more }
    const answer = await api.send(method, path, { headers, ...(method === 'POST' && { raw }) })
    const [, renewed] = /(?:^|, )(__Host-roster=ck_[^;]+)/.exec(answer.headers.get('set-cookie') ?? '') ?? []
    if (somebody && renewed) cookie = renewed
    return answer
  }
}

function stranger() {
  const binding = crypto.randomUUID()
  return { binding, cookie: `__Host-roster-browser=${binding}` }
}

/** The cookie of a session for somebody, without the price of a hash. */
export async function signedIn(api: Api, { id }: { id: string }, provedSecondsAgo = 0) {
  const { sessionId: sid } = await api.signIn({ id })
  const [row] = await api.sql('SELECT role, token_epoch FROM users WHERE id = ?', [id])
  const of = { sub: id, role: row!.role as Role, epoch: Number(row!.token_epoch) }
  const session = { sid, turn: 0, ...of, stays: true }
  const auth_time = Math.floor(Date.now() / 1000) - provedSecondsAgo
  const [cookie] = sessionCookie(api.config().keys.session_cookie, { ...session, auth_time }).split(';')
  return { binding: sid, cookie: cookie! }
}

interface Given {
  id?: string
  query?: string
  fields?: Record<string, string>
}

/** One good request of every page, in an order in which each still finds what it is about. */
export async function everyPage(api: Api, note: (route: string, answer: Answer) => unknown): Promise<void> {
  const by = async (somebody?: { id: string }) => {
    const browser = await openBrowser(api, somebody)
    return async (route: string, { id = '', query = '', fields = {} }: Given = {}) => {
      const [method, pattern] = route.split(' ') as [string, string]
      const answer = await browser(
        method,
        pattern.replace(':id', id).replace(':provider', 'corp') + query,
        fields,
      )
      note(route, answer)
      return answer
    }
  }
  const pagesFor = (beginning: RegExp) => Object.keys(PAGES).filter((route) => beginning.test(route))

  const asNobody = await by()
  for (const route of pagesFor(
    /^GET (?!\/account|\/device|\/admin|\/signin\/again|\/terms|\/signin\/with\/.*link)/,
  ))
    await asNobody(route)
  const eve = newPerson()
  await asNobody('POST /signup', { fields: eve })
  await asNobody('POST /signup/again', { fields: { email: eve.email } })
  await asNobody('POST /signup/code', { fields: { email: eve.email, code: '00000000' } })
  await asNobody('POST /signin', { fields: { email: eve.email, password: PASSWORD } })
  await asNobody('POST /forgot', { fields: { email: eve.email } })
  await asNobody('POST /signin/code', { fields: { email: eve.email } })
  await asNobody('POST /signin/code/confirm', { fields: { email: eve.email, code: '00000000' } })
  await asNobody('POST /signin/with/:provider/callback')
  await asNobody('POST /signin/with/:provider/join', { fields: { name: 'Eve' } })
  await asNobody('POST /signin/factor', { fields: { code: '000000' } })
  await asNobody('POST /signin/passkey', { fields: { credential: '{}' } })
  await asNobody('POST /oauth/authorize', { fields: { client_id: 'x' } })
  await asNobody('POST /consent')
  await asNobody('POST /oauth/logout')

  const ada = await api.person()
  const asAda = await by(ada)
  for (const route of pagesFor(/^GET (\/account|\/device|\/signin\/again|\/terms|\/signin\/with\/.*link)/))
    await asAda(route)
  await asAda('POST /terms')
  await asAda('POST /device', { fields: { code: 'BCDF-GHJK' } })
  await asAda('POST /signin/with/:provider/link')
  await asAda('POST /account/security/identities/:provider')
  await asAda('POST /account/security/identities/:id/remove', { id: crypto.randomUUID() })
  const moved = { new_email: newPerson().email, current_password: PASSWORD }
  const changed = { current_password: PASSWORD, new_password: 'nine green bears run' }
  await asAda('POST /account', { fields: { name: 'Grace' } })
  await asAda('POST /account/language', { fields: { locale: 'de' } })
  await asAda('POST /account/verification')
  await asAda('POST /account/email', { fields: moved })
  await asAda('POST /account/sessions/end', { fields: { id: crypto.randomUUID() } })
  const { grantId } = await letApp(api, ada, { scope: 'openid email' })
  await asAda('GET /account/apps')
  await asAda('POST /account/apps/change', { fields: { id: grantId, 'keep.openid': 'on' } })
  await asAda('POST /account/apps/remove', { fields: { id: grantId } })
  await api.sql('UPDATE users SET email_verified_at = 1 WHERE id = ?', [ada.id])
  await asAda('GET /account/apps/keys/new')
  await asAda('POST /account/apps/keys/new', { fields: { name: 'Report', days: '90' } })
  const [key] = await api.sql('SELECT id FROM api_keys WHERE user_id = ?', [ada.id])
  await asAda('POST /account/apps/keys/:id/rotate', { id: String(key!.id) })
  await asAda('POST /account/apps/keys/:id/revoke', { id: String(key!.id) })
  await asAda('POST /signin/again', { fields: { password: PASSWORD } })
  await asAda('POST /signin/again/mail')
  await (await by(ada))('POST /signout')
  await (await by(ada))('POST /account/sessions/others')
  await (await by(ada))('POST /account/password', { fields: changed })
  await (await by(ada))('POST /account/data/leave', { fields: { password: changed.new_password } })

  const asGrace = await by(await api.person({ email_verified_at: 1, password_hash: null }))
  const passkey = { id: crypto.randomUUID(), fields: { name: 'Phone' } }
  const { text } = await asGrace('POST /account/security/totp')
  const [, seed_digest = ''] = /name="seed_digest" value="([^"]+)"/.exec(text) ?? []
  await asGrace('POST /account/security/totp/confirm', { fields: { code: '000000', seed_digest } })
  await asGrace('POST /account/security/totp/remove')
  await asGrace('POST /account/security/recovery_codes')
  await asGrace('POST /account/security/recovery_codes/download', { fields: { codes: 'a\nb' } })
  await asGrace('POST /account/security/passkeys/new')
  await asGrace('POST /account/security/passkeys', { fields: { credential: '{}', name: 'Phone' } })
  await asGrace('POST /account/security/passkeys/:id/rename', passkey)
  await asGrace('POST /account/security/passkeys/:id/remove', passkey)

  const asAdmin = await by(await api.person({ role: 'admin' }))
  const { id, email } = await api.person({ password_hash: null })
  await asAdmin('GET /admin')
  await asAdmin('GET /admin/people')
  await asAdmin('GET /admin/people', { query: '?q=some&status=active' })
  await asAdmin('GET /admin/people', { query: '?role=user&sort=name' })
  await asAdmin('GET /admin/people/import')
  await asAdmin('POST /admin/people/import', {
    fields: { lines: `email,name\n${newPerson().email},Grace\n,` },
  })
  await asAdmin('GET /admin/people/new')
  await asAdmin('GET /admin/people/:id', { id })
  await asAdmin('GET /admin/people/:id/export', { id })
  await asAdmin('GET /admin/activity', { query: '?action=login.failed&from=2020-01-01' })
  await asAdmin('GET /admin/system')
  await asAdmin('POST /admin/people/new', { fields: newPerson() })
  const picked = { action: 'disable', reason: 'left', [`pick.${id}`]: 'on' }
  await asAdmin('GET /admin/people/bulk')
  await asAdmin('POST /admin/people/bulk', { fields: picked })
  await asAdmin('POST /admin/people/bulk/run', { fields: picked })
  await asAdmin('POST /admin/people/:id', { id, fields: { name: 'Grace' } })
  for (const action of [
    'enable',
    'disable',
    'end_sessions',
    'reset_factors',
    'send_reset',
    'send_verification',
    'unlock',
  ])
    await asAdmin(`POST /admin/people/:id/${action}`, { id, fields: { reason: 'left' } })
  for (const action of ['delete', 'restore', 'erase'])
    await asAdmin(`POST /admin/people/:id/${action}`, { id, fields: { confirm: email } })
  await asAdmin('GET /admin/people/export', { query: '?format=csv' })
  await asAdmin('GET /admin/activity/export', { query: '?format=ndjson' })
  await asAdmin('POST /admin/system/mails/:id/retry', { id: crypto.randomUUID() })
  const app = { name: 'Wiki', kind: 'web', redirect_uris: REDIRECT, 'scope.openid': 'on', 'role.user': 'on' }
  await asAdmin('POST /admin/apps/new', { fields: app })
  await asAdmin('GET /admin/apps/new')
  await asAdmin('GET /admin/apps')
  const [made] = await api.sql('SELECT max(id) AS id FROM oauth_clients')
  const ofApp = { id: String(made!.id) }
  await asAdmin('GET /admin/apps/:id', ofApp)
  await asAdmin('POST /admin/apps/:id', { ...ofApp, fields: app })
  await asAdmin('POST /admin/apps/:id/secret', { ...ofApp, fields: { keep_former_seconds: '3600' } })
  await asAdmin('POST /admin/apps/:id/take_over', ofApp)
  await asAdmin('POST /admin/apps/:id/logouts/retry', ofApp)
  await asAdmin('POST /admin/apps/:id/delete', ofApp)
  const hook = { url: 'https://hooks.roster.example/x', 'type.user.purged': 'on' }
  await asAdmin('POST /admin/webhooks/new', { fields: hook })
  await asAdmin('GET /admin/webhooks/new')
  await asAdmin('GET /admin/webhooks')
  const [hooked] = await api.sql('SELECT max(id) AS id FROM webhooks')
  const ofHook = { id: String(hooked!.id) }
  await asAdmin('POST /admin/webhooks/:id/test', ofHook)
  const [tested] = await api.sql('SELECT max(id) AS id FROM webhook_deliveries')
  await asAdmin('POST /admin/webhooks/:id/retry', { ...ofHook, fields: { sequence: String(tested!.id) } })
  await asAdmin('GET /admin/webhooks/:id', ofHook)
  await asAdmin('POST /admin/webhooks/:id', { ...ofHook, fields: hook })
  await asAdmin('POST /admin/webhooks/:id/secret', { ...ofHook, fields: { keep_former_seconds: '3600' } })
  await asAdmin('POST /admin/webhooks/:id/delete', ofHook)
  await asAdmin('POST /admin/blocked', { fields: { entries: 'spam.example\n192.0.2.0/24' } })
  await asAdmin('GET /admin/blocked')
  const look = await asAdmin('POST /admin/blocked/look_up', { fields: { covers: 'eve@much.spam.example' } })
  await asAdmin('GET /admin/blocked', { query: new URL(look.headers.get('location')!, 'http://x').search })
  await asAdmin('POST /admin/blocked/look_up', { fields: { covers: 'nobody' } })
  const gone = await asAdmin('POST /admin/blocked/remove', { fields: { entry: 'spam.example' } })
  await asAdmin('GET /admin/blocked', { query: new URL(gone.headers.get('location')!, 'http://x').search })
  const invited = newPerson().email
  await asAdmin('GET /admin/invitations')
  await asAdmin('POST /admin/invitations', { fields: { emails: invited, role: 'user' } })
  const [invitation] = await api.sql('SELECT id FROM invitations WHERE email = ?', [invited])
  await asAdmin('POST /admin/invitations/:id/resend', { id: String(invitation?.id) })
  await asAdmin('POST /admin/invitations/:id/withdraw', { id: String(invitation?.id) })
}
