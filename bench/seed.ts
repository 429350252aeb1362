import { createClient, type InStatement } from '@libsql/client/http'

const FIRST_NAMES =
  'Ada Alan Amara Anton Aisha Boris Chen Clara Diego Edith Emeka Fatima Grace Hana Hugo Ines Ivan Jonas Kofi Lena Linus Maria Mei Nadia Noor Omar Paula Pedro Priya Quinn Rosa Sofia Tomas Uma Viktor Wanda Xavier Yuki Zoe Zuri'
const LAST_NAMES =
  'Adeyemi Almeida Andersson Bauer Becker Castillo Dubois Eriksen Fischer Garcia Hopper Ibrahim Jansen Kovacs Kumar Larsen Lovelace Martin Mensah Moreau Nakamura Novak Okafor Petrov Quintero Ramos Rossi Santos Schmidt Silva Smith Tanaka Turing Umarov Vargas Weber Xu Yilmaz Zhang Ziegler'
/** Part of exactly one person's name, at every size. */
export const RARE_NAME = 'Bartholomew'
const RARE_PERSON = 500

const DAY_MS = 86_400_000
/** The first person signed up fifty days ago, and then one more every two seconds. */
const STEP_MS = 2_000
const PEOPLE_PER_STATEMENT = 5_000

export const HISTORY_ROWS_EACH = 10

export interface Seed {
  /** When the first person signed up (epoch ms). */
  begin: number
  passwordHash: string
}

export const newSeed = (passwordHash: string): Seed => ({ begin: Date.now() - 50 * DAY_MS, passwordHash })

const uuid = (epochMs: number, kind: number, number: number) => {
  const time = epochMs.toString(16).padStart(12, '0')
  return `${time.slice(0, 8)}-${time.slice(8)}-700${kind}-8000-${number.toString(16).padStart(12, '0')}`
}
export const personId = ({ begin }: Seed, number: number) => uuid(begin + number * STEP_MS, 0, number)
export const sessionId = ({ begin }: Seed, number: number) => uuid(begin + number * STEP_MS, 1, number)
export const emailOf = (number: number) => `person${number}@people.test`

/** The same ids as above, in SQL. */
const uuidSql = (time: string, kind: number, number: string) =>
  `printf('%08x-%04x-700${kind}-8000-%012x', (${time}) >> 16, (${time}) & 65535, ${number})`

/**
 * Fills the database by SQL inside the server, with all triggers active: people `from` to `to`, a session each, and
 * rows of history. Of a hundred people, two are disabled, one is deleted and one is a manager. All have logged in, or
 * clean-up would remove those who never proved their address.
 */
export async function seedPeople(
  url: string,
  seed: Seed,
  range: { from: number; to: number; history: number },
  progress: (done: number) => void = () => {},
): Promise<void> {
  const client = createClient({ url })
  for (let at = range.from; at < range.to; at += PEOPLE_PER_STATEMENT) {
    const end = Math.min(at + PEOPLE_PER_STATEMENT, range.to)
    await client.batch(statements(seed, at, end, range.history), 'write')
    progress(end)
  }
  client.close()
}

function statements(seed: Seed, from: number, to: number, history: number): InStatement[] {
  const numbers = `WITH RECURSIVE n(i) AS (VALUES(${from}) UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ${to})`
  const time = `${seed.begin} + i * ${STEP_MS}`
  const person = uuidSql(time, 0, 'i')
  const pick = (names: string, index: string) =>
    `json_extract('${JSON.stringify(names.split(' '))}', '$[' || (${index}) || ']')`
  const name = `CASE i WHEN ${RARE_PERSON} THEN '${RARE_NAME}' ELSE ${pick(FIRST_NAMES, 'i % 40')} || ' ' || ${pick(LAST_NAMES, 'i / 40 % 40')} END`
  const now = Date.now()
  return [
    {
      sql: `INSERT INTO users (id, email, email_normalized, name, password_hash, role, status, version, token_epoch,
          failed_logins, created_at, updated_at, last_login_at, deleted_at) ${numbers}
        SELECT ${person}, 'person' || i || '@people.test', 'person' || i || '@people.test', ${name}, ?,
          CASE i % 100 WHEN 7 THEN 'manager' ELSE 'user' END, iif(i % 50 = 11, 'disabled', 'active'), 1, 0, 0,
          ${time}, ${time}, ${time}, iif(i % 100 = 13, ${now}, NULL) FROM n`,
      args: [seed.passwordHash],
    },
    `INSERT INTO sessions (id, user_id, counter, rotated_at, created_at, last_seen_at, idle_expires_at, expires_at,
        ip, user_agent) ${numbers}
      SELECT ${uuidSql(time, 1, 'i')}, ${person}, 0, 0, ${time}, ${time}, ${now + 14 * DAY_MS},
        ${now + 30 * DAY_MS}, '192.0.2.1', 'bench' FROM n`,
    `INSERT INTO user_activity_logs (id, user_id, actor_id, action, details, ip, user_agent, request_id) ${numbers},
        k(k) AS (VALUES(0) UNION ALL SELECT k + 1 FROM k WHERE k + 1 < ${history})
      SELECT ${uuidSql(`${time} + k`, 2, 'i')}, ${person}, ${person},
        CASE k WHEN 0 THEN 'user.signed_up' ELSE 'session.started' END, '{}', '192.0.2.1', 'bench', 'bench'
      FROM n, k WHERE ${history} > 0`,
  ]
}
