import { createExecutionContext, waitOnExecutionContext } from 'cloudflare:test'
import { v7 as uuidv7 } from 'uuid'
import { describe, expect, test } from 'vitest'
import worker from '../../src/index.ts'
import { toTimeTyped } from '../../src/pages/format.ts'
import { makeFormToken } from '../../src/pages/forms.ts'
import { textsOf } from '../../src/pages/texts/index.ts'
import { openApi } from '../support/api.ts'
import { ORIGIN, openJar } from '../support/jar.ts'
import { openBrowser, signedIn } from '../support/pages.ts'

const api = openApi()

test('A user chooses a language by API; it is shown, recorded in the history, and overrides the browser once they are signed in', async () => {
  const ada = await api.quickActor()
  const patch = (body: object) => api.send('PATCH', '/v1/users/me', { token: ada.token, body })
  const chosen = await patch({ locale: 'de' })
  expect([chosen.status, chosen.body.locale, chosen.body.name]).toEqual([200, 'de', 'Somebody'])
  expect((await api.send('GET', '/v1/users/me', { token: ada.token })).body.locale).toBe('de')
  expect(await api.historyOf(ada.id)).toEqual(['user.updated'])
  for (const body of [{ locale: 'tlh' }, {}]) expect((await patch(body)).status).toBe(422)

  const jar = openJar(api)
  const inEnglish = { 'accept-language': 'en' }
  expect((await jar.open('/signin', inEnglish)).text).toContain('<html lang="en"')
  await jar.signIn(ada.email)
  expect((await jar.open('/account', inEnglish)).text).toContain('<html lang="de"')
  await patch({ locale: null })
  expect((await jar.open('/account', inEnglish)).text).toContain('<html lang="en"')
})

test('?lang= chooses the language for this browser', async () => {
  const jar = openJar(api)
  expect((await jar.open('/signin?lang=de')).text).toContain('<html lang="de"')
  expect((await jar.open('/forgot', { 'accept-language': 'en' })).text).toContain('<html lang="de"')
})

test('The form on the account page does the same', async () => {
  const ada = await api.quickActor()
  const jar = openJar(api)
  await jar.signIn(ada.email)
  const done = await jar.submit('/account', '/account/language', { locale: 'de' })
  expect([done.status, done.to]).toEqual([303, '/account?done=saved'])
  expect((await jar.open('/account')).text).toContain('<html lang="de"')
  expect((await jar.submit('/account', '/account/language', { locale: 'tlh' })).status).toBe(422)
})

test('Every refusal is explained in each language', () => {
  const [english, german] = [textsOf('en'), textsOf('de')].map(({ common }) =>
    Object.entries(common.problems),
  )
  // Where English has no text, the API's own sentence is used.
  const inGerman = german!.map(([code]) => code)
  expect(english!.map(([code]) => code).filter((code) => !inGerman.includes(code))).toEqual([])
  const alike = english!.filter(([code, text]) =>
    german!.some(([other, its]) => code === other && text === its),
  )
  expect(alike).toEqual([])
})

test('The history says in each language what somebody exported, and whether it had password hashes', () => {
  for (const language of ['en', 'de'] as const) {
    const { sentences } = textsOf(language).history
    const said = [{}, { list: 'activity' }, { list: 'users' }, { list: 'users', hashes: true }].map(
      (details) => sentences['user.exported']({ actor: 'Ada', by: 'Ada', whom: null, details }),
    )
    expect(new Set(said).size, said.join('\n')).toBe(4)
  }
})

test('An entry of the history is a sentence that begins with a capital letter, or with who did it', () => {
  const details = [
    {},
    { added: 1, removed: 0 },
    { added: 0, removed: 7 },
    { added: 1, removed: 1 },
    { provider: 'nordlys', name: 'notes', kind: 'passkey', reason: 'resumed' },
  ]
  for (const language of ['en', 'de'] as const) {
    const { sentences } = textsOf(language).history
    for (const [action, told] of Object.entries(sentences))
      for (const given of details)
        for (const whom of [null, '\uE001'])
          expect([action, told({ actor: '\uE000', by: '\uE002', whom, details: given } as never)]).toEqual([
            action,
            expect.stringMatching(/^[A-ZÄÖÜ\uE000]/),
          ])
  }
})

test('PK4: the page tells somebody who tries to remove their last way in', async () => {
  const ada = await api.person({ email_verified_at: 1, password_hash: null })
  await api.sql(
    `INSERT INTO passkeys (id, user_id, credential_id, rp_id, public_key, sign_count, transports, aaguid, may_be_synced,
      is_synced, name, created_at) VALUES (?1, ?1, ?1, ?2, '{}', 0, '[]', '', 0, 0, 'Phone', 1)`,
    [ada.id, api.config().WEBAUTHN_RP_ID],
  )
  const visit = await openBrowser(api, ada)
  const refused = await visit('POST', `/account/security/passkeys/${ada.id}/remove`)
  const place = refused.headers.get('location')!
  expect([refused.status, place]).toEqual([303, '/account/security?problem=last_way_in'])
  expect((await visit('GET', place)).text).toContain('This is your last way in. Add another first.')
  expect((await visit('GET', `${place}&lang=de`)).text).toContain('Das ist dein letzter Zugang.')
})

describe('Times are in the reader’s time zone, without a script,', () => {
  const ZONE = 'Asia/Tokyo'
  const DAY_BREAK = Date.UTC(2026, 4, 3, 15)

  /** A page as Cloudflare passes its reader's request on. */
  async function from(
    somebody: { id: string },
    path: string,
    fields?: Record<string, string>,
    timezone = ZONE,
  ) {
    const { cookie, binding } = await signedIn(api, somebody)
    const form_token = makeFormToken({ config: api.config(), now: Date.now() }, binding)
    const request = new Request(`${ORIGIN}${path}`, {
      redirect: 'manual',
      headers: { cookie },
      cf: { timezone } as RequestInitCfProperties,
      ...(fields && { method: 'POST', body: new URLSearchParams({ form_token, ...fields }) }),
    })
    const context = createExecutionContext()
    const answer = await worker.fetch(request, api.bindings, context)
    await waitOnExecutionContext(context)
    return { status: answer.status, text: await answer.text() }
  }

  test('where they are shown', async () => {
    const boss = await api.person({ role: 'admin', email_verified_at: 1 })
    const ada = await api.person({ email_verified_at: DAY_BREAK - 1, created_at: DAY_BREAK })
    const { text } = await from(boss, '/admin/people')
    expect(text).toContain(`Times are in ${ZONE}.`)
    expect(text).toContain(
      '<time datetime="2026-05-03T15:00:00.000Z" title="4 May 2026, 00:00 GMT+9">4 May 2026</time>',
    )
    expect((await from(boss, `/admin/people/${ada.id}`)).text).toContain('Confirmed 3 May 2026.')
    // Elsewhere the time zone is not known.
    expect((await openBrowser(api, boss).then((visit) => visit('GET', '/admin/people'))).text).toContain(
      'Times are in UTC.',
    )
  })

  test('where they are entered, and in filters by day', async () => {
    const boss = await api.person({ role: 'admin', email_verified_at: 1 })
    const ada = await api.person({ email_verified_at: 1 })
    const done = await from(boss, `/admin/people/${ada.id}/disable`, {
      reason: 'left',
      until: '2099-12-04T09:00',
    })
    expect(done.status).toBe(303)
    const [row] = await api.sql('SELECT disabled_until FROM users WHERE id = ?', [ada.id])
    expect(row).toEqual({ disabled_until: Date.UTC(2099, 11, 4) })
    const { text } = await from(boss, `/admin/people/${ada.id}`)
    expect(text).toContain('This account is disabled until 4 December 2099, 09:00 GMT+9')

    // A zone where it is already, or still, another day than in UTC.
    const zone = new Date().getUTCHours() < 12 ? 'Pacific/Pago_Pago' : 'Pacific/Kiritimati'
    const [there, inUtc] = [zone, 'UTC'].map((timeZone) =>
      new Intl.DateTimeFormat('sv-SE', { timeZone }).format(Date.now()),
    )
    expect(there).not.toBe(inUtc)
    const isShown = async (day: string) => {
      const query = new URLSearchParams({ action: 'user.disabled', user_id: ada.id, from: day, to: day })
      return (await from(boss, `/admin/activity?${query}`, undefined, zone)).text.includes('class="event')
    }
    expect([await isShown(there!), await isShown(inUtc!)]).toEqual([true, false])
    // The last day of a filter is in it to its last millisecond.
    await api.sql("INSERT INTO user_activity_logs (id, user_id, action) VALUES (?, ?, 'user.updated')", [
      uuidv7({ msecs: Date.UTC(2026, 4, 4, 14, 59, 59, 999) }),
      ada.id,
    ])
    const day = new URLSearchParams({ user_id: ada.id, from: '2026-05-04', to: '2026-05-04' })
    expect((await from(boss, `/admin/activity?${day}`)).text.includes('class="event')).toBe(true)
  })

  test('in hours that exist twice, or not at all', () => {
    expect(toTimeTyped('Europe/Oslo', '2026-07-01T09:00')).toBe('2026-07-01T07:00:00.000Z')
    expect(toTimeTyped('Europe/Oslo', '2026-12-04T09:00')).toBe('2026-12-04T08:00:00.000Z')
    // The hour after the clocks go forward, and after they go back.
    expect(toTimeTyped('Europe/Oslo', '2026-03-29T04:00')).toBe('2026-03-29T02:00:00.000Z')
    expect(toTimeTyped('Europe/Oslo', '2026-10-25T04:00')).toBe('2026-10-25T03:00:00.000Z')
    expect(toTimeTyped('Asia/Kathmandu', '2026-01-01T00:00')).toBe('2025-12-31T18:15:00.000Z')
    expect(toTimeTyped('UTC', 'tomorrow')).toBe('tomorrow')
    // A year of six digits may have no time in the zone.
    expect(toTimeTyped('America/Lima', '+275760-09-13T00:00')).toBe('+275760-09-13T00:00')
  })
})
