import { createExecutionContext } from 'cloudflare:test'
import { describe, expect, test } from 'vitest'
import { cleanUp } from '../../src/cleanup/service.ts'
import { openForCron } from '../../src/context.ts'
import { foldName, nameFold } from '../../src/users/names.ts'
import { openApi } from '../support/api.ts'
import { freshUpstreams } from '../support/upstreams.ts'

interface Page {
  data: { id: string; name: string }[]
  pagination: { next_cursor: string | null; prev_cursor: string | null }
}
const open = async () => {
  const api = openApi((await freshUpstreams()).bindings)
  const admin = await api.quickActor({ role: 'admin', name: 'The administrator', email_verified_at: 1 })
  const list = (query: string) => api.send<Page>('GET', `/v1/users?${query}`, { token: admin.token })
  const make = async (name: string, more: object = {}) => {
    const { body, status, text } = await api.send<{ id: string }>('POST', '/v1/users', {
      token: admin.token,
      body: { name, email: `${crypto.randomUUID()}@names.test`, notify: false, ...more },
    })
    expect(status, text).toBe(201)
    return body.id
  }
  const found = async (q: string, more = '') =>
    (await list(`q=${encodeURIComponent(q)}${more}`)).body.data.map(({ name }) => name).sort()
  const clean = () => cleanUp(openForCron(api.bindings, createExecutionContext()))
  return { api, admin, list, make, found, clean }
}

test.each([
  ['Älva', 'alva'],
  ['ÅNGSTRÖM', 'angstrom'],
  ['Ørsted', 'orsted'],
  ['Łódź', 'lodz'],
  ['Straße', 'strasse'],
  ['Æther Œuvre', 'aether oeuvre'],
  ['Þórður Đặng', 'thordur dang'],
  ['Nguyễn', 'nguyen'],
  ['İstanbul Işık', 'istanbul isik'],
  ['Ёлка Йод', 'елка иод'],
  ['ΆΝΝΑ', 'αννα'],
  ['Οδυσσεύς', 'οδυσσευσ'],
  // Marks of other scripts are separate letters.
  ['がく', 'がく'],
  ['한국', '한국'],
  ['हिन्दी', 'हिन्दी'],
  ['ﬁn', 'fin'],
])('%s is found and sorted as %s', (name, key) => {
  expect(foldName(name)).toBe(key)
})

describe('A search', () => {
  test('finds names with and without accents, and exact ones', async () => {
    const { make, found, list } = await open()
    for (const name of ['Älva Öberg', 'Alva Berg', 'Łukasz Straßer', 'Ørsted', 'Nguyễn Văn An'])
      await make(name)
    expect(await found('alv')).toEqual(['Alva Berg', 'Älva Öberg'])
    expect(await found('ÄLV')).toEqual(['Älva Öberg'])
    expect(await found('oberg')).toEqual(['Älva Öberg'])
    expect(await found('lukasz strasser')).toEqual(['Łukasz Straßer'])
    expect(await found('Straße')).toEqual(['Łukasz Straßer'])
    expect(await found('orsted')).toEqual(['Ørsted'])
    expect(await found('nguyen van')).toEqual(['Nguyễn Văn An'])
    expect(await found('zzz')).toEqual([])
    // Upper and lower case are the same, also of folded letters; a search with accents finds names that have them.
    for (const q of ['STRASSE', 'STRAẞE', 'straße'])
      expect([q, await found(q)]).toEqual([q, ['Łukasz Straßer']])
    for (const q of ['ØRSTED', 'ørsted', 'ÖRSTED']) expect([q, await found(q)]).toEqual([q, ['Ørsted']])
    for (const q of ['ŁUKASZ', 'łukasz', 'LUKASZ'])
      expect([q, await found(q)]).toEqual([q, ['Łukasz Straßer']])
    for (const q of ['älv', 'ÁLV', 'A\u0308lv']) expect([q, await found(q)]).toEqual([q, ['Älva Öberg']])
    expect(await found('Ölva')).toEqual([])
    // Somebody who is found both ways is listed once, and pages continue correctly.
    const first = (await list('q=ber&limit=1')).body
    const second = (await list(`q=ber&limit=1&cursor=${first.pagination.next_cursor}`)).body
    expect([first, second].map(({ data }) => data.map(({ name }) => name))).toEqual([
      ['Alva Berg'],
      ['Älva Öberg'],
    ])
    expect(second.pagination.next_cursor).toBeNull()
  })

  test('by role, state and address works the same way', async () => {
    const { make, found, api, admin } = await open()
    const id = await make('Zoë', { role: 'manager', email: 'zoe@names.test' })
    await make('Zoé', { email: 'other@names.test' })
    expect(await found('zoe', '&role=manager')).toEqual(['Zoë'])
    expect(await found('zoe', '&role=user')).toEqual(['Zoé'])
    expect(await found('zoe', '&email=other@names.test')).toEqual(['Zoé'])
    await api.send('POST', `/v1/users/${id}/disable`, { token: admin.token, body: { reason: 'left' } })
    expect(await found('zoe', '&status=disabled')).toEqual(['Zoë'])
    await api.send('DELETE', `/v1/users/${id}`, { token: admin.token })
    expect(await found('zoe')).toEqual(['Zoé'])
    expect(await found('zoe', '&status=deleted')).toEqual(['Zoë'])
    await api.send('DELETE', `/v1/users/${id}?hard=true`, { token: admin.token })
    expect((await api.sql('SELECT name FROM names_fts')).map(({ name }) => name)).toEqual(['zoe'])
  })
})

test('Names sort as people expect, forwards and back, page by page', async () => {
  const { make, list } = await open()
  const sorted = ['adam', 'Älva', 'Alvin', 'bert', 'Čapek', 'Dora', 'Łukasz', 'Ördög', 'Zed', 'Žižek']
  for (const name of sorted.toReversed()) await make(name, { role: 'manager' })
  for (const sort of ['name', '-name']) {
    const names: string[] = []
    let page = (await list(`role=manager&sort=${sort}&limit=3`)).body
    for (;;) {
      names.push(...page.data.map(({ name }) => name))
      if (!page.pagination.next_cursor) break
      page = (await list(`role=manager&sort=${sort}&limit=3&cursor=${page.pagination.next_cursor}`)).body
    }
    expect(names).toEqual(sort === 'name' ? sorted : sorted.toReversed())
    const back = (await list(`role=manager&sort=${sort}&limit=3&cursor=${page.pagination.prev_cursor}`)).body
    expect(back.data.map(({ name }) => name)).toEqual(names.slice(6, 9))
  }
})

describe('A key', () => {
  test('that is cut contains no half character, which could not be stored', async () => {
    const { make, found, api, clean } = await open()
    // A ligature of eighteen letters, as often as it fits, and then characters of two units.
    const name = (last: string) => `${'\ufdfa'.repeat(28)}${last}${'😀'.repeat(10)}`
    for (const last of ['a', 'ab']) {
      expect(foldName(name(last)).isWellFormed()).toBe(true)
      await make(name(last))
      expect(await found(name(last))).toEqual([name(last)])
    }
    await api.person({ name: name('b') })
    await clean()
    expect(await api.sql('SELECT 1 FROM users WHERE name = ? AND name_fold IS NULL', [name('b')])).toEqual([])
  })

  test('of a Greek name has one form of sigma, wherever in a word it is', async () => {
    const { make, found } = await open()
    await make('Θεόδωρος Ψάλτης')
    for (const q of ['θεοδωροσ', 'ΘΕΟΔΩΡΟΣ', 'Θεόδωρος', 'ψαλτησ'])
      expect([q, await found(q)]).toEqual([q, ['Θεόδωρος Ψάλτης']])
  })

  test('changes with its name: a renamed user is only found by the new one', async () => {
    const { make, found, api, admin } = await open()
    const id = await make('Älva')
    const rename = (name: string) =>
      api.send('PATCH', `/v1/users/${id}`, { token: admin.token, body: { name } })
    await rename('Mårten')
    expect([await found('alva'), await found('marten')]).toEqual([[], ['Mårten']])
    await rename('Martin')
    expect([await found('marten'), await found('martin')]).toEqual([[], ['Martin']])
    expect(await api.sql('SELECT name_fold FROM users WHERE id = ?', [id])).toEqual([{ name_fold: null }])
    expect(await api.sql('SELECT 1 FROM names_fts')).toEqual([])
  })

  test('of a name written by the previous version is made by clean-up; until then the name is its own key', async () => {
    const { api, found, clean } = await open()
    const before = await api.person({ name: 'Älva' })
    await api.person({ name: 'Åsa' })
    expect([await found('Älva'), await found('alva')]).toEqual([['Älva'], []])
    await clean()
    expect([await found('alva'), await found('asa')]).toEqual([['Älva'], ['Åsa']])
    await api.sql('UPDATE users SET name = ? WHERE id = ?', ['Émile', before.id])
    expect([await found('alva'), await found('Émile')]).toEqual([[], ['Émile']])
    // Nothing is left of the former name.
    expect(await api.sql("SELECT 1 FROM users WHERE name_fold LIKE '%lva%'")).toEqual([])
    await clean()
    expect(await found('emile')).toEqual(['Émile'])
    expect(await api.sql("SELECT 1 FROM users WHERE name GLOB '*[^ -~]*' AND name_fold IS NULL")).toEqual([])
  })

  test('is correct in whatever order two versions write names and clean-up makes keys', async () => {
    const { api } = await open()
    const { id } = await api.person({ name: 'Älva' })
    const names = ['Älva', 'Åsa', 'asa']
    /** The steps of this version, of the previous one, and of clean-up, which may write long after it has read. */
    const steps: (() => Promise<unknown>)[] = names.flatMap((name) => [
      () => api.sql('UPDATE users SET name = ?, name_fold = ? WHERE id = ?', [name, nameFold(name), id]),
      () => api.sql('UPDATE users SET name = ? WHERE id = ?', [name, id]),
      () =>
        api.sql('UPDATE users SET name_fold = ? WHERE id = ? AND name = ? COLLATE BINARY', [
          nameFold(name),
          id,
          name,
        ]),
    ])
    const look = async () => {
      const [row] = await api.sql(
        `SELECT name, name_fold, name_key, (SELECT json_group_array(name) FROM names_fts) AS found FROM users WHERE id = ?`,
        [id],
      )
      const { name, name_fold, name_key, found } = row as Record<string, string>
      const kept = JSON.parse(found!)
      // The key of this name or none, and the index matches the row.
      expect([null, nameFold(name!)]).toContain(name_fold)
      expect(name_key).toBe(name_fold === null ? name : foldName(name!))
      expect(kept).toEqual(name_fold === null ? [] : [foldName(name!)])
    }
    for (const one of steps)
      for (const other of steps) {
        await one()
        await look()
        await other()
        await look()
      }
  })
})
