import type { Context } from 'hono'
import { decryptText, encryptText } from '../crypto/encryption.ts'
import { RECENT_LOGIN_SECONDS } from '../http/problem.ts'
import type { PageEnv } from './session.ts'

/** As long as a login counts as a recent one. */
const LIFETIME_MS = RECENT_LOGIN_SECONDS * 1000
/** It stands in an address on its way back. What is longer is typed again. */
const MOST_BYTES = 1500

/** What it is good for: this page, in this session. */
const aboutOf = (c: Context<PageEnv>, path: string) => `carried.${c.var.actor.sid}.${path}`

/**
 * Seals what was typed into the form of a page, for the way over /signin/again. It fills the form again and never sends
 * it; passwords are not among it. Undefined where it is too much.
 */
export async function carry(
  c: Context<PageEnv>,
  page: string,
  values: Record<string, string>,
): Promise<string | undefined> {
  const plain = Buffer.from(JSON.stringify({ at: c.var.now, values }))
  if (plain.byteLength > MOST_BYTES) return undefined
  return encryptText(c.var.config.keys.carried_form, plain, aboutOf(c, page))
}

/** What was typed into the form of this page before it was confirmed who one is. */
export async function carriedHere(c: Context<PageEnv>): Promise<{ values?: Record<string, string> }> {
  const path = new URL(c.req.url).pathname
  const plain = await decryptText(
    c.var.config.keys.carried_form,
    c.req.query('carried') ?? '',
    aboutOf(c, path),
  )
  if (!plain) return {}
  const { at, values } = JSON.parse(Buffer.from(plain).toString()) as {
    at: number
    values: Record<string, string>
  }
  return c.var.now - at < LIFETIME_MS ? { values } : {}
}
