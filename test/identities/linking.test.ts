import { describe, expect, test } from 'vitest'
import { linkIn, openApi } from '../support/api.ts'
import {
  comeFrom,
  comingFrom,
  identitiesOf,
  isSignedIn,
  newJar,
  openWithProviders,
  placeIn,
} from '../support/identities.ts'

const api = openWithProviders()
const SECURITY = '/account/security'

/** Somebody who is signed in, in a browser. */
async function signedIn(given: object = {}) {
  const ada = await api.person({ email_verified_at: 1, ...given })
  const jar = newJar(api)
  await jar.signIn(ada.email)
  return { ada, jar }
}

/** Presses the button on the security page, and continues to the provider. */
async function connect(jar: ReturnType<typeof newJar>, provider = 'corp') {
  const page = await jar.submit(SECURITY, `${SECURITY}/identities/${provider}`)
  expect(page.status).toBe(200)
  const place = /href="(\/signin\/with\/[^"]+)"/.exec(page.text)![1]!.replaceAll('&amp;', '&')
  return comingFrom(provider, (await jar.open(place)).to!)
}
const link = (userId: string, provider = 'corp', subject: string = crypto.randomUUID()) =>
  api
    .sql('INSERT INTO identities (id, provider, subject, user_id, created_at) VALUES (?1, ?2, ?3, ?4, 1)', [
      crypto.randomUUID(),
      provider,
      subject,
      userId,
    ])
    .then(() => subject)

describe('Connecting', () => {
  test('starts on the security page, ends the other sessions, and is reported with a link that undoes it', async () => {
    const { ada, jar } = await signedIn()
    const other = await api.signIn(ada)
    const sub = crypto.randomUUID()
    const { back } = await connect(jar)
    const done = await jar.open(back({ claims: { sub, email: 'a@other.test' } }))
    expect(done.to).toBe('/account/security?done=connected')
    expect((await jar.open(done.to!)).text).toContain('It is connected.')
    expect(await identitiesOf(api, ada.id)).toEqual([
      { provider: 'corp', subject: sub, email: 'a@other.test' },
    ])
    expect((await api.send('GET', '/v1/users/me', { token: other.token })).status).toBe(401)
    const [mail] = await api.mailsTo(ada.email)
    const { token } = linkIn(mail!)
    const body = { token }
    const disowned = await api.send('POST', '/v1/auth/disown_factor', { body })
    expect([disowned.status, disowned.body]).toEqual([200, { factor: 'removed' }])
    expect(await identitiesOf(api, ada.id)).toEqual([])
    expect((await jar.open('/account')).status).toBe(303)
    expect(await api.historyOf(ada.id)).toContain('identity.unlinked')
  })

  test('OA1: a callback that was started by GET connects nothing to the present session', async () => {
    const { ada, jar } = await signedIn()
    await comeFrom(jar, 'corp', { sub: crypto.randomUUID(), email: ada.email, email_verified: true })
    expect(await identitiesOf(api, ada.id)).toEqual([])
  })

  test('OA1: is bound to the session that started it', async () => {
    const { ada, jar } = await signedIn()
    const eve = await api.person({ email_verified_at: 1 })
    const { back } = await connect(jar)
    await jar.signIn(eve.email)
    expect((await jar.open(back({ claims: { sub: 'x' } }))).status).toBe(400)
    expect([await identitiesOf(api, ada.id), await identitiesOf(api, eve.id)]).toEqual([[], []])
  })

  test('by API: the place asks first in a browser without the session, and names the account', async () => {
    const ada = await api.person({ email_verified_at: 1 })
    const { token } = await api.signIn(ada)
    const begun = await api.send<{ location: string }>('POST', '/v1/auth/identities/corp', { token })
    const { pathname, search } = new URL(begun.body.location)
    const jar = newJar(api)
    const page = await jar.open(pathname + search)
    expect([page.to, page.text.includes(ada.email)]).toEqual([null, true])
    const place = /href="(\/signin\/with\/[^"]+)"/.exec(page.text)![1]!.replaceAll('&amp;', '&')
    const { back } = comingFrom('corp', (await jar.open(place)).to!)
    const sub = crypto.randomUUID()
    await jar.open(back({ claims: { sub } }))
    expect((await identitiesOf(api, ada.id)).map(({ subject }) => subject)).toEqual([sub])
    expect(isSignedIn(jar)).toBe(false)
    // With an older login it does not start.
    const old = await api.signIn(ada, Date.now() - 3_600_000)
    const refused = await api.send('POST', '/v1/auth/identities/any', { token: old.token })
    expect([refused.status, refused.body.code]).toEqual([403, 'reauthentication_required'])
    expect((await api.send('POST', '/v1/auth/identities/nobody', { token })).status).toBe(404)
  })

  test('by API: a browser with another session asks first too, and says that it is connected', async () => {
    const [{ ada, jar: own }, eve] = [await signedIn(), await signedIn()]
    const { token } = await api.signIn(ada)
    for (const [provider, jar] of [
      ['corp', own],
      ['any', newJar(api)],
    ] as const) {
      const begun = await api.send('POST', `/v1/auth/identities/${provider}`, { token })
      const page = await jar.open(String(begun.body.location).slice(api.config().ISSUER.length))
      expect([page.to, page.text.includes(ada.email)]).toEqual([null, true])
      const { back } = comingFrom(provider, (await jar.open(placeIn(page))).to!)
      const done = await jar.open(back({ claims: { sub: crypto.randomUUID() } }))
      expect([done.status, done.text.includes('is connected')]).toEqual([200, true])
    }
    expect(await identitiesOf(api, ada.id)).toMatchObject([{ provider: 'corp' }, { provider: 'any' }])
    // Somebody else who is signed in is not talked into it, neither before the page nor after it.
    const begin = async () => {
      const begun = await api.send('POST', '/v1/auth/identities/informs', { token })
      return String(begun.body.location).slice(api.config().ISSUER.length)
    }
    expect((await eve.jar.open(await begin())).status).toBe(400)
    const late = newJar(api)
    const { back } = comingFrom('informs', (await late.open(placeIn(await late.open(await begin())))).to!)
    await late.signIn(eve.ada.email)
    expect((await late.open(back({ claims: { sub: crypto.randomUUID() } }))).status).toBe(400)
    expect(await identitiesOf(api, ada.id)).toMatchObject([{ provider: 'corp' }, { provider: 'any' }])
    expect(await identitiesOf(api, eve.ada.id)).toEqual([])
    // Somebody whose session there has ended is no longer signed in.
    const gone = await signedIn()
    await api.sql('UPDATE sessions SET revoked_at = 1 WHERE user_id = ?', [gone.ada.id])
    await api.sql("DELETE FROM identities WHERE user_id = ? AND provider = 'any'", [ada.id])
    const begun = await api.send('POST', '/v1/auth/identities/any', { token })
    const asked = await gone.jar.open(String(begun.body.location).slice(api.config().ISSUER.length))
    expect([asked.status, asked.text.includes(ada.email)]).toEqual([200, true])
    const there = comingFrom('any', (await gone.jar.open(placeIn(asked))).to!)
    expect((await gone.jar.open(there.back({ claims: { sub: crypto.randomUUID() } }))).status).toBe(200)
    expect(await identitiesOf(api, ada.id)).toMatchObject([{ provider: 'corp' }, { provider: 'any' }])
    // They stay signed in.
    expect((await eve.jar.open('/account')).text).toContain(eve.ada.email)
  })

  test('that fails leads back to the security page, and without a session to the sign-in page', async () => {
    const taken = await link((await api.person()).id)
    const { ada, jar } = await signedIn()
    const { back } = await connect(jar)
    const said = await jar.open(back({ claims: { sub: taken } }))
    expect([
      said.status,
      said.text.includes(`href="${SECURITY}"`),
      said.text.includes('href="/signin"'),
    ]).toEqual([409, true, false])
    const stranger = newJar(api)
    const refused = await stranger.open(back({ claims: { sub: taken } }))
    expect([refused.status, refused.text.includes('href="/signin"')]).toEqual([400, true])
    expect(await identitiesOf(api, ada.id)).toEqual([])
  })

  test('what opens another account is refused, and one account has one of each provider', async () => {
    const taken = await link((await api.person()).id)
    const { ada, jar } = await signedIn()
    const first = await connect(jar)
    expect((await jar.open(first.back({ claims: { sub: taken } }))).status).toBe(409)
    await link(ada.id)
    const second = await connect(jar, 'corp').catch(() => undefined)
    if (second) expect((await jar.open(second.back({ claims: { sub: 'y' } }))).status).toBe(409)
    expect(await identitiesOf(api, ada.id)).toHaveLength(1)
  })

  test('an address that nobody has proved connects nothing', async () => {
    const { ada, jar } = await signedIn({ email_verified_at: null })
    const { back } = await connect(jar)
    expect((await jar.open(back({ claims: { sub: 'z' } }))).status).toBe(409)
    expect(await identitiesOf(api, ada.id)).toEqual([])
  })

  test('succeeds for one of two callbacks at once', async () => {
    const [one, two] = [await signedIn(), await signedIn()]
    const sub = crypto.randomUUID()
    const begun = [await connect(one.jar), await connect(two.jar)]
    const answers = await Promise.all(
      [one, two].map(({ jar }, index) => jar.open(begun[index]!.back({ claims: { sub } }))),
    )
    expect(answers.map(({ status }) => status).toSorted()).toEqual([303, 409])
    expect(await api.sql('SELECT count(*) AS n FROM identities WHERE subject = ?', [sub])).toEqual([{ n: 1 }])
  })
})

describe('Disconnecting', () => {
  const identityOf = async (userId: string) =>
    String((await api.sql('SELECT id FROM identities WHERE user_id = ? ORDER BY id', [userId]))[0]!.id)

  test('ends the other sessions, and is told', async () => {
    const { ada, jar } = await signedIn()
    await link(ada.id)
    const other = await api.signIn(ada)
    const done = await jar.submit(SECURITY, `${SECURITY}/identities/${await identityOf(ada.id)}/remove`)
    expect(done.to).toBe('/account/security?done=disconnected')
    expect((await jar.open('/account')).status).toBe(200)
    expect((await api.send('GET', '/v1/users/me', { token: other.token })).status).toBe(401)
    expect((await api.mailsTo(ada.email))[0]!.subject).toContain('was disconnected')
  })

  test('leaves the last way in, even if two are removed at once', async () => {
    const ada = await api.person({ email_verified_at: 1, password_hash: null })
    const { token } = await api.signIn(ada)
    await link(ada.id, 'corp')
    const remove = async (id: string) => api.send('DELETE', `/v1/auth/identities/${id}`, { token })
    const last = await remove(await identityOf(ada.id))
    expect([last.status, last.body.code]).toEqual([409, 'last_way_in'])
    await link(ada.id, 'any')
    const rows = await api.sql('SELECT id FROM identities WHERE user_id = ?', [ada.id])
    const answers = await Promise.all(rows.map(({ id }) => remove(String(id))))
    expect(answers.map(({ status }) => status).toSorted()).toEqual([204, 409])
    expect(await identitiesOf(api, ada.id)).toHaveLength(1)
    // An identity at a provider that is no longer configured is not a way in.
    await link(ada.id, 'former')
    const list = await api.send<{ data: { usable: boolean }[] }>('GET', '/v1/auth/identities', { token })
    expect(list.body.data.map(({ usable }) => usable).toSorted()).toEqual([false, true])
    const usable = await api.sql("SELECT id FROM identities WHERE user_id = ? AND provider <> 'former'", [
      ada.id,
    ])
    expect((await remove(String(usable[0]!.id))).status).toBe(409)
  })

  test('is only possible for one’s own', async () => {
    const [ada, eve] = [await api.person(), await api.person()]
    await link(ada.id)
    const { token } = await api.signIn(eve)
    const refused = await api.send('DELETE', `/v1/auth/identities/${await identityOf(ada.id)}`, { token })
    expect([refused.status, refused.body.code]).toEqual([404, 'identity_not_found'])
  })
})

test('MF6: somebody who must show a factor, and has only shown a password, cannot connect or disconnect anything', async () => {
  const strict = openApi({ ...api.bindings, SECOND_FACTOR: 'everybody' })
  const ada = await api.person({ email_verified_at: 1 })
  const before = await link(ada.id, 'corp')
  const [row] = await api.sql('SELECT id FROM identities WHERE user_id = ?', [ada.id])
  const thief = newJar(strict)
  const sub = crypto.randomUUID()
  // Through the security page.
  await thief.signIn(ada.email)
  const begun = await thief.submit(SECURITY, `${SECURITY}/identities/trusted`)
  expect([begun.status, begun.to]).toEqual([303, `${SECURITY}?done=owed`])
  const removed = await thief.submit(SECURITY, `${SECURITY}/identities/${row!.id}/remove`)
  expect([removed.status, removed.to]).toEqual([303, `${SECURITY}?done=owed`])
  // With the address, but nothing proves it: the page leads to the factor, and so does its form if it is sent by
  // hand.
  const place = '/signin/with/any/link'
  await comeFrom(thief, 'any', { sub, email: ada.email })
  expect((await thief.open(place)).to).toBe(`${SECURITY}?done=owed`)
  const forced = await thief.submit(SECURITY, place)
  expect([forced.status, forced.to]).toEqual([303, `${SECURITY}?done=owed`])
  expect(await identitiesOf(api, ada.id)).toEqual([{ provider: 'corp', subject: before, email: null }])

  // A proof of the address is as good as a mailed code.
  const bob = await api.person({ email: `${crypto.randomUUID()}@fjord.test`, email_verified_at: 1 })
  const jar = newJar(strict)
  await comeFrom(jar, 'corp', { sub, email: bob.email, email_verified: true })
  await jar.signIn(bob.email)
  const done = await jar.submit('/signin/with/corp/link', '/signin/with/corp/link')
  expect(done.status).toBe(303)
  expect(await identitiesOf(api, bob.id)).toMatchObject([{ provider: 'corp', subject: sub }])
})

test('SE1: somebody who only has a provider reauthenticates with it', async () => {
  const ada = await api.person({ email_verified_at: 1, password_hash: null })
  const sub = await link(ada.id)
  const jar = newJar(api)
  await comeFrom(jar, 'corp', { sub })
  await api.sql('UPDATE sessions SET created_at = created_at - 3600000 WHERE user_id = ?', [ada.id])
  const page = await jar.open('/signin/again?to=/account/security')
  const place = /href="(\/signin\/with\/corp\?again=[^"]+)"/.exec(page.text)![1]!.replaceAll('&amp;', '&')
  const begin = async () => comingFrom('corp', (await jar.open(place)).to!)
  const now = Math.floor(Date.now() / 1000)
  const { asked, back } = await begin()
  expect([asked.get('max_age'), asked.get('prompt')]).toEqual(['0', 'login'])
  // One that does not say when, or that did not authenticate again, is not enough; nor is somebody else.
  expect((await jar.open(back({ claims: { sub } }))).status).toBe(502)
  expect((await jar.open((await begin()).back({ claims: { sub, auth_time: now - 3600 } }))).status).toBe(502)
  expect((await jar.open((await begin()).back({ claims: { sub: 'eve', auth_time: now } }))).status).toBe(400)
  const done = await jar.open(
    (await begin()).back({ claims: { sub, auth_time: Math.floor(Date.now() / 1000) } }),
  )
  expect([done.status, done.to]).toEqual([303, '/account/security'])
})
