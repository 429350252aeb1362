import type { components } from './api.d.ts'
import type { Answer } from './http.ts'
import { ENTRY, ends, type Keeper, type KeeperOptions, LOGOUT, ME } from './keeper.ts'
import { errorOf, isOwn401, type RosterError } from './problems.ts'
import { EVERY, type Held, hear, type Known, NOBODY, placeOf, type User, type Word } from './protocol.ts'
import { openTabs } from './tabs.ts'

type Tokens = components['schemas']['Tokens']

/**
 * Where an app keeps tokens beyond the page. Any script that gets into a page can read what the browser
 * stores.
 */
export interface Storage {
  getItem(name: string): string | null | Promise<string | null>
  setItem(name: string, value: string): unknown
  removeItem(name: string): unknown
}

/** An access token is renewed so long before it ends, or in the last quarter of a short life. */
const AHEAD_MS = 60_000
/**
 * A lost answer can be requested again as long as the same token gives the same successor. The last of three
 * tries, of at most eight seconds each, goes out within those thirty seconds: after them it would be taken
 * for a thief's.
 */
const TRIES = 3
/** For another tab's refresh, which began five seconds earlier. */
const WATCH_TRIES = 2
const PAUSE_MS = 1000
const LONGEST_PAUSE_MS = 2000
/** The 401 codes that mean the session is over for good. A proxy's 401 has none of them. */
const OVER = ['invalid_refresh_token', 'session_revoked']
const REFRESH = '/v1/auth/refresh_token'
const REFRESH_LIMIT_MS = 8000

/**
 * Keeps tokens in memory, and refreshes them once, however many calls and tabs wait.
 *
 *     createClient({ url, keep: tokens() })
 *
 * @param storage keeps them beyond the page or the process. None by default.
 */
export const tokens =
  ({ storage }: { storage?: Storage } = {}) =>
  (options: KeeperOptions): Keeper =>
    keepByTokens(options, storage)

function keepByTokens({ url, hasTabs, ask, changed }: KeeperOptions, storage: Storage | undefined): Keeper {
  /** The name of the stored item, and of the channel between tabs. */
  const name = `roster tokens ${url}`
  let known: Known = NOBODY
  let isLookedUp = false
  let device: string | undefined
  const deviceKey = `${name} device`

  function set(next: Known): void {
    const isNew = next.held !== known.held
    known = next
    if (isNew && isLookedUp) changed(next.held?.user ?? null)
  }
  const holds = ({ refresh }: Held) => known.held?.refresh === refresh
  const sessionOf = (held: Held | undefined) => held && placeOf(held.refresh).session

  function learn(word: Word): void {
    const { known: next, says } = hear(known, word)
    set(next)
    if (says) tabs.say(says)
    if (next.isAwaited && word.kind === 'refreshing') startWatching()
  }
  const tabs = openTabs(hasTabs, name, learn)

  /** If storage is full, closed or broken, the tokens in memory are kept. */
  async function stored<T>(ask: (storage: Storage) => T): Promise<Awaited<T> | undefined> {
    try {
      return storage && (await ask(storage))
    } catch {
      return undefined
    }
  }
  /** Reads the stored tokens, and treats them like a message from another tab. */
  async function read(joins: boolean): Promise<Held | undefined> {
    const held = await stored(async (from) => JSON.parse((await from.getItem(name)) ?? 'null'))
    if (typeof held?.refresh !== 'string' || typeof held.user?.id !== 'string') return undefined
    learn({ kind: 'tokens', held, joins })
    return held
  }
  /** Does not overwrite another account's tokens, and learns later ones that it finds. */
  async function write(of: Held): Promise<void> {
    const kept = await read(false)
    if (kept && sessionOf(kept) !== sessionOf(of)) return
    // Somebody may have signed in or out during the read.
    const { held } = known
    if (held && !ofSame(of)) return
    await stored((to) => (held ? to.setItem(name, JSON.stringify(held)) : to.removeItem(name)))
  }

  function heldOf({ access_token: access, refresh_token, expires_in, user }: Tokens, askedAt: number): Held {
    const lifeMs = expires_in * 1000
    const expiresAt = askedAt + lifeMs
    return {
      access,
      refresh: refresh_token,
      user,
      expiresAt,
      renewAt: expiresAt - Math.min(AHEAD_MS, lifeMs / 4),
    }
  }

  /** Shares the later of the session's tokens and user with this tab, the others and the storage. */
  async function share(held: Held): Promise<void> {
    const before = known.held
    set(hear(known, { kind: 'tokens', held, joins: false }).known)
    const next = known.held!
    if (next === before) return
    tabs.say({ kind: 'tokens', held: next, joins: false })
    await write(next)
  }

  /** Takes the tokens of a sign-in or a new password. */
  async function take(tokens: Tokens, askedAt: number): Promise<void> {
    const held = heldOf(tokens, askedAt)
    isLookedUp = true
    set({ ...known, held, isJoining: false, isAwaited: false })
    tabs.say({ kind: 'tokens', held, joins: true })
    await stored((to) => to.setItem(name, JSON.stringify(held)))
    device = tokens.device_token ?? device
    if (device) await stored((to) => to.setItem(deviceKey, device!))
  }

  async function end(held: Held, counter = EVERY): Promise<void> {
    learn({ kind: 'ended', session: sessionOf(held)!, counter })
    await write(held)
  }

  /**
   * Catches up with other tabs, by the storage or their messages, including any sent while this tab slept.
   */
  async function catchUp(place?: ReturnType<typeof placeOf>): Promise<void> {
    await read(!place)
    if (known.held && !place) return
    tabs.say({ kind: 'asking', place })
    await tabs.listen()
  }

  /** One attempt. */
  async function refresh(refresh_token: string): Promise<Tokens | RosterError> {
    const body = JSON.stringify({ refresh_token })
    const headers = { 'content-type': 'application/json' }
    try {
      const answer = await ask(
        new Request(url + REFRESH, { method: 'POST', headers, body }),
        REFRESH_LIMIT_MS,
      )
      return answer.response.ok ? tokensIn(answer) : errorOf(answer.response, answer.body)
    } catch (error) {
      return error as RosterError
    }
  }

  async function renewOnce(held: Held, tries: number): Promise<void> {
    const place = placeOf(held.refresh)
    await catchUp(place)
    for (let tried = 1; holds(held); tried++) {
      const askedAt = Date.now()
      const said = await refresh(held.refresh)
      // Signed out meanwhile, or another tab was faster: this answer is ignored.
      if (!holds(held)) return
      if (!(said instanceof Error)) return share(heldOf(said, askedAt))
      const { code, status, retryAfterSeconds } = said
      if (status === 401 && OVER.includes(code)) {
        await catchUp(place)
        return holds(held) ? end(held, place.counter) : undefined
      }
      if (tried >= tries || (status > 0 && status < 500)) throw said
      const pauseMs = Math.min(retryAfterSeconds ? retryAfterSeconds * 1000 : PAUSE_MS, LONGEST_PAUSE_MS)
      await new Promise((resolve) => setTimeout(resolve, pauseMs))
    }
  }

  let renewing: { refresh: string; done: Promise<void> } | undefined
  /**
   * Gets a new access token, or finds that there is none any more. Throws RosterError if neither could be
   * determined.
   */
  function renew(held: Held): Promise<void> {
    const { refresh } = held
    if (renewing?.refresh === refresh) return renewing.done
    const place = placeOf(refresh)
    const run = async () => {
      if (!holds(held)) return
      tabs.say({ kind: 'refreshing', ...place })
      await renewOnce(held, TRIES).catch((error) => {
        tabs.say({ kind: 'gave_up', ...place })
        throw error
      })
    }
    const own = { refresh, done: tabs.alone(run) }
    renewing = own
    return own.done.finally(() => {
      if (renewing === own) renewing = undefined
    })
  }

  /** Another tab refreshes: if it dies or sleeps, this tab gets the answer itself, while it still can. */
  async function watch(): Promise<void> {
    let held: Held | undefined
    // The next refresh may begin while this one is waited for.
    while (known.isAwaited && known.held !== held) {
      held = known.held!
      const own = held
      await tabs.alone(async () => {
        if (holds(own) && known.isAwaited) await renewOnce(own, WATCH_TRIES)
      })
    }
  }
  let isWatching = false
  function startWatching(): void {
    if (isWatching) return
    isWatching = true
    watch()
      .catch(() => {})
      .finally(() => {
        isWatching = false
      })
  }

  async function lookUp(): Promise<void> {
    device ??= (await stored((from) => from.getItem(deviceKey))) ?? undefined
    known = { ...known, isJoining: true }
    await catchUp()
    known = { ...known, isJoining: false }
    if (isLookedUp) return
    isLookedUp = true
    changed(known.held?.user ?? null)
  }
  let looking: Promise<void> | undefined
  /** Who is signed in, according to storage or another tab. */
  const look = () => (looking ??= lookUp())

  /** Tokens that stay valid for a while; undefined if nobody is signed in. */
  async function fresh(): Promise<Held | undefined> {
    await look()
    const { held } = known
    if (!held || held.renewAt > Date.now()) return held
    try {
      await renew(held)
    } catch (error) {
      if (held.expiresAt <= Date.now()) throw error
    }
    return ofSame(held)
  }
  /**
   * The current tokens, if they are of the same session: otherwise somebody else has signed in, and the call
   * is dropped.
   */
  const ofSame = (held: Held) => (sessionOf(known.held) === sessionOf(held) ? known.held : undefined)

  function signed(request: Request, held: Held): Promise<Answer> {
    const headers = new Headers(request.headers)
    headers.set('authorization', `Bearer ${held.access}`)
    return ask(new Request(request, { headers }))
  }

  async function send(request: Request, held: Held | undefined): Promise<Answer> {
    if (!held) return ask(request)
    const spare = request.clone()
    const answer = await signed(request, held)
    if (answer.response.status !== 401 || answer.body?.code !== 'invalid_token') return answer
    // It ended early: a new password, another role, a changed clock.
    if (known.held?.access === held.access) await renew(held)
    const next = ofSame(held)
    return next && next.access !== held.access ? signed(spare, next) : answer
  }

  return {
    look,
    async call(request, path) {
      const held = ENTRY.test(path) ? undefined : await fresh()
      const askedAt = Date.now()
      const answer = await send(request, held)
      const tokens = tokensIn(answer)
      if (path.startsWith('/v1/auth/') && tokens.refresh_token) await take(tokens, askedAt)
      else if (path.endsWith('/reauthenticate') && tokens.access_token && held && holds(held)) {
        // Its user has just proved who they are. The refresh token stays.
        const { refresh, user } = known.held!
        known = { ...known, held: { ...heldOf(tokens, askedAt), refresh, user } }
      }
      // Whoever gets these tokens next, by storage or in another tab, also gets the current user.
      const own = path === ME && held && ofSame(held)
      if (own && answer.body?.id === own.user.id)
        await share({ ...own, user: answer.body as unknown as User })
      if (held && ends(path, answer)) await end(held)
      return answer
    },
    keeping: () => ({ device_token: device }),
    async signOut() {
      await look()
      const { held } = known
      if (!held) return
      await end(held)
      // Sent even while the page is being left.
      const { response, body } = await signed(
        new Request(url + LOGOUT, { method: 'POST', keepalive: true }),
        held,
      )
      if (!response.ok && !isOwn401(response, body)) throw errorOf(response, body)
    },
    accessToken: async () => (await fresh())?.access,
    close: tabs.close,
  }
}

const tokensIn = ({ response, body }: Answer) => ((response.ok && body) || {}) as unknown as Tokens
