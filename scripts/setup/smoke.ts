import { randomBytes } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import { sql } from 'drizzle-orm'
import type { Resources } from '../../src/context.ts'
import { bySystem, changeUserBy } from '../../src/users/change.ts'
import { insertUser, makeUserRow } from '../../src/users/create.ts'
import { hardDeletion } from '../../src/users/managing/manage.ts'
import { findByEmail, withResources } from '../create-admin.ts'

/** RFC 2606: nobody can own a name there, so this is nobody else's account, and no mail arrives. */
const EMAIL = 'setup@roster.invalid'
const TIMEOUT_MS = 30_000

/** Asks until a deployment of Roster answers: a new domain's certificate takes a minute or two. */
export async function untilItAnswers(issuer: string, { waitMs = 300_000, say = console.log } = {}) {
  const until = Date.now() + waitMs
  for (let tried = 1; ; tried++) {
    const why = await whyNotAnswered(issuer)
    if (!why) return
    if (Date.now() > until) throw new Error(`${issuer} does not answer as Roster: ${why}`)
    if (tried === 1) say(`Waiting for ${issuer} to answer.`)
    await pause(2_000)
  }
}

async function whyNotAnswered(issuer: string): Promise<string | undefined> {
  try {
    const { status, body } = await call(issuer, 'GET', '/ready')
    if (status === 200) return undefined
    return `/ready says ${status} ${body.detail ?? ''}`
  } catch (error) {
    const { message, cause } = error as Error
    return cause instanceof Error ? `${message} (${cause.message})` : message
  }
}

/**
 * Signs in to a deployment as a user made for this, refreshes, revokes, and checks that the revoked tokens no longer
 * work. The user is erased afterwards, whatever happened; one left by an interrupted run is erased first.
 *
 * @returns what was tried, a clause each. Throws a sentence at the first failure.
 */
export const smokeTest = (env: object, issuer: string): Promise<string[]> =>
  withResources(env, async (resources) => {
    await eraseLeftover(resources)
    const password = randomBytes(24).toString('base64url')
    await insertSomebody(resources, password)
    try {
      return await tryOut(issuer, password)
    } finally {
      await eraseLeftover(resources)
    }
  })

async function insertSomebody(resources: Resources, password: string) {
  const { TERMS_VERSION: terms_version } = resources.config
  const input = { email: EMAIL, name: 'Setup', password, role: 'user', terms_version } as const
  const row = await makeUserRow(resources, input, true)
  const creation = insertUser(resources, row, sql`1`, { action: 'user.created', actorId: null })
  await resources.db.writeBatch({ ...creation.statements }, creation.isDone)
}

async function eraseLeftover(resources: Resources) {
  const user = await findByEmail(resources, EMAIL)
  if (!user) return
  await changeUserBy(resources, bySystem, user.id, hardDeletion)
}

async function tryOut(issuer: string, password: string): Promise<string[]> {
  const login = await expectStatus('Signing in', 200, issuer, '/v1/auth/login', {
    body: { email: EMAIL, password },
  })
  const me = await expectStatus('Reading oneself', 200, issuer, '/v1/users/me', { token: login.access_token })
  if (me.email !== EMAIL) throw new Error(`${issuer} answers as somebody other than whoever signed in.`)
  const next = await expectStatus('Refreshing', 200, issuer, '/v1/auth/refresh_token', {
    body: { refresh_token: login.refresh_token },
  })
  await expectStatus('Signing out', 204, issuer, '/v1/auth/logout', {
    method: 'POST',
    token: next.access_token,
  })
  await expectStatus('A revoked token', 401, issuer, '/v1/users/me', { token: next.access_token })
  await expectStatus('A revoked refresh token', 401, issuer, '/v1/auth/refresh_token', {
    body: { refresh_token: next.refresh_token },
  })
  return ['signed in', 'refreshed', 'signed out', 'what was revoked is dead']
}

interface Ask {
  method?: string
  body?: object
  token?: string | undefined
}
type Answer = Partial<
  Record<'access_token' | 'refresh_token' | 'email' | 'code' | 'detail' | 'request_id', string>
>

async function expectStatus(what: string, wanted: number, issuer: string, path: string, ask: Ask) {
  const { status, body } = await call(issuer, ask.method ?? (ask.body ? 'POST' : 'GET'), path, ask)
  if (status !== wanted)
    throw new Error(
      `${what} was answered with ${status} ${body.code ?? ''}, not with ${wanted}. ${body.detail ?? ''} (request ${body.request_id ?? 'without an id'})`,
    )
  return body
}

async function call(issuer: string, method: string, path: string, { body, token }: Ask = {}) {
  const answer = await fetch(new URL(path, issuer), {
    method,
    headers: {
      ...(body && { 'content-type': 'application/json' }),
      ...(token && { authorization: `Bearer ${token}` }),
    },
    body: body ? JSON.stringify(body) : null,
    redirect: 'manual',
    signal: AbortSignal.timeout(TIMEOUT_MS),
  })
  const text = await answer.text()
  const isJson = /json/.test(answer.headers.get('content-type') ?? '')
  return { status: answer.status, body: (isJson ? JSON.parse(text) : {}) as Answer }
}
