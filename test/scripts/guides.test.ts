import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { decodeBase32IgnorePadding } from '@oslojs/encoding'
import { generateHOTP } from '@oslojs/otp'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ADMIN, startStack } from '../support/stack.ts'

/** The requests of the guides, as they stand there, one after the other, to the real Worker. */

let stack: Awaited<ReturnType<typeof startStack>>
beforeAll(async () => {
  stack = await startStack()
})
afterAll(() => stack?.close())

/**
 * Prints what was answered, and how. What a reader would copy from an answer stands in the variable that the guide names
 * it by: an `access_token` in ACCESS_TOKEN.
 */
const CURL = `set -u
curl() {
  local answer rest
  rest=$(command curl -sS --max-time 30 -w '\\n%{http_code}' "$@")
  printf '%s\\n' "$rest"
  while [[ $rest =~ \\"([a-z]+_(token|id|secret|code))\\":\\"([^\\"]*)\\"(.*) ]]; do
    rest=\${BASH_REMATCH[4]}
    printf -v "$(tr a-z A-Z <<< "\${BASH_REMATCH[1]}")" %s "\${BASH_REMATCH[3]}"
  done
}`

const blocksOf = (file: string) => {
  const text = readFileSync(join(import.meta.dirname, '../..', file), 'utf8')
  return [...text.matchAll(/^```sh\n([\s\S]*?)^```/gm)].map(([, code]) => code!)
}

/** What each request of a guide's blocks was answered. */
function follow(file: string, [from, to]: [number, number], variables: Record<string, string> = {}) {
  const asking = blocksOf(file).filter((code) => code.includes('curl '))
  return run(asking.slice(from, to).join('\n'), variables)
}

function run(lines: string, variables: Record<string, string>) {
  const code = lines.replace(/http:\/\/127\.0\.0\.1:8787|https:\/\/id\.your-domain/g, stack.url)
  const env = { PATH: process.env.PATH, ROSTER: stack.url, ...variables }
  const said = execFileSync('bash', ['-c', `${CURL}\n${code}`], { env, encoding: 'utf8' })
  return [...said.matchAll(/^(.*)\n(\d{3})$/gm)].map(([, body, status]) => ({
    status: Number(status),
    body: body ? JSON.parse(body) : undefined,
  }))
}
const statuses = (answers: { status: number }[]) => answers.map(({ status }) => status)

async function call(path: string, body: object, token?: string) {
  const headers = { 'content-type': 'application/json', ...(token && { authorization: `Bearer ${token}` }) }
  const answer = await fetch(stack.url + path, { method: 'POST', headers, body: JSON.stringify(body) })
  return (await answer.json()) as Record<string, string>
}
const logIn = async () => (await call('/v1/auth/login', ADMIN)).access_token!

test('docs/start.md: somebody signs up, signs in, reads themselves, refreshes and signs out', () => {
  const answers = follow('docs/start.md', [0, 2])
  expect(statuses(answers)).toEqual([201, 200, 200, 200, 204])
  expect(answers[2]!.body).toMatchObject({ name: 'Ada', email: 'ada@example.com' })
})

test('docs/guides/programs.md: a service is added, gets a token, and reads users', async () => {
  const answers = follow('docs/guides/programs.md', [0, 2], { TOKEN: await logIn() })
  expect(statuses(answers)).toEqual([201, 200, 200])
  expect(answers[2]!.body.data.length).toBeGreaterThan(0)
})

test('docs/guides/programs.md: a device gets a code, and waits', async () => {
  const { client_id } = await call(
    '/v1/oauth_clients',
    {
      name: 'A device',
      type: 'public',
      grants: ['urn:ietf:params:oauth:grant-type:device_code'],
      scopes: ['openid', 'users:read'],
    },
    await logIn(),
  )
  const answers = follow('docs/guides/programs.md', [2, 3], { CLIENT_ID: client_id! })
  expect(statuses(answers)).toEqual([200, 400])
  expect(answers[0]!.body).toMatchObject({
    verification_uri: expect.stringMatching(/\/device$/),
    interval: 5,
  })
  expect(answers[1]!.body.error).toBe('authorization_pending')
})

test('docs/api-keys.md: a key reads users', async () => {
  const { key } = await call('/v1/api_keys', { name: 'A script', permissions: ['users:read'] }, await logIn())
  const [answer] = follow('docs/api-keys.md', [0, 1], { ROSTER_KEY: key! })
  expect(answer).toMatchObject({ status: 200, body: { data: expect.any(Array) } })
})

test('docs/settings.md: a program blocks sign-ups', async () => {
  const [answer] = follow('docs/settings.md', [0, 1], { TOKEN: await logIn() })
  expect(answer).toMatchObject({ status: 204 })
})

test('docs/second-factor.md: an app is added, signs in and proves again; a device and the app are disowned by mail', async () => {
  const [helper, ...blocks] = blocksOf('docs/second-factor.md')
  /** The line of the guide that begins so, with values for its examples. */
  const ask = (beginning: string, values: Record<string, string> = {}, TOKEN = '') => {
    const [line, ...more] = blocks
      .flatMap((block) => block.split('\n'))
      .filter((one) => one.startsWith(beginning))
    expect([beginning, line, more]).toEqual([beginning, expect.any(String), []])
    const filled = line!.replace(/"(\w+)": "[^"]*"/g, (example, name: string) =>
      values[name] === undefined ? example : `"${name}": "${values[name]}"`,
    )
    const [answer] = run(`${helper}\n${filled}`, { TOKEN })
    return answer!
  }
  /** The newest mail of theirs with this in it. */
  const mailed = async (pattern: RegExp) => {
    const headers = { authorization: `Bearer ${stack.mailbox.key}` }
    for (let time = 0; time < 300; time++) {
      const mails = (await (await fetch(`${stack.mailbox.url}/mails`, { headers })).json()) as {
        to: string[]
        text: string
      }[]
      const found = mails
        .filter(({ to }) => to.includes(grace.email))
        .flatMap(({ text }) => pattern.exec(text)?.[1] ?? [])
      if (found.length > 0) return found.at(-1)!
      await new Promise((resolve) => setTimeout(resolve, 200))
    }
    throw new Error(`no mail has ${pattern}`)
  }
  const grace = { email: `grace-${crypto.randomUUID()}@example.com`, password: 'nine green bears run' }
  const { id } = await call('/v1/users', { ...grace, name: 'Grace', notify: false }, await logIn())
  await stack.sql('UPDATE users SET email_verified_at = 1, password_is_given = 0 WHERE id = ?', [id!])

  const { access_token: token } = await call('/v1/auth/login', grace)
  const proved = ask(`api POST /v1/auth/reauthenticate '{"password": "…"}'`, grace, token)
  expect(proved).toMatchObject({ status: 200, body: { token_type: 'Bearer' } })
  const begun = ask('api POST /v1/auth/factors/totp  ', {}, token)
  const asked = ask('api POST /v1/auth/factors/mail_code', {}, token)
  expect([begun.status, asked.status]).toEqual([201, 202])
  const seed = decodeBase32IgnorePadding(begun.body.secret)
  const code = () => generateHOTP(seed, BigInt(Math.floor(Date.now() / 30_000)), 6)
  /** A step counts once, and the next one is half a minute away. */
  const forgetStep = () => stack.sql('UPDATE factors SET last_step = 0 WHERE user_id = ?', [id!])
  const mail_code = await mailed(/code, .*: (\d{8})$/m)
  const confirmed = ask(
    'api POST /v1/auth/factors/totp/confirm',
    {
      code: code(),
      request_token: asked.body.request_token,
      mail_code,
    },
    token,
  )
  expect(confirmed).toMatchObject({ status: 200, body: { recovery_codes: expect.any(Array) } })

  await forgetStep()
  const challenged = ask('curl -sS "$ROSTER/v1/auth/login" ', grace)
  expect(challenged).toMatchObject({ status: 403, body: { code: 'second_factor_required' } })
  const { challenge } = challenged.body
  const signedIn = ask('curl -sS "$ROSTER/v1/auth/login/second_factor"', { challenge, code: code() })
  expect(signedIn.status).toBe(200)
  await forgetStep()
  const again = ask(
    `api POST /v1/auth/reauthenticate '{"password": "…", "code"`,
    { ...grace, code: code() },
    signedIn.body.access_token,
  )
  expect(again.status).toBe(200)

  const linkTo = (purpose: string) => mailed(new RegExp(`/links/${purpose}\\?token=(\\S+)$`, 'm'))
  const device = { token: await linkTo('disown_session') }
  expect(ask('curl -sS "$ROSTER/v1/auth/disown_session"', device).status).toBe(204)
  const disowned = ask('curl -sS "$ROSTER/v1/auth/disown_factor"', {
    token: await linkTo('disown_factor'),
    password: grace.password,
  })
  expect(disowned).toMatchObject({ status: 200, body: { factor: 'removed' } })
})
