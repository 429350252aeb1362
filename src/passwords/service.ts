import { eq, type SQL } from 'drizzle-orm'
import { record } from '../activity/service.ts'
import type { Resources } from '../context.ts'
import { build, type Statement } from '../database/statements.ts'
import { invalidInput, Refusal } from '../http/problem.ts'
import type { Claims } from '../sessions/access-tokens.ts'
import { invalidToken } from '../sessions/errors.ts'
import { type Session, sessions } from '../sessions/models.ts'
import { tokenIsLive } from '../sessions/revocation.ts'
import { assertMayHash, type Hasher, hasherOfSession } from '../throttle/limits.ts'
import { openOwnAttempt } from '../throttle/service.ts'
import { selectUsers, type User as UserRow, users } from '../users/models.ts'
import { isBreached } from './breaches.ts'
import { unchangedPassword, wrongPassword } from './errors.ts'
import { checkForeign } from './foreign/check.ts'
import { isForeign } from './foreign/sealing.ts'
import { checkPassword, hashCost, hashPassword, hasKeyOf, type PasswordCheck } from './hashing.ts'
import { findPasswordWeakness, normalizePassword } from './policy.ts'
import { assertNotBusy, countedInTurn, inTurn } from './turns.ts'

/**
 * Every path that sets a password goes through here.
 *
 * @param former the hash to replace, if the caller has not just proved the password of it.
 * @param hasher who the hash is counted for; their network when absent.
 * @throws 422 for a weak password, or the same again; 429 `too_many_requests`.
 */
export async function hashNewPassword(
  resources: Resources,
  password: string,
  user: { email: string; name: string },
  {
    pointer = '/password',
    former = null,
    hasher,
  }: { pointer?: string; former?: string | null; hasher?: Hasher } = {},
): Promise<string> {
  const { config } = resources
  const refused = (reason: string) =>
    invalidInput([{ pointer, code: 'weak_password', detail: `The password ${reason}.` }])
  const weakness = findPasswordWeakness(password, { ...user, organisation: config.ORGANISATION })
  if (weakness) throw refused(weakness)
  let breached: boolean | undefined = false
  const first = async () => {
    if (config.BREACHED_PASSWORDS === 'on') breached = await isBreached(config, normalizePassword(password))
    if (breached) throw refused('is known from a breach of another service')
  }
  const peppers = config.keys.password_pepper
  const cost = hashCost(config)
  const check = async () => {
    // A hash whose key is gone cannot be compared: a reset is the way back from that, too.
    const isSame =
      former !== null &&
      // A foreign hash would take seconds; and its password was not held to our policy, as the new one is.
      !isForeign(former) &&
      hasKeyOf(former, config.keys) &&
      (await checkPassword(password, former, peppers, cost)).isRight
    return isSame ? undefined : hashPassword(password, peppers, cost)
  }
  const hash = await inTurn(resources, check, hasher, first)
  if (hash === undefined) throw unchangedPassword()
  if (breached === undefined) unchecked.set(resources.db, hash)
  return hash
}

/** By request: the newest hash of a password that the breach service did not answer for. */
const unchecked = new WeakMap<object, string>()

/** Records that such a password was accepted: for the batch that sets `hash`. */
export function recordUnchecked(
  resources: Resources,
  hash: unknown,
  userId: string,
  isDone: SQL,
): Statement[] {
  if (typeof hash !== 'string' || unchecked.get(resources.db) !== hash) return []
  return [record(resources, { action: 'password.not_checked', userId, actorId: null }, isDone)]
}

interface Attempt {
  /** The account's user, if there is one. */
  userId: string | undefined
  password: string
  stored: string | null
  takeBack: readonly Statement[]
  hasher?: Hasher
}

interface Checked extends PasswordCheck {
  /** The hash it was checked against. */
  stored: string | null
  /** Replaces the stored hash if that is outdated. */
  newHash?: string
  /** It was imported with a hash of other software. */
  isForeign?: true
}

/**
 * Checks a password in its turn. If that is not possible (too busy, a limit, a missing key), the attempt was
 * no guess, and is taken back.
 */
export async function checkInTurn(resources: Resources, attempt: Attempt): Promise<Checked> {
  const { stored, hasher } = attempt
  try {
    if (isForeign(stored)) return await checkForeignInTurn(resources, attempt, stored)
    return await inTurn(resources, () => checkOurs(resources, attempt.password, stored), hasher)
  } catch (error) {
    await resources.db.writeBatch({ takeBack: attempt.takeBack })
    throw error
  }
}

async function checkOurs({ config }: Resources, password: string, stored: string | null): Promise<Checked> {
  const peppers = config.keys.password_pepper
  const cost = hashCost(config)
  const checked = { ...(await checkPassword(password, stored, peppers, cost)), stored }
  return checked.isOutdated ? { ...checked, newHash: await hashPassword(password, peppers, cost) } : checked
}

/** A foreign hash and ours that replaces it count as one. */
async function checkForeignInTurn(
  resources: Resources,
  { password, userId = '', hasher }: Attempt,
  foreign: string,
): Promise<Checked> {
  assertNotBusy()
  await assertMayHash(resources, hasher)
  const { isRight, stored } = await checkForeign(resources, { password, stored: foreign, userId })
  // Another login with the same password was faster.
  if (!isForeign(stored)) return countedInTurn(resources, () => checkOurs(resources, password, stored))
  if (!isRight) return { isRight, isOutdated: false, stored }
  const { config } = resources
  const hash = () => hashPassword(password, config.keys.password_pepper, hashCost(config))
  return { isRight, isOutdated: true, stored, isForeign: true, newHash: await countedInTurn(resources, hash) }
}

export interface OwnPassword {
  row: UserRow
  session: Session
  /** For the batch of the change. */
  clearAttempts: readonly Statement[]
}

/**
 * Runs an action that needs the password of a signed-in user. Attempts are counted by session, so no stranger
 * can keep them out. A right password is no failed attempt, whatever happens after it.
 *
 * @throws 403 `wrong_password`, 429 `too_many_attempts`.
 */
export async function withOwnPassword<T>(
  resources: Resources,
  actor: Claims,
  password: string,
  use: (own: OwnPassword) => Promise<T>,
): Promise<T> {
  const own = await requireOwnPassword(resources, actor, password)
  try {
    return await use(own)
  } catch (error) {
    // The caller must see the original error; if this fails, one attempt too many is counted.
    await resources.db.writeBatch({ clear: own.clearAttempts }).catch(() => {})
    throw error
  }
}

async function requireOwnPassword(
  resources: Resources,
  actor: Claims,
  password: string,
): Promise<OwnPassword> {
  const { db, now } = resources
  const self = eq(users.id, actor.sub)
  const isLive = tokenIsLive(actor, now)
  const attempt = openOwnAttempt(resources, actor.sid, isLive)
  const results = await db.writeBatch({
    ...attempt.count,
    user: selectUsers().where(self),
    session: build.select().from(sessions).where(eq(sessions.id, actor.sid)),
  })
  // Then nothing was counted.
  if (!results.token[0]?.is_live) throw invalidToken(new Refusal('revoked'))
  const isOpen = attempt.isOpen(results)
  const [row, session] = [results.user[0], results.session[0]]
  if (!row || !session) throw invalidToken(new Refusal('unknown'))
  const stored = isOpen ? row.password_hash : null
  const hasher = hasherOfSession(actor)
  const { isRight } = await checkInTurn(resources, {
    userId: actor.sub,
    password,
    stored,
    takeBack: attempt.takeBack,
    hasher,
  })
  if (isRight) return { row, session, clearAttempts: attempt.clear }
  const reason = isOpen ? 'wrong_password' : 'locked'
  const event = {
    action: 'password.failed',
    userId: actor.sub,
    actorId: actor.sub,
    details: { reason, session_id: actor.sid },
  } as const
  await db.writeBatch({ history: record(resources, event, isLive) })
  throw wrongPassword(new Refusal(reason))
}
