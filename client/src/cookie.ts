import { ENTRY, ends, type Keeper, type KeeperOptions, LOGOUT, ME } from './keeper.ts'
import { errorOf, failure, isOwn401, RosterError } from './problems.ts'
import type { User } from './protocol.ts'
import { openTabs } from './tabs.ts'

/** Other requests wait for this look-up, so its time limit is short. */
const LOOK_LIMIT_MS = 8000

/** The browser keeps the cookie, for all its tabs and for Roster's own pages: who is signed in can only be asked. */
export function keepByCookie({ url, hasTabs, ask, user, changed }: KeeperOptions): Keeper {
  const withCookie = (request: Request, limitMs?: number) =>
    ask(new Request(request, { credentials: 'include' }), limitMs)

  async function askWho(): Promise<User | null> {
    // A cached answer from before a sign-out in another tab would be believed.
    const request = new Request(url + ME, { headers: { 'cache-control': 'no-cache' } })
    const { response, body } = await withCookie(request, LOOK_LIMIT_MS)
    if (isOwn401(response, body)) return null
    if (!response.ok) throw errorOf(response, body)
    return body as unknown as User
  }
  /** The latest look-up: an answer is ignored if a sign-in or a later look-up has overtaken it. */
  let latest: Promise<unknown> | undefined
  let asked = 0
  let heard = 0
  function look(): Promise<unknown> {
    const at = ++asked
    const own: Promise<unknown> = askWho().then((who) => {
      if (latest && latest !== own) return latest
      if (at < heard) return
      heard = at
      changed(who)
    })
    latest = own
    return own.finally(() => {
      if (latest === own) latest = undefined
    })
  }
  /** The cookie may belong to somebody else by now. What one user began must not be done as another. */
  async function assertSame(): Promise<void> {
    const before = user()
    while (latest) await latest.catch(() => {})
    const now = user()
    if (before && now && before.id !== now.id)
      throw new RosterError(failure('user_changed', 'Somebody else has signed in.'))
  }
  const lookAgain = () => void look().catch(() => {})

  const tabs = openTabs(hasTabs, `roster cookie ${url}`, lookAgain)
  function took(who: User | null): void {
    latest = undefined
    heard = ++asked
    changed(who)
    tabs.say({ kind: 'changed' })
  }
  /** Users may have signed in or out on Roster's own pages meanwhile, which notify nobody. */
  const seen = () => document.visibilityState === 'visible' && lookAgain()
  /** From a window beside this one, which did not hide it. */
  const focused = () => latest || lookAgain()
  if (hasTabs) {
    globalThis.document?.addEventListener('visibilitychange', seen)
    globalThis.addEventListener?.('focus', focused)
  }

  return {
    look,
    async call(request, path) {
      if (!ENTRY.test(path)) await assertSame()
      const answer = await withCookie(request)
      const { response, body } = answer
      if (response.ok && ENTRY.test(path) && body?.user) took(body.user as User)
      if (ends(path, answer)) took(null)
      if (response.status === 401 && !ENTRY.test(path) && user()) lookAgain()
      return answer
    },
    keeping: (remember) => ({ cookie: true, remember }),
    async signOut() {
      const { response, body } = await withCookie(new Request(url + LOGOUT, { method: 'POST' }))
      if (!response.ok && !isOwn401(response, body)) throw errorOf(response, body)
      took(null)
    },
    accessToken: async () => undefined,
    close() {
      tabs.close()
      globalThis.document?.removeEventListener('visibilitychange', seen)
      globalThis.removeEventListener?.('focus', focused)
    },
  }
}
