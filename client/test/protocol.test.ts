import { expect, test } from 'vitest'
import { EVERY, type Held, hear, type Known, NOBODY, placeOf, type Word } from '../src/protocol.ts'

/**
 * A breadth-first search over every order of what tabs, their browser and the network may do: tabs that sleep while they
 * hold the lock, die, lose answers, sign out, or sign in as somebody else. How a tab handles a message is the client's own
 * code (`hear`); what it does between two waits follows tokens.ts, step by step. Each search also runs without the part
 * that it is about, to show that it would find the fault.
 */
interface Process {
  kind: 'own' | 'watch'
  phase: 'waiting' | 'asking' | 'sent' | 'refused'
  /** The number of the token that it is about. */
  refresh: string
  hasLock: boolean
  tries: number
  /** The server's answer, which has not arrived yet. */
  answer?: 'over' | 'lost' | Held
}
interface Tab {
  known: Known
  isOpen: boolean
  isAsleep: boolean
  isDead: boolean
  processes: Process[]
  /** How many more tokens it may need. */
  needs: number
  /** Messages on their way to it, by sender; those of one sender stay in order. */
  inbox: Word[][]
}
interface World {
  tabs: Tab[]
  server: Record<
    string,
    { counter: number; version: number; isInGrace: boolean; end?: 'signed out' | 'theft' }
  >
  /** What can still happen. */
  left: {
    losses: number
    sleeps: number
    deaths: number
    signOuts: number
    signIns: number
    openings: number
    renamings: number
  }
  /** A tab that changed its user because of a message. */
  isConfused: boolean
}
interface Without {
  asking?: boolean
  watching?: boolean
  ended?: boolean
  again?: boolean
  telling?: boolean
}
type Move = () => World

const tokenOf = (session: string, counter: number) => `rt_${session}.${counter}.mac`
const heldOf = (refresh: string, version = 0) => ({ refresh, user: { version } }) as Held
const isAwake = (tab: Tab) => tab.isOpen && !tab.isAsleep && !tab.isDead
const holds = (tab: Tab, refresh: string) => tab.known.held?.refresh === refresh

function say(world: World, from: number, word: Word): void {
  for (const [index, tab] of world.tabs.entries())
    if (index !== from && tab.isOpen && !tab.isDead) tab.inbox[from]!.push(word)
}

function learn(world: World, index: number, word: Word, without: Without): void {
  const tab = world.tabs[index]!
  const before = tab.known
  const { known, says } = hear(before, word)
  tab.known = without.ended ? { ...known, ended: [] } : known
  const [from, to] = [before.held, known.held].map((held) => held && placeOf(held.refresh).session)
  if (from && to && from !== to && !before.isJoining) world.isConfused = true
  if (says && !(without.again && says.kind === word.kind)) say(world, index, says)
  const isWatching = tab.processes.some(({ kind }) => kind === 'watch')
  if (known.isAwaited && word.kind === 'refreshing' && !without.watching && !isWatching)
    tab.processes.push({
      kind: 'watch',
      phase: 'waiting',
      refresh: known.held!.refresh,
      hasLock: false,
      tries: 2,
    })
}

const isLocked = (world: World) =>
  world.tabs.some((tab) => !tab.isDead && tab.processes.some(({ hasLock }) => hasLock))
function done(tab: Tab, process: Process): void {
  const { held, isAwaited } = tab.known
  tab.processes = tab.processes.filter((one) => one !== process)
  // The next refresh may have begun during this one.
  if (process.kind === 'watch' && isAwaited && held && held.refresh !== process.refresh)
    tab.processes.push({ kind: 'watch', phase: 'waiting', refresh: held.refresh, hasLock: false, tries: 2 })
}

/** The server receives the request, and acts as auth/refresh.ts does. */
function serve(world: World, refresh: string): 'over' | Held {
  const { session, counter } = placeOf(refresh)
  const row = world.server[session]!
  if (row.end) return 'over'
  if (row.counter === counter) {
    row.counter += 1
    row.isInGrace = true
    return heldOf(tokenOf(session, row.counter), row.version)
  }
  if (row.counter === counter + 1 && row.isInGrace) return heldOf(tokenOf(session, row.counter), row.version)
  row.end = 'theft'
  return 'over'
}

function movesOf(world: World, without: Without): Move[] {
  const moves: Move[] = []
  const key = JSON.stringify(world)
  const add = (move: (world: World) => void) =>
    moves.push(() => {
      const next: World = JSON.parse(key)
      move(next)
      return next
    })
  for (const [index, tab] of world.tabs.entries()) {
    if (!tab.isOpen && world.left.openings > 0)
      add((next) => {
        const opened = next.tabs[index]!
        opened.isOpen = true
        opened.known = { ...NOBODY, isJoining: true }
        next.left.openings -= 1
        say(next, index, { kind: 'asking' })
      })
    if (!isAwake(tab)) {
      if (tab.isAsleep && !tab.isDead)
        add((next) => void Object.assign(next.tabs[index]!, { isAsleep: false }))
      continue
    }
    if (world.left.sleeps > 0 && index === 0)
      add((next) => {
        next.tabs[index]!.isAsleep = true
        next.left.sleeps -= 1
      })
    if (world.left.deaths > 0 && index === 0)
      add((next) => {
        next.tabs[index]!.isDead = true
        next.left.deaths -= 1
      })
    for (const [from, words] of tab.inbox.entries()) {
      if (words.length > 0)
        add((next) => learn(next, index, next.tabs[index]!.inbox[from]!.shift()!, without))
    }
    const { held } = tab.known
    const isQuiet = tab.inbox.every(({ length }) => length === 0)
    const hasBeenHeard = world.tabs.every((other) => !isAwake(other) || other.inbox[index]!.length === 0)
    if (tab.known.isJoining && isQuiet && hasBeenHeard)
      add((next) => void Object.assign(next.tabs[index]!.known, { isJoining: false }))
    if (held && tab.needs > 0 && !tab.processes.some(({ kind }) => kind === 'own'))
      add((next) => {
        const own = next.tabs[index]!
        own.needs -= 1
        own.processes.push({ kind: 'own', phase: 'waiting', refresh: held.refresh, hasLock: false, tries: 2 })
      })
    if (held && world.left.signOuts > 0)
      add((next) => {
        const { session } = placeOf(held.refresh)
        next.left.signOuts -= 1
        learn(next, index, { kind: 'ended', session, counter: EVERY }, { ...without, again: false })
        next.server[session]!.end ??= 'signed out'
      })
    if (held && world.left.renamings > 0)
      add((next) => {
        const { session } = placeOf(held.refresh)
        next.left.renamings -= 1
        next.server[session]!.version += 1
        const renamed = heldOf(held.refresh, next.server[session]!.version)
        next.tabs[index]!.known = { ...tab.known, held: renamed }
        if (!without.telling) say(next, index, { kind: 'tokens', held: renamed, joins: false })
      })
    if (world.left.signIns > 0 && index === 1)
      add((next) => {
        next.left.signIns -= 1
        next.server.b = { counter: 0, version: 0, isInGrace: false }
        next.tabs[index]!.known = {
          ...tab.known,
          held: heldOf(tokenOf('b', 0)),
          isJoining: false,
          isAwaited: false,
        }
        say(next, index, { kind: 'tokens', held: heldOf(tokenOf('b', 0)), joins: true })
      })
    for (const [at, { phase, refresh, kind, answer, tries }] of tab.processes.entries()) {
      const place = placeOf(refresh)
      const step = (change: (next: World, own: Tab, process: Process) => void) =>
        add((next) => change(next, next.tabs[index]!, next.tabs[index]!.processes[at]!))
      // Alone, or after five seconds.
      if (phase === 'waiting') {
        const takesLock = !isLocked(world)
        step((next, own, process) => {
          if (!holds(own, refresh) || (kind === 'watch' && !own.known.isAwaited)) return done(own, process)
          process.hasLock = takesLock
          process.phase = 'asking'
          if (kind === 'own') say(next, index, { kind: 'refreshing', ...place })
        })
      }
      // A tenth of a second: messages to it arrive, and tabs that are awake answer.
      const hasListened = without.asking || isQuiet
      const catchUp = (next: World) => {
        for (const other of without.asking ? [] : next.tabs.filter(isAwake)) {
          const { says } = hear(other.known, { kind: 'asking', place })
          if (says) learn(next, index, says, without)
        }
      }
      const mayBeSent = phase === 'asking' || (phase === 'sent' && answer === 'lost')
      if (mayBeSent && hasListened)
        step((next, own, process) => {
          if (phase === 'asking') catchUp(next)
          if (!holds(own, refresh)) return done(own, process)
          process.phase = 'sent'
          process.answer = serve(next, refresh)
        })
      if (phase === 'refused' && hasListened)
        step((next, own, process) => {
          catchUp(next)
          done(own, process)
          if (!holds(own, refresh)) return
          learn(next, index, { kind: 'ended', ...place }, without)
        })
      if (phase === 'sent' && answer && answer !== 'lost')
        step((next, own, process) => {
          if (!holds(own, refresh)) return done(own, process)
          if (answer === 'over') {
            process.phase = 'refused'
            return
          }
          own.known = hear(own.known, { kind: 'tokens', held: answer, joins: false }).known
          say(next, index, { kind: 'tokens', held: own.known.held!, joins: false })
          done(own, process)
        })
      // Lost. A pause follows, in which messages arrive.
      if (phase === 'sent' && answer !== 'lost' && world.left.losses > 0)
        step((next, own, process) => {
          next.left.losses -= 1
          process.answer = 'lost'
          process.tries -= 1
          if (tries > 1) return
          done(own, process)
          if (kind === 'own') say(next, index, { kind: 'gave_up', ...place })
        })
    }
  }
  // The grace period is longer than anything that tabs do while awake.
  const isCalm = world.tabs.every(
    (tab) => !isAwake(tab) || (tab.processes.length === 0 && tab.inbox.every(({ length }) => length === 0)),
  )
  for (const [session, { isInGrace }] of Object.entries(world.server))
    if (isInGrace && isCalm) add((next) => void Object.assign(next.server[session]!, { isInGrace: false }))
  return moves
}

function search(world: World, without: Without = {}) {
  const seen = new Set([JSON.stringify(world)])
  let states = [world]
  let count = 1
  const broken = new Set<string>()
  while (states.length > 0) {
    const next: World[] = []
    for (const state of states) {
      const moves = movesOf(state, without)
      const isBusy = state.tabs.some((tab) => isAwake(tab) && tab.processes.length > 0)
      if (isBusy && moves.length === 0) broken.add('somebody waits for ever')
      if (Object.values(state.server).some(({ end }) => end === 'theft')) broken.add('taken for a thief')
      if (state.isConfused) broken.add('became another')
      // A tab that was told that the session is over is not signed in by it.
      const { end, version } = state.server.a!
      const isSettled = state.tabs.every(
        (tab) => tab.inbox.every(({ length }) => length === 0) && tab.processes.length === 0,
      )
      const there = state.tabs.flatMap((tab) => (isAwake(tab) && tab.known.held) || [])
      const ofSession = there.filter(({ refresh }) => placeOf(refresh).session === 'a')
      if (end === 'signed out' && isSettled && ofSession.length > 0) broken.add('still signed in')
      if (isSettled && ofSession.some(({ user }) => user.version < version)) broken.add('called as before')
      for (const move of moves) {
        const after = move()
        const key = JSON.stringify(after)
        if (seen.has(key)) continue
        seen.add(key)
        count += 1
        next.push(after)
      }
    }
    states = next
  }
  return { broken: [...broken].sort(), count }
}

/**
 * @param needs how many tokens each open tab needs.
 * @param closed tabs that may be opened later.
 */
function worldOf(needs: number[], left: Partial<World['left']>, closed = 0): World {
  const all = [...needs, ...Array<undefined>(closed).fill(undefined)]
  return {
    tabs: all.map((need) => ({
      known: need === undefined ? NOBODY : { ...NOBODY, held: heldOf(tokenOf('a', 0)) },
      isOpen: need !== undefined,
      isAsleep: false,
      isDead: false,
      processes: [],
      needs: need ?? 0,
      inbox: all.map(() => []),
    })),
    server: { a: { counter: 0, version: 0, isInGrace: false } },
    left: {
      losses: 0,
      sleeps: 0,
      deaths: 0,
      signOuts: 0,
      signIns: 0,
      openings: closed,
      renamings: 0,
      ...left,
    },
    isConfused: false,
  }
}

/** No tab is mistaken for a thief, changes its user, is signed in again, waits for ever, or shows a former name. */
test.each([
  ['one sleeps, and an answer is lost', worldOf([1, 1], { sleeps: 1, losses: 1 })],
  ['one sleeps from one refresh to the next', worldOf([2, 1], { sleeps: 1 })],
  ['one dies', worldOf([1, 1], { deaths: 1 })],
  ['one signs out while another is opened', worldOf([0, 0], { signOuts: 1 }, 1)],
  ['one signs out while others refresh', worldOf([1, 1], { signOuts: 1 })],
  ['one signs in as somebody else', worldOf([1, 1], { signIns: 1 })],
  ['one changes the name and dies while another is opened', worldOf([0, 0], { renamings: 1, deaths: 1 }, 1)],
  ['one changes the name while others refresh', worldOf([1, 1], { renamings: 1 })],
  ['one changes the name and sleeps over a refresh', worldOf([1, 1], { renamings: 1, sleeps: 1 })],
])(
  'Nothing goes wrong between tabs where %s',
  (_, world) => {
    const { broken, count } = search(world)
    expect([broken, count > 1000]).toEqual([[], true])
  },
  240_000,
)

test.each([
  ['taken for a thief', 'watching over one another', { watching: true }, worldOf([1, 1], { sleeps: 1 })],
  ['taken for a thief', 'asking first', { asking: true }, worldOf([1, 1], { sleeps: 1 })],
  ['still signed in', 'saying it again', { again: true }, worldOf([0, 0], { signOuts: 1 }, 1)],
  [
    'still signed in',
    'remembering what has ended',
    { ended: true },
    worldOf([0, 0], { signOuts: 1, deaths: 1 }, 1),
  ],
  ['called as before', 'telling the others', { telling: true }, worldOf([0, 0], { renamings: 1 })],
  ['called as before', 'saying it again', { again: true }, worldOf([0, 0], { renamings: 1, deaths: 1 }, 1)],
] as const)(
  'The search finds that somebody is %s without %s',
  (what, _, without, world) => {
    expect(search(world, without).broken).toContain(what)
  },
  240_000,
)
