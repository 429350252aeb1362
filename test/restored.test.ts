import { createExecutionContext } from 'cloudflare:test'
import { v7 as uuidv7 } from 'uuid'
import { beforeEach, describe, expect, vi } from 'vitest'
import { afterRestore } from '../scripts/db-restored.ts'
import { newSecret } from '../scripts/keys.ts'
import { lookForKeys } from '../scripts/keys-in-use.ts'
import { erasureForLedger, updateLedger } from '../src/activity/ledger.ts'
import type { Action } from '../src/activity/models.ts'
import { HEAD_KEY } from '../src/activity/seals.ts'
import { openForCron, type Resources } from '../src/context.ts'
import { keyPrefixOf } from '../src/database/redis.ts'
import { type Actor, type Api, openApi } from './support/api.ts'
import { everyCleanUp } from './support/traffic.ts'
import { freshUpstreams, testOfRedis } from './support/upstreams.ts'
import { addWebhook, openWithWebhooks, rename } from './support/webhooks.ts'

let own: Awaited<ReturnType<typeof freshUpstreams>>
let api: Api
let admin: Actor
beforeEach(async () => {
  own = await freshUpstreams()
  api = openApi({ ...own.bindings, HISTORY_KEY: newSecret() })
  admin = await api.actor({ role: 'admin', email_verified_at: 1 })
})

const open = (by = api): Resources => openForCron(by.bindings as never, createExecutionContext())
const restored = (isAgain = false) => afterRestore(open(), { isAgain })
/** The ledger has an entry that the history has lost. */
async function lose(userId: string, action: Action, { at = Date.now(), about = '' } = {}) {
  const line = [uuidv7({ msecs: at }), userId, action, '', about].join(' ')
  const key = `${keyPrefixOf(open().config.ISSUER)}ledger`
  expect(await api.redis('ZADD', key, String(at), line)).toBe(1)
}
const historyOf = async ({ id }: { id: string }) =>
  (
    await api.sql(
      'SELECT action, actor_id, details FROM user_activity_logs WHERE user_id = ? ORDER BY action',
      [id],
    )
  ).map(({ details, ...row }) => ({ ...row, ...(JSON.parse(String(details)) as object) }))
const REASON = 'backup_restored'
const answered = expect.arrayContaining([expect.stringMatching(/^[\da-f-]{36}$/)])
const rowOf = async ({ id }: { id: string }) => (await api.sql('SELECT * FROM users WHERE id = ?', [id]))[0]!
const isIn = async ({ token }: { token: string }) => {
  const headers = { 'cache-control': 'no-cache' }
  return (await api.send('GET', '/v1/auth/sessions', { token, headers })).status === 200
}

describe('After a restore', () => {
  testOfRedis(
    'it warns about keys other than the database’s: with them nobody is found as erased',
    async () => {
      const others = openApi({ ...own.bindings, SECRET_KEYS: newSecret() })
      const warned = expect.arrayContaining([
        expect.stringContaining('SECRET_KEYS lacks a key that passwords'),
      ])
      expect((await afterRestore(open(others), { isDryRun: true })).warnings).toEqual(warned)
      expect((await afterRestore(open(), { isDryRun: true })).warnings).not.toEqual(warned)
      // The oldest only has a passkey.
      await api.sql('UPDATE users SET password_hash = NULL')
      expect((await afterRestore(open(others), { isDryRun: true })).warnings).not.toEqual(warned)
      await api.person()
      expect((await afterRestore(open(others), { isDryRun: true })).warnings).toEqual(warned)
      expect((await afterRestore(open(), { isDryRun: true })).warnings).not.toEqual(warned)
    },
  )

  testOfRedis(
    'without a key that is in use nothing is done; an old password under a retired key does not prevent it',
    async () => {
      const others = openApi({ ...own.bindings, SECRET_KEYS: newSecret() })
      const ada = await api.actor()
      const told: string[][] = []
      const asked = { warn: (warnings: string[]) => void told.push(warnings) }
      await expect(afterRestore(open(others), asked)).rejects.toThrow(
        'SECRET_KEYS lacks a key that is in use',
      )
      expect(told).toEqual([
        expect.arrayContaining([expect.stringContaining('SECRET_KEYS lacks a key that passwords')]),
      ])
      expect(await isIn(ada)).toBe(true)
      expect(await afterRestore(open(others), { isDryRun: true })).toMatchObject({ lacksKey: true })
      expect(await afterRestore(open(others), { withoutKeys: true })).toMatchObject({ ends: { sessions: 2 } })
      await others.person()
      expect(await afterRestore(open(others), { isAgain: true })).toMatchObject({
        lacksKey: false,
        warnings: expect.arrayContaining([expect.stringContaining('SECRET_KEYS lacks a key that passwords')]),
      })
    },
  )

  testOfRedis(
    'the key that signed at the last sign-in by a password is in use, however old or new other accounts are',
    async () => {
      await api.sql('UPDATE users SET password_hash = NULL')
      const [former, current] = [newSecret(), newSecret()]
      const by = (SECRET_KEYS: string) => openApi({ ...own.bindings, SECRET_KEYS })
      const ada = await by(former).person()
      await by(former).person()
      await by(`${current},${former}`).logIn(ada)
      const lookBy = (keys: string) => lookForKeys(open(by(keys)))
      expect(await lookBy(former)).toEqual({ lacksSealed: false, lacksCurrent: true, lacksAny: true })
      expect(await lookBy(current)).toEqual({ lacksSealed: false, lacksCurrent: false, lacksAny: true })
      // An app's session counts for its login, however late the app started it.
      await api.sql(
        'UPDATE sessions SET parent_id = id WHERE user_id = ? AND id = (SELECT max(id) FROM sessions WHERE user_id = ?1)',
        [ada.id],
      )
      expect(await lookBy(current)).toMatchObject({ lacksCurrent: true })
      // Setup asks about the key of authenticator apps, too.
      await api.sql(
        "INSERT INTO factors (user_id, seed, key_id, created_at, confirmed_at, last_step) VALUES (?, 'x', 'x', 1, 1, 1)",
        [ada.id],
      )
      expect(await lookBy(former)).toMatchObject({ lacksSealed: true, lacksCurrent: false })
    },
  )

  testOfRedis('warnings come before anything is done', async () => {
    const pia = await api.actor()
    const warn = vi.fn((_: string[]) => {
      throw new Error('stopped')
    })
    await expect(afterRestore(open(), { warn })).rejects.toThrow('stopped')
    expect(warn).toHaveBeenCalledOnce()
    expect(await isIn(pia)).toBe(true)
  })

  testOfRedis(
    'a second run ends nothing again, except for users that the ledger has named since',
    async () => {
      const [max, pia] = [await api.actor(), await api.actor()]
      expect(await restored()).toMatchObject({ doneAt: undefined, setBack: 0 })
      for (const one of [admin, max, pia]) expect(await isIn(one)).toBe(false)
      const back = { token: (await api.logIn(admin)).access_token }
      const [maxBack, piaBack] = [await api.signIn(max), await api.signIn(pia)]
      // The clock of the machine that runs this is an hour behind.
      await lose(pia.id, 'password.changed', { at: Date.now() + 3_600_000 })
      expect(await restored()).toMatchObject({ doneAt: expect.any(Number), ends: undefined, setBack: 1 })
      expect([await isIn(back), await isIn(maxBack), await isIn(piaBack)]).toEqual([true, true, false])
      expect(await rowOf(pia)).toMatchObject({ password_hash: null, needs_reset: 1 })
      expect((await restored()).setBack).toBe(0)
      expect(await restored(true)).toMatchObject({ doneAt: undefined, ends: { sessions: 2 } })
      expect(await isIn(back)).toBe(false)
    },
  )

  testOfRedis(
    'a user whose address was changed since is disabled: the one that came back may be a thief’s',
    async () => {
      const until = Date.now() + 3_600_000
      const [ada, eve, ben, tim] = [
        await api.person({ role: 'manager', email_verified_at: 1 }),
        await api.person(),
        await api.person({ status: 'disabled', disabled_until: until, disabled_reason: 'Leave' }),
        await api.person({ status: 'disabled', disabled_reason: 'Left' }),
      ]
      await lose(ada.id, 'email.changed')
      await lose(eve.id, 'email.change_undone')
      for (const { id } of [ben, tim]) await lose(id, 'user.disabled')
      expect(await restored()).toMatchObject({ setBack: 4, moved: 2 })
      const moved = `${REASON}: the address was changed since`
      const common = { role: 'user', password_hash: null, needs_reset: 1, disabled_until: null }
      expect(await rowOf(ada)).toMatchObject({ ...common, status: 'disabled', disabled_reason: moved })
      expect(await rowOf(eve)).toMatchObject({ ...common, status: 'disabled', disabled_reason: moved })
      // A limited disabling is not long enough; and somebody who was disabled already is not disabled again.
      expect(await rowOf(ben)).toMatchObject({ ...common, status: 'disabled', disabled_reason: REASON })
      expect(await rowOf(tim)).toMatchObject({ ...common, status: 'disabled', disabled_reason: 'Left' })
      const nobody = { actor_id: null }
      expect(await historyOf(ada)).toEqual([
        { ...nobody, action: 'password.changed', reason: REASON, answers: answered },
        { ...nobody, action: 'user.disabled', reason: moved },
        { ...nobody, action: 'user.role_changed', role: { from: 'manager', to: 'user' } },
      ])
      expect(await historyOf(tim)).toEqual([
        { ...nobody, action: 'password.changed', reason: REASON, answers: answered },
      ])
      expect(await restored()).toMatchObject({ setBack: 0, moved: 0 })
    },
  )

  testOfRedis(
    'later entries in the ledger count as well, and an administrator’s decisions on earlier ones stand',
    async () => {
      const [ada, ben, fay] = [await api.actor(), await api.actor(), await api.actor()]
      const ago = (ms: number) => ({ at: Date.now() - ms })
      for (const one of [ada, fay]) await lose(one.id, 'password.changed', ago(60_000))
      await lose(ben.id, 'email.changed', ago(60_000))
      expect(await restored()).toMatchObject({ setBack: 3, moved: 1 })
      // A row with foreign details does not prevent anything.
      await api.sql(
        "INSERT INTO user_activity_logs (id, user_id, action, details) VALUES (?, ?, 'password.changed', 'x')",
        [uuidv7(), ada.id],
      )
      // Before the first run by its time, and many at once.
      await lose(ada.id, 'email.changed', ago(30_000))
      await api.sql(
        "INSERT INTO factors (user_id, seed, key_id, created_at, confirmed_at, last_step) VALUES (?, 'x', 'x', 1, 1, 1)",
        [fay.id],
      )
      for (let left = 0; left < 101; left++) await lose(fay.id, 'password.changed', ago(50_000 + left))
      await lose(fay.id, 'factor.removed', ago(40_000))
      await api.sql("UPDATE users SET status = 'active', disabled_reason = NULL WHERE id = ?", [ben.id])
      expect(await restored()).toMatchObject({ setBack: 2, moved: 1 })
      expect(await rowOf(ada)).toMatchObject({ status: 'disabled' })
      expect(await rowOf(fay)).toMatchObject({ status: 'active', factors: 0 })
      await api.sql("UPDATE users SET status = 'active', disabled_reason = NULL WHERE id = ?", [ada.id])
      expect(await restored()).toMatchObject({ setBack: 0, moved: 0 })
      for (const one of [ada, ben]) expect(await rowOf(one)).toMatchObject({ status: 'active' })
      const answers = (await historyOf(fay)).flatMap(
        (row) => (row as { answers?: string[] }).answers?.length ?? [],
      )
      expect(answers.sort()).toEqual([1, 100, 2])
    },
  )

  testOfRedis(
    'thousands of entries about one person are compared at once, and a slow database is given time',
    async () => {
      const ada = await api.actor()
      const key = `${keyPrefixOf(open().config.ISSUER)}ledger`
      const ids = Array.from({ length: 20_000 }, (_, at) => uuidv7({ msecs: Date.now() - 60_000 - at }))
      const lines = ids.flatMap((id) => [String(Date.now()), `${id} ${ada.id} password.changed  `])
      for (let at = 0; at < lines.length; at += 4000)
        await api.redis('ZADD', key, ...lines.slice(at, at + 4000))
      // What earlier runs have handled.
      const rows = Array.from({ length: 200 }, (_, at) => [
        uuidv7(),
        JSON.stringify({ reason: REASON, answers: ids.slice(at * 100, at * 100 + 100) }),
      ])
      await api.sql(
        `INSERT INTO user_activity_logs (id, user_id, action, details)
          SELECT value ->> 0, ?, 'password.changed', value ->> 1 FROM json_each(?)`,
        [ada.id, JSON.stringify(rows)],
      )
      await own.behave('libsql', { mode: 'latency', ms: 1800, next: 3, only: 'value ->>' })
      expect(await restored()).toMatchObject({ setBack: 0 })
      await own.behave('libsql', { mode: 'pass' })
      await lose(ada.id, 'password.changed')
      expect(await restored()).toMatchObject({ setBack: 1 })
      expect(await restored()).toMatchObject({ setBack: 0 })
    },
  )

  testOfRedis('what was set up after it was removed stays', async () => {
    const [ada, eve] = [await api.person(), await api.person()]
    const hour = 3_600_000
    const removedAt = Date.now() - hour
    const setUp = async (user: { id: string }, at: number, name: string) => {
      await api.sql(
        `INSERT INTO passkeys (id, user_id, credential_id, rp_id, public_key, sign_count, transports, aaguid, may_be_synced,
            is_synced, name, created_at)
          VALUES (?1, ?2, ?1, 'roster.test', '{}', 0, '[]', '', 0, 0, ?3, ?4)`,
        [uuidv7(), user.id, name, at],
      )
      await api.sql(
        'INSERT INTO identities (id, provider, subject, user_id, created_at) VALUES (?1, ?2, ?1, ?3, ?4)',
        [uuidv7(), name, user.id, at],
      )
      await api.sql('INSERT INTO recovery_codes (user_id, hash, created_at) VALUES (?, ?, ?)', [
        user.id,
        name,
        at,
      ])
    }
    const addApp = (user: { id: string }, at: number) =>
      api.sql(
        "INSERT INTO factors (user_id, seed, key_id, created_at, confirmed_at, last_step) VALUES (?1, 'x', 'x', ?2, ?2, 1)",
        [user.id, at],
      )
    for (const one of [ada, eve])
      for (const [name, at] of [
        ['before', removedAt - hour],
        ['since', removedAt + 1],
      ] as const)
        await setUp(one, at, name)
    await addApp(ada, removedAt + 1)
    await addApp(eve, removedAt - hour)
    for (const one of [ada, eve])
      for (const action of ['factors.reset', 'factor.removed', 'identity.unlinked'] as const)
        await lose(one.id, action, { at: removedAt })
    expect(await restored()).toMatchObject({ setBack: 2 })
    for (const one of [ada, eve]) {
      const left = (what: string) => api.sql(`SELECT ${what} WHERE user_id = ?`, [one.id])
      expect(await left('name FROM passkeys')).toEqual([{ name: 'since' }])
      expect(await left('provider FROM identities')).toEqual([{ provider: 'since' }])
      expect(await left('hash FROM recovery_codes')).toEqual([{ hash: 'since' }])
      expect(await left('user_id FROM factors')).toHaveLength(one === ada ? 1 : 0)
    }
  })

  testOfRedis('an erased user is not counted as anything else', async () => {
    const ada = await api.actor()
    await api.sql(
      `INSERT INTO oauth_grants (id, user_id, client_id, scopes, created_at, updated_at)
        VALUES (?, ?, 'https://app.test/client.json', '[]', 1, 1)`,
      [uuidv7(), ada.id],
    )
    await lose(ada.id, 'email.changed')
    await lose(ada.id, 'consent.withdrawn', { about: 'https://app.test/client.json' })
    const resources = open()
    await resources.redis.mark(erasureForLedger(resources, { id: ada.id, external_id: null })!)
    expect(await restored()).toMatchObject({ erased: 1, setBack: 0, moved: 0, consents: 0 })
    expect(await rowOf(ada)).toBeUndefined()
  })

  testOfRedis('a distant Redis is given time, for the chain of seals as well', async () => {
    const head = `7.${'x'.repeat(43)}`
    expect(await open().redis.put(HEAD_KEY, head, 60_000_000)).toBe(true)
    await own.behave('redis', { mode: 'latency', ms: 600 })
    expect((await restored()).lostHead).toBe(head)
    await own.behave('redis', { mode: 'pass' })
    const [seal] = await api.sql('SELECT number, head, note FROM activity_seals')
    expect(seal!.note).toBe(head)
    expect(await open().redis.mget([HEAD_KEY])).toEqual([`${seal!.number}.${seal!.head}`])
  })

  testOfRedis('if it broke off after ending everybody’s sessions, these are not ended again', async () => {
    const { db, ...others } = open()
    const stopsAt = (step: string): Resources => ({
      ...others,
      db: {
        ...db,
        writeBatch: (batch, ...given) => {
          if (step in batch) throw new Error('stopped')
          return db.writeBatch(batch, ...given)
        },
      },
    })
    await expect(afterRestore(stopsAt('done'))).rejects.toThrow('stopped')
    const back = { token: (await api.logIn(admin)).access_token }
    const endedAt = expect.any(Number)
    expect(await restored()).toMatchObject({ doneAt: undefined, endedAt, ends: undefined })
    expect(await isIn(back)).toBe(true)
    // A backup made in between has the same rows, and --again is for another restore.
    await expect(afterRestore(stopsAt('done'), { isAgain: true })).rejects.toThrow('stopped')
    expect(await isIn(back)).toBe(false)
    const later = { token: (await api.logIn(admin)).access_token }
    expect(await restored(true)).toMatchObject({ endedAt: undefined, ends: { sessions: 1 } })
    expect(await isIn(later)).toBe(false)
    // If not everything had ended, the rest is ended.
    await expect(afterRestore(stopsAt('off'), { isAgain: true })).rejects.toThrow('stopped')
    await api.logIn(admin)
    expect(await restored()).toMatchObject({ endedAt: undefined, ends: { sessions: 1 } })
  })

  testOfRedis('it says if the ledger cannot know what was undone', async () => {
    const silent = expect.stringContaining('has nothing that this database does not have')
    const late = expect.stringContaining('the ledger goes back 30 days')
    expect((await restored()).warnings).toEqual([silent])
    const happen = ({ id }: { id: string }, at: number) =>
      api.sql('INSERT INTO user_activity_logs (id, user_id, actor_id, action) VALUES (?1, ?2, ?2, ?3)', [
        uuidv7({ msecs: at }),
        id,
        'password.changed',
      ])
    const day = 86_400_000
    // Redis was lost as well, and a minute of the restored Worker has told it what the backup knows.
    await happen(admin, Date.now() - day)
    expect(await updateLedger(open())).toEqual({ told: 1 })
    expect((await restored()).warnings).toEqual([silent])
    await lose(admin.id, 'password.changed')
    expect((await restored()).warnings).toEqual([])
    await updateLedger(open())
    expect((await restored()).warnings).toEqual([])

    api = openApi((await freshUpstreams()).bindings)
    const pia = await api.person()
    await happen(pia, Date.now() - 31 * day)
    await api.sql(
      "INSERT INTO user_activity_logs (id, user_id, actor_id, action) VALUES ('x', 'x', 'x', 'x')",
    )
    expect((await restored()).warnings).toEqual([silent, late])
    await lose(pia.id, 'password.changed')
    // Its own rows do not count as changes in the backup.
    for (let runs = 0; runs < 2; runs++) {
      expect((await restored(true)).warnings).toEqual([late])
      await updateLedger(open())
    }
    expect(await historyOf(pia)).toContainEqual(expect.objectContaining({ reason: REASON }))
  })

  testOfRedis('what waits is removed in pages, and what was sent or given up stays as it is', async () => {
    const many = 2001
    const fill = (sql: string) =>
      api.sql(`WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${many}) ${sql}`)
    await fill(`INSERT INTO outbox (id, kind, recipient, recipient_normalized, created_at, expires_at, attempts,
        next_attempt_at, sent_at)
      SELECT 'mail ' || i, 'welcome', 'a@b.test', 'a@b.test', 1, 1, 0, 1, iif(i = 7, 1, NULL) FROM n`)
    await fill(`INSERT INTO webhook_deliveries (id, webhook_id, event_id, type, owed_at, next_attempt_at, dead_at)
      SELECT i, 'x', 'x', 'user.updated', 1, 1, iif(i = 7, 1, NULL) FROM n`)
    const { db, ...others } = open()
    let pages = 0
    const writeBatch: typeof db.writeBatch = (batch, ...given) => {
      if ('page' in batch) pages++
      return db.writeBatch(batch, ...given)
    }
    await api.sql('DELETE FROM sessions')
    await afterRestore({ ...others, db: { ...db, writeBatch } })
    expect(pages).toBe(4)
    const count = async (what: string) => (await api.sql(`SELECT count(*) AS n FROM ${what}`))[0]!.n
    expect(await count("outbox WHERE id LIKE 'mail %'")).toBe(1)
    expect(await count('webhook_deliveries WHERE dead_at > 1')).toBe(many - 1)
    expect(await count('webhook_deliveries WHERE id = 7 AND dead_at = 1')).toBe(1)
  })

  testOfRedis('withdrawn consents are withdrawn again, and later consents stay', async () => {
    const [ada, eve, ben] = [await api.actor(), await api.actor(), await api.actor()]
    const [near, far] = [uuidv7(), 'https://app.test/client.json']
    const day = 86_400_000
    const allow = (user: { id: string }, client: string, at: number, document: string | null = null) =>
      api.sql(
        `INSERT INTO oauth_grants (id, user_id, client_id, scopes, created_at, updated_at, document)
          VALUES (?1, ?2, ?3, '["openid"]', ?4, ?4, ?5)`,
        [uuidv7(), user.id, client, at, document],
      )
    const left = async () =>
      (await api.sql('SELECT user_id, client_id FROM oauth_grants')).map(
        (row) => `${row.user_id} ${row.client_id}`,
      )
    await allow(ada, near, Date.now() - day)
    await allow(ada, far, Date.now() - day, '{"name":"Far"}')
    await allow(eve, near, Date.now() - day)
    await allow(ben, near, Date.now())
    for (const app of [near, near, far]) await lose(ada.id, 'consent.withdrawn', { about: app })
    await lose(ben.id, 'consent.withdrawn', { about: near, at: Date.now() - day })
    expect(await restored()).toMatchObject({ setBack: 0, consents: 2 })
    expect((await left()).sort()).toEqual([`${eve.id} ${near}`, `${ben.id} ${near}`].sort())
    // Copies that an app's tokens may have are no longer used.
    const doubtOf = ({ id }: { id: string }) => `${keyPrefixOf(open().config.ISSUER)}doubt:${id}`
    expect(await api.redis('MGET', doubtOf(ada), doubtOf(eve))).toEqual(['1', null])
    const withdrawn = { action: 'consent.withdrawn', actor_id: null, scopes: [] }
    expect((await historyOf(ada)).filter(({ action }) => action === withdrawn.action)).toEqual(
      expect.arrayContaining([
        { ...withdrawn, client_id: near },
        { ...withdrawn, client_id: far, name: 'Far' },
      ]),
    )
    expect(await rowOf(ada)).toMatchObject({ needs_reset: 0 })

    // Found to be lost afterwards: the sessions of that app end, and no others.
    const [own, ofApp] = [await api.signIn(eve), await api.signIn(eve)]
    await api.sql('UPDATE sessions SET client_id = ? WHERE id = ?', [near, ofApp.sessionId])
    await lose(eve.id, 'consent.withdrawn', { about: near })
    expect(await restored()).toMatchObject({ doneAt: expect.any(Number), consents: 1 })
    expect(await api.sql('SELECT id FROM sessions WHERE user_id = ?', [eve.id])).toEqual([
      { id: own.sessionId },
    ])
    expect(await restored()).toMatchObject({ consents: 0 })
  })

  testOfRedis('changes get higher numbers than all that webhooks were told', async () => {
    ;({ own, api } = await openWithWebhooks())
    admin = await api.actor({ role: 'admin', email_verified_at: 1 })
    const hook = await addWebhook(api, ['user.updated'], 500)
    const pia = await api.person()
    const numbers = async () => (await hook.owed()).map(({ id }) => Number(id))
    await rename(api, hook.admin, pia.id, 'Pia')
    const [lostMost] = await numbers()
    const before = Date.now()
    await restored()
    // What waited in the backup is not sent once the webhook is awake.
    expect(await hook.owed()).toEqual([expect.objectContaining({ dead_at: expect.any(Number) })])
    const all = () => api.sql('SELECT id FROM webhook_deliveries')
    expect(await all()).toHaveLength(2)
    await restored()
    expect(await all()).toHaveLength(2)
    // It is not a delivery of any webhook, and clean-up keeps it while it is the newest.
    await everyCleanUp(api)
    expect(await numbers()).toEqual([lostMost])
    const token = (await api.logIn(admin)).access_token
    const listed = await api.send<{ data: { sequence: number }[] }>(
      'GET',
      `/v1/webhooks/${hook.id}/deliveries`,
      { token },
    )
    expect(listed.body.data.map(({ sequence }) => sequence)).toEqual([lostMost])
    await rename(api, { token }, pia.id, 'Pia O.')
    const [, next] = await numbers()
    expect(next).toBeGreaterThan(before)
    await everyCleanUp(api)
    expect(await all()).toEqual([{ id: lostMost }, { id: next }])
    // After a second restore, the first one's numbers are lost as well.
    await api.sql('DELETE FROM webhook_deliveries')
    await restored(true)
    await rename(api, { token: (await api.logIn(admin)).access_token }, pia.id, 'Pia P.')
    expect((await numbers())[0]).toBeGreaterThan(next!)
  })

  testOfRedis(
    'a slow answer from Redis is asked for again; if Redis is unavailable, nothing is done',
    async () => {
      const pia = await api.actor()
      await lose(pia.id, 'password.changed')
      await own.behave('redis', { mode: 'down' })
      await expect(restored()).rejects.toThrow('Redis does not answer')
      expect(await isIn(pia)).toBe(true)
      await own.behave('redis', { mode: 'latency', ms: 3000, next: 1 })
      expect(await restored()).toMatchObject({ setBack: 1 })
    },
  )
})
