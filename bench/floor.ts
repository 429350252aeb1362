import { hash } from './hash.ts'

/**
 * What physics asks of each operation and nothing more: as many calls of Redis and libSQL as Roster makes, or
 * the same hash, with plain `fetch`, the shortest statements, no library, no token, no validation and no error
 * handling. Nobody could deploy this; it is what a throughput is compared with.
 */
interface Env {
  TURSO_DATABASE_URL: string
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

const query = (env: Env, sql: string, ...args: object[]) =>
  database(env, [{ type: 'execute', stmt: stmt(sql, ...args) }])

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

const history = (userId: string, action: string) =>
  stmt(
    `INSERT INTO user_activity_logs (id, user_id, actor_id, action) VALUES (?, ?, ?, ?)`,
    text(crypto.randomUUID()),
    text(userId),
    text(userId),
    text(action),
  )

const operations: Record<string, (env: Env, id: string) => Promise<unknown>> = {
  health: async () => 'ok',
  async read(env, id) {
    const [person] = await Promise.all([
      query(env, 'SELECT * FROM users WHERE id = ?', text(id)),
      revoked(env, id),
    ])
    return person
  },
  /** The classical order: ask whether the token is revoked, and then do the work. */
  async 'read-in-turn'(env, id) {
    await revoked(env, id)
    return query(env, 'SELECT * FROM users WHERE id = ?', text(id))
  },
  async list(env, id) {
    const sql = `SELECT * FROM users INDEXED BY users_by_id WHERE role = 'user' AND state = 'active' ORDER BY id DESC LIMIT 21`
    const [people] = await Promise.all([query(env, sql), revoked(env, id)])
    return people
  },
  refresh: (env, id) =>
    write(
      env,
      stmt(
        'UPDATE sessions SET counter = counter + 1, rotated_at = ? WHERE id = ?',
        int(Date.now()),
        text(id),
      ),
      history(id, 'session.refreshed'),
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
  login: async () => Buffer.from(await hash()).toString('base64url'),
  async signup(env) {
    const id = crypto.randomUUID()
    const key = Buffer.from(await hash()).toString('base64url')
    return write(
      env,
      stmt(
        `INSERT INTO users (id, email, email_normalized, name, password_hash, role, status, version, token_epoch,
          failed_logins, created_at, updated_at) VALUES (?, ?, ?, 'Ada', ?, 'user', 'active', 1, 0, 0, 0, 0)`,
        text(id),
        text(`${id}@floor.test`),
        text(`${id}@floor.test`),
        text(key),
      ),
      history(id, 'user.signed_up'),
    )
  },
}

let hashes = 0

export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    const [, name = '', id = ''] = new URL(request.url).pathname.split('/')
    const isHash = name === 'login' || name === 'signup'
    // With more hashes waiting, workerd closes connections without an answer.
    if (isHash && hashes >= 8) return new Response(null, { status: 503, headers: { 'retry-after': '1' } })
    if (isHash) hashes++
    try {
      return Response.json(await operations[name]!(env, id))
    } finally {
      if (isHash) hashes--
    }
  },
}
