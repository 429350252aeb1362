import { and, eq, type SQL, sql } from 'drizzle-orm'
import type { IdentityProvider } from '../../config/providers.ts'
import type { Resources } from '../../context.ts'
import { type FactorState, NO_FACTORS } from '../../factors/state.ts'
import { notFound, Refusal } from '../../http/problem.ts'
import { invalidLink } from '../../links/errors.ts'
import { oneTimeTokens } from '../../links/models.ts'
import { linkIsLive, requireToken, voidTokens } from '../../links/service.ts'
import { mailLink } from '../../recovery/mail-link.ts'
import { isMakerOf } from '../../recovery/verify.ts'
import { assertHuman } from '../../throttle/bot-challenge.ts'
import { byToken } from '../../users/change.ts'
import type { User } from '../../users/models.ts'
import { arriving, assertActive } from '../arrival.ts'
import { nameNeeded } from '../errors.ts'
import type { Proven } from '../start-session.ts'
import { isThere, selectHolder } from './holder.ts'
import { join, mayJoin, takeOver } from './join.ts'
import type { AskForCode, CodeRequested, EmailCodeLogIn } from './schemas.ts'

/** Throws 404 where signing in by code is off. */
function assertIsOn({ config }: Pick<Resources, 'config'>, by?: IdentityProvider): void {
  if (config.EMAIL_CODE_SIGNIN !== 'on' && !by) throw notFound()
}

/**
 * Mails a code that signs in to somebody who has an account or may make one; the answer does not reveal
 * which. Where sign-up needs a bot challenge, an address without an account is mailed only after the
 * challenge.
 *
 * @param by a provider that gave the address without proving it: the code proves it.
 * @throws 404 where the deployment has it off; 429 `too_many_attempts` for a network that asks too often; 403
 *   `challenge_failed` for an invalid token, whether or not the address has an account.
 */
export async function requestEmailCode(
  resources: Resources,
  { challenge_token, ...input }: AskForCode,
  by?: IdentityProvider,
): Promise<CodeRequested> {
  assertIsOn(resources, by)
  const { config } = resources
  const isShown = challenge_token !== undefined && by === undefined
  if (isShown) await assertHuman(resources, { email: input.email, challenge_token })
  const isHuman = isShown || by !== undefined || config.TURNSTILE_SECRET === undefined
  const { status, request_token } = await mailLink(resources, input, {
    kind: 'sign_in_code',
    reachesDisabled: true,
    mayJoin: isHuman && by?.signup !== 'deny' && mayJoin(resources, input.email),
  })
  return { status, login_token: request_token }
}

/**
 * Signs in by a mailed code: one factor, which confirms the address. An account whose address was never
 * verified becomes the reader's, and everything else that opens it is void, unless they show that they made
 * it. If there is no account, one is made.
 *
 * @throws 400 `invalid_link`, whatever was wrong. Only after the right code: 422 `name_needed`, 403
 *   `account_disabled`, and what `join` throws.
 */
export async function proveEmailCode(
  resources: Resources,
  input: EmailCodeLogIn,
  by?: IdentityProvider,
): Promise<Proven> {
  assertIsOn(resources, by)
  const { config, now } = resources
  const proof = { code: input.code, request_token: input.login_token }
  const { token, subject } = await requireToken(resources, 'sign_in', proof, (id) => selectHolder(config, id))
  const spend = (isDone: SQL) => [voidTokens(now, ['sign_in'], and(eq(oneTimeTokens.id, token.id), isDone))]
  const refused = () => invalidLink(new Refusal('meanwhile'))
  const isGood = linkIsLive(token.id)

  if (!isThere(subject)) {
    const { name, terms_version, challenge_token } = input
    if (name === undefined) throw nameNeeded()
    const joining = { userId: token.subject_id, email: token.email, name, terms_version, challenge_token }
    const user = await join(resources, joining, { isGood, spend, refused, isChallenged: !by })
    return provenBy(resources, input, user, NO_FACTORS)
  }
  if (subject.deleted_at !== null) throw invalidLink(new Refusal('inactive'))
  if (subject.email_normalized !== token.email_normalized) throw invalidLink(new Refusal('other_address'))
  assertActive(resources, subject)
  if (subject.email_verified_at === null) {
    const isMaker = !subject.password_is_given && isMakerOf(resources, subject, input.signup_token)
    const user = await takeOver(resources, byToken(token, now), subject, { isMaker })
    return provenBy(resources, input, user, isMaker ? subject : NO_FACTORS)
  }
  return {
    ...provenBy(resources, input, subject, subject),
    // The code is used up even if a second factor is still needed.
    takeBack: spend(sql`1`),
    used: [{ isGood, spend }],
    refused,
  }
}

function provenBy(
  resources: Resources,
  { device_token }: Pick<EmailCodeLogIn, 'device_token'>,
  user: User,
  factors: FactorState,
): Proven {
  return { ...arriving(resources, user, device_token), factors, proofs: ['email'], takeBack: [] }
}
