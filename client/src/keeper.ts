import type { Answer, Ask } from './http.ts'
import type { User } from './protocol.ts'

/** How a session is kept: by a cookie, or by tokens. */
export interface Keeper {
  /** Finds out who is signed in. */
  look(): Promise<unknown>
  /** Sends a request as the signed-in user, and notes what the answer says about the session. */
  call(request: Request, path: string): Promise<Answer>
  /** Input of a sign-in that says how the session is kept. */
  keeping(remember: boolean | undefined): object
  signOut(): Promise<void>
  accessToken(): Promise<string | undefined>
  close(): void
}

export interface KeeperOptions {
  url: string
  hasTabs: boolean
  ask: Ask
  user(): User | null | undefined
  changed(user: User | null): void
}

/** Sign-in routes, whose 401 says nothing about a session. */
export const ENTRY = /^\/v1\/auth\/(login|signup|refresh_token)\b/
export const LOGOUT = '/v1/auth/logout'
export const ME = '/v1/users/me'

/** After these, nobody is signed in here any more. */
export const ends = (path: string, { response }: Answer) => response.ok && path.startsWith(LOGOUT)
