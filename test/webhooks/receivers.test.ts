import { createExecutionContext } from 'cloudflare:test'
import { Webhook as Verifier } from 'standardwebhooks'
import { afterEach, beforeAll, describe, expect, test } from 'vitest'
import { cleanUp } from '../../src/cleanup/service.ts'
import { openForCron } from '../../src/context.ts'
import { deliverEvents } from '../../src/webhooks/delivery.ts'
import { selectDueDeliveries } from '../../src/webhooks/protocol.ts'
import type { WebhookWithSecret } from '../../src/webhooks/schemas.ts'
import type { Api } from '../support/api.ts'
import { rounds } from '../support/rounds.ts'
import { behindFirstRead } from '../support/upstreams.ts'
import { addWebhook, deliver, type Hook, openWithWebhooks, pausesEnd, rename } from '../support/webhooks.ts'

let api: Api
beforeAll(async () => {
  ;({ api } = await openWithWebhooks())
})
// Leftovers of one test, above all slow ones, would delay the next.
afterEach(() => api.sql('DELETE FROM webhooks'))

const people = (count: number) =>
  Promise.all(Array.from({ length: count }, () => api.person({ password_hash: null })))
const two = () =>
  Promise.all([api.person({ password_hash: null }), api.person({ password_hash: null })] as const)
/** Renames each of them this often. */
async function renameAll(hook: Hook, ids: { id: string }[], names: string[]) {
  for (const name of names) for (const { id } of ids) await rename(api, hook.admin, id, name)
}
const open = async (hook: Hook) =>
  (await hook.owed()).filter(({ delivered_at, dead_at }) => delivered_at === null && dead_at === null)
/** Two people are renamed, but nothing has been sent yet. */
async function oweTwo(hook: Hook) {
  await api.sql('UPDATE webhooks SET next_try_at = ? WHERE id = ?', [Date.now() + 100_000, hook.id])
  await renameAll(hook, await people(2), ['One'])
  await api.sql('UPDATE webhooks SET next_try_at = NULL WHERE id = ?', [hook.id])
}

describe('A receiver that', () => {
  test.each([
    ['fails', 500],
    ['leads elsewhere', 'away'],
    ['has nothing there', 404],
    ['is busy', 429],
    ['refuses what it is sent', 400],
  ])('%s is tried again, with the same id and body', async (_, answers) => {
    const hook = await addWebhook(api, ['user.updated'], answers)
    const [ada] = await people(1)
    await renameAll(hook, [ada!], ['One'])
    expect(await hook.state()).toMatchObject({ failures: 1, next_try_at: expect.any(Number) })
    await deliver(api)
    expect((await hook.raw()).length).toBe(1)
    await pausesEnd(api)
    await deliver(api)
    const [first, second, ...more] = await hook.received()
    expect([first!.id, first!.received.body, more.length]).toEqual([second!.id, second!.received.body, 0])
    expect((await hook.owed())[0]).toMatchObject({ attempts: 2, delivered_at: null })
  })

  test('is down gets everything when it is back, in order for each user', async () => {
    const hook = await addWebhook(api, ['user.updated'], 503)
    const three = await people(3)
    await renameAll(hook, three, ['One', 'Two', 'Three', 'Four'])
    const wasTried = (await hook.raw()).length
    expect(wasTried).toBeLessThan(6)
    await hook.answers(204)
    await pausesEnd(api)
    await deliver(api)
    const told = (await hook.received()).slice(wasTried)
    expect(told.length).toBe(12)
    for (const { id } of three) {
      const own = told.filter(({ data }) => data.user!.id === id)
      expect(own.map(({ data }) => data.user!.name)).toEqual(['One', 'Two', 'Three', 'Four'])
      const sequences = own.map(({ data }) => data.sequence)
      expect(sequences).toEqual(sequences.toSorted((one, other) => one - other))
    }
    expect(await hook.state()).toMatchObject({ failures: 0, next_try_at: null, failing_since: null })
    expect(await open(hook)).toEqual([])
  })

  test('answers twice, or after a second, gets it once', async () => {
    for (const answers of ['twice', 'slow']) {
      const hook = await addWebhook(api, ['user.updated'], answers)
      await renameAll(hook, await people(1), ['One'])
      await deliver(api)
      const seen = async () => [answers, (await hook.raw()).length, await open(hook)]
      await expect.poll(seen, { timeout: 5000 }).toEqual([answers, 1, []])
    }
  })

  test('answers without an end is read no further', async () => {
    const hook = await addWebhook(api, ['user.updated'], 'long')
    const startedAt = Date.now()
    await renameAll(hook, await people(1), ['One'])
    expect([(await hook.raw()).length, await open(hook)]).toEqual([1, []])
    expect(Date.now() - startedAt).toBeLessThan(4500)
  })

  test('hangs is given five seconds, once, and delays no other', async () => {
    const hanging = await addWebhook(api, ['user.updated'], 'hang')
    const other = await addWebhook(api, ['user.updated'])
    const some = await people(6)
    await api.sql('UPDATE webhooks SET next_try_at = ? WHERE id = ?', [Date.now() + 100_000, hanging.id])
    await api.sql('UPDATE webhooks SET next_try_at = ? WHERE id = ?', [Date.now() + 100_000, other.id])
    await renameAll(hanging, some, ['One'])
    await api.sql('UPDATE webhooks SET next_try_at = NULL')
    const startedAt = Date.now()
    await deliver(api)
    expect(Date.now() - startedAt).toBeLessThan(30_000)
    expect((await other.raw()).length).toBe(6)
    expect((await hanging.raw()).length).toBeLessThanOrEqual(5)
    expect((await hanging.state()).failures).toBe(1)
  })

  test('is gone for good (410) rests at once; its maker and the administrators are told', async () => {
    const hook = await addWebhook(api, ['user.updated'], 410)
    const chief = await api.person({ role: 'admin', password_hash: null, email_verified_at: 1 })
    await api.sql("UPDATE users SET role = 'user', email_verified_at = 1 WHERE id = ?", [hook.admin.id])
    const boss = await api.quickActor({ role: 'admin', password_hash: null })
    const [ada] = await people(1)
    await rename(api, boss, ada!.id, 'One')
    expect((await hook.state()).rested_at).toEqual(expect.any(Number))
    for (const { email } of [chief, hook.admin])
      expect((await api.mailsTo(email))[0]!.text).toContain('gone for good')
    await rename(api, boss, ada!.id, 'Two')
    await deliver(api)
    expect((await hook.raw()).length).toBe(1)
    expect((await open(hook)).length).toBe(2)
  })
})

describe('A rest', () => {
  test('is not ended by a delivery under way, nor by one sent by hand; it is reported once', async () => {
    const hook = await addWebhook(api, ['user.updated'], 410)
    const chief = await api.person({ role: 'admin', password_hash: null, email_verified_at: 1 })
    const mails = async () =>
      (await api.mailsTo(chief.email)).filter(({ text }) => text.includes('gone for good'))
    await renameAll(hook, await people(2), ['One'])
    expect((await hook.state()).rested_at).not.toBeNull()
    const [first, second] = (await open(hook)) as unknown as { id: number }[]
    await hook.answers(204)
    const again = (id: number) =>
      api.send('POST', `/v1/webhooks/deliveries/${id}/retry`, { token: hook.admin.token })
    expect((await again(first!.id)).body).toMatchObject({ status: 'delivered', last_status: 204 })
    expect((await hook.state()).rested_at).not.toBeNull()
    // Claimed before it came to rest, and accepted now.
    await api.sql('UPDATE webhooks SET rested_at = NULL WHERE id = ?', [hook.id])
    await pausesEnd(api)
    await hook.answers('slow')
    const delivering = deliver(api)
    await expect.poll(() => hook.raw().then(({ length }) => length)).toBe(3)
    await api.sql('UPDATE webhooks SET rested_at = 1 WHERE id = ?', [hook.id])
    await delivering
    expect((await hook.owed()).find(({ id }) => id === second!.id)).toMatchObject({ last_status: 204 })
    expect((await hook.state()).rested_at).toBe(1)
    expect((await mails()).length).toBe(1)
  })

  test('and a pause at one address are not ended by a success at a former one', async () => {
    const [hook, elsewhere] = [
      await addWebhook(api, ['user.updated'], 'slow'),
      await addWebhook(api, ['user.deleted'], 500),
    ]
    await api.sql('UPDATE webhooks SET next_try_at = ? WHERE id = ?', [Date.now() + 100_000, hook.id])
    await renameAll(hook, await people(1), ['One'])
    await api.sql('UPDATE webhooks SET next_try_at = NULL WHERE id = ?', [hook.id])
    const delivering = deliver(api)
    await expect.poll(() => hook.raw().then(({ length }) => length)).toBe(1)
    await api.sql(
      'UPDATE webhooks SET url = ?, failures = 3, failing_since = 1, next_try_at = 9e15 WHERE id = ?',
      [elsewhere.url, hook.id],
    )
    await delivering
    expect(await open(hook)).toEqual([])
    expect(await hook.state()).toMatchObject({ failures: 3, failing_since: 1 })
  })
})

describe('What was claimed before its webhook changed', () => {
  /** Two are claimed, the first was sent, and the second is about to be. */
  async function deliverAround(hook: Hook, change: () => Promise<unknown>) {
    await oweTwo(hook)
    const resources = openForCron(api.bindings, createExecutionContext())
    const { db } = resources
    let looks = 0
    resources.db = {
      ...db,
      async readPrimary(batch) {
        looks += 1
        if (looks === 2) await change()
        return db.readPrimary(batch)
      },
    }
    await deliverEvents(resources, 'request')
    expect(await open(hook)).toEqual([])
  }

  test('goes to its present address, and the former one gets nothing more', async () => {
    const [hook, elsewhere] = [
      await addWebhook(api, ['user.updated']),
      await addWebhook(api, ['user.deleted']),
    ]
    const { token } = hook.admin
    await deliverAround(hook, () =>
      api.send('PATCH', `/v1/webhooks/${hook.id}`, { token, body: { url: elsewhere.url } }),
    )
    expect([(await hook.raw()).length, (await elsewhere.received(hook.secret)).length]).toEqual([1, 1])
  })

  test('is signed with the present secret, and not with one that was stolen', async () => {
    const hook = await addWebhook(api, ['user.updated'])
    let secret = ''
    await deliverAround(hook, async () => {
      const path = `/v1/webhooks/${hook.id}/secret`
      const body = { keep_former_seconds: 0 }
      const rotated = await api.send<WebhookWithSecret>('POST', path, { token: hook.admin.token, body })
      secret = rotated.body.secret
    })
    const [, second, ...more] = await hook.raw()
    expect(more).toEqual([])
    expect(() => new Verifier(secret).verify(second!.body, second!.headers)).not.toThrow()
  })
})

describe('A pause', () => {
  test('that somebody ends is over even for the run that saw the failure', async () => {
    const hook = await addWebhook(api, ['user.updated'], 500)
    await oweTwo(hook)
    const resources = openForCron(api.bindings, createExecutionContext())
    const { db } = resources
    let claims = 0
    let isMended = false
    resources.db = {
      ...db,
      async writeBatch(batch, marker) {
        const done = await db.writeBatch(batch, marker)
        if ('claims' in batch) claims += 1
        if (!('hook' in batch) || isMended) return done
        isMended = true
        await hook.answers(204)
        // As PATCH does.
        await api.sql(
          'UPDATE webhooks SET failures = 0, failing_since = NULL, next_try_at = NULL WHERE id = ?',
          [hook.id],
        )
        return done
      },
    }
    await deliverEvents(resources, 'request')
    expect([isMended, await open(hook)]).toEqual([true, []])
    expect(claims).toBeLessThan(5)
  })

  test('grows from five seconds to an hour, once for all deliveries that failed together', async () => {
    const hook = await addWebhook(api, ['user.updated'], 500)
    await api.sql('UPDATE webhooks SET next_try_at = ? WHERE id = ?', [Date.now() + 100_000, hook.id])
    await renameAll(hook, await people(5), ['One'])
    await api.sql('UPDATE webhooks SET next_try_at = NULL WHERE id = ?', [hook.id])
    await deliver(api)
    const pauses = []
    for (let time = 1; time <= 12; time++) {
      const { failures, next_try_at } = await hook.state()
      expect(failures).toBe(time)
      pauses.push(Math.round((Number(next_try_at) - Date.now()) / 1000))
      const tried = (await hook.raw()).length
      // Refusing ten times is tested below.
      await api.sql('UPDATE webhook_deliveries SET attempts = 1 WHERE webhook_id = ?', [hook.id])
      await pausesEnd(api)
      await deliver(api)
      // Only the oldest.
      expect((await hook.raw()).length).toBe(tried + 1)
    }
    expect(pauses[0]).toBeLessThanOrEqual(5)
    expect(pauses[0]).toBeGreaterThan(1)
    expect(pauses[11]).toBeLessThanOrEqual(3600)
    expect(pauses[11]).toBeGreaterThan(3100)
    expect(new Set((await hook.received()).slice(5).map(({ id }) => id)).size).toBe(1)
  })

  test('becomes a rest after fifty attempts and a day, not before both', async () => {
    const hook = await addWebhook(api, ['user.updated'], 500)
    await renameAll(hook, await people(1), ['One'])
    const day = 86_400_000
    const setting = (failures: number, since: number) =>
      api.sql('UPDATE webhooks SET failures = ?, failing_since = ?, next_try_at = 1 WHERE id = ?', [
        failures,
        Date.now() - since,
        hook.id,
      ])
    for (const [failures, since] of [
      [48, 2 * day],
      [60, day - 60_000],
    ] as const) {
      await setting(failures, since)
      await deliver(api)
      expect((await hook.state()).rested_at).toBeNull()
    }
    await setting(49, day + 1000)
    await deliver(api)
    expect((await hook.state()).rested_at).toEqual(expect.any(Number))
    expect(await api.sql("SELECT details FROM user_activity_logs WHERE action = 'webhook.rested'")).toEqual(
      expect.arrayContaining([
        { details: JSON.stringify({ webhook_id: hook.id, host: new URL(hook.url).host, reason: 'failing' }) },
      ]),
    )
  })

  test('delays no other webhook', async () => {
    const [failing, other] = [
      await addWebhook(api, ['user.updated'], 500),
      await addWebhook(api, ['user.updated']),
    ]
    await renameAll(failing, await people(2), ['One', 'Two'])
    expect([(await other.raw()).length, (await open(other)).length]).toEqual([4, 0])
  })
})

describe('What a receiver refuses ten times', () => {
  test('does not block other users’ lines, is tried again now and then, and is not overtaken in its own line', async () => {
    const hook = await addWebhook(api, ['user.updated'], 'picky')
    const [ada, eve] = await two()
    await rename(api, hook.admin, ada.id, 'Refused')
    await rename(api, hook.admin, eve.id, 'Eve')
    await rename(api, hook.admin, ada.id, 'Ada')
    const names = async () => (await hook.received()).map(({ data }) => data.user!.name)
    await api.sql("UPDATE webhook_deliveries SET attempts = 8 WHERE snapshot LIKE '%Refused%'")
    await pausesEnd(api)
    await deliver(api)
    // Until then it may be that nothing is accepted at all.
    expect(await names()).toEqual(['Refused', 'Refused'])
    // At the tenth attempt, or after it.
    for (const _ of [1, 2]) {
      await pausesEnd(api)
      await deliver(api)
    }
    expect((await names()).toSorted()).toEqual(['Eve', 'Refused', 'Refused', 'Refused'])
    expect(await hook.state()).toMatchObject({ failures: 0, next_try_at: null })
    await rename(api, hook.admin, eve.id, 'Eve Two')
    expect((await names()).slice(4)).toEqual(['Eve Two'])
    const [first] = await open(hook)
    expect(Number(first!.next_attempt_at) - Date.now()).toBeGreaterThan(3000_000)
    // It fails again, and the others are tried beside it.
    await api.sql('UPDATE webhook_deliveries SET next_attempt_at = 1 WHERE id = ?', [Number(first!.id)])
    await deliver(api)
    await rename(api, hook.admin, eve.id, 'Eve Three')
    await pausesEnd(api)
    await deliver(api)
    expect((await names()).slice(5)).toEqual(['Refused', 'Eve Three'])
    await hook.answers(204)
    await api.sql('UPDATE webhook_deliveries SET next_attempt_at = 1 WHERE id = ?', [Number(first!.id)])
    await deliver(api)
    expect((await names()).slice(7)).toEqual(['Refused', 'Ada'])
    expect(await open(hook)).toEqual([])
  })

  /** This many people have a message that has been refused ten times; each is due again in so many ms. */
  async function refuseOf(hook: Hook, count: number, dueInMs: number) {
    const some = await people(count)
    await renameAll(hook, some, ['Refused'])
    await api.sql(
      `UPDATE webhook_deliveries SET attempts = 10, last_status = 400, next_attempt_at = ? WHERE webhook_id = ?`,
      [Date.now() + dueInMs, hook.id],
    )
  }
  const namesOf = async (hook: Hook) => (await hook.received()).map(({ data }) => data.user!.name)

  test.each([
    ['while they wait', 3_600_000],
    ['when all of them are due again', -1],
  ])('does not block other users’ lines, however many are refused: %s', async (_, dueInMs) => {
    const hook = await addWebhook(api, ['user.updated'], 'picky')
    await api.sql('UPDATE webhooks SET next_try_at = ? WHERE id = ?', [Date.now() + 100_000, hook.id])
    await refuseOf(hook, 25, dueInMs)
    const [eve] = await people(1)
    await rename(api, hook.admin, eve!.id, 'Eve')
    // After as many tries as this, a day of them would put the webhook to rest.
    await api.sql('UPDATE webhooks SET failures = 49, failing_since = 1, next_try_at = 1 WHERE id = ?', [
      hook.id,
    ])
    await deliver(api, 'request')
    expect(await namesOf(hook)).toContain('Eve')
    expect((await hook.state()).rested_at).toBeNull()
    await rename(api, hook.admin, eve!.id, 'Eve Two')
    await pausesEnd(api)
    await deliver(api)
    expect(await namesOf(hook)).toContain('Eve Two')
    // Each of the refused ones has its turn, and none is lost.
    for (let round = 0; round < 10; round++) {
      await pausesEnd(api)
      await deliver(api)
    }
    const tried = (await namesOf(hook)).filter((name) => name === 'Refused').length
    expect(tried).toBe(dueInMs > 0 ? 0 : 25)
    expect((await open(hook)).length).toBe(25)
  })

  test('costs as many rows, however much is owed to other users', async () => {
    const { own, api: lone } = await openWithWebhooks()
    const hook = await addWebhook(lone, ['user.updated'])
    await lone.sql('UPDATE webhooks SET next_try_at = NULL WHERE id = ?', [hook.id])
    const owe = (users: string, count: number, attempts: number, dueAt: number) =>
      lone.sql(
        `INSERT INTO webhook_deliveries (webhook_id, event_id, user_id, type, is_fixed, owed_at, attempts, last_status,
            next_attempt_at)
          WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?2)
          SELECT ?1, ?5 || n, ?5 || n, 'user.updated', 1, ?4, ?3, iif(?3 > 0, 422, NULL), ?4 FROM n`,
        [hook.id, count, attempts, dueAt, users],
      )
    const rowsRead = async () => {
      const { result, calls } = await own.measure(() =>
        openForCron(lone.bindings, createExecutionContext()).db.read({ due: selectDueDeliveries() }),
      )
      const read = calls.flatMap(({ statements }) => statements).map(({ rowsRead: rows }) => rows)
      return { due: result.due.length, read: read.reduce((sum, rows) => sum + rows, 0) }
    }
    const none = await rowsRead()
    await owe('free', 40, 0, 1)
    const free = await rowsRead()
    await lone.sql('DELETE FROM webhook_deliveries')
    await owe('refused', 50, 10, Date.now() + 3_600_000)
    await owe('free', 40, 0, 1)
    const few = await rowsRead()
    await owe('more', rounds(20_000, 1_000_000), 0, 1)
    const many = await rowsRead()
    expect(many).toEqual(few)
    // And a few for each refused line.
    expect(few.read - free.read).toBeLessThan(10 * 50)
    expect([free.due, few.due]).toEqual([5, 5])
    expect(free.read - none.read).toBeLessThan(200)
  })

  test('does not block other users’ lines, however long its own line is', async () => {
    const hook = await addWebhook(api, ['user.updated'], 'picky')
    const [ada, eve] = await two()
    await rename(api, hook.admin, ada.id, 'Refused')
    await api.sql("UPDATE webhook_deliveries SET attempts = 10 WHERE snapshot LIKE '%Refused%'")
    await api.sql(
      `INSERT INTO webhook_deliveries (webhook_id, event_id, user_id, type, is_fixed, owed_at, next_attempt_at)
        WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 30)
        SELECT ?1, 'e' || n, ?2, 'user.updated', 1, ?3, ?3 FROM n`,
      [hook.id, ada.id, Date.now()],
    )
    await rename(api, hook.admin, eve.id, 'Eve')
    for (const _ of [1, 2]) {
      await pausesEnd(api)
      await deliver(api)
    }
    expect((await hook.received()).map(({ data }) => data.user!.name)).toContain('Eve')
  })

  test('keeps the newest thousand of its line waiting, and older ones are given up', async () => {
    const hook = await addWebhook(api, ['user.updated'], 'picky')
    const [ada] = await two()
    await rename(api, hook.admin, ada.id, 'Refused')
    await api.sql('UPDATE webhook_deliveries SET attempts = 10 WHERE webhook_id = ?', [hook.id])
    await api.sql(
      `INSERT INTO webhook_deliveries (webhook_id, event_id, user_id, type, is_fixed, owed_at, next_attempt_at)
        WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 1030)
        SELECT ?1, 'e' || n, ?2, 'user.updated', 1, ?3, ?3 FROM n`,
      [hook.id, ada.id, Date.now()],
    )
    await pausesEnd(api)
    await deliver(api)
    const ids = (await hook.owed()).map(({ id }) => id)
    expect((await open(hook)).map(({ id }) => id)).toEqual([ids[0], ...ids.slice(-1000)])
    const { body } = await api.send<{ data: object[] }>('POST', `/v1/webhooks/deliveries/${ids[1]}/retry`, {
      token: hook.admin.token,
    })
    // Sent by hand it comes out of order, and says so.
    expect(body).toMatchObject({ status: 'delivered', out_of_order: true })
  })
})

describe('What is owed', () => {
  test('by a batch that comes while others are being sent goes out with them, at whatever moment it comes', async () => {
    const hook = await addWebhook(api, ['user.updated'])
    const [ada] = await two()
    const resources = openForCron(api.bindings, createExecutionContext())
    // Nothing was due; now something is, while the run is about to end.
    behindFirstRead(resources, async () => {
      await api.sql('UPDATE webhooks SET next_try_at = ? WHERE id = ?', [Date.now() + 100_000, hook.id])
      await rename(api, hook.admin, ada.id, 'One')
      await api.sql('UPDATE webhooks SET next_try_at = NULL WHERE id = ?', [hook.id])
      void resources.deliverEvents()
    })
    await resources.deliverEvents()
    expect((await hook.raw()).length).toBe(1)
  })

  test('about somebody who is erased after it was claimed goes out with only the id', async () => {
    const hook = await addWebhook(api, ['user.updated'])
    const [ada, eve] = await two()
    await api.sql('UPDATE webhooks SET next_try_at = ? WHERE id = ?', [Date.now() + 100_000, hook.id])
    await renameAll(hook, [ada, eve], ['One'])
    await api.sql('UPDATE webhooks SET next_try_at = NULL WHERE id = ?', [hook.id])
    await hook.answers('slow')
    const sending = deliver(api, 'request')
    while ((await hook.raw()).length === 0) await new Promise((resolve) => setTimeout(resolve, 10))
    await api.sql('DELETE FROM users WHERE id = ?', [eve.id])
    await sending
    const told = await hook.received()
    expect(told.map(({ data }) => data.user)).toEqual([
      expect.objectContaining({ id: ada.id, name: 'One' }),
      { id: eve.id },
    ])
  })

  test('is given up after three days, and later deliveries continue, marked if they are out of order', async () => {
    const hook = await addWebhook(api, ['user.updated'], 500)
    const [ada] = await people(1)
    await renameAll(hook, [ada!], ['One', 'Two'])
    const [first] = await hook.owed()
    await api.sql('UPDATE webhook_deliveries SET owed_at = ? WHERE id = ?', [
      Date.now() - 3 * 86_400_000 - 1000,
      Number(first!.id),
    ])
    await hook.answers(204)
    await pausesEnd(api)
    expect((await deliver(api)).dead).toBe(1)
    const told = (await hook.received()).at(-1)!
    expect(told.data.user!.name).toBe('Two')
    const { body } = await api.send<{ data: object[] }>('GET', `/v1/webhooks/${hook.id}/deliveries`, {
      token: hook.admin.token,
    })
    expect(body.data).toMatchObject([
      { status: 'delivered', out_of_order: false, last_status: 204 },
      { status: 'gave_up', out_of_order: true, last_status: 500 },
    ])
  })

  test('to a resting webhook is given up by clean-up after three days, and kept until then', async () => {
    const hook = await addWebhook(api, ['user.updated'], 410)
    await renameAll(hook, await people(1), ['One', 'Two'])
    const [first] = await hook.owed()
    await api.sql('UPDATE webhook_deliveries SET owed_at = 1 WHERE id = ?', [Number(first!.id)])
    await cleanUp(openForCron(api.bindings, createExecutionContext()))
    // It was given up so long ago that it is gone.
    expect((await hook.owed()).map(({ dead_at }) => dead_at)).toEqual([null])
  })

  test('is removed 30 days after it was delivered or given up, or with its webhook', async () => {
    const [hook, other] = [await addWebhook(api, ['user.updated']), await addWebhook(api, ['user.updated'])]
    await renameAll(hook, await people(2), ['One'])
    const [old] = await hook.owed()
    const at = (days: number) => Date.now() - days * 86_400_000
    const age = (id: unknown, days: number) =>
      api.sql('UPDATE webhook_deliveries SET owed_at = ?1, delivered_at = ?1 WHERE id = ?2', [
        at(days),
        Number(id),
      ])
    await age(old!.id, 34)
    await age((await hook.owed()).at(-1)!.id, 30)
    await api.send('DELETE', `/v1/webhooks/${other.id}`, { token: other.admin.token })
    // The newest of all stays.
    await renameAll(hook, await people(1), ['Two'])
    await cleanUp(openForCron(api.bindings, createExecutionContext()))
    expect([(await hook.owed()).length, (await other.owed()).length]).toEqual([2, 0])
  })

  test('is sent by only one of several Workers that deliver at once', async () => {
    const hook = await addWebhook(api, ['user.updated'])
    // Receivers of other tests hang, and would be waited for.
    await api.sql('UPDATE webhooks SET rested_at = 1 WHERE id <> ?', [hook.id])
    await api.sql('UPDATE webhooks SET next_try_at = ? WHERE id = ?', [Date.now() + 100_000, hook.id])
    await renameAll(hook, await people(4), ['One', 'Two', 'Three'])
    await api.sql('UPDATE webhooks SET next_try_at = NULL WHERE id = ?', [hook.id])
    await Promise.all([deliver(api), deliver(api), deliver(api, 'request')])
    await deliver(api)
    const told = await hook.received()
    expect([told.length, new Set(told.map(({ id }) => id)).size]).toEqual([12, 12])
  })
})

test('Logs contain no address, no secret and no personal data', async () => {
  const lines: string[] = []
  const kept = { warn: console.warn, error: console.error, info: console.info }
  for (const level of ['warn', 'error', 'info'] as const) console[level] = (line: string) => lines.push(line)
  try {
    const hook = await addWebhook(api, ['user.updated'], 500)
    const [ada] = await people(1)
    await renameAll(hook, [ada!], ['Zebra'])
    await hook.answers(204)
    await pausesEnd(api)
    await deliver(api)
    const text = lines.join('\n')
    expect(text).toContain('webhook_not_delivered')
    expect(text).toContain('webhook_delivered')
    for (const word of [hook.secret, hook.secret.slice(6), new URL(hook.url).pathname, 'Zebra', ada!.email])
      expect(text).not.toContain(word)
  } finally {
    Object.assign(console, kept)
  }
})
