import createApi, { type Client } from 'openapi-fetch'
import type { components, paths } from './api.d.ts'
import { keepByCookie } from './cookie.ts'
import { ask, type Fetch } from './http.ts'
import { type Keeper, type KeeperOptions, ME } from './keeper.ts'
import { type Asking, askPasskey, makePasskey } from './passkeys.ts'
import { dataOf, errorOf, type Problem, problemOf } from './problems.ts'
import type { User } from './protocol.ts'

export type { components, operations, paths } from './api.d.ts'
export { hasPasskeys } from './passkeys.ts'
export { type ClientCode, dataOf, type Problem, type ProblemCode, RosterError } from './problems.ts'
export type { Keeper, KeeperOptions, User }

type Schemas = components['schemas']

export interface ClientOptions {
  /** Where Roster is: its ISSUER. */
  url: string
  /**
   * What keeps the session: the cookie of the browser by default, so that no script has a token. The page's origin has to be
   * in COOKIE_ORIGINS. Elsewhere give it `tokens()` of `@roster/client/tokens`.
   */
  keep?: (options: KeeperOptions) => Keeper
  /** Whether other pages of this origin have the same user: by default in a page. Never where one process serves many. */
  tabs?: boolean
  /** Another `fetch`, as of a service binding. */
  fetch?: Fetch
  /** How long an answer is waited for: 30 seconds. */
  timeoutSeconds?: number
}

export interface Keeping {
  /** False: the cookie ends with the browser, and after twelve hours. */
  remember?: boolean
}

/** Somebody is in, or a second factor is due. */
export type SignInStep = { user: User; factor?: never } | { user?: never; factor: SecondFactor }

/** What a right password of somebody with a second factor leads to. Throws RosterError where the factor is wrong. */
export interface SecondFactor {
  methods: readonly ('totp' | 'recovery_code' | 'passkey')[]
  expiresInSeconds: number
  code(code: string): Promise<User>
  recoveryCode(code: string): Promise<User>
  passkey(asking?: Asking): Promise<User>
}

export interface Events {
  /** Who is signed in, or anything about them, is another. */
  user: User | null
  signed_in: User
  /** Who was. */
  signed_out: User
}

/** A challenge is good for five minutes. */
const RENEW_CHALLENGE_MS = 240_000
/** What createClient gives. An interface, so that declarations name it. */
export interface RosterClient extends ReturnType<typeof createClient> {}

export function createClient(options: ClientOptions) {
  const isPage = typeof document !== 'undefined'
  const { keep = keepByCookie, tabs: hasTabs = isPage, timeoutSeconds = 30 } = options
  const url = new URL(options.url).href.replace(/\/+$/, '')
  const fetch: Fetch = options.fetch ?? ((request) => globalThis.fetch(request))
  let signupToken: string | undefined

  let user: User | null | undefined
  const listeners = new Set<{ event: keyof Events; listener: (value: never) => void }>()
  function tell(of: keyof Events, value: User | null) {
    for (const { event, listener } of listeners) {
      // What a listener throws is its own, and stops nobody.
      if (event === of) queueMicrotask(() => listener(value as never))
    }
  }
  function changed(next: User | null) {
    const before = user
    if (before !== undefined && JSON.stringify(before) === JSON.stringify(next)) return
    user = next
    if (before && before.id !== next?.id) tell('signed_out', before)
    if (next && before?.id !== next.id) tell('signed_in', next)
    tell('user', next)
  }

  const keeper = keep({
    url,
    hasTabs,
    async ask(request, limitMs = timeoutSeconds * 1000) {
      // Not sooner: a page that is rendered on a server makes a client there, too, which asks nothing.
      if (!isPage && keep === keepByCookie)
        throw new TypeError('Here is no browser to keep a cookie. Give createClient { keep: tokens() }.')
      return ask(fetch, request, limitMs)
    },
    user: () => user,
    changed,
  })

  async function call(request: Request): Promise<Response> {
    const [path = ''] = request.url.slice(url.length).split('?')
    const { response, body } = await keeper.call(request, path)
    if (path === ME && response.ok && body?.id) {
      const me = body as unknown as User
      if (me.id !== user?.id) keeper.look().catch(() => {})
      else if (me.version > user.version) changed(me)
    }
    return response
  }
  const api: Client<paths> = createApi<paths>({ baseUrl: url, fetch: call })

  const in_ = async (asked: Parameters<typeof dataOf<{ user: User }>>[0]) => (await dataOf(asked)).user

  function factorOf(problem: Problem, kept: Keeping): SecondFactor {
    const { challenge, methods, expires_in } = problem as unknown as Due
    const answer = (proof: object) =>
      in_(
        api.POST('/v1/auth/login/second_factor', {
          body: { challenge, ...proof, ...keeper.keeping(kept.remember) } as Schemas['SecondFactor'],
        }),
      )
    return {
      methods,
      expiresInSeconds: expires_in,
      code: (code) => answer({ code: code.replace(/\s/g, '') }),
      recoveryCode: (recovery_code) => answer({ recovery_code }),
      async passkey(asking) {
        const { options } = await dataOf(
          api.POST('/v1/auth/login/second_factor/options', { body: { challenge } }),
        )
        return answer({ passkey: await askPasskey(options, asking) })
      },
    }
  }

  /** Ways in lead to their user or a second factor. */
  async function step(
    asked: ReturnType<typeof api.POST<'/v1/auth/login', { body: Schemas['LogIn'] }>>,
    kept: Keeping,
  ): Promise<SignInStep> {
    const { data, error, response } = await asked
    if (data) return { user: data.user }
    const problem = problemOf(response, error)
    if (problem.code === 'second_factor_required') return { factor: factorOf(problem, kept) }
    throw errorOf(response, error)
  }

  return {
    /** Every route of Roster, typed. `error` is a problem; where no answer came, it rejects with RosterError. */
    api,

    /** Who is signed in: null for nobody, undefined as long as that is not known. */
    get user() {
      return user
    },
    /** Finds out who is signed in. Throws RosterError where nobody can say. */
    async load(): Promise<User | null> {
      await keeper.look()
      return user ?? null
    },
    /** @returns what ends it. */
    on<Name extends keyof Events>(event: Name, listener: (value: Events[Name]) => void): () => void {
      const entry = { event, listener }
      listeners.add(entry)
      return () => void listeners.delete(entry)
    },

    /** Throws RosterError: `invalid_credentials`, `email_not_verified`, `account_disabled`, `too_many_attempts`, … */
    signIn({ email, password, ...kept }: { email: string; password: string } & Keeping): Promise<SignInStep> {
      const signup = signupToken && { signup_token: signupToken }
      return step(
        api.POST('/v1/auth/login', {
          body: { email, password, ...signup, ...keeper.keeping(kept.remember) },
        }),
        kept,
      )
    },
    /** With `mediation: 'conditional'` it waits until somebody takes a passkey of the autofill, or `signal` ends it. */
    async signInWithPasskey({ remember, ...asking }: Keeping & Asking = {}): Promise<User> {
      const kept: Keeping = remember === undefined ? {} : { remember }
      for (;;) {
        const { challenge_id, options } = await dataOf(api.POST('/v1/auth/login/passkey/options'))
        const renewal = asking.mediation === 'conditional' && AbortSignal.timeout(RENEW_CHALLENGE_MS)
        const signals = [asking.signal, renewal].filter((one) => one instanceof AbortSignal)
        try {
          const signal = AbortSignal.any(signals)
          const credential = await askPasskey(options, { ...asking, signal })
          return await in_(
            api.POST('/v1/auth/login/passkey', {
              body: { challenge_id, credential, ...keeper.keeping(kept.remember) },
            }),
          )
        } catch (error) {
          // The challenge is over, and nobody has taken a passkey yet.
          const isRenewed = renewal instanceof AbortSignal && renewal.aborted && !asking.signal?.aborted
          if (!isRenewed) throw error
        }
      }
    },
    /** Signs nobody in yet. `status: 'accepted'` where the address has to be confirmed first. */
    async signUp(input: Schemas['SignUp']): Promise<Schemas['SignedUp'] | Schemas['SignupAccepted']> {
      const made = await dataOf(api.POST('/v1/auth/signup', { body: input }))
      signupToken = made.signup_token
      return made
    },
    /** Makes a passkey and adds it. Throws `reauthentication_required` where the login is older than ten minutes. */
    async addPasskey(input: Omit<Schemas['RegisterPasskey'], 'challenge_id' | 'credential'> = {}) {
      const { challenge_id, options } = await dataOf(api.POST('/v1/auth/passkeys/options'))
      const body = { ...input, challenge_id, credential: await makePasskey(options) }
      return dataOf(api.POST('/v1/auth/passkeys', { body }))
    },
    /** Proves again who somebody is, by what is given or, without it, by a passkey: for what needs a recent login. */
    async reauthenticate(proof?: Schemas['Reauthenticate']): Promise<void> {
      let body = proof
      if (!body) {
        const { challenge_id, options } = await dataOf(api.POST('/v1/auth/reauthenticate/options'))
        body = { challenge_id, credential: await askPasskey(options) }
      }
      await dataOf(api.POST('/v1/auth/reauthenticate', { body }))
    },

    /**
     * Signs out, in all tabs. With tokens they are forgotten at once, also where Roster cannot be told; a cookie only
     * Roster can take away. Throws RosterError where it could not be told.
     */
    signOut: keeper.signOut,
    /** For your own API, which verifies it: undefined for nobody, and where a cookie keeps the session. */
    accessToken: keeper.accessToken,
    /** Ends what listens to other tabs. */
    close: keeper.close,
  }
}

interface Due {
  challenge: string
  methods: SecondFactor['methods']
  expires_in: number
}
