import * as openid from 'openid-client'
import { afterEach, expect, test, vi } from 'vitest'
import * as app from '../../examples/spa/roster.js'
import { openApi } from '../support/api.ts'
import { addApp, REDIRECT } from '../support/oauth.ts'
import { openBrowser } from '../support/pages.ts'
import { freshUpstreams } from '../support/upstreams.ts'
import { authorize, fetchOf, ISSUER } from './support.ts'

afterEach(() => vi.unstubAllGlobals())

test('An app in the browser signs somebody in and out as the guide has it', async () => {
  const api = openApi((await freshUpstreams()).bindings)
  const { origin } = new URL(REDIRECT)
  const client = await addApp(api, { type: 'public', post_logout_redirect_uris: [`${origin}/`] })
  const ada = await api.person({ email_verified_at: Date.now(), password_hash: null })
  const browser = await openBrowser(api, ada)

  const kept = new Map<string, string>()
  vi.stubGlobal('sessionStorage', {
    setItem: (name: string, value: string) => void kept.set(name, value),
    getItem: (name: string) => kept.get(name) ?? null,
    removeItem: (name: string) => void kept.delete(name),
  })
  const place = {
    origin,
    href: `${origin}/`,
    assign(to: string) {
      place.href = to
    },
  }
  vi.stubGlobal('location', place)
  vi.stubGlobal('history', {
    replaceState() {
      place.href = `${origin}/`
    },
  })

  await app.open(ISSUER, client.client_id, {
    [openid.customFetch]: fetchOf(api) as openid.CustomFetch,
  })
  await app.signIn()
  expect(place.href).toContain(`${ISSUER}/oauth/authorize?`)
  place.href = (await authorize(browser, new URL(place.href).search.slice(1))).href
  expect(await app.comeBack()).toMatchObject({ sub: ada.id, email: ada.email })
  expect([place.href, kept.size]).toEqual([`${origin}/`, 0])

  const token = await app.accessToken()
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 580_000 })
  expect(await app.accessToken()).not.toBe(token)
  vi.useRealTimers()
  app.signOut()
  const { pathname, search } = new URL(place.href)
  const left = await browser('GET', pathname + search)
  expect(left.headers.get('location')).toBe(`${origin}/`)
})
