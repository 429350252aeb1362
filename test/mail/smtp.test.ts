import { createExecutionContext, createScheduledController, waitOnExecutionContext } from 'cloudflare:test'
import { expect, inject, test } from 'vitest'
import { configOf } from '../../src/config/main.ts'
import { openForCron } from '../../src/context.ts'
import worker from '../../src/index.ts'
import { deliverDue } from '../../src/mail/delivery.ts'
import { openTransport } from '../../src/mail/transports.ts'
import { openApi } from '../support/api.ts'
import { ACCOUNT, type WiredMail } from '../support/mail-server.ts'
import { freshUpstreams, readinessOf } from '../support/upstreams.ts'

const at = inject('mailServer')
const account = `${encodeURIComponent(ACCOUNT.user)}:${encodeURIComponent(ACCOUNT.password)}`
const SMTP = { SMTP_URL: `smtp://${account}@${at.plain}`, RESEND_API_KEY: undefined, OUTBOUND_LOCAL: 'on' }
const mailsTo = async (to: string): Promise<WiredMail[]> =>
  (await fetch(`${at.mails}?to=${encodeURIComponent(to)}`)).json()

const header = (raw: string, name: string) =>
  new RegExp(`^${name}: (.*(?:\r\n .*)*)`, 'mi').exec(raw.split('\r\n\r\n')[0]!)?.[1]
const decoded = (text = '') =>
  text
    .replace(/\?=\r\n =\?/g, '?==?')
    .replace(/\r\n /g, ' ')
    .replace(/=\?utf-8\?B\?([^?]*)\?=/g, (_, word: string) => Buffer.from(word, 'base64').toString())
/** The two forms of a mail, read as the recipient's program does. */
const partsOf = (raw: string) =>
  raw
    .split(`--${/boundary="([^"]+)"/.exec(raw)![1]}`)
    .slice(1, 3)
    .map((part) => Buffer.from(part.split('\r\n\r\n')[1]!, 'base64').toString())

const transport = (settings: Record<string, unknown> = {}) => {
  const env = { ...openApi().bindings, ...SMTP, ...settings } as Record<string, unknown>
  for (const [name, value] of Object.entries(env)) if (value === undefined) delete env[name]
  return openTransport(configOf(env), undefined)!
}
const mail = (to: string) => ({
  to,
  id: crypto.randomUUID(),
  subject: 'Hello',
  text: 'Hello\n.\n',
  html: '<p>Hello</p>',
})

async function runMailCron(api: ReturnType<typeof openApi>) {
  const context = createExecutionContext()
  worker.scheduled(createScheduledController({ cron: '* * * * *' }), api.bindings as never, context)
  await waitOnExecutionContext(context)
}
const outboxOf = async (api: ReturnType<typeof openApi>) => {
  const [row] = await api.sql(
    'SELECT id, attempts, sent_at IS NOT NULL AS sent, dead_at IS NOT NULL AS dead, refusal FROM outbox',
  )
  return row!
}

test('A mail is sent by a real mail server, from the configured sender, with one Message-ID and both forms', async () => {
  const own = await freshUpstreams()
  const api = openApi({ ...own.bindings, ...SMTP, MAIL_FROM: 'Zoë & Söhne <post@people.test>' } as never)
  const email = `${crypto.randomUUID()}@people.test`
  const { id } = await api.person({ email })
  await api.send('POST', '/v1/auth/forgot_password', { body: { email } })
  const [sent, ...others] = await mailsTo(email)
  expect(others).toEqual([])
  expect(sent).toMatchObject({ from: 'post@people.test', to: email })
  const { raw } = sent!
  expect(decoded(header(raw, 'From'))).toBe('Zoë & Söhne <post@people.test>')
  expect(header(raw, 'To')).toBe(`<${email}>`)
  expect(header(raw, 'Auto-Submitted')).toBe('auto-generated')
  expect(header(raw, 'Date')).toMatch(/^\w{3}, \d\d \w{3} \d{4} [\d:]{8} \+0000$/)
  const [row] = await api.sql('SELECT id, sent_at FROM outbox WHERE user_id = ?', [id])
  expect(raw.match(/^Message-ID: .*$/gim)).toEqual([`Message-ID: <${row!.id}@people.test>`])
  expect(row!.sent_at).not.toBeNull()
  const [plain, html] = partsOf(raw)
  const link = /https:\/\/roster\.test\/links\/reset_password\?token=\S+/
  expect(plain).toMatch(link)
  expect(html).toContain(link.exec(plain!)![0])
  expect(raw.split('\r\n').filter((line) => line.length > 200)).toEqual([])
})

test('IV6: no text can end a header line, and a dot on its own line does not end the mail', async () => {
  const to = `${crypto.randomUUID()}@people.test`
  const subject = `Ünïcode ${'😀'.repeat(40)}\r\nBcc: x@elsewhere.test`
  await transport({ MAIL_FROM: '"A, B" <roster@people.test>' })({ ...mail(to), subject })
  const [{ raw }] = (await mailsTo(to)) as [WiredMail]
  expect(decoded(header(raw, 'Subject'))).toBe(subject)
  expect(header(raw, 'Bcc')).toBeUndefined()
  expect(header(raw, 'From')).toBe('"A, B" <roster@people.test>')
  expect(partsOf(raw)[0]).toBe('Hello\n.\n')
})

test('A header line with an encoded word has at most 76 characters (RFC 2047 section 2)', async () => {
  const to = `${crypto.randomUUID()}@people.test`
  const name = 'Große Gesellschaft für Überprüfung'
  const address = `roster@${'a-rather-long-name-of-a-host.'.repeat(2)}people.test`
  const MAIL_REPLY_TO = `${name} <answers@people.test>`
  const settings = { MAIL_FROM: `${name} <${address}>`, MAIL_REPLY_TO }
  const subject = 'Übergrößenträger und Äußerungen über Öfen, '.repeat(4)
  await transport(settings)({ ...mail(to), subject })
  const [{ raw }] = (await mailsTo(to)) as [WiredMail]
  const said = ['Subject', 'From', 'Reply-To'].map((header_) => decoded(header(raw, header_)))
  expect(said).toEqual([subject, settings.MAIL_FROM, MAIL_REPLY_TO])
  const lines = raw.split('\r\n\r\n')[0]!.split('\r\n')
  const encoded = lines.filter((line) => line.includes('=?utf-8?'))
  expect(encoded.length).toBeGreaterThan(5)
  expect(Math.max(...encoded.map((line) => line.length))).toBeLessThanOrEqual(76)
})

test.each([
  ['nobody', { reason: '550', isFinal: true }],
  ['busy', { reason: '451', isFinal: false }],
  // About our account, at whatever point it is said.
  ['relayed', { reason: '530', isFinal: false }],
  // About our server: the recipient exists, and somebody can fix it.
  ['listed', { reason: '550', isFinal: false }],
  ['spam', { reason: '554', isFinal: true }],
  // The From header names our domain, whose records are checked once the mail has been sent.
  ['unsigned', { reason: '550', isFinal: false }],
  ['leaves', { reason: 'no_answer', isFinal: false }],
])('A server’s answer to %s leads to %j', async (name, refusal) => {
  const to = `${name}.${crypto.randomUUID()}@people.test`
  await expect(transport()(mail(to))).rejects.toMatchObject({ name: 'MailRefused', ...refusal })
  expect(await mailsTo(to)).toEqual([])
})

test('With a wrong password, an unknown sender or a server without AUTH no mail is given up, as somebody can fix that', async () => {
  const to = `${crypto.randomUUID()}@people.test`
  for (const [settings, reason] of [
    [{ SMTP_URL: `smtp://roster:another@${at.plain}` }, '535'],
    [{ MAIL_FROM: 'stranger@people.test' }, '553'],
    [{ SMTP_URL: `smtp://${account}@${at.bare}` }, 'no_auth'],
    [{ SMTP_URL: `smtp://${account}@${at.liar}` }, 'no_answer'],
    [{ SMTP_URL: `smtp://${account}@127.0.0.1:9` }, 'no_answer'],
  ] as const)
    await expect(transport(settings)(mail(to)), reason).rejects.toMatchObject({ reason, isFinal: false })
  expect(await mailsTo(to)).toEqual([])
})

test('SC3: a server with an untrusted certificate gets neither the password nor the mail', async () => {
  const to = `${crypto.randomUUID()}@people.test`
  const refused = transport({ SMTP_URL: `smtps://${account}@${at.tls}` })(mail(to))
  await expect(refused).rejects.toMatchObject({ reason: 'no_answer', isFinal: false })
  expect(await mailsTo(to)).toEqual([])
})

// In parallel: most of these wait for the maximum time of a mail.
test.concurrent.each(['smtp', 'smtps'])(
  'Fault 17: a server that does not answer (%s) is given no more time than a mail may take',
  async (scheme) => {
    const to = `${crypto.randomUUID()}@people.test`
    const sending = transport({ SMTP_URL: `${scheme}://${account}@${at.mute}` })(mail(to))
    await expect(sending).rejects.toMatchObject({ reason: 'no_answer', isFinal: false })
  },
)

test.concurrent('Fault 17: a request does not claim a mail that it has no time for: the mail waits for the cron job, and is not counted as sent', async () => {
  const own = await freshUpstreams()
  const mute = { ...SMTP, SMTP_URL: `smtp://${account}@${at.mute}` }
  const api = openApi({ ...own.bindings, ...mute } as never)
  const admin = { role: 'admin', password_hash: null, email_verified_at: 1 } as const
  for (let i = 0; i < 6; i++) await api.person(admin)
  const { token } = await api.quickActor(admin)
  const body = { url: 'https://hooks.example.com/', types: ['user.deleted'] }
  expect((await api.send('POST', '/v1/webhooks', { token, body })).status).toBe(201)
  const rows = await api.sql('SELECT attempts, sent_at FROM outbox ORDER BY attempts')
  expect(rows.map(({ attempts }) => attempts)).toEqual([0, 0, 1, 1, 1, 1, 1])
  expect(rows.map(({ sent_at }) => sent_at)).toEqual(Array(7).fill(null))
})

test.concurrent('Fault 17: a mail that was not sent is tried again with the same id', async () => {
  const own = await freshUpstreams()
  const api = openApi({ ...own.bindings, ...SMTP } as never)
  const email = `once-leaves.${crypto.randomUUID()}@people.test`
  await api.person({ email })
  await api.send('POST', '/v1/auth/forgot_password', { body: { email } })
  expect(await outboxOf(api)).toMatchObject({ attempts: 1, sent: 0, dead: 0, refusal: 'no_answer' })
  await api.sql('UPDATE outbox SET next_attempt_at = 0')
  await runMailCron(api)
  const [sent, ...others] = await mailsTo(email)
  const row = await outboxOf(api)
  expect(row).toMatchObject({ attempts: 2, sent: 1, dead: 0, refusal: null })
  expect([header(sent!.raw, 'Message-ID'), others]).toEqual([`<${row.id}@people.test>`, []])
})

test.concurrent('Fault 17: a mail of a newer version, while that is rolled out, waits for a Worker that knows it', async () => {
  const own = await freshUpstreams()
  const api = openApi({ ...own.bindings, ...SMTP } as never)
  const email = `once-leaves.${crypto.randomUUID()}@people.test`
  await api.person({ email })
  await api.send('POST', '/v1/auth/forgot_password', { body: { email } })
  const tryAs = async (kind: string) => {
    await api.sql('UPDATE outbox SET next_attempt_at = 0, kind = ?', [kind])
    await runMailCron(api)
    return outboxOf(api)
  }
  expect(await tryAs('of_a_newer_version')).toMatchObject({ sent: 0, dead: 0, refusal: 'no_answer' })
  expect(await tryAs('reset_password')).toMatchObject({ sent: 1, dead: 0, refusal: null })
})

test.concurrent.each(['drops', 'silent'])(
  'Fault 17: a mail without an answer after its end (%s) may have been sent: it is not sent again by itself',
  async (how) => {
    const own = await freshUpstreams()
    const api = openApi({ ...own.bindings, ...SMTP } as never)
    const email = `once-${how}.${crypto.randomUUID()}@people.test`
    await api.person({ email })
    expect((await api.send('POST', '/v1/auth/forgot_password', { body: { email } })).status).toBe(202)
    expect(await outboxOf(api)).toMatchObject({ attempts: 1, sent: 0, dead: 1, refusal: 'unknown' })
    await api.sql('UPDATE outbox SET next_attempt_at = 0')
    await runMailCron(api)
    expect(await mailsTo(email)).toHaveLength(1)

    const { token } = await api.quickActor({ role: 'admin' })
    const { body } = await api.send<{ data: { id: string }[] }>('GET', '/v1/mails', { token })
    expect(body.data).toMatchObject([{ status: 'unknown', to: email, refusal: 'unknown' }])
    // Somebody who knows better sends it again by hand.
    const retried = await api.send('POST', `/v1/mails/${body.data[0]!.id}/retry`, { token })
    expect(retried.status).toBe(200)
    const both = await mailsTo(email)
    expect(new Set(both.map(({ raw }) => header(raw, 'Message-ID'))).size).toBe(1)
    expect(both).toHaveLength(2)
  },
)

type Own = Awaited<ReturnType<typeof freshUpstreams>>

test.concurrent.each<[string, (own: Own, api: ReturnType<typeof openApi>) => Promise<void>]>([
  [
    'the Worker is cut off',
    async (_, api) => {
      const resources = openForCron(api.bindings, createExecutionContext())
      const { db } = resources
      const claimed = Promise.withResolvers<void>()
      resources.db = {
        ...db,
        async writeBatch(batch, marker) {
          const done = await db.writeBatch(batch, marker)
          if (!('claims' in batch)) return done
          claimed.resolve()
          return new Promise<never>(() => {})
        },
      }
      void deliverDue(resources)
      await claimed.promise
    },
  ],
  [
    'the database’s answers are lost',
    async (own, api) => {
      await own.behave('libsql', { mode: 'reset-after', next: 2, only: 'set \\"attempts\\"' })
      await runMailCron(api)
      await own.behave('libsql', { mode: 'pass' })
    },
  ],
])(
  'Fault 17: a mail that is claimed and never sent, because %s, is listed after a minute, and can be resent',
  async (_, lose) => {
    const own = await freshUpstreams()
    const api = openApi({ ...own.bindings, ...SMTP } as never)
    const email = `once-leaves.${crypto.randomUUID()}@people.test`
    await api.person({ email })
    await api.send('POST', '/v1/auth/forgot_password', { body: { email } })
    await api.sql('UPDATE outbox SET next_attempt_at = 0')
    await lose(own, api)
    const { id, attempts } = await outboxOf(api)
    expect([attempts, await mailsTo(email)]).toEqual([2, []])

    const { token } = await api.quickActor({ role: 'admin' })
    const retry = () => api.send('POST', `/v1/mails/${id}/retry`, { token })
    const look = async () => {
      const { body: list } = await api.send<{ data: object[] }>('GET', '/v1/mails', { token })
      const { body } = await api.send('GET', '/ready', { token })
      return { listed: list.data, ready: readinessOf(body), dead: (body.mail as { dead: number }).dead }
    }
    // So far it may be on its way: it alarms nobody, and a second one is not sent beside it.
    expect(await look()).toEqual({ listed: [], ready: 'ready', dead: 0 })
    expect((await retry()).body).toMatchObject({ status: 'waiting', attempts: 2, dead_at: null })
    await runMailCron(api)
    expect([await mailsTo(email), (await outboxOf(api)).attempts]).toEqual([[], 2])

    await api.sql('UPDATE outbox SET dead_at = dead_at - 60001')
    const unknown = { id, to: email, status: 'unknown', refusal: 'unknown', dead_at: expect.any(String) }
    expect(await look()).toEqual({ listed: [expect.objectContaining(unknown)], ready: 'ready', dead: 1 })
    await runMailCron(api)
    expect(await mailsTo(email)).toEqual([])
    expect((await retry()).status).toBe(200)
    expect(await mailsTo(email)).toHaveLength(1)
    expect(await outboxOf(api)).toMatchObject({ attempts: 1, sent: 1, dead: 0, refusal: null })
    expect(await look()).toEqual({ listed: [], ready: 'ready', dead: 0 })
  },
)
