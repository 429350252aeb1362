import { hash } from './hash.ts'

/**
 * The least that physics requires of each operation: as many calls of Redis, libSQL and the mail service as Roster
 * makes, and the same hash, with plain `fetch`, the shortest statements, no library, no token, no validation and no
 * error handling. Nobody could deploy this; throughputs are compared with it.
 */
interface Env {
  TURSO_DATABASE_URL: string
  RESEND_URL: string
  RESEND_API_KEY: string
  UPSTASH_REDIS_REST_URL: string
  UPSTASH_REDIS_REST_TOKEN: string
}

const text = (value: string) => ({ type: 'text', value })
const int = (value: number) => ({ type: 'integer', value: String(value) })
const stmt = (sql: string, ...args: object[]) => ({ sql, args })

async function database(env: Env, requests: object[]) {
  const answer = await fetch(`${env.TURSO_DATABASE_URL}v2/pipeline`, {
    method: 'POST',
    body: JSON.stringify({ requests: [...requests, { type: 'close' }] }),
  })
  return answer.json()
}

const execute = (sql: string, ...args: object[]) => ({ type: 'execute', stmt: stmt(sql, ...args) })
const query = (env: Env, sql: string, ...args: object[]) => database(env, [execute(sql, ...args)])

/** All or nothing: each statement on the condition that the one before it went well. */
const write = (env: Env, ...statements: object[]) => {
  const steps = [stmt('BEGIN IMMEDIATE'), ...statements, stmt('COMMIT')].map((one, index) => ({
    stmt: one,
    ...(index > 0 && { condition: { type: 'ok', step: index - 1 } }),
  }))
  const rollback = {
    stmt: stmt('ROLLBACK'),
    condition: { type: 'not', cond: { type: 'ok', step: steps.length - 1 } },
  }
  return database(env, [{ type: 'batch', batch: { steps: [...steps, rollback] } }])
}

async function redis(env: Env, ...command: (string | number)[]) {
  const answer = await fetch(env.UPSTASH_REDIS_REST_URL, {
    method: 'POST',
    headers: { authorization: `Bearer ${env.UPSTASH_REDIS_REST_TOKEN}` },
    body: JSON.stringify(command),
  })
  return answer.json()
}

const revoked = (env: Env, id: string) => redis(env, 'MGET', `revoked:session:${id}`, `revoked:user:${id}`)
const user = (env: Env, id: string) => query(env, 'SELECT * FROM users WHERE id = ?', text(id))

const history = (userId: string, action: string) =>
  stmt(
    `INSERT INTO user_activity_logs (id, user_id, actor_id, action) VALUES (?, ?, ?, ?)`,
    text(crypto.randomUUID()),
    text(userId),
    text(userId),
    text(action),
  )

const BRANCHES = ['user', 'manager', 'admin'].flatMap((role) =>
  ['active', 'disabled'].map(
    (state) => `SELECT * FROM users INDEXED BY users_by_id WHERE role = '${role}' AND state = '${state}'`,
  ),
)

const operations: Record<string, (env: Env, id: string) => Promise<unknown>> = {
  health: async () => 'ok',
  near: (env, id) => redis(env, 'MGET', `copy:${id}`, `revoked:session:${id}`, `doubt:${id}`),
  read: user,
  /** The classical order: first ask whether the token is revoked, then do the work. */
  async 'read-in-turn'(env, id) {
    await revoked(env, id)
    return user(env, id)
  },
  /** As many branches as Roster merges, and the same total. */
  list: (env) =>
    database(env, [
      execute(`${BRANCHES.join(' UNION ALL ')} ORDER BY id DESC LIMIT 21`),
      execute(`SELECT sum(total) FROM user_totals WHERE state <> 'deleted'`),
    ]),
  /** Page 400 of 25, as ordinary programs read it. */
  deep: (env) =>
    query(
      env,
      `SELECT * FROM users INDEXED BY users_by_id WHERE role = 'user' AND state = 'active' ORDER BY id DESC LIMIT 26 OFFSET 9975`,
    ),
  refresh: (env, id) =>
    write(
      env,
      stmt(
        'UPDATE sessions SET counter = counter + 1, rotated_at = ? WHERE id = ?',
        int(Date.now()),
        text(id),
      ),
      stmt('SELECT * FROM users, sessions WHERE sessions.id = ? AND users.id = sessions.user_id', text(id)),
    ),
  async logout(env, id) {
    await Promise.all([
      write(
        env,
        stmt('UPDATE sessions SET revoked_at = ? WHERE id = ?', int(Date.now()), text(id)),
        history(id, 'session.ended'),
      ),
      redis(env, 'SET', `revoked:session:${id}`, '1', 'PX', 660_000),
    ])
    return 'ok'
  },
  async login(env, id) {
    await write(
      env,
      stmt(
        `INSERT INTO throttles (key, attempts, blocked_until, expires_at) VALUES (?, 1, 0, ?)
          ON CONFLICT (key) DO UPDATE SET attempts = attempts + 1`,
        text(id),
        int(Date.now() + 900_000),
      ),
      stmt('SELECT * FROM users WHERE id = ?', text(id)),
    )
    await hash()
    const now = int(Date.now())
    return write(
      env,
      stmt(
        `INSERT INTO sessions (id, user_id, counter, rotated_at, created_at, last_seen_at, idle_expires_at, expires_at)
          VALUES (?, ?, 0, ?, ?, ?, ?, ?)`,
        ...[text(crypto.randomUUID()), text(id), now, now, now, int(Date.now() + 1e9), int(Date.now() + 1e9)],
      ),
      history(id, 'session.started'),
      stmt('DELETE FROM throttles WHERE key = ?', text(id)),
    )
  },
  async signup(env) {
    const [id, mail] = [crypto.randomUUID(), crypto.randomUUID()]
    const address = text(`${id}@floor.test`)
    const key = Buffer.from(await hash()).toString('base64url')
    return write(
      env,
      stmt(
        `INSERT INTO users (id, email, email_normalized, name, password_hash, role, status, version, token_epoch,
          failed_logins, created_at, updated_at) VALUES (?, ?, ?, 'Ada', ?, 'user', 'active', 1, 0, 0, 0, 0)`,
        ...[text(id), address, address, text(key)],
      ),
      history(id, 'user.signed_up'),
      stmt(
        `INSERT INTO one_time_tokens (id, purpose, subject_id, email, email_normalized, code_tries, created_at, expires_at)
          VALUES (?, 'verify_email', ?, ?, ?, 0, 0, ?)`,
        ...[text(mail), text(id), address, address, int(Date.now() + 1e8)],
      ),
      stmt(
        `INSERT INTO outbox (id, kind, user_id, recipient, recipient_normalized, token_id, created_at, expires_at, attempts,
          next_attempt_at) VALUES (?, 'verify_email', ?, ?, ?, ?, 0, ?, 0, 0)`,
        ...[text(mail), text(id), address, address, text(mail), int(Date.now() + 1e8)],
      ),
    )
  },
}

/** The work after the answer to a sign-up: the mail is claimed, sent and marked as sent. */
async function sendNewest(env: Env): Promise<void> {
  await write(env, stmt('UPDATE outbox SET attempts = 1 WHERE id = (SELECT max(id) FROM outbox) RETURNING *'))
  await fetch(`${env.RESEND_URL}/emails`, {
    method: 'POST',
    headers: { authorization: `Bearer ${env.RESEND_API_KEY}`, 'idempotency-key': crypto.randomUUID() },
    body: JSON.stringify({ from: 'a@floor.test', to: ['b@floor.test'], subject: 's', text: 't', html: 'h' }),
  })
  await write(env, stmt('UPDATE outbox SET sent_at = 1 WHERE id = (SELECT max(id) FROM outbox)'))
}

const HASH_MS = 150
const LONGEST_QUEUE = 8
/** When the queued hashes will be done (epoch ms): Roster's queue, without its fairness to other callers. */
let takenUntil = 0

/** Whether the caller would be the ninth to wait. Both sides refuse alike, so that both have the same work. */
function isFull(): boolean {
  const now = Date.now()
  if (takenUntil - now >= LONGEST_QUEUE * HASH_MS) return true
  takenUntil = Math.max(takenUntil, now) + HASH_MS
  return false
}

export default {
  async fetch(request: Request, env: Env, context: ExecutionContext): Promise<Response> {
    const [, name = '', id = ''] = new URL(request.url).pathname.split('/')
    const isHash = name === 'login' || name === 'signup'
    if (isHash && isFull()) return new Response(null, { status: 503, headers: { 'retry-after': '1' } })
    const answer = Response.json(await operations[name]!(env, id))
    if (name === 'signup') context.waitUntil(sendNewest(env))
    return answer
  },
}
