import { createExecutionContext, createScheduledController, waitOnExecutionContext } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { v7 as uuidv7 } from 'uuid'
import { expect, test, vi } from 'vitest'
import worker from '../../src/index.ts'
import { render } from '../../src/mail/render.ts'
import { mailTextsIn } from '../../src/mail/texts/index.ts'
import { openTransport } from '../../src/mail/transports.ts'
import { type Api, linkIn, openApi } from '../support/api.ts'
import { freshUpstreams } from '../support/upstreams.ts'

const forgot = (api: ReturnType<typeof openApi>, email: string) =>
  api.send('POST', '/v1/auth/forgot_password', { body: { email } })

async function runMailCron(api: ReturnType<typeof openApi>) {
  const context = createExecutionContext()
  worker.scheduled(createScheduledController({ cron: '* * * * *' }), api.bindings as never, context)
  await waitOnExecutionContext(context)
}

test('Fault 17: when the mail provider is down the answer is the same, and the mail is sent once, later', async () => {
  const own = await freshUpstreams()
  const api = openApi(own.bindings)
  const ada = await api.person()
  await own.behave('mail', { mode: 'status', status: 500 })
  expect((await forgot(api, ada.email)).status).toBe(202)
  const row = async () => (await api.sql('SELECT * FROM outbox WHERE user_id = ?', [ada.id]))[0]!
  const pauses: number[] = []
  for (let attempt = 1; attempt <= 4; attempt++) {
    expect(await row()).toMatchObject({ attempts: attempt, sent_at: null, dead_at: null })
    const before = Number((await row()).next_attempt_at)
    pauses.push(before - Date.now())
    await runMailCron(api)
    expect(await row()).toMatchObject({ attempts: attempt })
    await api.sql('UPDATE outbox SET next_attempt_at = 0 WHERE user_id = ?', [ada.id])
    if (attempt < 4) await runMailCron(api)
  }
  for (let i = 1; i < pauses.length; i++) expect(pauses[i]).toBeGreaterThan(pauses[i - 1]!)
  expect(await countedMails(api)).toMatchObject({ waiting: 1, dead: 0 })

  await own.behave('mail', { mode: 'pass' })
  await Promise.all([runMailCron(api), runMailCron(api), runMailCron(api)])
  await runMailCron(api)
  expect(await api.mailsTo(ada.email)).toHaveLength(1)
  expect((await row()).sent_at).not.toBeNull()
  expect(await countedMails(api)).toMatchObject({ waiting: 0, dead: 0 })
})

test('Fault 17: a mail that was accepted without an answer is sent again under the same key', async () => {
  const own = await freshUpstreams()
  const api = openApi(own.bindings)
  const ada = await api.person()
  await own.behave('mail', { mode: 'reset-after', next: 1 })
  await forgot(api, ada.email)
  await api.sql('UPDATE outbox SET next_attempt_at = 0')
  await runMailCron(api)
  expect(await api.mailsTo(ada.email)).toHaveLength(1)
  expect(await api.sql('SELECT attempts, sent_at IS NULL AS waits FROM outbox')).toEqual([
    { attempts: 2, waits: 0 },
  ])
})

test('Fault 17: a mail whose link has expired is given up, and that shows', async () => {
  const own = await freshUpstreams()
  const api = openApi(own.bindings)
  const ada = await api.person()
  await own.behave('mail', { mode: 'down' })
  await forgot(api, ada.email)
  await api.sql('UPDATE outbox SET expires_at = 1, next_attempt_at = 0')
  await own.behave('mail', { mode: 'pass' })
  await runMailCron(api)
  expect(await api.mailsTo(ada.email)).toEqual([])
  expect(await countedMails(api)).toMatchObject({ waiting: 0, dead: 1 })
})

test('A change that is not made causes no mail', async () => {
  const api = openApi()
  const ada = await api.actor()
  await api.send('POST', '/v1/auth/change_email', {
    token: ada.token,
    body: { new_email: `${crypto.randomUUID()}@people.test`, current_password: 'not the password' },
  })
  expect(await api.sql('SELECT * FROM outbox WHERE user_id = ?', [ada.id])).toEqual([])
})

test("Cloudflare's binding is a transport too", async () => {
  const { config } = openApi()
  const { RESEND_API_KEY: _, ...settings } = config()
  const send = openTransport({ ...settings, RESEND_API_KEY: undefined }, (env as { EMAIL: SendEmail }).EMAIL)
  const mail = {
    to: 'ada@people.test',
    subject: 'Hello',
    text: 'Hello',
    html: '<p>Hello</p>',
    id: 'x',
  }
  await expect(send!(mail)).resolves.toBeUndefined()

  // However it ends, no timer is left, whose rejection nobody would await any more.
  const begun = vi.spyOn(globalThis, 'setTimeout')
  const ended = vi.spyOn(globalThis, 'clearTimeout')
  const failing = { send: () => Promise.reject(new Error('no')) } as unknown as SendEmail
  for (const binding of [failing, {} as SendEmail])
    await expect(
      openTransport({ ...settings, RESEND_API_KEY: undefined }, binding)!(mail),
    ).rejects.toBeInstanceOf(Error)
  const timers = begun.mock.results.map(({ value }) => value)
  expect(timers.filter((timer) => !ended.mock.calls.some(([one]) => one === timer))).toEqual([])
  vi.restoreAllMocks()
})

test('Every mail says that a program wrote it, so that no program replies, by either transport', async () => {
  const api = openApi()
  const ada = await api.person()
  await forgot(api, ada.email)
  const [mail] = await api.mailsTo(ada.email)
  expect(mail!.headers).toEqual({ 'Auto-Submitted': 'auto-generated' })
  const taken: unknown[] = []
  const binding = { send: async (one: unknown) => void taken.push(one) } as unknown as SendEmail
  const { RESEND_API_KEY: _, ...settings } = api.config()
  const send = openTransport({ ...settings, RESEND_API_KEY: undefined }, binding)
  await send!({ to: ada.email, subject: 'Hello', text: 'Hello', html: '<p>Hello</p>', id: 'x' })
  expect(taken).toEqual([expect.objectContaining({ headers: { 'Auto-Submitted': 'auto-generated' } })])
})

test('IV6: what people type is one line of text in a mail, whatever it looks like', () => {
  // An address that is not plain is not repeated at all: see counted.test.ts.
  const newEmail = 'a\r\nBcc: x@elsewhere.test <img src=x onerror=alert(1)>'
  const texts = mailTextsIn('en')
  const about = {
    organisation: 'A\r\nBcc: y <b>',
    newEmail,
    actor: null,
    host: null,
    what: null,
    until: null,
  }
  const mail = render(texts, texts.mails.email_change_requested(about))
  expect(mail.subject).toBe('Your e-mail address at A Bcc: y <b> is being changed')
  expect(mail.text.split('\n').some((line) => line.startsWith('Bcc:'))).toBe(false)
  expect(mail.html).not.toContain('<img')
  expect(mail.html).toContain('&lt;b&gt;')
})

async function countedMails(api: Api) {
  const { token } = await api.quickActor({ role: 'admin' })
  return (await api.send('GET', '/ready', { token })).body.mail
}

test('Fault 17: a mail whose sending could not be recorded delays no other, and is not sent twice', async () => {
  const own = await freshUpstreams()
  const api = openApi(own.bindings)
  // More than are sent at a time.
  const people = await Promise.all(Array.from({ length: 7 }, () => api.person()))
  await own.behave('mail', { mode: 'down' })
  for (const { email } of people) await forgot(api, email)
  await api.sql('UPDATE outbox SET next_attempt_at = 0')
  await own.behave('mail', { mode: 'pass' })
  await own.behave('libsql', { mode: 'down', only: 'mailed_after' })
  await runMailCron(api)
  await own.behave('libsql', { mode: 'pass' })
  expect(await countedMails(api)).toMatchObject({ waiting: 7, dead: 0 })
  for (const { email } of people) expect(await api.mailsTo(email)).toHaveLength(1)
  await api.sql('UPDATE outbox SET next_attempt_at = 0')
  await runMailCron(api)
  for (const { email } of people) expect(await api.mailsTo(email)).toHaveLength(1)
  expect(await countedMails(api)).toMatchObject({ waiting: 0, dead: 0 })
})

test('Fault 17: a transport that does not recognise repeats is not given a mail again that may have gone', async () => {
  const own = await freshUpstreams()
  let asked = 0
  const send = () => {
    asked += 1
    return new Promise(() => {})
  }
  const api = openApi({ ...own.bindings, RESEND_API_KEY: undefined, EMAIL: { send } })
  await forgot(api, (await api.person()).email)
  await api.sql('UPDATE outbox SET next_attempt_at = 0')
  await runMailCron(api)
  expect(asked).toBe(1)
  const sql = 'SELECT attempts, sent_at, dead_at IS NOT NULL AS dead, refusal FROM outbox'
  expect(await api.sql(sql)).toEqual([{ attempts: 1, sent_at: null, dead: 1, refusal: 'unknown' }])
})

test('A code whose mail came late is valid for the ten minutes that the mail names', async () => {
  const own = await freshUpstreams()
  const api = openApi(own.bindings)
  const { email } = await api.person({ email_verified_at: 1 })
  const passMinutes = (minutes: number) =>
    api.sql('UPDATE one_time_tokens SET created_at = created_at - ?1, expires_at = expires_at - ?1', [
      minutes * 60_000,
    ])
  await own.behave('mail', { mode: 'down' })
  const { request_token } = (await forgot(api, email)).body
  await own.behave('mail', { mode: 'pass' })
  await passMinutes(25)
  await api.sql('UPDATE outbox SET next_attempt_at = 0')
  await runMailCron(api)
  const { code } = linkIn((await api.mailsTo(email))[0]!)
  await passMinutes(8)
  const body = { code, request_token, new_password: 'nine green bears run' }
  expect((await api.send('POST', '/v1/auth/reset_password', { body })).status).toBe(204)
})

/** A mail about a resting webhook to each of these, and the row of history that it reports. */
async function oweOf(api: Api, details: string, recipients: string[]) {
  const eventId = uuidv7()
  await api.sql(
    `INSERT INTO user_activity_logs (id, action, details) VALUES (?, 'webhook.rested', ${details})`,
    [eventId],
  )
  for (const email of recipients)
    await api.sql(
      `INSERT INTO outbox (id, kind, recipient, recipient_normalized, created_at, expires_at, attempts, next_attempt_at, event_id)
        VALUES (?1, 'webhook_rested', ?2, ?2, ?3, ?4, 0, 0, ?5)`,
      [uuidv7(), email, Date.now(), Date.now() + 86_400_000, eventId],
    )
}
const anybody = () => `${crypto.randomUUID()}@people.test`

test.each([
  ['half a character', `'{"host":"\\ud800"}'`],
  ['no UTF-8', `CAST(x'7b22686f7374223a22ff227d' AS TEXT)`],
  ['no JSON', `'x'`],
  ['no word', `'{"host":{"a":1}}'`],
  ['no host', `'{"host":"https://evil.test/ Click here"}'`],
  ['too long', `'{"host":"${'a'.repeat(300)}"}'`],
])('A mail about a row of history whose host is %s goes without it', async (_, details) => {
  const api = openApi((await freshUpstreams()).bindings)
  const [email, other] = [anybody(), anybody()]
  await oweOf(api, details, [email])
  await oweOf(api, `'{"host":"hooks.example.com:8443 → [::1]"}'`, [other])
  await runMailCron(api)
  expect((await api.mailsTo(email)).map(({ text }) => text)).toEqual([
    expect.stringContaining('has failed for more than 24 hours'),
  ])
  const [plain] = await api.mailsTo(email)
  expect(plain!.text).toMatch(/A webhook of \S+ has failed/)
  expect((await api.mailsTo(other))[0]!.text).toContain(' at hooks.example.com:8443 → [::1] has failed')
})

test('Mails that cannot be decrypted delay no others, and wait like those that were tried', async () => {
  const api = openApi((await freshUpstreams()).bindings)
  // More than are claimed at a time, and all of them before the others.
  await oweOf(api, 'NULL', Array.from({ length: 7 }, anybody))
  await api.sql("UPDATE outbox SET device = CAST(x'ff' AS TEXT), next_attempt_at = -1")
  const others = [anybody(), anybody()]
  await oweOf(api, 'NULL', others)
  await api.sql("UPDATE outbox SET device = CAST(x'ff' AS TEXT) WHERE recipient = ?", [others[1]!])
  await runMailCron(api)
  expect(await api.mailsTo(others[0]!)).toHaveLength(1)
  expect(
    await api.sql(
      'SELECT count(*) AS mails, min(next_attempt_at) > ? AS later, max(attempts) AS attempts FROM outbox WHERE sent_at IS NULL',
      [Date.now()],
    ),
  ).toEqual([{ mails: 8, later: 1, attempts: 1 }])
  await api.sql('UPDATE outbox SET expires_at = 1, next_attempt_at = 0')
  await runMailCron(api)
  expect(await api.sql("SELECT count(*) AS dead FROM outbox WHERE refusal = 'expired'")).toEqual([
    { dead: 8 },
  ])
})
