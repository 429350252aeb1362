import { createExecutionContext } from 'cloudflare:test'
import { expect, test } from 'vitest'
import { updateLedger } from '../src/activity/ledger.ts'
import { app } from '../src/app.ts'
import { openForCron } from '../src/context.ts'
import { isQuery } from '../src/database/main.ts'
import { operationsOf } from '../src/docs/openapi.ts'
import { openApi } from './support/api.ts'
import { addCrowd } from './support/crowd.ts'
import { everyPage } from './support/pages.ts'
import { ALL_WAYS_IN } from './support/requests.ts'
import { everyCleanUp, everyRequest } from './support/traffic.ts'
import { freshUpstreams } from './support/upstreams.ts'

/** Steps of a plan that may read or sort more than they return. Constants and the result of a subquery are not tables. */
const UNBOUNDED = /^SCAN (?!CONSTANT ROW|\(subquery)|TEMP B-TREE/

/** Steps that are bounded by something that a plan does not show. */
function isBounded(sql: string, step: string): boolean {
  // The search index returns matches one by one, in order, and LIMIT stops it.
  if (step.startsWith('SCAN users_fts VIRTUAL TABLE') && sql.includes('users_fts MATCH ')) return true
  if (step.startsWith('SCAN names_fts VIRTUAL TABLE') && sql.includes('names_fts MATCH ')) return true
  // Rows that both have found: one page.
  if (step === 'SCAN found') return true
  if (step.startsWith('SCAN reasons_fts VIRTUAL TABLE') && sql.includes('reasons_fts MATCH ')) return true
  // By its rowid.
  if (step === 'SCAN reasons_fts VIRTUAL TABLE INDEX 0:=') return true
  // The first rows of a table in an index's order: there is no condition that skips rows, and LIMIT stops it.
  if (step.startsWith('SCAN ') && !/\bwhere\b/i.test(sql) && /\blimit \S+$/i.test(sql)) return true
  // The same in a subquery: the oldest user, and at most as many clients as may exist.
  if (step.startsWith('SCAN users ') && sql.includes('FROM "users" ORDER BY id LIMIT 1)')) return true
  if (step.startsWith('SCAN oauth_clients') && sql.includes('FROM "oauth_clients" LIMIT ')) return true
  if (step.startsWith('SCAN signup_blocks') && sql.includes('FROM "signup_blocks" LIMIT ')) return true
  // At most as many webhooks as may exist, twenty deliveries of two kinds of each, and the refused lines of each.
  if (/^SCAN (hook|webhooks)\b/.test(step)) return true
  if (step.includes('TEMP B-TREE') && sql.includes('PARTITION BY hook.id')) return true
  if (step.includes('TEMP B-TREE') && sql.includes('ORDER BY refused.next_attempt_at')) return true
  // From the last row back to the first complete one: what this batch owes, and one more.
  if (step === 'SCAN webhook_deliveries' && sql.includes('is_fixed = 1 ORDER BY id DESC LIMIT 1)'))
    return true
  // From one webhook to the next by the index.
  if (step === 'SCAN hooks') return true
  // The rows of a page whose position is known; one row of counts.
  if (/^SCAN (place|state|counts|counted)$/.test(step)) return true
  // One row, made of subqueries: an account's factors.
  if (step === 'SCAN state' && /FROM \(SELECT\s+EXISTS \(/.test(sql)) return true
  // One step for each client, from one to the next by the index.
  if (step === 'SCAN named') return true
  // The content of a partial index, up to the count's limit: its condition is the whole condition.
  if (/^SCAN outbox USING INDEX outbox_(due|dead)$/.test(step) && sql.includes('LIMIT 100)')) return true
  // The content of one value, and a subquery's few rows.
  if (/^SCAN (json_each|json_tree) VIRTUAL TABLE/.test(step)) return true
  if (step.startsWith('UNION USING TEMP B-TREE') && sql.includes('json_each')) return true
  // A row for each role and state: nine.
  if (step === 'SCAN user_totals') return true
  // Everybody who has had one address: one living person, and those deleted within thirty days.
  return step.includes('TEMP B-TREE') && /users_by_email WHERE [^()]* email_normalized = \?/.test(sql)
}

test('IV4, IV5: no statement of a route, a page or clean-up scans or sorts a table; a query within a write is known as one', async () => {
  const own = await freshUpstreams()
  const api = openApi({ ...own.bindings, ...ALL_WAYS_IN })
  const historian = await api.person({ password_hash: null })
  await addCrowd(api, 0, 200, historian)
  const visited = new Set<string>()
  const { calls } = await own.measure(async () => {
    await everyRequest(
      api,
      (route, { query, id = '', ...options } = {}) => {
        visited.add(route)
        const [method, path] = route.replace(/:\w+/, id).split(' ') as [string, string]
        return api.send(method, query === undefined ? path : `${path}?${query}`, options)
      },
      historian,
    )
    await everyPage(api, (route) => visited.add(route))
    await everyCleanUp(api)
    await updateLedger(openForCron(api.bindings, createExecutionContext()))
  })
  expect([...visited].sort()).toEqual([...operationsOf(app).keys()].sort())

  const statements = new Set(calls.flatMap((call) => call.statements.map(({ sql }) => sql)))
  const unbounded = []
  for (const sql of statements) {
    if (/^(BEGIN|COMMIT|ROLLBACK)/.test(sql)) continue
    for (const { detail } of await api.sql(`EXPLAIN QUERY PLAN ${sql}`)) {
      const step = String(detail)
      if (UNBOUNDED.test(step) && !isBounded(sql, step)) unbounded.push({ step, sql })
    }
  }
  expect(unbounded).toEqual([])
  // Callers' values are sent as parameters: no text contains any.
  expect([...statements].join('\n')).not.toMatch(/crowd|Quetzal|Grace|people\.test|brown foxes|member-/i)
  expect(statements.size).toBeGreaterThan(100)

  // A query within a write is repeated if the answer was lost, so it must be recognised as a query. What an update
  // returns is only for the log.
  const written = calls
    .filter((call) => call.statements.some(({ sql }) => sql.startsWith('BEGIN IMMEDIATE')))
    .flatMap((call) => call.statements)
  const answered = new Set(
    written
      .filter(({ sql, isAnswered }) => isAnswered && !/^update\b.*\breturning\b/s.test(sql))
      .map(({ sql }) => sql),
  )
  expect(answered.size).toBeGreaterThan(50)
  expect([...answered].filter((sql) => !isQuery({ sql }))).toEqual([])
})
