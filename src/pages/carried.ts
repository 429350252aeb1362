import type { Context } from 'hono'
import { decryptJson, encryptJson } from '../crypto/encryption.ts'
import { RECENT_LOGIN_SECONDS } from '../http/problem.ts'
import type { PageEnv } from './session.ts'

/** As long as a login counts as a recent one. */
const LIFETIME_MS = RECENT_LOGIN_SECONDS * 1000
/** It stands in an address on its way back. What is longer is typed again. */
const MOST_BYTES = 4500

interface Carried {
  at: number
  values: Record<string, string>
}

/** What it is good for: this page, in this session. */
const aboutOf = (c: Context<PageEnv>, path: string) => `carried.${c.var.actor.sid}.${path}`

/**
 * Seals what was typed into the form of a page, for the way over /signin/again, or what no log is to have of an answer's
 * address. It fills the form again and never sends it; passwords are not among it. Undefined where it is too much.
 */
export async function carry(
  c: Context<PageEnv>,
  page: string,
  values: Record<string, string>,
): Promise<string | undefined> {
  const carried: Carried = { at: c.var.now, values }
  if (Buffer.byteLength(JSON.stringify(carried)) > MOST_BYTES) return undefined
  return encryptJson(c.var.config.keys.carried_form, carried, aboutOf(c, page))
}

/** What was sealed for this page, in this session, a while ago at most. */
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
