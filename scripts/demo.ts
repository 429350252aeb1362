import { sql } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import type { Action } from '../src/activity/models.ts'
import { record } from '../src/activity/service.ts'
import { countDays } from '../src/activity/stats.ts'
import type { Resources } from '../src/context.ts'
import { build, type Statement } from '../src/database/statements.ts'
import { invitations } from '../src/invitations/models.ts'
import { outbox } from '../src/mail/models.ts'
import { CreateClient } from '../src/oauth/clients/schemas.ts'
import { makeClient } from '../src/oauth/clients/service.ts'
import { MAX_FAILURES_IN_A_ROW } from '../src/throttle/limits.ts'
import { bySystem } from '../src/users/change.ts'
import { makeUserRow } from '../src/users/create.ts'
import { type NewUser, type Role, users } from '../src/users/models.ts'

/*
 * A hundred invented users for `npm run dev -- --demo`, with a history, invitations and failed mails, so that every
 * page has something to show. The rows are as the API would have left them, with times in the past.
 */

const [MINUTE, HOUR, DAY] = [60_000, 3_600_000, 86_400_000]
export const DOMAIN = 'fjord.example'
export const DEMO_ADMIN = 'Ada Lovelace'
export const DEMO_SETTINGS = { ORGANISATION: 'Fjord & Co', EMAIL_CODE_SIGNIN: 'on' }
export const DEMO_PASSWORD = 'nine purple herons sleep'
const AT_ONCE = 400

const NAMES = `Ingrid Sørdal
Mehmet Öztürk
Tomás Ferreira
Hubert Blaine Wolfeschlegelsteinhausenbergerdorff senior of Philadelphia
ليلى حداد
Wang Xiaoming
Lena Brandt
Bo Ek
Priya Raghunathan
Aoife Ní Bhriain
Łukasz Żółkiewski
Chimamanda Okafor
Jürgen Großmann
Søren Ømark
Anaïs Lefèvre
Nguyễn Thị Hạnh
Nakamura Sakura
Михаил Орлов
דנה לוי
Zoë van der Meer
Kwame Mensah
Ana María Ñíguez
Ragnhildur Þórsdóttir
Elif Çelik
Sinéad O’Connor-Walsh
Tū Ngata
Ewa Wiśniewska
Nikos Παπαδόπουλος
Björk
X`.split('\n')
const GIVEN =
  'Alma Bruno Clara David Emma Farid Greta Hugo Iris Jonas Kaja Liam Mona Nils Olga Pavel Rosa Sven Tara Ugo'
const FAMILY = 'Aalto Berg Costa Dahl Eriksen Fischer Gruber Haas Ivanova Jensen Kaya Lund Moreau Novak Olsen'
const MADE_UP = GIVEN.split(' ').flatMap((given, at) =>
  FAMILY.split(' ')
    .filter((_, index) => (index + at) % 4 === 0)
    .map((family) => `${given} ${family}`),
)

const DEVICES = [
  'Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:144.0) Gecko/20100101 Firefox/144.0',
  'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36',
  'Mozilla/5.0 (iPhone; CPU iPhone OS 19_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/19.1 Mobile/15E148 Safari/604.1',
  'Mozilla/5.0 (Linux; Android 16; Pixel 10) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36',
  'curl/8.15.0',
]
const COUNTRIES = ['NO', 'NO', 'DE', 'PT', 'NG', 'FR']

const APPS = [
  { name: 'Payroll export', type: 'confidential', grants: ['client_credentials'], scopes: ['users:read'] },
  { name: 'Field notes', type: 'public', redirect_uris: ['com.fjord.notes:/back'] },
  {
    name: 'Handbook',
    type: 'confidential',
    redirect_uris: ['https://handbook.fjord.example/callback'],
    post_logout_redirect_uris: ['https://handbook.fjord.example/'],
    scopes: ['openid', 'profile', 'email', 'offline_access'],
    first_party: true,
  },
]

/** The same random numbers at every start, on every machine. */
function openDice(seed = 7) {
  let state = seed
  const next = () => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648
    return state / 2_147_483_648
  }
  return { next, below: (end: number) => Math.floor(next() * end), chance: (share: number) => next() < share }
}

/** Fills an empty directory. If there are people already, nothing is changed. */
export async function inventUsers(resources: Resources, adminId: string): Promise<boolean> {
  const { db, now } = resources
  const { known } = await db.read({
    known: sql<{ total: number }>`SELECT count(*) AS total FROM (SELECT 1 FROM ${users} LIMIT 3)`,
  })
  if (known[0]!.total > 2) return false
  const statements = [
    ...(await everyone(resources, adminId)),
    ...invited(resources, adminId),
    ...deadMails(now),
  ]
  for (let at = 0; at < statements.length; at += AT_ONCE)
    await db.writeBatch({ rows: statements.slice(at, at + AT_ONCE) })
  for (const app of APPS)
    await makeClient(resources, { ...bySystem, actorId: adminId }, CreateClient().parse(app))
  await countDays(resources)
  return true
}

type Row = NewUser & { failed_logins: number }

async function everyone(resources: Resources, adminId: string): Promise<Statement[]> {
  const { now } = resources
  const dice = openDice()
  const from = () => ({
    requestId: crypto.randomUUID(),
    ip: `203.0.113.${1 + dice.below(250)}`,
    userAgent: DEVICES[dice.below(DEVICES.length)]!,
    country: COUNTRIES[dice.below(COUNTRIES.length)]!,
    language: 'en' as const,
  })
  const happened = (at: number, action: Action, userId: string, actorId: string | null, details?: object) =>
    record(
      { origin: from() },
      { id: uuidv7({ msecs: at }), action, userId, actorId, ...(details && { details }) },
      sql`1`,
    )

  // One hash for all of them, as a hundred would take a while.
  const model = await makeUserRow(resources, {
    email: `model@${DOMAIN}`,
    name: 'Model',
    password: DEMO_PASSWORD,
    role: 'user',
  })
  const rows = [...NAMES, ...MADE_UP].slice(0, 104).map((name, index): Row => {
    const age = Math.round((index / 104) ** 2 * 700 * DAY) + dice.below(DAY)
    const at = now - age - 5 * MINUTE
    const address = `${slugOf(name) || `user${index}`}@${DOMAIN}`
    // Clean-up would have removed older ones.
    const isUnproved = index % 11 === 6 && age < 20 * DAY
    return {
      ...model,
      id: uuidv7({ msecs: at }),
      name,
      email: address,
      email_normalized: address,
      role: roleAt(index),
      email_verified_at: isUnproved ? null : at + HOUR,
      created_at: at,
      updated_at: at,
      last_login_at: isUnproved ? null : now - Math.min(age, dice.below(9 * DAY)),
      ...oddityAt(index, now),
    }
  })
  const ingrid = rows[0]!.id
  const history = rows.flatMap((row, index) => {
    const isInvited = index % 3 === 0
    return [
      happened(
        row.created_at,
        isInvited ? 'user.created' : 'user.signed_up',
        row.id,
        isInvited ? adminId : row.id,
        { role: 'user' },
      ),
      ...(row.email_verified_at ? [happened(row.email_verified_at, 'email.verified', row.id, row.id)] : []),
      ...(row.status === 'disabled'
        ? [happened(now - DAY, 'user.disabled', row.id, ingrid, { reason: row.disabled_reason })]
        : []),
      ...(row.deleted_at ? [happened(row.deleted_at, 'user.deleted', row.id, adminId)] : []),
    ]
  })
  const tries = Array.from({ length: 30 }, (_, ago) => {
    const day = now - (now % DAY) - ago * DAY
    const isWeekend = [0, 6].includes(new Date(day).getUTCDay())
    const end = ago === 0 ? now - day : DAY
    const count = Math.round(((isWeekend ? 9 : 22) + dice.below(9)) * (end / DAY))
    return Array.from({ length: count }, () => {
      const row = rows[dice.below(rows.length)]!
      const at = day + dice.below(end)
      if (at < row.created_at || row.deleted_at) return []
      const isRight = !dice.chance(ago === 8 ? 0.4 : 0.07)
      return [happened(at, isRight ? 'session.started' : 'login.failed', row.id, isRight ? row.id : null)]
    }).flat()
  }).flat()
  const latest = [
    happened(now - 14 * MINUTE, 'user.role_changed', rows[1]!.id, ingrid, {
      role: { from: 'user', to: 'manager' },
    }),
    happened(now - 50 * MINUTE, 'session.reuse_detected', rows[2]!.id, null),
    happened(now - 3 * HOUR, 'user.updated', rows[2]!.id, ingrid, {
      name: { from: 'Tomas Ferreira', to: 'Tomás Ferreira' },
    }),
  ]
  return [...rows.map((row) => build.insert(users).values(row)), ...history, ...tries, ...latest]
}

const roleAt = (index: number): Role =>
  index === 40 ? 'admin' : [0, 1, 12, 25, 60].includes(index) ? 'manager' : 'user'

/** What is unusual about some of them. */
function oddityAt(index: number, now: number): Partial<Row> {
  if (index === 2) return { failed_logins: MAX_FAILURES_IN_A_ROW }
  if (index === 3)
    return { status: 'disabled', disabled_reason: 'On leave until December', disabled_until: now + 6 * DAY }
  if ([7, 30, 52, 77].includes(index)) return { status: 'disabled', disabled_reason: 'Left the company' }
  if ([20, 45, 90].includes(index)) return { deleted_at: now - index * HOUR }
  return {}
}

/** "tomas.ferreira" for Tomás Ferreira. */
const slugOf = (name: string) =>
  name
    .normalize('NFKD')
    .toLowerCase()
    .replace(/[^a-z ]/g, '')
    .trim()
    .replace(/ +/g, '.')
    .slice(0, 60)

function invited({ now }: Resources, adminId: string): Statement[] {
  return ['p.okafor', 'ines.duarte', 'sam.lee', 'k.tanaka', 'old.friend', 'changed.mind', 'yusuf'].map(
    (local, index) => {
      const created_at = now - (index * 37 + 2) * HOUR
      const email = `${local}@${DOMAIN}`
      return build.insert(invitations).values({
        id: uuidv7({ msecs: created_at }),
        email,
        email_normalized: email,
        name: index === 0 ? 'Peace Okafor' : null,
        role: 'user',
        invited_by: adminId,
        created_at,
        expires_at: local === 'old.friend' ? now - HOUR : created_at + 14 * DAY,
        withdrawn_at: local === 'changed.mind' ? now - 5 * HOUR : null,
      })
    },
  )
}

const deadMails = (now: number): Statement[] =>
  ['ines.duarte', 'sam.lee', 'no-such-box'].map((local, index) => {
    const created_at = now - (index + 3) * HOUR
    const recipient = `${local}@${DOMAIN}`
    return build.insert(outbox).values({
      id: uuidv7({ msecs: created_at }),
      kind: index === 2 ? 'password_changed' : 'invitation',
      recipient,
      recipient_normalized: recipient,
      created_at,
      expires_at: now + 3 * DAY,
      attempts: 5,
      next_attempt_at: created_at,
      dead_at: now - index * HOUR - 20 * MINUTE,
      refusal: '422',
    })
  })
