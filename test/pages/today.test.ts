import { createExecutionContext } from 'cloudflare:test'
import { describe, expect, test } from 'vitest'
import { selectLockedOut } from '../../src/access/can-sign-in.ts'
import { openForCron } from '../../src/context.ts'
import { openApi } from '../support/api.ts'
import { addPasskey, addTotp } from '../support/factors.ts'
import { withProviders } from '../support/identities.ts'
import { openBrowser } from '../support/pages.ts'
import { freshUpstreams } from '../support/upstreams.ts'

describe('Users whose only way in was a provider that was removed', () => {
  test('are named on /admin, until something else opens their account', async () => {
    const own = await freshUpstreams()
    const api = openApi({ ...own.bindings, ...withProviders() })
    const boss = await api.person({ role: 'admin', email_verified_at: 1 })
    const known = async (name: string, provider: string, more: object = {}) => {
      const person = await api.person({ name, email_verified_at: 1, password_hash: null, ...more })
      await api.sql(
        'INSERT INTO identities (id, provider, subject, user_id, created_at) VALUES (?1, ?2, ?1, ?3, 1)',
        [crypto.randomUUID(), provider, person.id],
      )
      return person
    }
    const said = async (settings: object = {}) => {
      const visit = await openBrowser(openApi({ ...own.bindings, ...withProviders(), ...settings }), boss)
      const { status, text } = await visit('GET', '/admin')
      const task = /<div class="row">(?:(?!<div class="row">).)*>No way in<.*?<a class="button"/s.exec(
        text,
      )?.[0]
      return [
        status,
        /\S+ (person|people) can no longer sign in/.exec(task ?? '')?.[0],
        [...(task ?? '').matchAll(/<bdi>(.*?)<\/bdi>/g)].map(([, name]) => name).sort(),
      ]
    }
    await known('Still Asked', 'corp')
    expect(await said()).toEqual([200, undefined, []])

    const lone = await known('Lone', 'gone')
    await known('Early', 'aaa')
    await known('With Password', 'gone', { password_hash: 'x' })
    await known('Also Asked', 'gone').then(({ id }) =>
      api.sql(
        "INSERT INTO identities (id, provider, subject, user_id, created_at) VALUES (?1, 'corp', ?1, ?1, 1)",
        [id],
      ),
    )
    await known('Disabled', 'gone', { status: 'disabled' })
    await addPasskey(api, await known('With Passkey', 'gone'))
    // An app is only a second factor: without a first one it lets nobody in.
    await addTotp(api, await known('With App', 'gone'))
    expect(await said()).toEqual([200, '3 people can no longer sign in', ['Early', 'Lone', 'With App']])
    expect(await said({ EMAIL_CODE_SIGNIN: 'on' })).toEqual([200, undefined, []])
    const { status, text } = await (await openBrowser(api, boss))('GET', '/admin?lang=de')
    expect([status, text.includes('3 Personen kommen nicht mehr hinein')]).toEqual([200, true])

    // Without any provider, none of their users gets in.
    expect((await said({ IDENTITY_PROVIDERS: undefined }))[1]).toBe('5 people can no longer sign in')
    await api.sql("UPDATE users SET password_hash = 'x' WHERE id = ?", [lone.id])
    expect(await said()).toEqual([200, '2 people can no longer sign in', ['Early', 'With App']])
  })

  test('cost no more, however many sign in with configured providers', async () => {
    const own = await freshUpstreams()
    const api = openApi({ ...own.bindings, ...withProviders() })
    const addMany = (provider: string, from: number, to: number) =>
      api.sql(
        `INSERT INTO identities (id, provider, subject, user_id, created_at)
          WITH RECURSIVE number (value) AS (SELECT ?2 UNION ALL SELECT value + 1 FROM number WHERE value < ?3)
          SELECT ?1 || value, ?1, value, 'nobody', 1 FROM number`,
        [provider, from, to],
      )
    await addMany('corp', 1, 10)
    const readBy = async (looked: number) => {
      const { db, config, now } = openForCron(api.bindings, createExecutionContext())
      const { calls } = await own.measure(() => db.read({ left: selectLockedOut(config, now, looked) }))
      return calls.flatMap(({ statements }) => statements).reduce((all, { rowsRead }) => all + rowsRead, 0)
    }
    const before = await readBy(500)
    await addMany('corp', 11, 2000)
    expect(await readBy(500)).toBe(before)
    // For a removed provider, at most as many as are looked at.
    await addMany('gone', 1, 2000)
    expect(await readBy(20)).toBeLessThan(before + 100)
  })
})
