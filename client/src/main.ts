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
  /**
   * Whether to share the user with other tabs of this origin: on by default in a page. Never where one
   * process serves many users.
   */
  tabs?: boolean
  /** A replacement for `fetch`, such as a service binding's. */
  fetch?: Fetch
  /** How long to wait for an answer: 30 seconds by default. */
  timeoutSeconds?: number
}

export interface Keeping {
  /** False: the cookie ends with the browser, and after twelve hours. */
  remember?: boolean
}

/** Somebody is signed in, or a second factor is due. */
export type SignInStep = { user: User; factor?: never } | { user?: never; factor: SecondFactor }

/**
 * What a correct password leads to if the user has a second factor. Throws RosterError if the factor is
 * wrong.
 */
export interface SecondFactor {
  methods: readonly ('totp' | 'recovery_code' | 'passkey')[]
  expiresInSeconds: number
  code(code: string): Promise<User>
  recoveryCode(code: string): Promise<User>
  passkey(asking?: Asking): Promise<User>
}

export interface Events {
  /** Another user is signed in, or nobody, or the user's data has changed. */
  user: User | null
  signed_in: User
  /** The user who was signed in. */
  signed_out: User
}

/** A challenge is valid for five minutes. */
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
      // An error thrown by a listener does not stop the others.
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
      // Not before there is a page: rendering on a server also creates a client, which must send nothing.
      if (!isPage && keep === keepByCookie)
        throw new TypeError(
          'There is no browser here to keep a cookie. Give createClient { keep: tokens() }.',
        )
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

  /** A sign-in leads to its user, or to a second factor. */
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
    /** Every route of Roster, typed. `error` is a problem; without an answer it rejects with RosterError. */
    api,

    /** Who is signed in: null for nobody, undefined as long as that is not known. */
    get user() {
      return user
    },
    /** Finds out who is signed in. Throws RosterError if that cannot be determined. */
    async load(): Promise<User | null> {
      await keeper.look()
      return user ?? null
    },
    /** @returns a function that removes the listener. */
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
    /**
     * With `mediation: 'conditional'` it waits until somebody picks a passkey from the autofill, or `signal`
     * aborts it.
     */
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
          // The challenge has expired, and nobody has picked a passkey yet.
          const isRenewed = renewal instanceof AbortSignal && renewal.aborted && !asking.signal?.aborted
          if (!isRenewed) throw error
        }
      }
    },
    /** Signs nobody in yet. `status: 'accepted'` if the address has to be confirmed first. */
    async signUp(input: Schemas['SignUp']): Promise<Schemas['SignedUp'] | Schemas['SignupAccepted']> {
      const made = await dataOf(api.POST('/v1/auth/signup', { body: input }))
      signupToken = made.signup_token
      return made
    },
    /**
     * Creates a passkey and adds it. Throws `reauthentication_required` if the login is older than ten
     * minutes.
     */
    async addPasskey(input: Omit<Schemas['RegisterPasskey'], 'challenge_id' | 'credential'> = {}) {
      const { challenge_id, options } = await dataOf(api.POST('/v1/auth/passkeys/options'))
      const body = { ...input, challenge_id, credential: await makePasskey(options) }
      return dataOf(api.POST('/v1/auth/passkeys', { body }))
    },
    /**
     * Proves again who somebody is, by `proof` or else by a passkey, before actions that need a recent login.
     */
    async reauthenticate(proof?: Schemas['Reauthenticate']): Promise<void> {
      let body = proof
      if (!body) {
        const { challenge_id, options } = await dataOf(api.POST('/v1/auth/reauthenticate/options'))
        body = { challenge_id, credential: await askPasskey(options) }
      }
      await dataOf(api.POST('/v1/auth/reauthenticate', { body }))
    },

    /**
     * Signs out in all tabs. Tokens are dropped at once, even if Roster cannot be reached; only Roster can
     * delete a cookie. Throws RosterError if it could not be reached.
     */
    signOut: keeper.signOut,
    /**
     * For your own API, which verifies it. Undefined if nobody is signed in, or if a cookie keeps the
     * session.
     */
    accessToken: keeper.accessToken,
    /** Stops listening to other tabs. */
    close: keeper.close,
  }
}

interface Due {
  challenge: string
  methods: SecondFactor['methods']
  expires_in: number
}
