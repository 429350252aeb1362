import type { Context } from 'hono'
import { deleteCookie, getCookie, setCookie } from 'hono/cookie'
import {
  ATTEMPT_MS,
  type Attempt,
  isInTime,
  isStateOf,
  openValue,
  sealValue,
} from '../../identities/attempts.ts'
import type { Profile } from '../../identities/profiles.ts'
import type { PageEnv } from '../../pages/session.ts'
import { MINUTE_MS } from '../../values/durations.ts'
import type { Continuation } from '../targets.ts'

const ATTRIBUTES = { path: '/', secure: true, httpOnly: true, sameSite: 'Lax' } as const

/** An attempt in progress: somebody is on their way to a provider. */
const ATTEMPT = '__Host-roster-with'
/** Somebody is back, and something remains to be done: type a name, or sign in to an account. */
const PENDING = '__Host-roster-joining'
const PENDING_MS = 30 * MINUTE_MS

export interface Pending extends Continuation {
  /** A UUIDv7, which carries its time; also the id of the account that may be created. */
  id: string
  provider: string
  profile: Profile
  stays: boolean
}

async function put(c: Context<PageEnv>, name: string, value: object, lifetimeMs: number) {
  const sealed = await sealValue(c.var.config, name, value)
  setCookie(c, name, sealed, { ...ATTRIBUTES, maxAge: lifetimeMs / 1000 })
}

async function get<T extends { id: string }>(c: Context<PageEnv>, name: string, lifetimeMs: number) {
  const value = await openValue<T>(c.var.config, name, getCookie(c, name))
  return value && isInTime(value.id, c.var.now, lifetimeMs) ? value : undefined
}

export const rememberAttempt = (c: Context<PageEnv>, attempt: Attempt) => put(c, ATTEMPT, attempt, ATTEMPT_MS)

/**
 * The attempt that an answer with this state belongs to; the browser's copy is deleted. An answer to another
 * attempt, as from an earlier tab, leaves it to the tab that it is of.
 */
export async function takeAttempt(
  c: Context<PageEnv>,
  provider: string,
  state: string | null,
): Promise<Attempt | undefined> {
  const attempt = await get<Attempt>(c, ATTEMPT, ATTEMPT_MS)
  if (attempt?.provider !== provider || !isStateOf(c.var, attempt, state)) return undefined
  deleteCookie(c, ATTEMPT, ATTRIBUTES)
  return attempt
}

export const rememberPending = (c: Context<PageEnv>, pending: Pending) => put(c, PENDING, pending, PENDING_MS)
export const pendingOf = (c: Context<PageEnv>) => get<Pending>(c, PENDING, PENDING_MS)
export const forgetPending = (c: Context<PageEnv>) => deleteCookie(c, PENDING, ATTRIBUTES)
