import type { Context } from 'hono'
import { deleteCookie, getCookie, setCookie } from 'hono/cookie'
import { METHODS, type Method } from '../factors/state.ts'
import type { AppError } from '../http/problem.ts'
import { HOUR_MS } from '../values/durations.ts'
import { type Continuation, paramsOf, readContinuation } from './targets.ts'

/**
 * After a correct password, while the second factor is asked for: the challenge, and where to continue. It
 * grants nothing by itself.
 */
const COOKIE = '__Host-roster-factor'
const ATTRIBUTES = { path: '/', secure: true, httpOnly: true, sameSite: 'Lax' } as const
/** How long the page of first recovery codes can be reloaded. */
const FIRST_CODES_SECONDS = HOUR_MS / 1000

export interface FactorDue extends Entering {
  challenge: string
  methods: Method[]
}

/** Who is signing in, for how long, and where they continue. */
export interface Entering extends Continuation {
  email: string
  stays: boolean
}

/** Turns a 403 `second_factor_required` into the page that asks for the factor. */
export function askForFactor(c: Context, { members = {} }: AppError, { email, stays, ...on }: Entering) {
  const { challenge, methods, expires_in } = members as {
    challenge: string
    methods: Method[]
    expires_in: number
  }
  const due = { challenge, methods: methods.join(' '), email: email.slice(0, 320), stays: stays ? 'yes' : '' }
  const value = new URLSearchParams({ ...due, ...paramsOf(on) })
  setCookie(c, COOKIE, value.toString(), { ...ATTRIBUTES, maxAge: expires_in })
  return c.redirect('/signin/factor', 303)
}

export function readFactorDue(c: Context): FactorDue | undefined {
  const fields = new URLSearchParams(getCookie(c, COOKIE) ?? '')
  const challenge = fields.get('challenge')
  if (!challenge) return undefined
  const named = (fields.get('methods') ?? '').split(' ')
  return {
    challenge,
    methods: METHODS.filter((method) => named.includes(method)),
    email: fields.get('email') ?? '',
    stays: fields.get('stays') === 'yes',
    ...readContinuation(Object.fromEntries(fields)),
  }
}

/**
 * Reloading the page of first codes sends its form again, and by then its user is signed in. This notes where
 * they continue.
 */
export function noteFirstCodes(c: Context, on: Continuation): void {
  const value = new URLSearchParams({ codes: 'shown', ...paramsOf(on) })
  setCookie(c, COOKIE, value.toString(), { ...ATTRIBUTES, maxAge: FIRST_CODES_SECONDS })
}

/** Where they continue; undefined if no first codes were shown. */
export function afterFirstCodes(c: Context): Continuation | undefined {
  const fields = Object.fromEntries(new URLSearchParams(getCookie(c, COOKIE) ?? ''))
  return fields.codes === 'shown' ? readContinuation(fields) : undefined
}

export const clearFactorDue = (c: Context) => deleteCookie(c, COOKIE, ATTRIBUTES)
