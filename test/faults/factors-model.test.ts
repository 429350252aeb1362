import fc from 'fast-check'
import { beforeAll, expect, test } from 'vitest'
import { METHODS } from '../../src/factors/state.ts'
import { type Answer, type Api, openApi, PASSWORD } from '../support/api.ts'
import { softwarePasskey } from '../support/authenticator.ts'
import { codeOf, mailedCode, wrongCodeOf } from '../support/factors.ts'
import { expectInvariants } from '../support/invariants.ts'
import { rounds } from '../support/rounds.ts'
import { freshUpstreams } from '../support/upstreams.ts'

/*
 * A small model of second factors, beside the real ones: who has an app, passkeys and codes, which steps and codes
 * are used up, and what each sign-in, addition, removal and reset does. Commands in any order go to both.
 */

const ORIGIN = 'https://roster.test'
/** An app accepts the codes of the current step and the one before. */
const STEP_MS = 30_000

interface Person {
  id: string
  email: string
  seed?: Uint8Array
  lastStep: number
  passkeys: { id: string; key: Awaited<ReturnType<typeof softwarePasskey>> }[]
  codes: string[]
  /** Codes that were used, or were removed with the last factor. */
  spent: string[]
  /** Only three mails with a code are sent per hour. */
  mails: number
  history: string[]
}
interface Session {
  person: Person
  token: string
  isEnded: boolean
}

class Model {
  readonly people: Person[] = []
  readonly sessions: Session[] = []

  begin(person: Person, answer: Answer, ...history: string[]) {
    expect(answer.status, answer.text).toBe(200)
    this.sessions.push({ person, token: String(answer.body.access_token), isEnded: false })
    person.history.push('session.started', ...history)
  }
  end(person: Person, except?: Session) {
    for (const session of this.sessions)
      if (session.person === person && session !== except) session.isEnded = true
  }
}

let api: Api
let admin: Awaited<ReturnType<Api['quickActor']>>

const hasFactor = ({ seed, passkeys }: Person) => seed !== undefined || passkeys.length > 0
const forgetCodes = (person: Person) => {
  person.spent.push(...person.codes)
  person.codes = []
}
const outcome = ({ status, body }: Answer) => (status < 300 ? 'done' : `${status} ${body.code}`)

const on = <T>(
  list: 'people' | 'sessions',
  name: string,
  run: (one: T, model: Model) => Promise<void>,
  check = (_: T) => true,
) =>
  fc.nat(5).map(
    (index): fc.AsyncCommand<Model, object> => ({
      check: (model) => model[list].length > 0 && check(model[list][index % model[list].length] as T),
      run: (model) => run(model[list][index % model[list].length] as T, model),
      toString: () => `${name} of ${list}[${index}]`,
    }),
  )

/** Makes sure that both compute the same step: a request takes less than two seconds. */
async function stepOf(offset: number): Promise<number> {
  const left = STEP_MS - (Date.now() % STEP_MS)
  if (left < 2000) await new Promise((resolve) => setTimeout(resolve, left + 20))
  return Math.floor(Date.now() / STEP_MS) + offset
}

type Answered = { body: object; isRight: boolean; use: () => string[] }
const wrong = (body: object): Answered => ({ body, isRight: false, use: () => [] })

/** How somebody answers a challenge. */
const ANSWERS: Record<string, (person: Person, challenge: string) => Promise<Answered | undefined>> = {
  'the code of now': (person) => byCode(person, 0),
  'the code before': (person) => byCode(person, -1),
  'a code too early': async ({ seed }) => seed && wrong({ code: codeOf(seed, (await stepOf(2)) && 2) }),
  'a wrong code': async ({ seed }) => wrong({ code: seed ? wrongCodeOf(seed) : '000000' }),
  'a recovery code': async (person) => {
    const [code] = person.codes
    if (code === undefined) return undefined
    const use = () => {
      person.codes = person.codes.slice(1)
      person.spent.push(code)
      return ['recovery_code.used']
    }
    return { body: { recovery_code: code }, isRight: true, use }
  },
  'a spent recovery code': async ({ spent }) => (spent[0] ? wrong({ recovery_code: spent[0] }) : undefined),
  'a passkey': async ({ passkeys }, challenge) => {
    const [first] = passkeys
    if (!first) return undefined
    const path = '/v1/auth/login/second_factor/options'
    const { body } = await api.send<{ options: never }>('POST', path, { body: { challenge } })
    return { body: { passkey: await first.key.get(body.options) }, isRight: true, use: () => [] }
  },
}

async function byCode(person: Person, offset: number): Promise<Answered> {
  const step = await stepOf(offset)
  if (!person.seed) return wrong({ code: '123456' })
  const use = () => {
    person.lastStep = step
    return []
  }
  return { body: { code: codeOf(person.seed, offset) }, isRight: step > person.lastStep, use }
}

const logIn = (kind: string) =>
  on<Person>('people', `log in with ${kind}`, async (person, model) => {
    const { email } = person
    const first = await api.send('POST', '/v1/auth/login', { body: { email, password: PASSWORD } })
    if (!hasFactor(person)) return model.begin(person, first)
    expect(outcome(first)).toBe('403 second_factor_required')
    const has = { totp: person.seed, recovery_code: person.codes[0], passkey: person.passkeys[0] }
    expect(first.body.methods).toEqual(METHODS.filter((method) => has[method] !== undefined))
    expect(first.body).not.toHaveProperty('access_token')
    const challenge = String(first.body.challenge)
    const answered = await ANSWERS[kind]!(person, challenge)
    if (!answered) return
    const path = '/v1/auth/login/second_factor'
    const answer = await api.send('POST', path, { body: { challenge, ...answered.body } })
    if (!answered.isRight) {
      expect(outcome(answer), kind).toBe('401 invalid_second_factor')
      // A code that was right once is not a guess.
      const isUsed = kind.startsWith('the code') && person.seed !== undefined
      if (!isUsed) person.history.push('factor.failed')
      return
    }
    model.begin(person, answer, ...answered.use())
    const [code = '000000'] = person.codes
    const again = await api.send('POST', path, { body: { challenge, recovery_code: code } })
    expect(outcome(again)).toBe('401 challenge_spent')
  })

const logInByPasskey = on<Person>(
  'people',
  'log in by passkey alone',
  async (person, model) => {
    const path = '/v1/auth/login/passkey'
    const { body } = await api.send<{ challenge_id: string; options: never }>('POST', `${path}/options`)
    const credential = await person.passkeys.at(-1)!.key.get(body.options)
    const asked = { challenge_id: body.challenge_id, credential }
    model.begin(person, await api.send('POST', path, { body: asked }))
    // An assertion can be used once.
    expect((await api.send('POST', path, { body: asked })).status).toBe(401)
  },
  ({ passkeys }) => passkeys.length > 0,
)

/** What the owner changes, with a session; nothing happens if it has ended. */
const own = (name: string, run: (session: Session, model: Model) => Promise<void>) =>
  on<Session>('sessions', name, async (session, model) => {
    const { isEnded, token, person } = session
    if (isEnded) {
      const refused = await api.send('DELETE', '/v1/auth/factors/totp', { token })
      expect(outcome(refused)).toBe('401 invalid_token')
      return
    }
    // Mailed codes and additions are limited per hour, which is not what this test is about.
    if (!hasFactor(person) && person.mails >= 2) return
    await run(session, model)
  })

async function proofOf({ person, token }: Session) {
  if (hasFactor(person)) return {}
  person.mails++
  return mailedCode(api, { email: person.email, token })
}

function added({ person, ...session }: Session, model: Model, codes: unknown) {
  model.end(person, model.sessions.find(({ token }) => token === session.token)!)
  if (!hasFactor(person)) person.codes = codes as string[]
  expect(codes).toHaveLength(hasFactor(person) ? 0 : 10)
  person.history.push('factor.added')
}

const addAppTo = async (session: Session, model: Model) => {
  const { person, token } = session
  const begun = await api.send('POST', '/v1/auth/factors/totp', { token })
  if (person.seed) {
    expect(outcome(begun)).toBe('409 totp_exists')
    return
  }
  const proof = await proofOf(session)
  const seed = fromBase32(String(begun.body.secret))
  const step = await stepOf(0)
  const body = { code: codeOf(seed), ...proof }
  const confirmed = await api.send('POST', '/v1/auth/factors/totp/confirm', { token, body })
  expect(confirmed.status, confirmed.text).toBe(200)
  added(session, model, confirmed.body.recovery_codes)
  Object.assign(person, { seed, lastStep: step })
}

const addPasskeyTo = async (session: Session, model: Model) => {
  const { person, token } = session
  const key = await softwarePasskey(ORIGIN)
  const asked = await api.send<{ challenge_id: string; options: never }>(
    'POST',
    '/v1/auth/passkeys/options',
    { token },
  )
  const { challenge_id, options } = asked.body
  const body = { challenge_id, credential: key.create(options), ...(await proofOf(session)) }
  const made = await api.send('POST', '/v1/auth/passkeys', { token, body })
  expect(made.status, made.text).toBe(201)
  added(session, model, made.body.recovery_codes)
  person.passkeys.push({ id: String(made.body.id), key })
}
const addApp = own('add an app', addAppTo)
const addPasskey = own('add a passkey', addPasskeyTo)

function removed(session: Session, model: Model) {
  model.end(session.person, session)
  if (!hasFactor(session.person)) forgetCodes(session.person)
  session.person.history.push('factor.removed')
}

const removeApp = own('remove the app', async (session, model) => {
  const { person, token } = session
  const answer = await api.send('DELETE', '/v1/auth/factors/totp', { token })
  expect(outcome(answer)).toBe(person.seed ? 'done' : '404 factor_not_found')
  if (!person.seed) return
  delete person.seed
  removed(session, model)
})

const removePasskey = own('remove a passkey', async (session, model) => {
  const { person, token } = session
  const [first] = person.passkeys
  if (!first) return
  const answer = await api.send('DELETE', `/v1/auth/passkeys/${first.id}`, { token })
  expect(outcome(answer)).toBe('done')
  person.passkeys = person.passkeys.slice(1)
  removed(session, model)
})

const renewCodes = own('renew the codes', async ({ person, token }) => {
  const answer = await api.send('POST', '/v1/auth/factors/recovery_codes', { token })
  expect(outcome(answer)).toBe(hasFactor(person) ? 'done' : '409 no_factor')
  if (!hasFactor(person)) return
  forgetCodes(person)
  person.codes = answer.body.recovery_codes as string[]
  person.history.push('recovery_codes.renewed')
})

const reset = on<Person>('people', 'reset', async (person, model) => {
  const failed = await api.sql('SELECT failed_factors FROM users WHERE id = ?', [person.id])
  const answer = await api.send('DELETE', `/v1/users/${person.id}/factors`, { token: admin.token })
  expect(outcome(answer)).toBe('done')
  if (!hasFactor(person) && failed[0]!.failed_factors === 0) return
  delete person.seed
  person.passkeys = []
  forgetCodes(person)
  model.end(person)
  person.history.push('factors.reset')
})

/** As time passes, an app shows codes of steps that nobody has used. */
const wait = on<Person>('people', 'wait', async (person) => {
  await api.sql('UPDATE factors SET last_step = last_step - 2 WHERE user_id = ?', [person.id])
  person.lastStep -= 2
})

function fromBase32(text: string): Uint8Array {
  const bits = [...text].map((letter) =>
    'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'.indexOf(letter).toString(2).padStart(5, '0'),
  )
  return new Uint8Array((bits.join('').match(/.{8}/g) ?? []).map((byte) => Number.parseInt(byte, 2)))
}

async function expectAsModelled(model: Model) {
  await expectInvariants(api)
  for (const person of model.people) {
    const [row] = await api.sql(
      `SELECT factors, (SELECT count(*) FROM factors WHERE user_id = u.id AND confirmed_at IS NOT NULL) AS apps,
        (SELECT count(*) FROM passkeys WHERE user_id = u.id) AS passkeys,
        (SELECT count(*) FROM recovery_codes WHERE user_id = u.id) AS codes FROM users u WHERE id = ?`,
      [person.id],
    )
    const apps = person.seed ? 1 : 0
    const { passkeys, codes } = person
    const factors = apps + (passkeys.length > 0 ? 2 : 0)
    expect(row).toEqual({ factors, apps, passkeys: passkeys.length, codes: codes.length })
    expect(await api.historyOf(person.id), 'I7').toEqual(person.history)
  }
  for (const { token, isEnded } of model.sessions) {
    const read = await api.send('GET', '/v1/users/me', { token })
    expect(read.status, 'I4').toBe(isEnded ? 401 : 200)
  }
}

/** Somebody without a factor, one with an app, and one with a passkey, each signed in. */
async function furnish(): Promise<Model> {
  // Each time, as resetting somebody needs a login in the last ten minutes.
  admin = await api.quickActor({ role: 'admin' })
  const model = new Model()
  for (const add of [undefined, addAppTo, addPasskeyTo]) {
    const { id, email, password } = await api.person({ email_verified_at: 1 })
    const person: Person = {
      ...{ id, email, lastStep: 0, mails: 0 },
      ...{ passkeys: [], codes: [], spent: [], history: [] },
    }
    model.people.push(person)
    const body = { email, password }
    model.begin(person, await api.send('POST', '/v1/auth/login', { body }))
    await add?.(model.sessions.at(-1)!, model)
  }
  return model
}

beforeAll(async () => {
  api = openApi({ ...(await freshUpstreams()).bindings, ISSUER: ORIGIN })
})

test('I4, I7, MF2, MF4, MF5, MF6, PK4: whatever is done with second factors, in whatever order, they behave like their model', async () => {
  const ways = Object.keys(ANSWERS).flatMap((kind) => [logIn(kind), logIn(kind)])
  const owned = [addApp, addApp, addPasskey, removeApp, removePasskey, renewCodes]
  const all = fc.oneof(...ways, logInByPasskey, ...owned, reset, wait)
  const sequence = fc.commands([all], { size: 'max', maxCommands: rounds(30, 40) })
  await fc.assert(
    fc.asyncProperty(sequence, async (steps) => {
      const model = await furnish()
      await fc.asyncModelRun(() => ({ model, real: {} }), steps)
      await expectAsModelled(model)
    }),
    { numRuns: rounds(9, 300), endOnFailure: true },
  )
})
