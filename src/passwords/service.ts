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
import { checkPassword, costIn, hashPassword, hasKeyOf, type PasswordCheck } from './hashing.ts'
import { findPasswordWeakness } from './policy.ts'
import { assertNotBusy, countedInTurn, inTurn } from './turns.ts'

/**
 * Every path that sets a password goes through here.
 *
 * @param former the hash that it is to replace, where whoever sets it has not just shown what that is of.
 * @param hasher whom the hash is counted for; their network when absent.
 * @throws 422 for a weak one, or the same again; 429 `too_many_requests`.
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
    if (config.BREACHED_PASSWORDS === 'on') breached = await isBreached(config, password)
    if (breached) throw refused('is known from a breach of another service')
  }
  const peppers = config.keys.password_pepper
  const cost = costIn(config)
  const check = async () => {
    // Nobody knows any more what was hashed with a key that is gone: a reset is the way back from that, too.
    const isSame =
      former !== null &&
      // A foreign one would take seconds; and what is set is held to our policy, as that was not.
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

/** The newest hash of a request whose password the service for breaches did not answer for. */
const unchecked = new WeakMap<object, string>()

/** Where such a password is taken, the history says so: for the batch that sets `hash`. */
export function noteUnchecked(resources: Resources, hash: unknown, userId: string, isDone: SQL): Statement[] {
  if (typeof hash !== 'string' || unchecked.get(resources.db) !== hash) return []
  return [record(resources, { action: 'password.not_checked', userId, actorId: null }, isDone)]
}

interface Attempt {
  /** Whose it would be. */
  userId: string | undefined
  password: string
  stored: string | null
  takeBack: readonly Statement[]
  hasher?: Hasher
}

interface Checked extends PasswordCheck {
  /** What it was checked against. */
  stored: string | null
  /** Replaces it, where it is not of today. */
  newHash?: string
  /** It came with a hash of other software. */
  isForeign?: true
}

/**
 * Checks a password in its turn. Where that cannot be done (too busy, a limit, a key that is missing),
 * the attempt was no guess, and is taken back.
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
  const cost = costIn(config)
  const checked = { ...(await checkPassword(password, stored, peppers, cost)), stored }
  return checked.isOutdated ? { ...checked, newHash: await hashPassword(password, peppers, cost) } : checked
}

/** A foreign hash counts as one, with ours that replaces it. */
async function checkForeignInTurn(
  resources: Resources,
  { password, userId = '', hasher }: Attempt,
  foreign: string,
): Promise<Checked> {
  assertNotBusy()
  await assertMayHash(resources, hasher)
  const { isRight, stored } = await checkForeign(resources, { password, stored: foreign, userId })
  // Somebody who brought the same password was faster.
  if (!isForeign(stored)) return countedInTurn(resources, () => checkOurs(resources, password, stored))
  if (!isRight) return { isRight, isOutdated: false, stored }
  const { config } = resources
  const hash = () => hashPassword(password, config.keys.password_pepper, costIn(config))
  return { isRight, isOutdated: true, stored, isForeign: true, newHash: await countedInTurn(resources, hash) }
}

export interface OwnPassword {
  row: UserRow
  session: Session
  /** For the batch of the change. */
  clearAttempts: readonly Statement[]
}

/**
 * Does what takes the password of somebody who is signed in already. Their session is counted, so no stranger can keep
 * them from it. A right password was no failed attempt, whatever comes after it.
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
    // What was wrong is what the caller has to hear of; if this fails, one attempt is counted too many.
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
  // Nothing was counted then.
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
