import { createExecutionContext } from 'cloudflare:test'
import { beforeAll, describe, expect, test } from 'vitest'
import { generate, rotateJwtKeys, rotateSecretKeys } from '../scripts/keys.ts'
import { cleanUp } from '../src/cleanup/service.ts'
import { openForCron } from '../src/context.ts'
import { hasForeignKeyOf, sealForeignHash } from '../src/passwords/foreign/sealing.ts'
import type { Webhook } from '../src/webhooks/models.ts'
import type { WebhookWithSecret } from '../src/webhooks/schemas.ts'
import { secretsOf } from '../src/webhooks/secrets.ts'
import { type Api, linkIn, openApi } from './support/api.ts'
import { addTotp, challengeOf, codeOf } from './support/factors.ts'
import { newPerson } from './support/requests.ts'
import { freshUpstreams } from './support/upstreams.ts'

/** What was made under the former keys keeps working under the new ones, while the former are still in the settings. */

let before: Api
let after: Api
let admin: Awaited<ReturnType<Api['quickActor']>>

beforeAll(async () => {
  const { bindings } = await freshUpstreams()
  const old = await generate()
  const publish = await rotateSecretKeys(old.SECRET_KEYS, 'publish')
  const jwt = await rotateJwtKeys(old.JWT_KEYS, 'publish')
  const rotated = {
    SECRET_KEYS: await rotateSecretKeys(publish, 'sign'),
    JWT_KEYS: await rotateJwtKeys(jwt, 'sign'),
  }
  before = openApi({ ...bindings, ...old })
  after = openApi({ ...bindings, ...rotated })
  admin = await before.quickActor({ role: 'admin' })
})

describe('CK2: made under the former key,', () => {
  test('a session continues, by token and by refresh', async () => {
    const ada = await before.quickActor()
    expect((await after.send('GET', '/v1/users/me', { token: ada.token })).status).toBe(200)
    const body = { refresh_token: ada.refreshToken }
    expect((await after.send('POST', '/v1/auth/refresh_token', { body })).status).toBe(200)
  })

  test('MF5: a seed still works, and is moved to the new key by its next use, or by clean-up', async () => {
    const [ada, eve] = [await before.person(), await before.person()]
    const [{ seed }] = [await addTotp(before, ada), await addTotp(before, eve)]
    const keyOf = async ({ id }: { id: string }) =>
      (await after.sql('SELECT key_id FROM factors WHERE user_id = ?', [id]))[0]!.key_id
    const former = await keyOf(ada)
    const { challenge } = await challengeOf(after, ada)
    const used = await after.send('POST', '/v1/auth/login/second_factor', {
      body: { challenge, code: codeOf(seed) },
    })
    expect(used.status).toBe(200)
    expect([await keyOf(ada), await keyOf(eve)]).toEqual([expect.not.stringMatching(String(former)), former])
    await cleanUp(openForCron(after.bindings, createExecutionContext()))
    expect(await keyOf(eve)).toBe(await keyOf(ada))
  })

  test('an imported hash still works, and is moved to the new key by clean-up', async () => {
    const ada = await before.person()
    const hash = '$2a$06$nbu7TNXBePo3K0KQ1OEfQORRjd/iChqJvxNSGwgb2SdYPOGUsR7te'
    const sealed = await sealForeignHash(before.config(), ada.id, hash)
    const stored = async () =>
      (await after.sql('SELECT password_hash FROM users WHERE id = ?', [ada.id]))[0]!.password_hash as string
    await after.sql('UPDATE users SET password_hash = ? WHERE id = ?', [sealed, ada.id])
    await cleanUp(openForCron(after.bindings, createExecutionContext()))
    expect((await stored()).split('$')[2]).not.toBe(sealed.split('$')[2])
    expect(hasForeignKeyOf(await stored(), [after.config().keys.foreign_hash[0]])).toBe(true)
    const body = { email: ada.email, password: 'correct horse battery' }
    expect((await after.send('POST', '/v1/auth/login', { body })).status).toBe(200)
  })

  test('a webhook still works, and its secrets are moved to the new key by the cron job', async () => {
    const body = { url: 'https://hooks.people.test/roster', types: ['user.updated'] }
    const made = await before.send<WebhookWithSecret>('POST', '/v1/webhooks', { token: admin.token, body })
    const path = `/v1/webhooks/${made.body.id}`
    const rotated = await before.send<WebhookWithSecret>('POST', `${path}/secret`, {
      token: admin.token,
      body: {},
    })
    const row = async () =>
      (await after.sql('SELECT * FROM webhooks WHERE id = ?', [made.body.id]))[0] as unknown as Webhook
    const [former] = [await row()]
    const secrets = [rotated.body.secret, made.body.secret]
    expect(await secretsOf(after.config(), former, Date.now())).toEqual(secrets)
    await openForCron(after.bindings, createExecutionContext()).deliverEvents('cron')
    const onlyNew = { ...after.config(), keys: { ...after.config().keys } }
    onlyNew.keys.webhook_secret = [after.config().keys.webhook_secret[0]]
    expect(await secretsOf(onlyNew, former, Date.now())).toEqual([])
    expect(await secretsOf(onlyNew, await row(), Date.now())).toEqual(secrets)
  })

  test('a list continues from its cursor', async () => {
    for (const _ of [1, 2, 3]) await before.person()
    const path = '/v1/users?limit=1'
    type Page = { data: { id: string }[]; pagination: { next_cursor: string } }
    const first = await before.send<Page>('GET', path, { token: admin.token })
    const next = `${path}&cursor=${first.body.pagination.next_cursor}`
    const [same, other] = [
      await before.send<Page>('GET', next, { token: admin.token }),
      await after.send<Page>('GET', next, { token: admin.token }),
    ]
    expect([other.status, other.body.data]).toEqual([200, same.body.data])
  })

  test('a mailed link is valid', async () => {
    const { email } = newPerson()
    await before.send('POST', '/v1/invitations', { token: admin.token, body: { email } })
    const mail = (await before.mailsTo(email))[0]!
    const token = new URL(/^http\S+$/m.exec(mail.text)![0]).searchParams.get('token')
    const body = { token, password: 'nine green bears run' }
    expect((await after.send('POST', '/v1/auth/accept_invitation', { body })).status).toBe(201)
  })

  test('a mailed code is valid, with the token of whoever asked', async () => {
    const ada = await before.person({ email_verified_at: 1 })
    const asked = await before.send('POST', '/v1/auth/forgot_password', { body: { email: ada.email } })
    const { code } = linkIn((await before.mailsTo(ada.email))[0]!)
    const body = { code, request_token: asked.body.request_token, new_password: 'nine green bears run' }
    expect((await after.send('POST', '/v1/auth/reset_password', { body })).status).toBe(204)
  })

  test('a creation that is repeated with its key is recognised', async () => {
    const request = {
      token: admin.token,
      body: newPerson(),
      headers: { 'idempotency-key': crypto.randomUUID() },
    }
    const first = await before.send('POST', '/v1/users', request)
    const again = await after.send('POST', '/v1/users', request)
    expect([again.status, again.text]).toEqual([201, first.text])
  })

  test('a count of failures continues', async () => {
    const { email } = await before.person()
    const wrong = { body: { email, password: 'not the password at all' }, ip: '10.9.8.7' }
    for (let i = 0; i < 10; i++) await before.send('POST', '/v1/auth/login', wrong)
    await before.send('POST', '/v1/auth/login', wrong)
    expect((await before.send('POST', '/v1/auth/login', wrong)).status).toBe(429)
    expect((await after.send('POST', '/v1/auth/login', wrong)).status).toBe(429)
  })
})
