import { createHash } from 'node:crypto'
import type { Config } from '../config/main.ts'
import type { Resources } from '../context.ts'
import { callOut } from '../http/outbound.ts'
import { Refusal } from '../http/problem.ts'
import { normalizeEmail } from '../values/email.ts'
import { challengeFailed, challengeUnavailable } from './errors.ts'

/** The action that the widget on the page is rendered with: a token for another action is refused. */
export const CHALLENGE_ACTION = 'signup'

/** https://developers.cloudflare.com/turnstile/get-started/server-side-validation/ */
interface Verdict {
  success?: unknown
  hostname?: unknown
  action?: unknown
}

/**
 * Asks Turnstile about the token of somebody who signs up, where the deployment uses it. A token is valid
 * once; sent again for the same address it is the same request, whose answer may have been lost.
 *
 * @throws 403 `challenge_failed`; 503 `challenge_unavailable` where there is no answer in time.
 */
export async function assertHuman(
  { config }: Pick<Resources, 'config'>,
  { email, challenge_token = '' }: { email: string; challenge_token?: string | undefined },
): Promise<void> {
  const { TURNSTILE_SECRET, TURNSTILE_URL } = config
  if (TURNSTILE_SECRET === undefined) return
  if (challenge_token === '') throw challengeFailed(new Refusal('absent'))
  const verdict = await ask(new URL('/turnstile/v0/siteverify', TURNSTILE_URL), {
    secret: TURNSTILE_SECRET,
    response: challenge_token,
    idempotency_key: uuidOf(`${challenge_token} ${normalizeEmail(email)}`),
  })
  if (verdict.success !== true) throw challengeFailed(new Refusal('unknown'))
  // A challenge that was solved elsewhere, or for something else, says nothing about a sign-up here.
  const isForHere = hostsOf(config).includes(String(verdict.hostname)) && verdict.action === CHALLENGE_ACTION
  if (!isForHere) throw challengeFailed(new Refusal('audience'))
}

async function ask(url: URL, members: object): Promise<Verdict> {
  try {
    const { status, text } = await callOut('bot_challenge', url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(members),
    })
    const verdict: Verdict | null = JSON.parse(text)
    // A refused token is answered with 200 or 400: both carry a verdict.
    if (status >= 500 || verdict?.success === undefined) throw new Error('no verdict')
    return verdict
  } catch (cause) {
    throw challengeUnavailable(cause)
  }
}

/** Our own pages, and those of apps whose origins are named. */
const hostsOf = ({ ISSUER, LINK_ORIGIN, CORS_ORIGINS, COOKIE_ORIGINS }: Config) =>
  [ISSUER, LINK_ORIGIN ?? ISSUER, ...CORS_ORIGINS, ...COOKIE_ORIGINS].map(
    (origin) => new URL(origin).hostname,
  )

/** A UUID derived from the text. */
function uuidOf(text: string): string {
  const digest = createHash('sha256').update(text).digest('hex')
  return digest.slice(0, 32).replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')
}
