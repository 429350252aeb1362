import { beforeAll, describe, expect, test } from 'vitest'
import { EVENT_TYPES } from '../../src/webhooks/schemas.ts'
import type { Api } from '../support/api.ts'
import { openBrowser } from '../support/pages.ts'
import { NEW_WEBHOOK } from '../support/webhook-requests.ts'
import { addWebhook, openWithWebhooks, rename } from '../support/webhooks.ts'

let api: Api
beforeAll(async () => {
  ;({ api } = await openWithWebhooks())
})
const admin = async () => {
  const somebody = await api.person({ role: 'admin', password_hash: null, email_verified_at: 1 })
  return openBrowser(api, somebody)
}

describe('An administrator', () => {
  test('adds a webhook on a page, sees its secret once, changes and removes it', async () => {
    const browser = await admin()
    const made = await browser('POST', '/admin/webhooks/new', {
      url: NEW_WEBHOOK.url,
      'type.user.purged': 'on',
    })
    const secret = /whsec_[\w+/]+=*/.exec(made.text)![0]
    expect(made.text).toContain('This is the only time we show it')
    const [row] = await api.sql('SELECT id, types FROM webhooks ORDER BY id DESC LIMIT 1')
    expect(row!.types).toBe('["user.purged"]')
    const place = `/admin/webhooks/${row!.id}`
    const page = await browser('GET', place)
    expect([page.status, page.text.includes(secret)]).toEqual([200, false])
    const changed = await browser('POST', place, { url: NEW_WEBHOOK.url, 'type.user.deleted': 'on' })
    expect(changed.headers.get('location')).toBe(`${place}?done=updated`)
    const again = await browser('POST', place, { url: NEW_WEBHOOK.url, 'type.user.deleted': 'on' })
    expect(again.headers.get('location')).toBe(`${place}?done=unaltered`)
    expect((await browser('GET', again.headers.get('location')!)).text).toMatch(
      /class="notice info"[\s\S]*Nothing to change: it is as it was/,
    )
    const wrong = await browser('POST', place, { url: 'https://10.0.0.1/', 'type.user.deleted': 'on' })
    expect([wrong.status, wrong.text.includes('https://10.0.0.1/')]).toEqual([422, true])
    const long = { url: `https://hooks.example.com/${'ä'.repeat(400)}`, 'type.user.deleted': 'on' }
    for (const form of [place, '/admin/webhooks/new'])
      expect((await browser('POST', form, long)).text).toContain('more than 2,000 characters as it is sent')
    const another = await browser('POST', `${place}/secret`, { keep_former_seconds: '3600' })
    expect(/whsec_[\w+/]+=*/.exec(another.text)![0]).not.toBe(secret)
    const gone = await browser('POST', `${place}/delete`, {})
    expect(gone.headers.get('location')).toBe('/admin/webhooks?done=deleted')
  })

  test('sees what was delivered and what was not, sends it again, and sends a test', async () => {
    const hook = await addWebhook(api, ['user.updated'], 500)
    const ada = await api.person({ password_hash: null })
    await rename(api, hook.admin, ada.id, 'Ada')
    const browser = await admin()
    const place = `/admin/webhooks/${hook.id}`
    const page = await browser('GET', place)
    for (const words of ['Failing', 'Waiting', 'answered 500', 'one try']) expect(page.text).toContain(words)
    const [delivery] = await hook.owed()
    const again = () => browser('POST', `${place}/retry`, { sequence: String(delivery!.id) })
    expect((await again()).headers.get('location')).toBe(`${place}?done=refused`)
    await hook.answers(204)
    expect((await again()).headers.get('location')).toBe(`${place}?done=delivered`)
    expect((await browser('GET', place)).text).toContain('out of order')
    const tested = await browser('POST', `${place}/test`, {})
    expect(tested.headers.get('location')).toBe(`${place}?done=tested`)
    expect((await browser('GET', tested.headers.get('location')!)).text).toContain(
      'The receiver accepted the test',
    )
    await hook.answers(500)
    const refused = await browser('POST', `${place}/test`, {})
    expect(refused.headers.get('location')).toBe(`${place}?done=untested`)
    expect((await browser('GET', refused.headers.get('location')!)).text).toMatch(
      /class="notice danger"[\s\S]*The receiver did not accept the test/,
    )
  })

  test('resumes one that rests, and the page and the history say so', async () => {
    const hook = await addWebhook(api, ['user.updated'])
    await api.sql('UPDATE webhooks SET rested_at = 1, failures = 50 WHERE id = ?', [hook.id])
    const browser = await admin()
    const place = `/admin/webhooks/${hook.id}`
    const woken = await browser('POST', place, {})
    expect(woken.headers.get('location')).toBe(`${place}?done=resumed`)
    expect((await browser('GET', `${place}?done=resumed`)).text).toContain('Sending is resumed')
    const { text } = await browser('GET', '/admin/activity?action=webhook.updated')
    expect(text).toContain(` resumed sending to a webhook at ${new URL(hook.url).host}`)
  })

  test('sees on the first page what has been failing, what rests, and who still knows a secret', async () => {
    const [failing, resting, known] = [
      await addWebhook(api, ['user.updated']),
      await addWebhook(api, ['user.updated']),
      await addWebhook(api, ['user.updated']),
    ]
    await api.sql('UPDATE webhooks SET failing_since = 1, next_try_at = 1 WHERE id = ?', [failing.id])
    await api.sql('UPDATE webhooks SET rested_at = 1 WHERE id = ?', [resting.id])
    await api.sql("UPDATE users SET role = 'user', name = 'Former Admin' WHERE id = ?", [known.admin.id])
    const { text } = await (await admin())('GET', '/admin')
    expect(text).toContain('does not take what it is sent')
    expect(text).toContain(`/admin/webhooks/${failing.id}"`)
    expect(text).toContain(`/admin/webhooks/${resting.id}"`)
    expect(text).toContain(`/admin/webhooks/${known.id}#secret"`)
    expect(text).toContain('Former Admin')
    await api.sql('DELETE FROM webhooks')
    expect((await (await admin())('GET', '/admin')).text).not.toContain('does not take what it is sent')
  })
})

test('A webhook’s page shows its path, what is wrong, whom a delivery is about, and the types to choose from', async () => {
  const hook = await addWebhook(api, ['user.updated'], 410)
  const ada = await api.person({ password_hash: null })
  await rename(api, hook.admin, ada.id, 'Ada Quetzal')
  const browser = await admin()
  const { text } = await browser('GET', `/admin/webhooks/${hook.id}`)
  const { host, pathname } = new URL(hook.url)
  expect(text).toMatch(new RegExp(`<h1[^>]*>${host}${pathname}</h1>`))
  expect((await browser('GET', '/admin/webhooks')).text).toContain(`${host}${pathname}</bdi>`)
  expect(text).toContain('gone for good (410)')
  expect(text).toContain(`<a class="cut" href="/admin/people/${ada.id}"><bdi>Ada Quetzal</bdi></a>`)
  expect(text).toContain('Resume sending')
  // Each type is under one heading.
  for (const type of EVENT_TYPES) expect(text.split(`name="type.${type}"`).length, type).toBe(2)
  await api.sql('UPDATE webhooks SET failures = 50 WHERE id = ?', [hook.id])
  expect((await browser('GET', `/admin/webhooks/${hook.id}`)).text).toContain('failed for too long')
  const none = await browser('POST', '/admin/webhooks/new', { url: NEW_WEBHOOK.url })
  expect([none.status, none.text.includes('Choose at least one.')]).toEqual([422, true])
})

test('A manager sees nothing of webhooks', async () => {
  const manager = await api.person({ role: 'manager', password_hash: null, email_verified_at: 1 })
  const browser = await openBrowser(api, manager)
  expect((await browser('GET', '/admin/webhooks')).status).toBe(403)
  expect((await browser('GET', '/admin')).text).not.toContain('/admin/webhooks')
})
