import { expect } from 'vitest'

/** Actions in the history that come with a new version of the person. */
const CHANGES = `('user.updated', 'user.role_changed', 'user.disabled', 'user.enabled', 'user.deleted', 'user.restored',
  'password.changed', 'password.reset', 'email.verified', 'email.changed', 'email.change_undone', 'sessions.ended', 'factors.reset')`
/** The one exception, which does not change the person: a session was ended because there were too many. */
const OF_A_CHANGE = `action IN ${CHANGES} AND NOT (action = 'sessions.ended' AND coalesce(details, '') LIKE '%too_many%')`
const DETAIL_SESSION = "json_extract(details, '$.session_id')"

/** What always holds: each query finds what violates it. */
const QUERIES = {
  'I3: a key of one request made at most one person, who is or was there': `
    SELECT key FROM idempotency_keys WHERE subject_id NOT IN (SELECT id FROM users)
      AND subject_id NOT IN (SELECT user_id FROM user_activity_logs WHERE action = 'user.purged')`,
  'I4: nobody who is deleted, disabled or gone has an open session': `
    SELECT sessions.id FROM sessions LEFT JOIN users ON users.id = user_id
      WHERE revoked_at IS NULL AND (users.id IS NULL OR state = 'deleted' OR (state = 'disabled' AND disabled_until IS NULL))`,
  'I5: there is an active administrator': `
    SELECT 'none' WHERE EXISTS (SELECT 1 FROM users WHERE role = 'admin')
      AND NOT EXISTS (SELECT 1 FROM users WHERE role = 'admin' AND state = 'active')`,
  'I6: one live person per address': `
    SELECT email_normalized FROM users WHERE deleted_at IS NULL GROUP BY email_normalized HAVING count(*) > 1`,
  'I7: a version for each change in the history, and a change for each version': `
    SELECT id, version FROM users WHERE version <>
      1 + (SELECT count(*) FROM user_activity_logs WHERE user_id = users.id AND ${OF_A_CHANGE})`,
  'I7: whoever the history says was made is there, or was erased': `
    SELECT user_id FROM user_activity_logs WHERE action IN ('user.signed_up', 'user.created') AND user_id NOT IN (SELECT id FROM users)
      AND user_id NOT IN (SELECT user_id FROM user_activity_logs WHERE action = 'user.purged')`,
  'I7: whoever the history says was erased is gone': `
    SELECT id FROM users WHERE id IN (SELECT user_id FROM user_activity_logs WHERE action = 'user.purged')`,
  'I7: a session ended for a reason that stands in the history': `
    SELECT id, revoked_reason FROM sessions WHERE revoked_at IS NOT NULL AND NOT EXISTS (SELECT 1 FROM user_activity_logs AS log
      WHERE log.user_id = sessions.user_id AND (log.action IN ${CHANGES} OR log.action IN ('user.purged', 'factor.added', 'factor.removed')
        OR (log.action IN ('session.ended', 'session.reuse_detected') AND ${DETAIL_SESSION} = sessions.id)))`,
  'I7: no row of history stands twice': `
    SELECT action, request_id FROM user_activity_logs GROUP BY user_id, action, details, request_id HAVING count(*) > 1`,
  'The totals are the counts': `
    SELECT role, state, total FROM user_totals WHERE total <>
      (SELECT count(*) FROM users WHERE users.role = user_totals.role AND users.state = user_totals.state)`,
  'The search index finds everybody by the state they are in, and by no other': `
    WITH found(letter, seq) AS (
      SELECT 'a', rowid FROM users_fts WHERE users_fts MATCH 'facets : "s=a"' UNION ALL
      SELECT 'd', rowid FROM users_fts WHERE users_fts MATCH 'facets : "s=d"' UNION ALL
      SELECT 'x', rowid FROM users_fts WHERE users_fts MATCH 'facets : "s=x"')
    SELECT seq, letter FROM users LEFT JOIN found USING (seq) WHERE letter IS NOT CASE state WHEN 'deleted' THEN 'x' ELSE substr(state, 1, 1) END
    UNION ALL SELECT seq, letter FROM found WHERE seq NOT IN (SELECT seq FROM users)`,
}

/** All of them in one trip. Which rows violate one is only queried if there are any. */
const NAMES_OF_BROKEN = Object.entries(QUERIES)
  .map(([name, query]) => `SELECT '${name}' AS name WHERE EXISTS (${query})`)
  .join(' UNION ALL ')

interface Behind {
  sql(query: string): Promise<Record<string, unknown>[]>
  send(method: string, path: string): Promise<{ status: number }>
}

/**
 * I2 to I7 and I12 for everything in a database, which must be the test's own. I1, I3, I9 and I10 are about answers,
 * so each test checks them itself; I8 is checked on every answer (see api.ts).
 */
export async function expectInvariants(api: Behind): Promise<void> {
  const broken: Record<string, unknown> = {}
  for (const { name } of await api.sql(NAMES_OF_BROKEN))
    broken[name as string] = await api.sql(QUERIES[name as keyof typeof QUERIES])
  expect(broken).toEqual({})
  expect((await api.send('GET', '/health')).status, 'I12').toBe(200)
}
