import fc from 'fast-check'
import { beforeAll, expect, test } from 'vitest'
import type { Tokens } from '../../src/auth/schemas.ts'
import type { Role } from '../../src/users/models.ts'
import { type Answer, type Api, openApi, PASSWORD } from '../support/api.ts'
import { expectInvariants } from '../support/invariants.ts'
import { rounds } from '../support/rounds.ts'
import { freshUpstreams } from '../support/upstreams.ts'

/*
 * A small model of the system: what it should contain, in a few maps, beside the real one. Commands in any order go
 * to both; every answer is compared, and after each sequence the invariants are checked in the database itself.
 */

interface Person {
  id: string
  email: string
  password: string
  name: string
  role: Role
  status: 'active' | 'disabled'
  isDeleted: boolean
  isPurged: boolean
  /** Changes so far; each has a row of history. */
  history: string[]
}
interface Session {
  readonly person: Person
  access: string
  refresh: string
  /** Refresh tokens that were used, with their successors. */
  spent: string[]
  isEnded: boolean
  /** The access token is void: its session has ended, or what it says about the person is out of date. */
  isStale: boolean
  /** Whether its token came with a new password. */
  hasNewPassword?: boolean
}

/** Nobody changes their network: a repeat from elsewhere has its own tests. */
const NETWORK = '10.9.9.9'
const NEW_PASSWORD = 'nine green bears run'
const NEWCOMER = {
  password: PASSWORD,
  name: 'Somebody',
  role: 'user',
  status: 'active',
  isDeleted: false,
  isPurged: false,
} as const
const isHere = (person: Person) => !person.isDeleted && !person.isPurged

class Model {
  readonly people: Person[] = []
  readonly sessions: Session[] = []
  /** Three mailboxes, one of them in two spellings. */
  readonly domain = `${crypto.randomUUID()}.test`
  readonly addresses = ['ada', 'ADA', 'eve', 'joan'].map((name) => `${name}@${this.domain}`)

  owner(email: string) {
    return this.people.find((person) => person.email === email.toLowerCase() && isHere(person))
  }
  add(id: string, email: string, ...history: string[]) {
    this.people.push({ ...NEWCOMER, id, email: email.toLowerCase(), history })
  }
  endTokens(person: Person, endsSessions: boolean, except?: Session) {
    for (const session of this.sessions.filter((one) => one.person === person)) {
      session.isStale = true
      if (endsSessions && session !== except) session.isEnded = true
    }
  }
}

let api: Api
let admin: Awaited<ReturnType<Api['quickActor']>>

/** A command on one element of a list; it does nothing while that is empty. */
const on = <T>(
  list: 'people' | 'sessions' | 'addresses',
  name: string,
  run: (one: T, model: Model) => Promise<void>,
) =>
  fc.nat(5).map(
    (index): fc.AsyncCommand<Model, object> => ({
      check: (model) => model[list].length > 0,
      run: (model) => run(model[list][index % model[list].length] as T, model),
      toString: () => `${name} of ${list}[${index}]`,
    }),
  )
const outcome = ({ status, body }: Answer) => (status < 300 ? 'done' : `${status} ${body.code}`)
const isGood = (session: Session) => !session.isEnded && !session.isStale

/**
 * Applies the expected effect of a request to the model: returns the action in its history, or `4…` if it must be
 * refused.
 */
type Change<Whom> = (whom: Whom, model: Model, answer?: Answer) => string | undefined

/** What somebody who manages people does to another person. */
const manage = (route: string, body: object | undefined, change: Change<Person>) =>
  on<Person>('people', `${route} ${JSON.stringify(body) ?? ''}`, async (person, model) => {
    const [method, path] = route.replace('{id}', person.id).split(' ') as [string, string]
    const result = person.isPurged ? '404 user_not_found' : change(person, model)
    const isRefused = /^4/.test(result ?? '')
    const answer = await api.send(method, path, { token: admin.token, body })
    expect(outcome(answer)).toBe(isRefused ? result : 'done')
    if (result && !isRefused) person.history.push(result)
  })

/** What people do for themselves. `change` is applied if their token is valid. */
const own = (route: string, bodyOf: (person: Person) => object | undefined, change: Change<Session>) =>
  on<Session>('sessions', route, async (session, model) => {
    const [method, path] = route.split(' ') as [string, string]
    const body = bodyOf(session.person)
    const expected = isGood(session) ? 'done' : '401 invalid_token'
    const answer = await api.send(method, path, { token: session.access, body, ip: NETWORK })
    expect(outcome(answer)).toBe(expected)
    const action = expected === 'done' && change(session, model, answer)
    if (action) session.person.history.push(action)
  })

const signUp = on<string>('addresses', 'signUp', async (email, model) => {
  const body = { email, password: PASSWORD, name: NEWCOMER.name }
  const answer = await api.send('POST', '/v1/auth/signup', { body })
  expect(answer.status).toBe(model.owner(email) ? 409 : 201)
  if (answer.status !== 201) return
  // Only proved addresses get roles; how they are proved is not what this model is about.
  await api.sql('UPDATE users SET email_verified_at = 1 WHERE id = ?', [String(answer.body.id)])
  model.add(String(answer.body.id), email, 'user.signed_up')
})

/** Like a sign-up, but without the price of a hash: most people are added this way. */
const join = on<string>('addresses', 'join', async (email, model) => {
  if (!model.owner(email)) model.add((await api.person({ email, email_verified_at: 1 })).id, email)
})

/** Like a login, without the price of a hash. */
const enter = on<Person>('people', 'enter', async (person, model) => {
  if (!isHere(person) || person.status !== 'active') return
  const { token: access, refreshToken: refresh } = await api.signIn(person)
  model.sessions.push({ person, access, refresh, spent: [], isEnded: false, isStale: false })
})

const logIn = (isRight: boolean) =>
  on<string>('addresses', `logIn ${isRight}`, async (email, model) => {
    const person = model.owner(email)
    const password = isRight ? (person?.password ?? PASSWORD) : 'not the right one'
    const answer = await api.send<Tokens>('POST', '/v1/auth/login', { body: { email, password } })
    const mayEnter = isRight && person?.status === 'active'
    const isDisabled = isRight && person?.status === 'disabled'
    expect(answer.status).toBe(mayEnter ? 200 : isDisabled ? 403 : 401)
    person?.history.push(mayEnter ? 'session.started' : 'login.failed')
    if (!person || !mayEnter) return
    const { access_token: access, refresh_token: refresh } = answer.body
    model.sessions.push({ person, access, refresh, spent: [], isEnded: false, isStale: false })
  })

const refresh = (stepsBack: number) =>
  on<Session>('sessions', `refresh ${stepsBack} back`, async (session) => {
    const { person, spent } = session
    const token = [session.refresh, ...spent.toReversed()][Math.min(stepsBack, spent.length)]!
    const isLast = token === spent.at(-1)
    // A new password ends copies of the former token, without a grace. Whoever was just refreshing with it is no thief.
    const isSetAside = isLast && session.hasNewPassword === true
    const isPrevious = isLast && !isSetAside
    const isReuse = token !== session.refresh && !isLast
    const body = { refresh_token: token }
    const answer = await api.send<Tokens>('POST', '/v1/auth/refresh_token', { body, ip: NETWORK })
    const mayGoOn =
      !session.isEnded && !isReuse && !isSetAside && isHere(person) && person.status === 'active'
    expect(answer.status).toBe(mayGoOn ? 200 : 401)
    if (isReuse && !session.isEnded) {
      session.isEnded = session.isStale = true
      person.history.push('session.reuse_detected')
    }
    if (!mayGoOn) return
    // I2: however often it is used, a token has one successor.
    if (isPrevious) expect(answer.body.refresh_token).toBe(session.refresh)
    else spent.push(session.refresh)
    const { access_token: access, refresh_token } = answer.body
    Object.assign(session, { access, refresh: refresh_token, isStale: false, hasNewPassword: false })
  })

const logOut = on<Session>('sessions', 'logOut', async (session) => {
  expect((await api.send('POST', '/v1/auth/logout', { token: session.access })).status).toBe(204)
  if (!session.isEnded) session.person.history.push('session.ended')
  session.isEnded = session.isStale = true
})

const setRole = (role: Role) =>
  manage('PATCH /v1/users/{id}', { role }, (person, model) => {
    if (person.isDeleted) return '409 user_deleted'
    if (person.role === role) return
    person.role = role
    model.endTokens(person, false)
    return 'user.role_changed'
  })
const disable = manage('POST /v1/users/{id}/disable', { reason: 'x' }, (person, model) => {
  if (person.isDeleted) return '409 user_deleted'
  if (person.status === 'disabled') return
  person.status = 'disabled'
  model.endTokens(person, true)
  return 'user.disabled'
})
const enable = manage('POST /v1/users/{id}/enable', undefined, (person) => {
  if (person.isDeleted) return '409 user_deleted'
  if (person.status === 'active') return
  person.status = 'active'
  return 'user.enabled'
})
const remove = manage('DELETE /v1/users/{id}', undefined, (person, model) => {
  if (person.isDeleted) return
  person.isDeleted = true
  model.endTokens(person, true)
  return 'user.deleted'
})
const restore = manage('POST /v1/users/{id}/restore', undefined, (person, model) => {
  if (!person.isDeleted) return
  if (model.owner(person.email)) return '409 email_taken'
  person.isDeleted = false
  return 'user.restored'
})
const purge = manage('DELETE /v1/users/{id}?hard=true', undefined, (person, model) => {
  person.isPurged = true
  model.endTokens(person, true)
  return 'user.purged'
})
const nothing = () => undefined
const read = own('GET /v1/users/me', nothing, nothing)
const rename = (name: string) =>
  own(
    'PATCH /v1/users/me',
    () => ({ name }),
    ({ person }) => {
      if (person.name === name) return
      person.name = name
      return 'user.updated'
    },
  )
const logOutAll = own('POST /v1/auth/logout_all', nothing, ({ person }, model) => {
  model.endTokens(person, true)
  return 'sessions.ended'
})
const other = (password: string) => (password === PASSWORD ? NEW_PASSWORD : PASSWORD)
const changePassword = own(
  'POST /v1/auth/change_password',
  ({ password }) => ({ current_password: password, new_password: other(password) }),
  (session, model, answer) => {
    session.person.password = other(session.person.password)
    model.endTokens(session.person, true, session)
    // The session continues with the tokens in the answer.
    const { access_token: access, refresh_token } = answer!.body as unknown as Tokens
    session.spent.push(session.refresh)
    Object.assign(session, { access, refresh: refresh_token, isStale: false, hasNewPassword: true })
    return 'password.changed'
  },
)

const managed = [setRole('user'), setRole('manager'), disable, enable, remove, restore, purge]
const owned = [read, rename('Ada'), rename('Eve'), logOutAll, logOut]
const entering = [join, join, enter, enter, enter]
const refreshing = [refresh(0), refresh(0), refresh(1), refresh(2)]
const cheap = fc.oneof(...entering, ...refreshing, ...managed, ...owned)
/** These cost hashes, so they are rare. */
const dear = fc.oneof(signUp, logIn(true), logIn(true), logIn(false), changePassword)

async function expectAsModelled(model: Model) {
  await expectInvariants(api)
  for (const person of model.people) {
    const [row] = await api.sql(
      'SELECT name, role, status, deleted_at IS NOT NULL AS is_deleted FROM users WHERE id = ?',
      [person.id],
    )
    const { name, role, status, isDeleted } = person
    expect(row, 'I1').toEqual(
      person.isPurged ? undefined : { name, role, status, is_deleted: Number(isDeleted) },
    )
    expect(await api.historyOf(person.id), 'I7').toEqual(person.history)
  }
  for (const session of model.sessions) {
    const read = await api.send('GET', '/v1/users/me', { token: session.access })
    expect(read.status, 'I4').toBe(isGood(session) ? 200 : 401)
  }
}

beforeAll(async () => {
  api = openApi((await freshUpstreams()).bindings)
  admin = await api.quickActor({ role: 'admin' })
})

test('I1 to I7, SE3: whatever people do, in whatever order, the system behaves like its model', async () => {
  const all = fc.oneof({ weight: 30, arbitrary: cheap }, { weight: 1, arbitrary: dear })
  const sequence = fc.commands([all], { size: 'medium', maxCommands: rounds(12, 20) })
  await fc.assert(
    fc.asyncProperty(sequence, async (steps) => {
      const model = new Model()
      await fc.asyncModelRun(() => ({ model, real: {} }), steps)
      await expectAsModelled(model)
    }),
    { numRuns: rounds(15, 1_000), endOnFailure: true },
  )
})
