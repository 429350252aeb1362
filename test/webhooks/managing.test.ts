import { createExecutionContext } from 'cloudflare:test'
import { beforeAll, describe, expect, test } from 'vitest'
import { openForCron } from '../../src/context.ts'
import { deliverDue } from '../../src/mail/delivery.ts'
import { MAX_WEBHOOKS } from '../../src/webhooks/models.ts'
import type { Delivery, Webhook, WebhookWithSecret } from '../../src/webhooks/schemas.ts'
import { type Api, openApi } from '../support/api.ts'
import { addWebhook, deliver, openWithWebhooks, pausesEnd, rename } from '../support/webhooks.ts'

let api: Api
beforeAll(async () => {
  ;({ api } = await openWithWebhooks())
})
const admin = (given: object = {}) => api.quickActor({ role: 'admin', password_hash: null, ...given })
const path = (id: string, more = '') => `/v1/webhooks/${id}${more}`

describe('An address', () => {
  test.each([
    [' https://hooks.example.com/a ', 'https://hooks.example.com/a'],
    ['HTTPS://Hooks.Example.COM', 'https://hooks.example.com/'],
    ['https://ｈｏｏｋｓ.example.com/a/../b', 'https://hooks.example.com/b'],
  ])('%j is stored in its normal form: %s', async (url, kept) => {
    const { token } = await admin()
    const made = await api.send<WebhookWithSecret>('POST', '/v1/webhooks', {
      token,
      body: { url, types: ['user.deleted'] },
    })
    expect([made.status, made.body.url]).toEqual([201, kept])
    const changed = await api.send<Webhook>('PATCH', path(made.body.id), { token, body: { url } })
    expect([changed.status, changed.body.url]).toEqual([200, kept])
    await api.sql('DELETE FROM webhooks WHERE id = ?', [made.body.id])
  })

  test.each([
    'https://hooks.exa\tmple.com/',
    'https://hooks.example.com\\@evil.example.com/',
    'https://１０.0.0.1/',
    'https://ho\u00adoks.example.com/',
    `https://hooks.example.com/${'ä'.repeat(400)}`,
  ])('%j is refused', async (url) => {
    const { token } = await admin()
    const answer = await api.send('POST', '/v1/webhooks', { token, body: { url, types: ['user.deleted'] } })
    expect([answer.status, answer.body]).toMatchObject([422, { errors: [{ pointer: '/url' }] }])
  })
})

describe('A webhook', () => {
  test('is made, read, changed and removed; its secret is shown once, and stored encrypted', async () => {
    const { token, id: sub } = await admin()
    const body = { url: 'https://hooks.example.com/a?key=1', types: ['user.deleted', 'user.updated'] }
    const made = await api.send<WebhookWithSecret>('POST', '/v1/webhooks', { token, body })
    expect(made.status).toBe(201)
    const { secret, ...webhook } = made.body
    expect(Buffer.from(secret.replace(/^whsec_/, ''), 'base64').length).toBe(32)
    expect(webhook).toMatchObject({ ...body, status: 'active', created_by: sub, former_secret_until: null })
    expect((await api.send('GET', path(webhook.id), { token })).body).toEqual(webhook)
    const { body: list } = await api.send<{ data: Webhook[] }>('GET', '/v1/webhooks', { token })
    expect(list.data[0]).toEqual(webhook)
    const changed = await api.send('PATCH', path(webhook.id), { token, body: { types: ['user.deleted'] } })
    expect(changed.body).toMatchObject({ url: body.url, types: ['user.deleted'] })
    expect(JSON.stringify(await api.sql('SELECT * FROM webhooks'))).not.toContain(secret.slice(6, 30))
    expect((await api.send('DELETE', path(webhook.id), { token })).status).toBe(204)
    for (const [method, more] of [
      ['GET', ''],
      ['PATCH', ''],
      ['DELETE', ''],
      ['POST', '/secret'],
      ['POST', '/test'],
      ['GET', '/deliveries'],
    ] as const) {
      const given =
        method === 'PATCH' ? { body: { types: ['user.deleted'] } } : more === '/secret' ? { body: {} } : {}
      expect((await api.send(method, path(webhook.id, more), { token, ...given })).body.code).toBe(
        'webhook_not_found',
      )
    }
    const history = await api.sql('SELECT action, details FROM user_activity_logs WHERE actor_id = ?', [sub])
    expect(history.map(({ action }) => action)).toEqual([
      'webhook.created',
      'webhook.updated',
      'webhook.deleted',
    ])
    expect(JSON.stringify(history)).not.toContain('key=1')
  })

  test.each([
    ['http://hooks.example.com/'],
    ['https://hooks.example.com:8443/'],
    ['https://10.0.0.1/'],
    ['https://[fd00::1]/'],
    ['https://167772161/'],
    ['https://printer/'],
    ['https://metadata.google.internal/'],
    ['https://hooks.example.com./'],
    ['https://somebody:secret@hooks.example.com/'],
    ['http://localhost:8787/v1/users'],
    ['ftp://hooks.example.com/'],
    ['x'],
  ])('is never at %s', async (url) => {
    const { token } = await admin()
    const { id } = await addWebhook(api, ['user.updated'])
    for (const [method, where] of [
      ['POST', '/v1/webhooks'],
      ['PATCH', path(id)],
    ] as const) {
      const answer = await api.send(method, where, { token, body: { url, types: ['user.updated'] } })
      expect([answer.status, answer.body.errors]).toEqual([
        422,
        [expect.objectContaining({ pointer: '/url', code: 'invalid_uri' })],
      ])
    }
  })

  test('whose address is no longer allowed by the settings is not called any more', async () => {
    const hook = await addWebhook(api, ['user.updated'])
    await api.sql("UPDATE webhooks SET url = 'http://localhost:8787/v1/users' WHERE id = ?", [hook.id])
    const { body } = await api.send<Delivery>('POST', path(hook.id, '/test'), { token: hook.admin.token })
    expect([body.status, body.last_status]).toEqual(['gave_up', null])
  })

  test('has at least one type; types are actions of the history, each once', async () => {
    const { token } = await admin()
    const url = 'https://hooks.example.com/'
    for (const types of [[], ['user.x'], ['user.updated', 'user.updated'], ['webhook.tested'], ['*']])
      expect((await api.send('POST', '/v1/webhooks', { token, body: { url, types } })).status).toBe(422)
  })

  test(`is one of ${MAX_WEBHOOKS} at most`, async () => {
    const { api: own } = await openWithWebhooks()
    const { token } = await own.quickActor({ role: 'admin', password_hash: null })
    await own.sql(
      `INSERT INTO webhooks (id, url, types, secret, created_at, updated_at, version)
        WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) SELECT i, 'https://a.example', '[]', 's', 0, 0, 1 FROM n`,
      [MAX_WEBHOOKS],
    )
    const body = { url: 'https://hooks.example.com/', types: ['user.updated'] }
    expect((await own.send('POST', '/v1/webhooks', { token, body })).body.code).toBe('too_many_webhooks')
  })

  test('can only be changed with a login of the last ten minutes', async () => {
    const hook = await addWebhook(api, ['user.updated'])
    await rename(api, hook.admin, (await api.person({ password_hash: null })).id, 'Ada')
    const [delivery] = await hook.owed()
    const { token } = await api.signIn(hook.admin, Date.now() - 11 * 60_000)
    const body = { url: 'https://hooks.example.com/', types: ['user.updated'] }
    for (const [method, where, given] of [
      ['POST', '/v1/webhooks', body],
      ['PATCH', path(hook.id), body],
      ['DELETE', path(hook.id)],
      ['POST', path(hook.id, '/secret'), {}],
      ['POST', path(hook.id, '/test')],
      ['POST', `/v1/webhooks/deliveries/${delivery!.id}/retry`],
    ] as const) {
      const answer = await api.send(method, where, { token, ...(given && { body: given }) })
      expect([where, answer.body.code]).toEqual([where, 'reauthentication_required'])
    }
    for (const where of ['/v1/webhooks', path(hook.id), path(hook.id, '/deliveries')])
      expect((await api.send('GET', where, { token })).status).toBe(200)
  })

  test('is reported to every administrator, whatever is done with it, and no more often than useful', async () => {
    const { api: own } = await openWithWebhooks()
    const chief = await own.person({ role: 'admin', password_hash: null, email_verified_at: 1 })
    const manager = await own.person({ role: 'manager', password_hash: null, email_verified_at: 1 })
    const hook = await addWebhook(own, ['user.updated'], 204, { email_verified_at: 1 })
    const { token } = hook.admin
    const subjects = async () => (await own.mailsTo(chief.email)).map(({ subject }) => subject).reverse()
    await own.send('PATCH', path(hook.id), { token, body: { types: ['user.deleted'] } })
    await own.send('POST', path(hook.id, '/secret'), { token, body: {} })
    for (let time = 0; time < 5; time++) await own.send('POST', path(hook.id, '/test'), { token })
    await own.send('DELETE', path(hook.id), { token })
    const said = (await subjects()).map(
      (subject) => /added|changed|new secret|tested|removed/.exec(subject)?.[0],
    )
    expect(said).toEqual(['added', 'changed', 'new secret', 'tested', 'tested', 'tested', 'removed'])
    // Who did it, and to which one; of its URL only the host.
    const { host, pathname } = new URL(hook.url)
    for (const { subject, text } of await own.mailsTo(chief.email)) {
      expect([subject, text]).toEqual([
        subject,
        expect.stringMatching(new RegExp(`^${hook.admin.email} of Roster has `, 'm')),
      ])
      expect([subject, text]).toEqual([subject, expect.stringContaining(`at ${host}`)])
      expect(text).not.toContain(pathname)
    }
    expect(await own.mailsTo(manager.email)).toEqual([])
  })

  test('that is saved unchanged is not reported; saving resumes one that rests', async () => {
    const { api: own } = await openWithWebhooks()
    const chief = await own.person({ role: 'admin', password_hash: null, email_verified_at: 1 })
    const hook = await addWebhook(own, ['user.updated', 'user.deleted'])
    const { token } = hook.admin
    const made = await hook.state()
    const history = async () =>
      (await own.sql('SELECT action, details FROM user_activity_logs WHERE actor_id = ?', [hook.admin.id]))
        .map(({ action, details }) => [action, JSON.parse(details as string).reason])
        .slice(1)
    for (const body of [
      { url: hook.url },
      { types: ['user.deleted', 'user.updated'] },
      { status: 'active' },
    ]) {
      const { status, body: webhook } = await own.send<Webhook>('PATCH', path(hook.id), { token, body })
      expect([status, webhook.url]).toEqual([200, hook.url])
    }
    expect([await hook.state(), await history()]).toEqual([made, []])
    const subjects = async () => (await own.mailsTo(chief.email)).map(({ subject }) => subject)
    expect(await subjects()).toHaveLength(1)

    await own.sql('UPDATE webhooks SET rested_at = 1, failures = 50 WHERE id = ?', [hook.id])
    await own.send('PATCH', path(hook.id), { token, body: { url: hook.url } })
    expect([(await hook.state()).rested_at, await history()]).toEqual([
      null,
      [['webhook.updated', 'resumed']],
    ])
    expect((await subjects())[0]).toBe('A webhook of Roster is active again')
  })

  test('is reported with what was done to it, in each language', async () => {
    const { api: own } = await openWithWebhooks()
    const given = { role: 'admin', password_hash: null, email_verified_at: 1 } as const
    const [english, german] = [await own.person(given), await own.person({ ...given, locale: 'de' })]
    const hook = await addWebhook(own, ['user.updated'])
    const { token } = hook.admin
    await rename(own, hook.admin, (await own.person({ password_hash: null })).id, 'Ada')
    const [delivery] = await hook.owed()
    await own.send('PATCH', path(hook.id), { token, body: { types: ['user.deleted'] } })
    await own.send('POST', path(hook.id, '/secret'), { token, body: {} })
    await own.send('POST', path(hook.id, '/test'), { token })
    await own.send('POST', `/v1/webhooks/deliveries/${delivery!.id}/retry`, { token })
    const said = async ({ email }: { email: string }) =>
      (await own.mailsTo(email)).map(({ text }) => /^.* Roster (?:has|hat) (.*)$/m.exec(text)?.[1]).reverse()
    const { host } = new URL(hook.url)
    expect(await said(english)).toEqual([
      `let another system at ${host} hear of changes: it is sent the people they are about.`,
      `changed where the webhook at ${host} sends changes, or which.`,
      `made a new secret for the webhook at ${host}, and has seen it.`,
      `sent a test to the webhook at ${host}.`,
      `sent a delivery to the webhook at ${host} once more.`,
    ])
    expect(await said(german)).toEqual([
      `den Webhook bei ${host} angelegt: Ein anderes System erfährt nun von Änderungen und davon, wen sie betreffen.`,
      `den Webhook bei ${host} geändert: seine Adresse oder wovon er erfährt.`,
      `für den Webhook bei ${host} ein neues Geheimnis erzeugt und es dabei gesehen.`,
      `einen Test an den Webhook bei ${host} gesendet.`,
      `eine Zustellung erneut an den Webhook bei ${host} gesendet.`,
    ])
  })

  test('that is moved is reported with its former and its new host', async () => {
    const { api: own } = await openWithWebhooks()
    const chief = await own.person({ role: 'admin', password_hash: null, email_verified_at: 1 })
    const hook = await addWebhook(own, ['user.updated'])
    const body = { url: 'https://elsewhere.example/x' }
    await own.send('PATCH', path(hook.id), { token: hook.admin.token, body })
    const said = (await own.mailsTo(chief.email)).map(({ text }) => text).join('\n')
    expect(said).toContain(`the webhook at ${new URL(hook.url).host} → elsewhere.example sends`)
  })

  test('is reported, whatever somebody with database access has put into the history', async () => {
    const { own: upstreams, api: own } = await openWithWebhooks()
    const chief = await own.person({ role: 'admin', password_hash: null, email_verified_at: 1 })
    await upstreams.behave('mail', { mode: 'down' })
    await addWebhook(own, ['user.updated'])
    await own.sql(
      "INSERT INTO user_activity_logs (id, action, details) VALUES ('past', 'webhook.updated', 'no JSON')",
    )
    await own.sql("UPDATE outbox SET event_id = 'past', next_attempt_at = 0")
    await upstreams.behave('mail', { mode: 'pass' })
    await deliverDue(openForCron(own.bindings, createExecutionContext()))
    const said = (await own.mailsTo(chief.email)).map(({ text }) => text)
    expect(said).toEqual([expect.stringContaining('An administrator of Roster')])
  })

  test.each([
    ['Your bank', 'ada+bank@a.test', 1, 'ada+bank@a.test'],
    ['Ada', 'see!evil.example/roster@b.test', 1, 'An administrator'],
    ['Ada', 'support@bank.test', null, 'An administrator'],
  ])('by %j is reported with the proved address of whoever did it: %s', async (name, email, proved, said) => {
    const { api: own } = await openWithWebhooks()
    const chief = await own.person({ role: 'admin', password_hash: null, email_verified_at: 1 })
    await addWebhook(own, ['user.updated'], 204, { name, email, email_verified_at: proved })
    const [mail] = await own.mailsTo(chief.email)
    expect(/^(.*) of Roster has/m.exec(mail!.text)?.[1]).toBe(said)
  })

  test('is reported alike by every attempt, and without the address of somebody who is erased by then', async () => {
    const { own: upstreams, api: own } = await openWithWebhooks()
    const chief = await own.quickActor({ role: 'admin', email_verified_at: 1 })
    const tryAgain = async () => {
      await own.sql('UPDATE outbox SET next_attempt_at = 0')
      await deliverDue(openForCron(own.bindings, createExecutionContext()))
      const [mail] = await own.mailsTo(chief.email)
      return /^(.*) of Roster has/m.exec(mail!.text)?.[1]
    }
    // The service has accepted it without an answer, and accepts the same mail once more.
    await upstreams.behave('mail', { mode: 'reset-after', next: 1, only: chief.email })
    const { admin } = await addWebhook(own, ['user.updated'], 204, { email_verified_at: 1 })
    await own.sql("UPDATE users SET email = 'other@a.test', email_normalized = 'other@a.test' WHERE id = ?", [
      admin.id,
    ])
    expect(await tryAgain()).toBe(admin.email)
    const isSent = 'SELECT sent_at IS NOT NULL AS sent, attempts FROM outbox WHERE user_id = ?'
    expect(await own.sql(isSent, [chief.id])).toEqual([{ sent: 1, attempts: 2 }])

    await own.sql('DELETE FROM outbox')
    await upstreams.behave('mail', { mode: 'down' })
    const gone = await addWebhook(own, ['user.updated'], 204, { email_verified_at: 1 })
    const erased = await own.send('DELETE', `/v1/users/${gone.admin.id}?hard=true`, { token: chief.token })
    expect(erased.status).toBe(204)
    expect(await own.sql('SELECT new_email FROM outbox WHERE user_id = ?', [chief.id])).toEqual([
      { new_email: null },
    ])
    await upstreams.behave('mail', { mode: 'pass' })
    expect(await tryAgain()).toBe('An administrator')
  })

  test('cannot be added twenty-one times an hour by one session, as it would go unreported', async () => {
    const { token } = await admin()
    const hook = await addWebhook(api, ['user.updated'])
    const statuses = []
    for (let time = 0; time < 21; time++) {
      const body = { types: [time % 2 === 0 ? 'user.deleted' : 'user.updated'] }
      const { status } = await api.send('PATCH', path(hook.id), { token, body })
      statuses.push(status)
    }
    expect(statuses.indexOf(429)).toBe(20)
  })
})

describe('A secret', () => {
  test('is replaced, and both sign for a while; then only the new one does', async () => {
    const hook = await addWebhook(api, ['user.updated'])
    const { token } = hook.admin
    const { body } = await api.send<WebhookWithSecret>('POST', path(hook.id, '/secret'), { token, body: {} })
    expect(body.secret).not.toBe(hook.secret)
    expect(Date.parse(body.former_secret_until!) - Date.now()).toBeGreaterThan(86_000_000)
    const [ada] = [await api.person({ password_hash: null })]
    await rename(api, hook.admin, ada.id, 'One')
    for (const secret of [hook.secret, body.secret]) expect((await hook.received(secret)).length).toBe(1)
    await api.sql('UPDATE webhooks SET former_secret_until = 1 WHERE id = ?', [hook.id])
    await rename(api, hook.admin, ada.id, 'Two')
    expect((await hook.received(body.secret)).length).toBe(2)
    await expect(hook.received(hook.secret)).rejects.toThrow()
  })

  test('that was stolen can be ended at once', async () => {
    const hook = await addWebhook(api, ['user.updated'])
    const asked = { token: hook.admin.token, body: { keep_former_seconds: 0 } }
    const { body } = await api.send<WebhookWithSecret>('POST', path(hook.id, '/secret'), asked)
    await rename(api, hook.admin, (await api.person({ password_hash: null })).id, 'One')
    expect((await hook.received(body.secret)).length).toBe(1)
    await expect(hook.received(hook.secret)).rejects.toThrow()
  })

  test('survives a rotation of SECRET_KEYS: it is moved to the newest key', async () => {
    const hook = await addWebhook(api, ['user.updated'])
    const rotated = openApi({
      ...api.bindings,
      SECRET_KEYS: `${Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString('base64url')},${(api.bindings as unknown as Record<string, string>).SECRET_KEYS}`,
    })
    const [before] = await api.sql('SELECT secret FROM webhooks WHERE id = ?', [hook.id])
    await deliver(rotated)
    const [after] = await api.sql('SELECT secret FROM webhooks WHERE id = ?', [hook.id])
    expect(after!.secret).not.toBe(before!.secret)
    const { token } = await rotated.signIn(hook.admin)
    const { body } = await rotated.send<Delivery>('POST', path(hook.id, '/test'), { token })
    expect([body.status, (await hook.received()).length]).toEqual(['delivered', 1])
    await api.sql('DELETE FROM webhooks')
  })

  test('that no key of ours decrypts signs nothing, and replacing it helps', async () => {
    const hook = await addWebhook(api, ['user.updated'])
    await api.sql(
      "UPDATE webhooks SET secret = iif(secret LIKE 'x%', 'y', 'x') || substr(secret, 2) WHERE id = ?",
      [hook.id],
    )
    await rename(api, hook.admin, (await api.person({ password_hash: null })).id, 'One')
    expect([(await hook.raw()).length, (await hook.state()).failures]).toEqual([0, 1])
    const asked = { token: hook.admin.token, body: { keep_former_seconds: 0 } }
    const { body } = await api.send<WebhookWithSecret>('POST', path(hook.id, '/secret'), asked)
    await pausesEnd(api)
    await deliver(api)
    expect((await hook.received(body.secret)).length).toBe(1)
  })
})

describe('By hand', () => {
  const retry = (token: string, sequence: unknown) =>
    api.send<Delivery>('POST', `/v1/webhooks/deliveries/${sequence}/retry`, { token })

  test('a delivery goes at once, even during a pause, and says that it is out of order; a success ends the pause', async () => {
    const hook = await addWebhook(api, ['user.updated'], 500)
    const ada = await api.person({ password_hash: null })
    for (const name of ['One', 'Two', 'Three']) await rename(api, hook.admin, ada.id, name)
    const [, second] = await hook.owed()
    const failed = await retry(hook.admin.token, second!.id)
    expect(failed.body).toMatchObject({ status: 'waiting', last_status: 500, out_of_order: false })
    expect((await hook.state()).failures).toBe(1)
    await hook.answers(204)
    const { body } = await retry(hook.admin.token, second!.id)
    expect(body).toMatchObject({ status: 'delivered', last_status: 204, out_of_order: true })
    expect(await hook.state()).toMatchObject({ failures: 0, next_try_at: null })
    const told = (await hook.received()).slice(2)
    expect(told.map(({ data, isOutOfOrder }) => [data.user!.name, isOutOfOrder])).toEqual([
      ['Two', true],
      ['One', false],
      ['Three', false],
    ])
  })

  test('a delivery that succeeded, or was given up, is sent again unchanged', async () => {
    const hook = await addWebhook(api, ['user.updated'])
    const ada = await api.person({ password_hash: null })
    await rename(api, hook.admin, ada.id, 'One')
    await rename(api, hook.admin, ada.id, 'Two')
    const [first] = await hook.owed()
    const again = await retry(hook.admin.token, first!.id)
    expect(again.body).toMatchObject({ status: 'delivered', out_of_order: false, attempts: 2 })
    const told = await hook.received()
    expect([told[2]!.id, told[2]!.received.body]).toEqual([told[0]!.id, told[0]!.received.body])
    await api.sql('UPDATE webhook_deliveries SET delivered_at = NULL, dead_at = 1 WHERE id = ?', [
      Number(first!.id),
    ])
    expect((await retry(hook.admin.token, first!.id)).body).toMatchObject({
      status: 'delivered',
      out_of_order: true,
    })
  })

  test('an unknown delivery is not found', async () => {
    const { token } = await admin()
    for (const sequence of [0, 999_999_999, 'x', '1.5', '1e99', crypto.randomUUID()])
      expect((await retry(token, sequence)).body).toMatchObject({ code: 'delivery_not_found' })
  })

  test('a test goes to one webhook, once, whatever its types; a success wakes one that rests', async () => {
    const [hook, other] = [
      await addWebhook(api, ['user.updated'], 410),
      await addWebhook(api, ['user.updated', 'webhook.created']),
    ]
    const ada = await api.person({ password_hash: null })
    for (const name of ['One', 'Two']) await rename(api, hook.admin, ada.id, name)
    expect((await hook.state()).rested_at).not.toBeNull()
    const failed = await api.send<Delivery>('POST', path(hook.id, '/test'), { token: hook.admin.token })
    expect(failed.body).toMatchObject({ type: 'webhook.tested', status: 'gave_up', last_status: 410 })
    await hook.answers(204)
    await api.send('POST', path(hook.id, '/test'), { token: hook.admin.token })
    expect((await hook.state()).rested_at).toBeNull()
    const told = (await hook.received()).slice(2)
    expect(told.map(({ type, data }) => [type, data.user?.name])).toEqual([
      ['webhook.tested', undefined],
      ['user.updated', 'One'],
      ['user.updated', 'Two'],
    ])
    expect((await other.received()).some(({ type }) => type === 'webhook.tested')).toBe(false)
  })

  test('PATCH wakes one that rests, and what it is owed goes out, to its present address', async () => {
    const hook = await addWebhook(api, ['user.updated'], 410)
    const elsewhere = await addWebhook(api, ['user.deleted'])
    const ada = await api.person({ password_hash: null })
    await rename(api, hook.admin, ada.id, 'One')
    const body = { url: elsewhere.url }
    const answer = await api.send<Webhook>('PATCH', path(hook.id), { token: hook.admin.token, body })
    expect(answer.body).toMatchObject({ status: 'active', rested_at: null })
    expect((await elsewhere.received(hook.secret)).map(({ data }) => data.user!.name)).toEqual(['One'])
  })
})
