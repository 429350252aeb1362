import { v7 as uuidv7 } from 'uuid'
import { beforeAll, expect, test } from 'vitest'
import { openApi } from '../support/api.ts'
import { addKey } from '../support/keys.ts'
import { addApp, letApp } from '../support/oauth.ts'
import { openBrowser } from '../support/pages.ts'
import { PAYLOADS } from '../support/payloads.ts'
import { freshUpstreams } from '../support/upstreams.ts'

const api = openApi((await freshUpstreams()).bindings)

const ESCAPES: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}
const escaped = (text: string) => text.replace(/[&<>"']/g, (sign) => ESCAPES[sign]!)

/** What is wrong with each payload: it must be there as text, and nothing else. */
const faultsIn = (html: string) =>
  PAYLOADS.filter((payload) => {
    // Some are another one's escaped form: those may occur.
    const isMarkup = /[<"']/.test(payload)
    return !html.includes(escaped(payload)) || (isMarkup && html.includes(payload))
  })

let ada: Awaited<ReturnType<typeof api.person>>
beforeAll(async () => {
  ada = await api.person({ role: 'admin', email_verified_at: 1 })
  for (const name of PAYLOADS) {
    const app = await addApp(api, { name, scopes: ['openid'] })
    await letApp(api, ada, { scope: 'openid', app })
    await addKey(api, ada, [], { name })
    await api.sql(
      `INSERT INTO passkeys (id, user_id, credential_id, rp_id, public_key, sign_count, transports, aaguid, may_be_synced,
        is_synced, name, created_at) VALUES (?1, ?2, ?1, 'elsewhere.test', '{}', 0, '[]', '', 0, 0, ?3, 1)`,
      [uuidv7(), ada.id, name],
    )
    await api.sql(
      'INSERT INTO identities (id, provider, subject, user_id, email, created_at) VALUES (?1, ?2, ?1, ?3, ?2, 1)',
      [uuidv7(), name, ada.id],
    )
    const { sessionId } = await api.signIn(ada)
    await api.sql('UPDATE sessions SET user_agent = ? WHERE id = ?', [name, sessionId])
  }
})

test.each(['/account/security', '/account/apps'])(
  'AC1: fifty payloads as names of passkeys, accounts elsewhere, apps and keys are text on %s',
  async (path) => {
    const { status, text } = await (await openBrowser(api, ada))('GET', path)
    expect([path, status, faultsIn(text)]).toEqual([path, 200, []])
  },
)

test('AC1: so they are on the pages of those who manage', async () => {
  const visit = await openBrowser(api, await api.person({ role: 'admin', email_verified_at: 1 }))
  let apps = ''
  for (let next: string | undefined = '/admin/apps'; next; ) {
    const { text } = await visit('GET', next)
    apps += text
    next = /href="([^"]+)" rel="next"/.exec(text)?.[1]?.replaceAll('&amp;', '&')
  }
  expect(faultsIn(apps)).toEqual([])
  const { text } = await visit('GET', `/admin/people/${ada.id}`)
  expect(faultsIn(text)).toEqual([])
  // Of devices, only the names of browser and system are shown.
  for (const payload of PAYLOADS.filter((one) => /[<"']/.test(one))) expect(text).not.toContain(payload)
})
