import { decodeBase32IgnorePadding } from '@oslojs/encoding'
import { beforeAll, describe, expect, test } from 'vitest'
import { makeFormToken } from '../../src/pages/forms.ts'
import { begin } from '../openid/support.ts'
import { type Answer, type Api, openApi, PASSWORD } from '../support/api.ts'
import { addPasskey, addTotp, answerOf, codeOf, withinOneStep, wrongCodeOf } from '../support/factors.ts'
import { codeIn } from '../support/mails.ts'
import { addApp } from '../support/oauth.ts'
import { openBrowser, signedIn } from '../support/pages.ts'
import { freshUpstreams } from '../support/upstreams.ts'

let api: Api
beforeAll(async () => {
  api = openApi({ ...(await freshUpstreams()).bindings, ISSUER: 'https://roster.test' })
})

/** A browser that keeps cookies, in which nobody is signed in yet. */
function stranger() {
  const binding = crypto.randomUUID()
  const jar = new Map([['__Host-roster-browser', binding]])
  return async (method: string, path: string, fields: Record<string, string> = {}): Promise<Answer> => {
    const form_token = makeFormToken({ config: api.config(), now: Date.now() }, binding)
    const cookie = [...jar].map(([name, value]) => `${name}=${value}`).join('; ')
    const raw = new URLSearchParams({ form_token, ...fields })
    const answer = await api.send(method, path, { headers: { cookie }, ...(method === 'POST' && { raw }) })
    for (const header of answer.headers.getSetCookie()) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(header)!
      if (/Max-Age=0/.test(header)) jar.delete(name!)
      else jar.set(name!, value!)
    }
    return answer
  }
}
const placeOf = ({ status, headers }: Answer) => [status, headers.get('location')]

/** The page on which somebody sets up an app: its seed, and its form with the code that was mailed. */
async function setUpIn({ text }: Answer, { email }: { email: string }) {
  const [, secret] = /<code class="copy"[^>]*>([A-Z2-7]{32})<\/code>/.exec(text)!
  const hidden = /<input type="hidden" name="(?!form_token)([^"]+)" value="([^"]+)"/g
  const [mail] = await api.mailsTo(email)
  return {
    secret: secret!,
    seed: decodeBase32IgnorePadding(secret!),
    fields: {
      ...Object.fromEntries([...text.matchAll(hidden)].map(([, name, value]) => [name!, value!])),
      mail_code: codeIn(mail!),
    },
  }
}

describe('MF6: on the pages, whoever has a factor', () => {
  test('LE5: types a code after the password, and has no session before', async () => {
    await withinOneStep()
    const ada = await api.person({ email_verified_at: 1 })
    const { seed } = await addTotp(api, ada)
    const visit = stranger()
    const password = await visit('POST', '/signin', {
      email: ada.email,
      password: PASSWORD,
      to: '/account/data',
    })
    expect(placeOf(password)).toEqual([303, '/signin/factor'])
    expect(password.headers.getSetCookie().join()).not.toContain('__Host-roster=')
    const page = await visit('GET', '/signin/factor')
    expect(page.text).toContain('one-time-code')
    expect(page.text).toContain(ada.email)
    for (const left of ['4 tries left.', '3 tries left.']) {
      const wrong = await visit('POST', '/signin/factor', { code: wrongCodeOf(seed) })
      expect([wrong.status, wrong.text.includes(left)]).toEqual([401, true])
    }
    const code = codeOf(seed).replace(/(...)/, '$1 ')
    const entered = await visit('POST', '/signin/factor', { code })
    expect(placeOf(entered)).toEqual([303, '/account/data'])
    expect((await visit('GET', '/account/security')).status).toBe(200)
    expect(placeOf(await visit('GET', '/signin/factor'))).toEqual([303, '/signin'])
  })

  test('gets in with a recovery code, with a passkey after the password, or with only a passkey', async () => {
    const ada = await api.person({ email_verified_at: 1 })
    const { recoveryCodes } = await addTotp(api, ada)
    const passkey = await addPasskey(api, ada)
    const withPassword = async () => {
      const visit = stranger()
      await visit('POST', '/signin', { email: ada.email, password: PASSWORD })
      const { text } = await visit('GET', '/signin/factor')
      const [, challenge] = /challenge&quot;:&quot;([^&]+)&quot;/.exec(text)!
      return { visit, challenge: challenge! }
    }
    const first = await withPassword()
    expect(
      placeOf(await first.visit('POST', '/signin/factor', { recovery_code: recoveryCodes[0]! })),
    ).toEqual([303, '/account'])
    const second = await withPassword()
    const path = '/v1/auth/login/second_factor/options'
    const { credential } = await answerOf(api, passkey, path, { body: { challenge: second.challenge } })
    const entered = await second.visit('POST', '/signin/factor', { credential: JSON.stringify(credential) })
    expect(placeOf(entered)).toEqual([303, '/account'])
    const visit = stranger()
    const alone = await answerOf(api, passkey, '/v1/auth/login/passkey/options')
    const fields = { challenge_id: alone.challenge_id, credential: JSON.stringify(alone.credential) }
    expect(placeOf(await visit('POST', '/signin/passkey', fields))).toEqual([303, '/account'])
    expect(placeOf(await stranger()('POST', '/signin/passkey', fields))).toEqual([
      303,
      '/signin?done=passkey',
    ])
  })

  test('LE6: is told why the right passkey does not let them in: disabled, or an address to be confirmed', async () => {
    const strict = openApi({ ...api.bindings, EMAIL_VERIFICATION: 'required' })
    const ada = await strict.person({ email_verified_at: 1 })
    const passkey = await addPasskey(strict, ada)
    const enter = async () => {
      const { challenge_id, credential } = await answerOf(strict, passkey, '/v1/auth/login/passkey/options')
      const fields = { challenge_id, credential: JSON.stringify(credential), to: '/account/data' }
      return (await openBrowser(strict))('POST', '/signin/passkey', fields)
    }
    await strict.sql('UPDATE users SET email_verified_at = NULL WHERE id = ?', [ada.id])
    const unproved = await enter()
    expect([unproved.status, unproved.text.includes('did not work')]).toEqual([403, false])
    expect(unproved.text).toContain('Confirm your email first')
    expect(unproved.text).toContain('href="/signup/resend"')
    expect(unproved.text).toContain('<input type="hidden" name="to" value="/account/data"')
    await strict.sql(
      "UPDATE users SET email_verified_at = 1, status = 'disabled', disabled_until = ? WHERE id = ?",
      [Date.UTC(2099, 11, 4), ada.id],
    )
    const disabled = await enter()
    expect(disabled.status).toBe(403)
    expect(disabled.text).toContain('Your account is disabled until 4 December 2099')
    expect(await strict.sql('SELECT id FROM sessions WHERE user_id = ?', [ada.id])).toEqual([])
  })

  test('reauthenticates with password and code', async () => {
    const ada = await api.person({ email_verified_at: 1 })
    const { recoveryCodes } = await addTotp(api, ada)
    const visit = await openBrowser(api, ada)
    expect((await visit('GET', '/signin/again')).text).toContain('name="code"')
    expect((await visit('POST', '/signin/again', { password: PASSWORD })).status).toBe(403)
    const again = await visit('POST', '/signin/again', {
      password: PASSWORD,
      code: recoveryCodes[0]!,
      to: '/account',
    })
    expect(placeOf(again)).toEqual([303, '/account'])
  })
})

describe('On the security page', () => {
  test('an app is set up by its QR code and a mailed code, and recovery codes are shown once', async () => {
    const ada = await api.person({ email_verified_at: 1 })
    const visit = await openBrowser(api, ada)
    const begun = await visit('POST', '/account/security/totp')
    expect(begun.status).toBe(200)
    expect(begun.text).toContain('<svg')
    const { secret, seed, fields } = await setUpIn(begun, ada)
    const wrong = await visit('POST', '/account/security/totp/confirm', {
      ...fields,
      code: wrongCodeOf(seed),
    })
    expect(wrong.status).toBe(403)
    expect(wrong.text).toContain(secret)
    const confirmed = await visit('POST', '/account/security/totp/confirm', { ...fields, code: codeOf(seed) })
    expect(confirmed.status).toBe(200)
    const codes = confirmed.text.match(/[a-z2-7]{5}(-[a-z2-7]{5}){3}-[a-z2-7]{6}/g)!
    expect(new Set(codes).size).toBe(10)
    const { text } = await visit('POST', '/account/security/recovery_codes/download', { codes: codes[0]! })
    expect(text).toMatch(new RegExp(`^\\S.*\\n\\S+@\\S+\\n\\d+ \\w+ \\d{4}\\n\\n${codes[0]}\\n$`))
    // When printed, they say whose they are, and from which day.
    expect(confirmed.text).toMatch(new RegExp(`· ${ada.email} · <time[^>]*>\\d+ \\w+ \\d{4}</time>`))
    const page = await visit('GET', '/account/security?done=added')
    expect(page.text).toContain('10 left')
  })

  test('SE2: an app is set up only with the seed that was shown first, not with one of another session', async () => {
    await withinOneStep()
    const ada = await api.person({ email_verified_at: 1 })
    const visit = await openBrowser(api, ada)
    const { seed, fields } = await setUpIn(await visit('POST', '/account/security/totp'), ada)
    // A thief with the password makes another seed meanwhile, which needs no mailed code.
    const { token } = await api.signIn(ada)
    const { body } = await api.send<{ secret: string }>('POST', '/v1/auth/factors/totp', { token })
    const confirm = (code: string, given: Record<string, string> = fields) =>
      visit('POST', '/account/security/totp/confirm', { ...given, code })
    const { seed_digest: _, ...without } = fields as Record<string, string>
    for (const answer of [
      await confirm(codeOf(seed)),
      await confirm('12345'),
      await confirm(codeOf(decodeBase32IgnorePadding(body.secret))),
      await confirm(codeOf(decodeBase32IgnorePadding(body.secret)), without),
    ]) {
      expect(placeOf(answer)).toEqual([303, '/account/security?problem=nothing_to_confirm'])
      expect(answer.text).not.toContain(body.secret)
    }
    const rows = await api.sql('SELECT confirmed_at FROM factors WHERE user_id = ?', [ada.id])
    expect(rows).toEqual([{ confirmed_at: null }])
    expect((await visit('GET', '/account/security?problem=nothing_to_confirm')).text).toContain(
      'Set the app up again.',
    )
    const again = await setUpIn(await visit('POST', '/account/security/totp'), ada)
    expect((await confirm(codeOf(again.seed), again.fields)).status).toBe(200)
  })

  test('PK4: passkeys are listed, renamed and removed', async () => {
    const ada = await api.person({ email_verified_at: 1 })
    await addPasskey(api, ada)
    const [row] = await api.sql('SELECT id FROM passkeys WHERE user_id = ?', [ada.id])
    const visit = await openBrowser(api, ada)
    expect((await visit('GET', '/account/security')).text).toContain('Laptop')
    const path = `/account/security/passkeys/${row!.id}`
    await visit('POST', `${path}/rename`, { name: 'Work phone' })
    expect((await visit('GET', '/account/security')).text).toContain('Work phone')
    const removed = await visit('POST', `${path}/remove`)
    expect(placeOf(removed)).toEqual([303, '/account/security?done=removed'])
    expect((await visit('POST', '/account/security/passkeys/new')).status).toBe(200)
  })
})

test('AC3: somebody who must add a factor is led to the security page, and can only sign out besides', async () => {
  const { bindings } = api
  const strict = openApi({ ...bindings, SECOND_FACTOR: 'everybody' })
  const ada = await strict.person({ email_verified_at: 1 })
  const visit = await openBrowser(strict, ada)
  for (const [method, path] of [
    ['GET', '/account'],
    ['POST', '/account'],
    ['GET', '/account/data'],
  ] as const)
    expect(placeOf(await visit(method, path, { name: 'X' }))).toEqual([
      303,
      `/account/security?done=owed${method === 'GET' ? `&to=${encodeURIComponent(path)}` : ''}`,
    ])
  expect((await visit('GET', '/account/security')).status).toBe(200)
  expect((await visit('POST', '/account/security/totp')).status).toBe(200)
  expect(await strict.sql('SELECT name FROM users WHERE id = ?', [ada.id])).toEqual([{ name: 'Somebody' }])
  expect(placeOf(await visit('POST', '/signout'))).toEqual([303, '/signin?done=signed_out'])
  const [session] = await strict.sql('SELECT revoked_reason FROM sessions WHERE user_id = ?', [ada.id])
  expect(session).toEqual({ revoked_reason: 'logged_out' })
})

test('AC3: somebody who must add a factor is warned, and told to add one, or to have the link sent again', async () => {
  const strict = openApi({ ...api.bindings, SECOND_FACTOR: 'everybody' })
  const said = (text: string) => /<div class="notice (\w*)"[\s\S]*?<\/div><\/div>/.exec(text)!
  const owed = '/account/security?done=owed'
  const proved = await openBrowser(strict, await strict.person({ email_verified_at: 1 }))
  const [notice, tone] = said((await proved('GET', owed)).text)
  expect(tone).toBe('warn')
  for (const action of ['passkeys/new', 'totp'])
    expect(notice).toContain(`action="/account/security/${action}"`)

  const ada = await strict.person({ email_verified_at: null })
  const visit = await openBrowser(strict, ada)
  const refused = await visit('POST', '/account/security/totp')
  for (const place of [owed, refused.headers.get('location')!]) {
    const [words, tone] = said((await visit('GET', place)).text)
    expect([place, tone]).toEqual([place, 'warn'])
    expect(words).toContain('<strong>Confirm your address first</strong>')
    expect(words).toContain('action="/account/verification"')
    expect(words).toContain(ada.email)
    expect(words).not.toContain('/account/security/totp')
  }
  const sent = await visit('POST', '/account/verification', { from: 'security' })
  expect(placeOf(sent)).toEqual([303, '/account/security?done=sent'])
  expect((await visit('GET', '/account/security?done=sent')).text).toContain('Sent. It can take a minute.')
  expect((await strict.mailsTo(ada.email)).map(({ subject }) => subject)).toEqual([
    expect.stringMatching(/^Confirm/),
  ])
})

test('AC3: somebody who must add a factor on the way to an app goes on to it once they have one', async () => {
  const strict = openApi({ ...api.bindings, SECOND_FACTOR: 'everybody' })
  const ada = await strict.person({ email_verified_at: 1 })
  const jar = new Map([['__Host-roster', (await signedIn(strict, ada)).cookie.replace('__Host-roster=', '')]])
  const get = async (path: string) => {
    const cookie = [...jar].map(([name, value]) => `${name}=${value}`).join('; ')
    const answer = await strict.send('GET', path, { headers: { cookie } })
    for (const header of answer.headers.getSetCookie()) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(header)!
      jar.set(name!, value!)
    }
    return answer
  }
  const { search } = await begin(await addApp(api, { name: 'Wiki' }))
  const sent = await get(`/oauth/authorize?${search}`)
  const [status, location] = placeOf(sent) as [number, string]
  expect([status, location.startsWith('/account/security?done=owed&to=%2Foauth%2Fauthorize%3F')]).toEqual([
    303,
    true,
  ])
  const onwards = /class="button primary" href="(\/oauth\/authorize[^"]*)"/
  expect((await get(location)).text).not.toMatch(onwards)
  // As for somebody who presses a button meanwhile, and is redirected here.
  await get('/account/security?done=owed')
  await strict.sql('UPDATE sessions SET amr = \'["pwd","otp","mfa"]\' WHERE user_id = ?', [ada.id])
  const [, place] = onwards.exec((await get('/account/security?done=added')).text)!
  expect((await get(place!.replaceAll('&amp;', '&'))).text).toContain('Wiki wants to use your account')
  // The next person at this browser is not taken to their destination.
  const eve = await strict.person({ email_verified_at: 1 })
  const own = jar.get('__Host-roster')!
  jar.set('__Host-roster', (await signedIn(strict, eve)).cookie.replace('__Host-roster=', ''))
  await strict.sql('UPDATE sessions SET amr = \'["pwd","otp","mfa"]\' WHERE user_id = ?', [eve.id])
  expect((await get('/account/security?done=added')).text).not.toMatch(onwards)
  jar.set('__Host-roster', own)
  expect((await get('/account/security?done=added')).text).toMatch(onwards)
  // Nobody is redirected away from here.
  await get(`/account/security?done=owed&to=${encodeURIComponent('https://evil.test/')}`)
  expect((await get('/account/security?done=added')).text).not.toContain('evil.test')
})

test('MF6: those who manage see the factors of somebody on their page, and reset them', async () => {
  const [boss, ada] = [await api.person({ role: 'manager' }), await api.person({ email_verified_at: 1 })]
  await addTotp(api, ada)
  const visit = await openBrowser(api, boss)
  expect((await visit('GET', `/admin/people/${ada.id}`)).text).toContain('Authenticator app')
  await visit('POST', `/admin/people/${ada.id}/reset_factors`)
  expect(await api.sql('SELECT * FROM factors WHERE user_id = ?', [ada.id])).toEqual([])
})

test('AC3: /admin tells administrators that those who manage need no factor, until it is required', async () => {
  const says = async (SECOND_FACTOR: string, role: 'manager' | 'admin') => {
    const one = openApi({ ...api.bindings, SECOND_FACTOR })
    const visit = await openBrowser(one, await one.person({ role, email_verified_at: 1 }))
    return (await visit('GET', '/admin')).text.includes('Managers can sign in with a password alone')
  }
  expect([await says('optional', 'admin'), await says('optional', 'manager')]).toEqual([true, false])
  expect(await says('everybody', 'admin')).toBe(false)
})
