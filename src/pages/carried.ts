import type { Context } from 'hono'
import { decryptJson, encryptJson } from '../crypto/encryption.ts'
import { RECENT_LOGIN_SECONDS } from '../http/problem.ts'
import type { PageEnv } from './session.ts'

/** As long as a login counts as a recent one. */
const LIFETIME_MS = RECENT_LOGIN_SECONDS * 1000
/** The sealed values travel in a URL. Longer ones have to be typed again. */
const MAX_BYTES = 4500

interface Carried {
  at: number
  values: Record<string, string>
}

/** Binds the sealed values to this page and this session. */
const aboutOf = (c: Context<PageEnv>, path: string) => `carried.${c.var.actor.sid}.${path}`

/**
 * Seals the input of a form while its user confirms who they are at /signin/again, or text of an answer's URL
 * that must not be logged. It only refills the form, and never submits it. Passwords are left out. Undefined
 * if it is too long.
 */
export async function carry(
  c: Context<PageEnv>,
  page: string,
  values: Record<string, string>,
): Promise<string | undefined> {
  const carried: Carried = { at: c.var.now, values }
  if (Buffer.byteLength(JSON.stringify(carried)) > MAX_BYTES) return undefined
  return encryptJson(c.var.config.keys.carried_form, carried, aboutOf(c, page))
}

/** Recently sealed values for this page and session. */
export async function carriedHere(c: Context<PageEnv>): Promise<{ values?: Record<string, string> }> {
  const path = new URL(c.req.url).pathname
  const { config, now } = c.var
  const carried = await decryptJson<Carried>(
    config.keys.carried_form,
    c.req.query('carried') ?? '',
    aboutOf(c, path),
  )
  return carried && now - carried.at < LIFETIME_MS ? { values: carried.values } : {}
}
