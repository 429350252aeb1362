import { beforeAll, expect, test } from 'vitest'
import type { ImportResult } from '../../src/bulk/import/schemas.ts'
import { type Actor, type Api, openApi } from '../support/api.ts'
import { freshUpstreams } from '../support/upstreams.ts'

let own: Awaited<ReturnType<typeof freshUpstreams>>
let api: Api
let admin: Actor

beforeAll(async () => {
  own = await freshUpstreams()
  api = openApi(own.bindings)
  admin = await api.actor({ role: 'admin' })
})

/** A tenth of a typical batch: half of them proved, with an external id and metadata. */
const people = (count: number, mark: string) =>
  Array.from({ length: count }, (_, at) => ({
    email: `${mark}-${at}@rows.test`,
    name: `Person ${at} of ${mark}`,
    email_verified: at % 2 === 0,
    external_id: `${mark}-${at}`,
    created_at: new Date(1_500_000_000_000 + at).toISOString(),
    metadata: { at },
  }))

const send = (lines: object[]) =>
  own.measure(() =>
    api.send<ImportResult>('POST', '/v1/users/import', {
      token: admin.token,
      raw: lines.map((line) => JSON.stringify(line)).join('\n'),
      headers: { 'content-type': 'application/x-ndjson' },
    }),
  )

type Measured = Awaited<ReturnType<typeof send>>
const sum = ({ calls }: Measured, rows: 'rowsRead' | 'rowsWritten') =>
  calls.flatMap(({ statements }) => statements).reduce((all, one) => all + one[rows], 0)

/** For one user: the row with its indexes and the total, the search index, and six rows of history. */
const MAX_WRITTEN_EACH = 20

test('An import takes two trips, and a fixed number of rows for each user, however many there are', async () => {
  const [few, many] = [await send(people(10, 'few')), await send(people(500, 'many'))]
  for (const measured of [few, many]) {
    expect(measured.result.body.data.every(({ status }) => status === 'created')).toBe(true)
    expect(measured.calls.filter(({ upstream }) => upstream === 'libsql')).toHaveLength(2)
  }
  const each = (sum(many, 'rowsWritten') - sum(few, 'rowsWritten')) / 490
  const read = (sum(many, 'rowsRead') - sum(few, 'rowsRead')) / 490
  console.log(`${each} rows written and ${read} read for each`)
  expect(each).toBeLessThanOrEqual(MAX_WRITTEN_EACH)
  expect(read).toBeLessThanOrEqual(36)
  const again = await send(people(500, 'many'))
  expect(again.result.body.data.every(({ status }) => status === 'exists')).toBe(true)
  expect(sum(again, 'rowsWritten')).toBe(0)
})

test('The maximum of webhooks changes little: each gets one event, not one for each user', async () => {
  // They rest, so that nothing is sent, and only the batch is measured.
  await api.sql(`INSERT INTO webhooks (id, url, types, secret, created_at, updated_at, version, rested_at)
    SELECT 'hook-' || value, 'https://hooks.example.com/' || value, '["user.created","users.imported"]', 's', 1, 1, 1, 1
    FROM generate_series(1, 50)`)
  const [few, many] = [await send(people(10, 'told')), await send(people(500, 'all-told'))]
  const owed = await api.sql(
    'SELECT type, count(*) AS n, count(DISTINCT webhook_id) AS hooks FROM webhook_deliveries GROUP BY event_id ORDER BY id',
  )
  expect(owed).toEqual([few, many].map(() => ({ type: 'users.imported', n: 50, hooks: 50 })))
  const ids = many.result.body.data.map(({ id }) => id!.replaceAll('-', '')).sort()
  const said = await api.sql(
    "SELECT DISTINCT event_details ->> '$.ids' AS ids FROM webhook_deliveries ORDER BY id DESC LIMIT 1",
  )
  expect(String(said[0]!.ids).match(/.{32}/g)!.sort()).toEqual(ids)
  const each = (sum(many, 'rowsWritten') - sum(few, 'rowsWritten')) / 490
  const read = (sum(many, 'rowsRead') - sum(few, 'rowsRead')) / 490
  console.log(`with 50 webhooks: ${each} rows written and ${read} read for each`)
  expect(each).toBeLessThanOrEqual(MAX_WRITTEN_EACH)
  expect(read).toBeLessThanOrEqual(40)
  await api.sql('DELETE FROM webhook_deliveries')
  await api.sql('DELETE FROM webhooks')
})

test('A lost answer does no harm: the batch is sent again, and is done once', async () => {
  const lines = people(5, 'lost')
  await own.behave('libsql', { mode: 'reset-after', next: 1, only: 'BEGIN IMMEDIATE' })
  const { result } = await send(lines)
  await own.behave('libsql', { mode: 'pass' })
  expect(result.body.data.map(({ status }) => status)).toEqual(lines.map(() => 'created'))
  const [made] = await api.sql("SELECT count(*) AS n FROM users WHERE external_id LIKE 'lost-%'")
  const [told] = await api.sql(
    "SELECT count(*) AS n FROM user_activity_logs JOIN users ON users.id = user_id WHERE external_id LIKE 'lost-%'",
  )
  expect([made!.n, told!.n]).toEqual([5, 5])
})

test('Somebody who takes the address between reading and writing stays as they are', async () => {
  const [line] = people(1, 'raced')
  const { result, wasHeld } = await own.between(
    () => send([line!, ...people(1, 'beside')]),
    () => api.person({ email: line!.email, name: 'First' }),
  )
  expect(wasHeld).toBe(true)
  expect(result.result.body.data).toMatchObject([{ status: 'exists', by: 'address' }, { status: 'created' }])
  expect(await api.sql('SELECT name, external_id FROM users WHERE email = ?', [line!.email])).toEqual([
    { name: 'First', external_id: null },
  ])
})
