import type { Context } from 'hono'
import { deleteCookie, getCookie, setCookie } from 'hono/cookie'
import { METHODS, type Method } from '../factors/state.ts'
import type { AppError } from '../http/problem.ts'
import { placeOfOurs } from '../pages/session.ts'

/** A right password waits for the second factor: the challenge, and where to go on. It opens nothing by itself. */
const COOKIE = '__Host-roster-factor'
const ATTRIBUTES = { path: '/', secure: true, httpOnly: true, sameSite: 'Lax' } as const

export interface FactorDue {
  challenge: string
  methods: Method[]
  email: string
  stays: boolean
  to: string | undefined
  /** Sealed, as the form before had it. */
  target: string | undefined
}

/** Leads on from 403 `second_factor_required` to the page for it. */
export function askForFactor(
  c: Context,
  { members = {} }: AppError,
  { email, stays, to, target }: Pick<FactorDue, 'email' | 'stays' | 'to' | 'target'>,
) {
  const { challenge, methods, expires_in } = members as {
    challenge: string
    methods: Method[]
    expires_in: number
  }
  const due = { challenge, methods: methods.join(' '), email: email.slice(0, 320), stays: stays ? 'yes' : '' }
  const value = new URLSearchParams({ ...due, ...(to && { to }), ...(target && { target }) })
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
    to: placeOfOurs(fields.get('to') ?? undefined),
    target: fields.get('target') ?? undefined,
  }
}

export const clearFactorDue = (c: Context) => deleteCookie(c, COOKIE, ATTRIBUTES)
