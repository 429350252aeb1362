import { describe, expect, test } from 'vitest'
import { type Step, searchAll } from '../support/search.ts'

/**
 * Whose a subject is, in every order: a breadth-first search of what the statements do. Each request reads first and
 * writes later, in one batch with its conditions; between the two anything may happen. Each search is also made
 * without the condition that it is about, to show that it finds the fault.
 */
interface Account {
  isActive: boolean
  hasPassword: boolean
  /** Subjects of one provider. */
  identities: string[]
  /** Open sessions, by who started them. */
  sessions: string[]
}
interface Request {
  kind: 'link' | 'unlink' | 'unset' | 'reset' | 'disable' | 'erase' | 'join' | 'enter'
  account: number
  subject: string
  state: 'new' | 'read' | 'done' | 'refused'
  /** What it has read: whether it may continue. */
  sees: boolean
}
interface World {
  accounts: Account[]
  erased: number[]
  /** Whether something was connected after a reset, with a session from before. */
  isLate: boolean
  requests: Request[]
}

/** The conditions of the writes. `isStill`: the session, or the identity, that it relies on still exists. */
interface Conditions {
  isFree: boolean
  oneOfEach: boolean
  isStill: boolean
  wayRemains: boolean
  notErased: boolean
}
const ALL: Conditions = { isFree: true, oneOfEach: true, isStill: true, wayRemains: true, notErased: true }

const hasWay = ({ hasPassword, identities }: Account) => hasPassword || identities.length > 0
const holderOf = ({ accounts }: World, subject: string) =>
  accounts.filter(({ identities }) => identities.includes(subject))

/** What a request reads; and then what it writes, or undefined if it is refused. */
function readOf(world: World, { kind, account, subject }: Request): boolean {
  const one = world.accounts[account]!
  if (kind === 'enter') return one.isActive && one.identities.includes(subject)
  if (kind === 'join') return holderOf(world, subject).length === 0
  if (kind === 'unlink')
    return one.identities.includes(subject) && (one.hasPassword || one.identities.length > 1)
  if (kind === 'unset') return one.identities.length > 0
  return one.isActive
}

function write(world: World, { kind, account, subject }: Request, has: Conditions): boolean {
  const one = world.accounts[account]!
  const stands = one.isActive && one.sessions.includes('owner')
  const isFree = holderOf(world, subject).length === 0
  switch (kind) {
    case 'link':
      if (has.isStill && !stands) return false
      if ((has.isFree && !isFree) || (has.oneOfEach && one.identities.length > 0)) return false
      one.identities.push(subject)
      world.isLate ||= world.requests.some(
        (other) => other.kind === 'reset' && other.state === 'done' && other.account === account,
      )
      one.sessions = one.sessions.filter((by) => by === 'owner')
      return true
    case 'unlink':
      if (has.wayRemains && !(one.hasPassword || one.identities.length > 1)) return false
      one.identities = one.identities.filter((other) => other !== subject)
      return true
    case 'unset': // A take-over of an account that nobody has proved, or an undo: the password is removed.
      if (has.wayRemains && one.identities.length === 0) return false
      one.hasPassword = false
      return true
    case 'reset': // And the other sessions end with it.
      Object.assign(one, { hasPassword: true, sessions: [] })
      return true
    case 'disable':
      Object.assign(one, { isActive: false, sessions: [] })
      return true
    case 'erase':
      Object.assign(one, { isActive: false, hasPassword: false, identities: [], sessions: [] })
      world.erased.push(account)
      return true
    case 'join':
      if ((has.isFree && !isFree) || (has.notErased && world.erased.includes(account))) return false
      Object.assign(one, { isActive: true, identities: [...one.identities, subject], sessions: ['owner'] })
      return true
    case 'enter':
      if (has.isStill && !(one.isActive && one.identities.includes(subject))) return false
      one.sessions.push(subject)
      return true
  }
}

const startOf = (accounts: Partial<Account>[], requests: [Request['kind'], number, string][]): World => ({
  accounts: accounts.map((given) => ({
    isActive: true,
    hasPassword: true,
    identities: [],
    sessions: ['owner'],
    ...given,
  })),
  erased: [],
  isLate: false,
  requests: requests.map(([kind, account, subject]) => ({
    kind,
    account,
    subject,
    state: 'new',
    sees: false,
  })),
})

/** @param faultOf what is wrong in a world, if anything. */
const search = (start: World, has: Conditions, faultOf: (world: World) => string | undefined) =>
  searchAll(start, (before): Step<World>[] =>
    before.requests.flatMap(({ kind, account, state }, index) => {
      if (state !== 'new' && state !== 'read') return []
      const world = structuredClone(before)
      const request = world.requests[index]!
      if (state === 'new') {
        request.sees = readOf(world, request)
        request.state = request.sees ? 'read' : 'refused'
      } else request.state = write(world, request, has) ? 'done' : 'refused'
      return [{ name: `${state} ${kind} ${account}`, state: world, fault: faultOf(world) }]
    }),
  )

const isOnce = (world: World) =>
  ['s', 't'].some((subject) => holderOf(world, subject).length > 1) ? 'a subject is two people’s' : undefined
const oneOfEach = ({ accounts }: World) =>
  accounts.some(({ identities }) => identities.length > 1) ? 'two of one provider' : undefined
const waysRemain = ({ accounts, erased }: World) =>
  accounts.some((one, index) => !erased.includes(index) && !hasWay(one))
    ? 'nobody gets in any more'
    : undefined
const closedIsClosed = ({ accounts }: World) =>
  accounts.some(({ isActive, sessions }) => !isActive && sessions.length > 0)
    ? 'a session of an account that is closed'
    : undefined
const nothingLate = ({ isLate }: World) =>
  isLate ? 'a session from before a reset connects something after it' : undefined
const goneIsGone = ({ accounts, erased }: World) =>
  erased.some((index) => accounts[index]!.identities.length > 0 || accounts[index]!.isActive)
    ? 'an account is back under its old id'
    : undefined

describe('OA1, OA3: in every order of requests at once', () => {
  const both = (start: World, without: keyof Conditions, faultOf: (world: World) => string | undefined) => {
    const found = search(start, ALL, faultOf)
    expect(found.fault).toBeUndefined()
    expect(found.states).toBeGreaterThan(8)
    expect(search(start, { ...ALL, [without]: false }, faultOf).fault).toBeDefined()
  }

  test('a subject belongs to one person, whoever connects it or signs up with it', () => {
    both(
      startOf(
        [{}, {}],
        [
          ['link', 0, 's'],
          ['link', 1, 's'],
          ['link', 1, 's'],
        ],
      ),
      'isFree',
      isOnce,
    )
    both(
      startOf(
        [{}, { identities: [], isActive: false, sessions: [] }],
        [
          ['link', 0, 's'],
          ['join', 1, 's'],
        ],
      ),
      'isFree',
      isOnce,
    )
  })

  test('an account has one of each provider', () => {
    both(
      startOf(
        [{}],
        [
          ['link', 0, 's'],
          ['link', 0, 't'],
          ['unlink', 0, 's'],
        ],
      ),
      'oneOfEach',
      oneOfEach,
    )
  })

  test('the last way in stays, whatever else is removed', () => {
    const two = { hasPassword: false, identities: ['s', 't'] }
    both(
      startOf(
        [two],
        [
          ['unlink', 0, 's'],
          ['unlink', 0, 't'],
        ],
      ),
      'wayRemains',
      waysRemain,
    )
    both(
      startOf(
        [{ identities: ['s'] }],
        [
          ['unlink', 0, 's'],
          ['unset', 0, ''],
        ],
      ),
      'wayRemains',
      waysRemain,
    )
  })

  test('nobody enters an account that is closed, and nothing is connected to it', () => {
    const known = { identities: ['s'] }
    both(
      startOf(
        [known],
        [
          ['enter', 0, 's'],
          ['disable', 0, ''],
        ],
      ),
      'isStill',
      closedIsClosed,
    )
    both(
      startOf(
        [known],
        [
          ['enter', 0, 's'],
          ['erase', 0, ''],
        ],
      ),
      'isStill',
      closedIsClosed,
    )
    both(
      startOf(
        [{}],
        [
          ['link', 0, 's'],
          ['erase', 0, ''],
        ],
      ),
      'isStill',
      goneIsGone,
    )
  })

  test('a session that a reset has ended connects nothing afterwards', () => {
    const requests: Parameters<typeof startOf>[1] = [
      ['link', 0, 's'],
      ['reset', 0, ''],
      ['link', 0, 't'],
    ]
    both(startOf([{}], requests), 'isStill', nothingLate)
  })

  test('an erased account does not come back through a sign-up page that was kept open', () => {
    const notYet = { isActive: false, hasPassword: false, sessions: [] }
    const start = startOf(
      [notYet],
      [
        ['join', 0, 's'],
        ['join', 0, 's'],
        ['erase', 0, ''],
      ],
    )
    // Somebody must exist to be erased.
    const gone = (world: World) => {
      const [first, second, erasing] = world.requests.map(({ state }) => state)
      return erasing === 'done' && (first === 'done' || second === 'done') ? goneIsGone(world) : undefined
    }
    both(start, 'notErased', gone)
  })
})
