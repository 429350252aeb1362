import type { Api } from './api.ts'

/** How many people of the crowd share one name; their order by name is then decided by the id alone. */
export const CROWD_NAME = 'Crowd Member'
/** A name that exactly one person of the crowd has, at every size. */
export const RARE_NAME = 'Quetzalcoatlus'

/**
 * Fills the database with people number `from` to `to`, by SQL with all triggers active: every role and state, each
 * with a session, a row of history (by and about one of them), a used idempotency key and a throttle. None of it is
 * due for clean-up. `historian` also has a row of history of every action.
 */
export async function addCrowd(
  api: Api,
  from: number,
  to: number,
  historian?: { id: string },
): Promise<void> {
  const now = Date.now()
  const numbers = `WITH RECURSIVE n(i) AS (SELECT ${from} UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ${to})`
  const id = (kind: string) => `printf('01900000-0000-7000-8${kind}-%012x', i)`
  await api.sql(
    `${numbers} INSERT INTO users (id, email, email_normalized, name, role, status, version, token_epoch,
      failed_logins, created_at, updated_at, email_verified_at, deleted_at)
    SELECT ${id('000')}, 'member-' || i || '@crowd.test', 'member-' || i || '@crowd.test',
      CASE WHEN i = 0 THEN '${RARE_NAME}' WHEN i % 3 THEN '${CROWD_NAME}' ELSE '${CROWD_NAME} ' || i END,
      CASE i % 4 WHEN 2 THEN 'manager' WHEN 3 THEN 'admin' ELSE 'user' END,
      CASE (i / 4) % 4 WHEN 2 THEN 'disabled' ELSE 'active' END, 1, 0, 0, ${now}, ${now}, CASE i % 8 WHEN 0 THEN ${now} END,
      CASE (i / 4) % 4 WHEN 3 THEN ${now} END FROM n`,
  )
  await api.sql(
    `${numbers} INSERT INTO sessions (id, user_id, counter, rotated_at, created_at, last_seen_at, idle_expires_at, expires_at)
    SELECT ${id('001')}, ${id('000')}, 0, ${now}, ${now}, ${now}, ${now + 1e9}, ${now + 1e9} FROM n`,
  )
  const actions =
    'json_extract(\'["session.started","user.updated","login.failed"]\', \'$[\' || (i % 3) || \']\')'
  await api.sql(
    `${numbers} INSERT INTO user_activity_logs (id, user_id, actor_id, action)
    SELECT ${recentId('002')}, ${id('000')}, ${id('000')}, ${actions} FROM n`,
  )
  if (historian) {
    await api.sql(
      `${numbers} INSERT INTO user_activity_logs (id, user_id, actor_id, action)
      SELECT ${recentId('003')}, ?1, ?1, ${actions} FROM n`,
      [historian.id],
    )
  }
  await api.sql(
    `${numbers} INSERT INTO idempotency_keys (principal, route, key, body_hash, status, response, subject_id, created_at)
      SELECT ${id('000')}, 'POST /v1/users', 'key-' || i, 'hash', 201, '{}', ${id('000')}, ${now} FROM n`,
  )
  await api.sql(
    `${numbers} INSERT INTO throttles (key, attempts, blocked_until, expires_at)
      SELECT 'throttle-' || i, 1, 0, ${now + 1e9} FROM n`,
  )
}

/** An id of today: history younger than 30 days may not be deleted, and older history may be. */
const recentId = (kind: string) => {
  const hex = Date.now().toString(16).padStart(12, '0')
  return `printf('${hex.slice(0, 8)}-${hex.slice(8)}-7000-8${kind}-%012x', i)`
}
