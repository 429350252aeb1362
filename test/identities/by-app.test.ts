import { expect, test } from 'vitest'
import { begin, discover, redeem } from '../openid/support.ts'
import { comingFrom, isSignedIn, joinAs, newJar, openWithProviders } from '../support/identities.ts'
import { addApp } from '../support/oauth.ts'

const api = openWithProviders()
const hereIn = (place: string | null) => (place ?? '').replace(api.config().ISSUER, '')

/** Somebody whom an app sends to sign in with a certain provider. */
async function sentByApp(given: Record<string, string> = {}) {
  const app = await addApp(api)
  const jar = newJar(api)
  const begun = await begin(app, { idp: 'corp', ...given })
  const sent = await jar.open(`/oauth/authorize?${begun.search}`)
  return { app, jar, begun, sent }
}

test('OA1: an app leads straight to a provider by `idp`, through joining, and back to itself with a code', async () => {
  const { app, jar, begun, sent } = await sentByApp()
  expect(sent.to).toMatch(/^\/signin\/with\/corp\?/)
  // No page in between: the user asked the app, and the app asked us.
  const { to } = await jar.open(sent.to!)
  const email = `${crypto.randomUUID()}@fjord.test`
  const claims = { sub: crypto.randomUUID(), email, email_verified: true }
  const back = await jar.open(comingFrom('corp', to!).back({ claims }))
  expect(back.to).toBe('/signin/with/corp/join')
  const joined = await joinAs(jar, 'corp')
  expect(hereIn(joined.to)).toMatch(/^\/oauth\/authorize\?/)
  const question = await jar.open(hereIn(joined.to))
  const action = /<form method="post" action="(\/consent\?[^"]+)"/.exec(question.text)![1]!
  const shown = /name="shown" value="([^"]*)"/.exec(question.text)?.[1] ?? ''
  const form_token = /name="form_token" value="([^"]+)"/.exec(question.text)![1]!
  const answer = await jar.post(action.replaceAll('&amp;', '&'), { form_token, shown, decision: 'allow' })
  const { claims: told } = await redeem(api, await discover(api), app, new URL(answer.to!), begun)
  const [user] = await api.sql('SELECT id FROM users WHERE email = ?', [email])
  expect([told.sub, told.amr]).toEqual([user!.id, ['fed']])
  // The provider did not say when it authenticated them, so the app is not told a time.
  expect(told.auth_time).toBeUndefined()
})

test('SE1: an app that asks for a recent login does not get one from a provider that gives no time', async () => {
  const { jar, sent } = await sentByApp({ max_age: '60' })
  const email = `${crypto.randomUUID()}@fjord.test`
  const { to } = await jar.open(sent.to!)
  const claims = { sub: crypto.randomUUID(), email, email_verified: true }
  await jar.open(comingFrom('corp', to!).back({ claims }))
  const joined = await joinAs(jar, 'corp')
  expect((await jar.open(hereIn(joined.to))).to).toMatch(/^\/signin\/again\?/)
})

test('`prompt=select_account` is satisfied by a sign-in at a provider that gives no time, and does not loop', async () => {
  const { jar, sent } = await sentByApp({ prompt: 'select_account' })
  const email = `${crypto.randomUUID()}@fjord.test`
  const { to } = await jar.open(sent.to!)
  await jar.open(
    comingFrom('corp', to!).back({ claims: { sub: crypto.randomUUID(), email, email_verified: true } }),
  )
  const joined = await joinAs(jar, 'corp')
  const question = await jar.open(hereIn(joined.to))
  expect([question.status, question.to]).toEqual([200, null])
  expect(question.text).toContain('wants to use your account')
})

test('OA1: the redirect from an app is valid for that request, that provider and a minute', async () => {
  const { jar, sent } = await sentByApp()
  const asksFirst = async (place: string) => {
    const { to, status } = await jar.open(place)
    return [to, status]
  }
  const fields = new URLSearchParams(sent.to!.split('?')[1])
  const changed = (name: string, value: string) => {
    const all = new URLSearchParams(fields)
    all.set(name, value)
    return `/signin/with/corp?${all}`
  }
  expect(await asksFirst(changed('to', '/account'))).toEqual([null, 200])
  expect(await asksFirst(changed('sent', `${fields.get('sent')}x`))).toEqual([null, 200])
  expect(await asksFirst(sent.to!.replace('/with/corp', '/with/any'))).toEqual([null, 200])
  expect(isSignedIn(jar)).toBe(false)
})

test('an unknown `idp` leads to the page with all ways, and somebody who is signed in is sent nowhere', async () => {
  expect((await sentByApp({ idp: 'nobody' })).sent.to).toMatch(/^\/signin\?/)
  const { sent } = await sentByApp({ prompt: 'none' })
  expect(new URL(sent.to!).searchParams.get('error')).toBe('login_required')
  const ada = await api.person({ email_verified_at: 1 })
  const jar = newJar(api)
  await jar.signIn(ada.email)
  const { search } = await begin(await addApp(api), { idp: 'corp' })
  const asked = await jar.open(`/oauth/authorize?${search}`)
  expect([asked.status, asked.to]).toEqual([200, null])
})
