/*
 * Makes better-auth.json: people who signed up at better-auth itself, over its HTTP handler, on node:sqlite. Run by hand, with
 * Node 24, not by the tests:
 *
 *   npm install --no-save better-auth@1.7.25 && node make_better_auth.mjs
 *
 * Every password is `correct horse Ängström`; of the second one its Ä is two characters, which better-auth takes as one.
 */
import { writeFileSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { betterAuth } from 'better-auth'
import { getMigrations } from 'better-auth/db/migration'
import { admin } from 'better-auth/plugins'

const PASSWORD = 'correct horse Ängström'
const database = new DatabaseSync(':memory:')
const options = {
  database,
  secret: 'a secret of at least thirty-two characters',
  baseURL: 'http://localhost:3000',
  emailAndPassword: { enabled: true },
  plugins: [admin()],
  telemetry: { enabled: false },
  rateLimit: { enabled: false },
}
await (await getMigrations(options)).runMigrations()
const auth = betterAuth(options)

async function signUp(email, name, password = PASSWORD) {
  const answer = await auth.handler(
    new Request('http://localhost:3000/api/auth/sign-up/email', {
      method: 'POST',
      headers: { 'content-type': 'application/json', origin: 'http://localhost:3000' },
      body: JSON.stringify({ email, name, password }),
    }),
  )
  const body = await answer.json()
  if (!answer.ok) throw new Error(`${email}: ${JSON.stringify(body)}`)
  return body.user.id
}

const change = async (id, data) => (await auth.$context).internalAdapter.updateUser(id, data)

await change(await signUp('Ada@better.test', 'Ada "the first", King'), { emailVerified: true })
await signUp('wide@better.test', 'Wide', PASSWORD.normalize('NFD'))
await change(await signUp('banned@better.test', 'Banned'), { banned: true, banReason: 'spam' })
await change(await signUp('over@better.test', 'Over'), {
  banned: true,
  banExpires: new Date(Date.now() + 1000),
})
await change(await signUp('admin@better.test', 'Admin'), { role: 'admin', emailVerified: true })
// Somebody who came by GitHub alone.
const github = await (await auth.$context).internalAdapter.createOAuthUser(
  { email: 'hub@better.test', name: 'Hub', emailVerified: true },
  { providerId: 'github', accountId: '42', accessToken: 'token' },
)
if (!github) throw new Error('Nobody came by GitHub.')

const rowsOf = (table) => database.prepare(`SELECT * FROM "${table}" ORDER BY "createdAt", id`).all()
writeFileSync(
  'better-auth.json',
  `${JSON.stringify({ user: rowsOf('user'), account: rowsOf('account') }, null, 1)}\n`,
)
