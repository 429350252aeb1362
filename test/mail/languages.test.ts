import { createExecutionContext, createScheduledController, waitOnExecutionContext } from 'cloudflare:test'
import { sql } from 'drizzle-orm'
import { describe, expect, test } from 'vitest'
import { openResources } from '../../src/context.ts'
import { openMeter } from '../../src/database/meter.ts'
import worker from '../../src/index.ts'
import { KINDS, type Kind, type MailKind } from '../../src/mail/kinds.ts'
import { enqueueAsked, enqueueNotice } from '../../src/mail/outbox.ts'
import { mailTextsIn } from '../../src/mail/texts/index.ts'
import { type Actor, linkIn, openApi } from '../support/api.ts'
import { openJar } from '../support/jar.ts'
import { freshUpstreams } from '../support/upstreams.ts'

const PASSWORD = 'nine green bears run'
const IN_GERMAN = { 'accept-language': 'tlh, de-AT;q=0.9, en;q=0.8' }
const IN_ENGLISH = { 'accept-language': 'en-GB,en;q=0.9,de;q=0.1' }
const german = (given = {}) => ({ email_verified_at: 1, locale: 'de' as const, ...given })
const newAddress = () => `${crypto.randomUUID()}@people.test`

const api = openApi()
const post = (path: string, body: object, headers = {}, token?: string) =>
  api.send('POST', path, { body, headers, token })
const newestTo = async (email: string) => (await api.mailsTo(email))[0]!

async function runMailCron() {
  const context = createExecutionContext()
  worker.scheduled(createScheduledController({ cron: '* * * * *' }), api.bindings as never, context)
  await waitOnExecutionContext(context)
}

describe('A user who has chosen German gets German mails', () => {
  /** Caused by somebody far away, in English. */
  async function mailOf(kind: MailKind) {
    const somebody = await api.person(german({ email: newAddress() }))
    const origin = {
      requestId: crypto.randomUUID(),
      ip: '192.0.2.1',
      userAgent: 'Mozilla/5.0 (Windows NT 10.0; rv:150.0) Gecko/20100101 Firefox/150.0',
      country: 'CH',
      language: 'en',
    } as const
    const resources = openResources(api.bindings, openMeter(), origin, () => {})
    const to = { email: somebody.email, newEmail: 'grace@people.test' }
    const { statements } = (KINDS[kind] as Kind).isCounted
      ? enqueueAsked(
          resources,
          { isAllowed: sql`1` },
          {
            kind: kind as 'verify_email',
            subjectId: somebody.id,
            emailNormalized: somebody.email,
            ...to,
          },
          sql`1`,
        )
      : enqueueNotice(
          resources,
          kind as 'role_changed',
          { id: somebody.id, email: to.email, email_normalized: to.email, email_verified_at: 1 },
          sql`1`,
          { newEmail: to.newEmail, about: crypto.randomUUID() },
        )
    await resources.db.writeBatch({ statements })
    await runMailCron()
    return newestTo(somebody.email)
  }

  test.each(Object.keys(KINDS) as MailKind[])('in %s, with nothing left in English', async (kind) => {
    const { purpose, page, hasCode, isAsked }: Kind = KINDS[kind]
    const mail = await mailOf(kind)
    const about = {
      organisation: 'Roster',
      newEmail: 'grace@people.test',
      actor: null,
      host: null,
      what: null,
      until: null,
    }
    const [english, ours] = [mailTextsIn('en'), mailTextsIn('de')].map(({ mails }) => mails[kind](about))
    expect(mail.subject).toBe(ours!.subject)
    expect(mail.html).toContain('<html lang="de">')
    for (const said of [english!.subject, ...english!.paragraphs, english!.button ?? english!.subject]) {
      expect(mail.subject).not.toContain(said)
      expect(mail.text).not.toContain(said)
      expect(mail.html).not.toContain(`>${said}<`)
    }
    expect(ours!.paragraphs).toHaveLength(english!.paragraphs.length)
    for (const paragraph of ours!.paragraphs) expect(mail.text).toContain(paragraph)
    if (ours!.button) expect(mail.html).toContain(`>${ours!.button}</a>`)
    const words = `${mail.subject}\n${mail.text}`.replace(/^http\S+$/m, '')
    expect(words).not.toMatch(/\b(the|your|this|you|was|valid for|asked|from|with|on|minutes|hours|days)\b/i)

    if (isAsked)
      expect(mail.text).toMatch(/^\S+ am \d.* um \d\d:\d\d UTC \(Schweiz, Firefox auf Windows\)\.$/m)
    if (hasCode) expect(mail.text).toMatch(/er gilt 10 Minuten: \d{8}$/m)
    if (page) expect(linkIn(mail).url.pathname).toBe(page)
    else if (purpose && ours!.button) {
      expect(linkIn(mail).url.pathname).toBe(`/links/${purpose}`)
      expect(mail.text).toMatch(/^Der Link gilt einmal, \d+ (Tage|Stunden|Minuten) lang\.$/m)
    } else expect(mail.text).not.toContain('http')
  })

  test('whatever the language of whoever causes the mail; its link and code work', async () => {
    const ada = await api.person(german())
    const asked = await post('/v1/auth/forgot_password', { email: ada.email }, IN_ENGLISH)
    const mail = await newestTo(ada.email)
    expect(mail.subject).toBe('Ein neues Passwort für Roster')
    const { url, code } = linkIn(mail)
    expect((await openJar(api).open(url.pathname + url.search)).status).toBe(200)
    const { request_token } = asked.body
    const reset = { request_token, code, new_password: PASSWORD }
    expect((await post('/v1/auth/reset_password', reset, IN_ENGLISH)).status).toBe(204)
    await api.logIn({ email: ada.email, password: PASSWORD })
    const subjects = (await api.mailsTo(ada.email)).map(({ subject }) => subject)
    expect(subjects).toContain('Dein Passwort bei Roster wurde geändert')

    await post('/v1/auth/forgot_password', { email: ada.email }, IN_ENGLISH)
    const { token } = linkIn(await newestTo(ada.email))
    const again = { token, new_password: 'ten blue whales sing' }
    expect((await post('/v1/auth/reset_password', again)).status).toBe(204)
  })

  test('from an administrator with another language', async () => {
    const admin = await api.quickActor({ role: 'admin', locale: 'en' })
    const ada = await api.person(german())
    const disabled = await post(`/v1/users/${ada.id}/disable`, { reason: 'left' }, IN_ENGLISH, admin.token)
    expect(disabled.status, disabled.text).toBe(200)
    expect((await newestTo(ada.email)).subject).toBe('Dein Konto bei Roster wurde gesperrt')
  })
})

describe('Somebody who has chosen no language', () => {
  test('gets that of the request when they sign up: by Accept-Language, or by the choice on the page', async () => {
    const signUp = async (headers: Record<string, string>) => {
      const email = newAddress()
      await post('/v1/auth/signup', { email, password: PASSWORD, name: 'Ada' }, headers)
      return (await newestTo(email)).subject
    }
    const [inGerman, inEnglish] = [
      'Bestätige deine E-Mail-Adresse für Roster',
      'Confirm your e-mail address for Roster',
    ]
    expect(await signUp(IN_GERMAN)).toBe(inGerman)
    expect(await signUp({ ...IN_ENGLISH, cookie: 'roster-lang=de' })).toBe(inGerman)
    expect(await signUp({ ...IN_ENGLISH, cookie: 'roster-lang=tlh' })).toBe(inEnglish)
    for (const headers of [{}, IN_ENGLISH, { 'accept-language': '*' }])
      expect(await signUp(headers)).toBe(inEnglish)

    const [jar, email] = [openJar(api), newAddress()]
    await jar.open('/signup?lang=de', IN_ENGLISH)
    await jar.submit('/signup', '/signup', { email, password: PASSWORD, name: 'Ada' })
    expect((await newestTo(email)).subject).toBe(inGerman)
  })

  test('gets that of their inviter, and accepts with its link', async () => {
    const admin = await api.actor({ role: 'admin' })
    const invite = async (by: Actor, headers: object) => {
      const email = newAddress()
      expect((await post('/v1/invitations', { email, role: 'user' }, headers, by.token)).status).toBe(201)
      return newestTo(email)
    }
    expect((await invite(admin, IN_ENGLISH)).subject).toBe('You are invited to Roster')
    const mail = await invite(admin, IN_GERMAN)
    expect(mail.subject).toBe('Du bist zu Roster eingeladen')
    const accepted = { token: linkIn(mail).token, password: PASSWORD, name: 'Grace' }
    expect((await post('/v1/auth/accept_invitation', accepted)).status).toBe(201)
  })

  test('gets English if an earlier version has queued the mail', async () => {
    const own = openApi((await freshUpstreams()).bindings)
    const email = newAddress()
    await own.sql(
      `INSERT INTO outbox (id, kind, recipient, recipient_normalized, created_at, expires_at, attempts, next_attempt_at)
        VALUES ('old', 'role_changed', ?1, ?1, 1, ?2, 0, 0)`,
      [email, Date.now() + 60_000],
    )
    const context = createExecutionContext()
    worker.scheduled(createScheduledController({ cron: '* * * * *' }), own.bindings as never, context)
    await waitOnExecutionContext(context)
    expect((await own.mailsTo(email))[0]!.subject).toBe('Your role at Roster was changed')
  })
})

test('A mail whose first attempt got no answer is the same at the next, even if its user has chosen another language', async () => {
  const upstreams = await freshUpstreams()
  const own = openApi(upstreams.bindings)
  const ada = await own.person(german())
  await upstreams.behave('mail', { mode: 'reset-after', next: 1 })
  await own.send('POST', '/v1/auth/forgot_password', { body: { email: ada.email } })
  await own.sql("UPDATE users SET locale = 'en' WHERE id = ?", [ada.id])
  await own.sql('UPDATE outbox SET next_attempt_at = 0')
  const context = createExecutionContext()
  worker.scheduled(createScheduledController({ cron: '* * * * *' }), own.bindings as never, context)
  await waitOnExecutionContext(context)
  expect(await own.sql('SELECT attempts, sent_at IS NULL AS waits FROM outbox')).toEqual([
    { attempts: 2, waits: 0 },
  ])
  expect((await own.mailsTo(ada.email)).map(({ subject }) => subject)).toEqual([
    'Ein neues Passwort für Roster',
  ])
})
