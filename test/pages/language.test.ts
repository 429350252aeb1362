import { expect, test } from 'vitest'
import { openApi } from '../support/api.ts'
import { openJar } from '../support/jar.ts'

const api = openApi()

test('A user chooses a language by API; it is shown, kept in the history, and wins over the browser once they are signed in', async () => {
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

test('?lang= chooses for this browser', async () => {
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
