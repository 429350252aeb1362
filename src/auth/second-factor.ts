import { and, eq, lte, sql } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import type { Proof } from '../access/assurance.ts'
import { record } from '../activity/service.ts'
import { challengeSpent } from '../challenges/errors.ts'
import { MAX_TRIES, openChallenge, openTry } from '../challenges/service.ts'
import type { Resources } from '../context.ts'
import { build, type Statement } from '../database/statements.ts'
import { invalidSecondFactor } from '../factors/errors.ts'
import { factors, recoveryCodes, type Totp } from '../factors/models.ts'
import {
  FEW_CODES,
  hashRecoveryCode,
  makeRecoveryCodes,
  storeRecoveryCodes,
} from '../factors/recovery-codes.ts'
import { type FactorState, selectFactorState } from '../factors/state.ts'
import { isSeedOutdated, openSeed, sealSeed, stepOfCode } from '../factors/totp.ts'
import { Refusal } from '../http/problem.ts'
import { identityIsOf } from '../identities/service.ts'
import { enqueueNotice, sendAfterwards } from '../mail/outbox.ts'
import { checkPasskey, requestOptions, selectPasskey, selectUsablePasskeys } from '../passkeys/ceremonies.ts'
import type { Passkey } from '../passkeys/models.ts'
import type { PasskeyOptions } from '../passkeys/schemas.ts'
import { openDeviceToken } from '../sessions/device-tokens.ts'
import { openTally } from '../throttle/failures.ts'
import { MAX_FAILURES_IN_A_ROW } from '../throttle/limits.ts'
import { openDeviceTry } from '../throttle/service.ts'
import { isActive, selectUsers, type User, users } from '../users/models.ts'
import { arriving } from './arrival.ts'
import type { SecondFactor } from './schemas.ts'
import type { Proven, Used } from './start-session.ts'
import { readAbout } from './start-session.ts'

/** What a browser needs to answer the challenge of a login with a passkey. Throws 401 `challenge_spent`. */
export async function beginSecondFactor(resources: Resources, challenge: string): Promise<PasskeyOptions> {
  const { db, config, now } = resources
  const opened = openChallenge(config, 'login', challenge, now)
  if (!opened?.userId) throw challengeSpent(new Refusal('challenge'))
  const { known } = await db.read({ known: selectUsablePasskeys(config, opened.userId) })
  return { challenge_id: challenge, options: requestOptions(config, challenge, known) }
}

/** What was proved, and what that uses up. */
interface Proved {
  proof: Proof
  used: Used
}

/**
 * The second factor after a right password. A try is counted before it is checked: five per challenge, and a
 * hundred in a row per account, which only a complete sign-in or a manager resets. A device that has signed
 * in before has a counter of its own.
 *
 * @throws 401 `challenge_spent`, `invalid_second_factor`; 503 `misconfigured`, which is not counted.
 */
export async function proveSecondFactor(resources: Resources, input: SecondFactor): Promise<Proven> {
  const { db, config, now } = resources
  const challenge = openChallenge(config, 'login', input.challenge, now)
  if (!challenge?.userId) throw challengeSpent(new Refusal('challenge'))
  const { userId } = challenge
  const { epoch, proofs, identityId, ...password } = readAbout(challenge.about)
  const hash = hashRecoveryCode(userId, 'recovery_code' in input ? input.recovery_code : '')
  const isThisCode = and(eq(recoveryCodes.user_id, userId), eq(recoveryCodes.hash, hash))
  // Nobody guesses a recovery code, so a right one is not counted: a row less to write, and a row less to
  // take back.
  const attempt = openTry(challenge, now, sql`EXISTS (SELECT 1 FROM ${recoveryCodes} WHERE ${isThisCode})`)
  const isThisUser = eq(users.id, userId)
  // Otherwise a provider that the owner has just disconnected would still sign somebody in.
  const isConnected = identityId === undefined ? undefined : identityIsOf(identityId, userId)
  const device = openDeviceToken(config, input.device_token, now)
  const ofDevice = openDeviceTry(resources, userId, device)
  // A count of one above the limit says that the account was locked before this try; that try can be taken
  // back, too.
  const countFailure = (by: 1 | -1, condition = sql`1`) =>
    build
      .update(users)
      .set({ failed_factors: sql`${users.failed_factors} + ${by}` })
      .where(
        and(
          isThisUser,
          attempt.isCounted,
          lte(users.failed_factors, MAX_FAILURES_IN_A_ROW + (by < 0 ? 1 : 0)),
          condition,
        ),
      )
  const results = await db.writeBatch({
    count: attempt.count,
    failure: countFailure(1, sql`changes() > 0 AND NOT ${ofDevice.isKnown}`),
    ofDevice: device ? [ofDevice.count(attempt.isCounted)] : [],
    device: ofDevice.counter,
    counted: attempt.counted,
    user: selectUsers().where(and(isThisUser, isConnected)),
    state: selectFactorState(config, userId),
    totp: build.select().from(factors).where(eq(factors.user_id, userId)),
    passkey: selectPasskey('passkey' in input ? input.passkey.id : ''),
    recovery: build.select({ hash: recoveryCodes.hash }).from(recoveryCodes).where(isThisCode),
    closed: attempt.closed,
  })
  const [user, state] = [results.user[0], results.state[0]]
  const isUncounted = results.recovery.length > 0 && results.closed.length === 0
  if (results.counted.length === 0 && !isUncounted) throw challengeSpent(new Refusal('tries'))
  if (!user || !state) throw challengeSpent(new Refusal('unknown'))
  if (user.token_epoch !== epoch) throw challengeSpent(new Refusal('epoch'))
  if (!isActive(user, now)) throw challengeSpent(new Refusal('inactive'))

  const isByDevice = ofDevice.hasCounted(results.device)
  const noFailure = isByDevice ? ofDevice.takeBack : countFailure(-1)
  const takeBack = async (error: unknown): Promise<never> => {
    await db.writeBatch({ failure: noFailure, try: attempt.takeBack })
    throw error
  }
  const usable = isByDevice ? { ...state, is_totp_locked: 0 as const } : state
  const proved =
    'code' in input
      ? await proveByTotp(resources, user, usable, results.totp[0], input.code).catch(takeBack)
      : 'recovery_code' in input
        ? proveByRecoveryCode(resources, user, state, results.recovery.length > 0 ? hash : undefined)
        : proveByPasskey(resources, user, input, results.passkey[0])
  if (proved instanceof Refusal) {
    await recordFailure(resources, user, usable, proved)
    const [counted] = results.counted
    throw invalidSecondFactor(proved, counted && MAX_TRIES.login - counted.tries)
  }
  const arrived = arriving(resources, user, input.device_token)
  const isFirst = 'code' in input && isUnusedImport(results.totp[0]!, state)
  const first = isFirst ? firstRecoveryCodes(resources, user) : undefined
  return {
    ...arrived,
    ...password,
    // A doubtful passkey leads to another challenge.
    ...(identityId && { identityId }),
    ...(first && { recoveryCodes: first.codes }),
    factors: state,
    proofs: [...proofs, proved.proof],
    clearAttempts: (isDone) => [
      ...arrived.clearAttempts(isDone),
      ofDevice.clear(isDone),
      openTally(resources, 'locked_factor', userId).forget(isDone),
    ],
    // A doubtful passkey is no failure, and no sign-in.
    takeBack:
      proved.proof === 'doubtful_passkey' ? [...proved.used.spend(sql`1`), noFailure, attempt.takeBack] : [],
    used: [
      proved.used,
      ...(first ? [first.used] : []),
      ...(isConnected ? [{ isGood: isConnected, spend: () => [] }] : []),
      { isGood: attempt.isUnspent, spend: (isDone) => [attempt.spend(isDone)] },
    ],
    refused: () => invalidSecondFactor(new Refusal('used')),
  }
}

/**
 * An app that is set up here is used at once, and gets recovery codes. One that was never used was imported
 * with its user.
 */
const isUnusedImport = (totp: Totp, { recovery_codes }: FactorState) =>
  totp.last_step === null && recovery_codes === 0

/**
 * Ten recovery codes, shown once. If two sign in at the same moment, one gets in, and the other tries again.
 */
function firstRecoveryCodes(resources: Resources, user: User): { codes: string[]; used: Used } {
  const codes = makeRecoveryCodes()
  const isUnused = sql`user_id = ${user.id} AND last_step IS NULL`
  const event = { action: 'recovery_codes.renewed', userId: user.id, actorId: user.id } as const
  return {
    codes,
    used: {
      isGood: sql`EXISTS (SELECT 1 FROM ${factors} WHERE ${isUnused})`,
      spend: (isDone) => [
        ...storeRecoveryCodes(user.id, codes, resources.now, isDone),
        record(resources, event, isDone),
      ],
      mail: (isDone) => enqueueNotice(resources, 'recovery_codes_renewed', user, isDone),
    },
  }
}

/** A code counts once: the statement that accepts it also moves the last step on. */
export async function proveByTotp(
  { config, now }: Resources,
  user: User,
  { is_totp_locked }: FactorState,
  totp: Totp | undefined,
  code: string,
): Promise<Proved | Refusal> {
  // This try is already counted.
  const isLocked = is_totp_locked === 1 && user.failed_factors > MAX_FAILURES_IN_A_ROW
  if (!totp?.confirmed_at) return new Refusal('wrong_code')
  if (isLocked) return new Refusal('locked')
  const seed = await openSeed(config, totp)
  const step = stepOfCode(seed, code, now)
  if (step === undefined) return new Refusal('wrong_code')
  const renewed = isSeedOutdated(config, totp) ? await sealSeed(config, user.id, seed) : undefined
  const isUnused = sql`user_id = ${user.id} AND seed = ${totp.seed} AND coalesce(last_step, -1) < ${step}`
  return {
    proof: 'otp',
    used: {
      isGood: sql`EXISTS (SELECT 1 FROM ${factors} WHERE ${isUnused})`,
      spend: (isDone) => [
        build
          .update(factors)
          .set({ last_step: step, ...(renewed && { seed: renewed.text, key_id: renewed.keyId }) })
          // Checked again: a batch that is resent late must not put back a step that has moved on.
          .where(sql`${isUnused} AND ${isDone}`),
      ],
    },
  }
}

/** A recovery code is deleted by its use. Its owner is told when few are left. */
export function proveByRecoveryCode(
  resources: Resources,
  user: User,
  { recovery_codes: left }: FactorState,
  hash: string | undefined,
): Proved | Refusal {
  if (hash === undefined) return new Refusal('wrong_recovery_code')
  const isThis = sql`user_id = ${user.id} AND hash = ${hash}`
  const event = {
    action: 'recovery_code.used',
    userId: user.id,
    actorId: user.id,
    details: { left: left - 1 },
  } as const
  return {
    proof: 'recovery_code',
    used: {
      isGood: sql`EXISTS (SELECT 1 FROM ${recoveryCodes} WHERE ${isThis})`,
      spend: (isDone): Statement[] => [
        build.delete(recoveryCodes).where(sql`${isThis} AND ${isDone}`),
        record(resources, event, isDone),
      ],
      ...(left - 1 < FEW_CODES && {
        mail: (isDone) => enqueueNotice(resources, 'recovery_codes_low', user, isDone),
      }),
    },
  }
}

function proveByPasskey(
  resources: Resources,
  user: User,
  { challenge, passkey }: Extract<SecondFactor, { passkey: unknown }>,
  row: Passkey | undefined,
): Proved | Refusal {
  if (row?.user_id !== user.id) return new Refusal('unknown')
  const proved = checkPasskey(resources, challenge, passkey, row, { isNamed: true })
  if (proved instanceof Refusal) return proved
  return { proof: proved.isDoubtful ? 'doubtful_passkey' : 'passkey', used: proved }
}

/**
 * A hundred failures after a right password say that somebody else knows it: the owner is told by mail, once
 * a day for as long as it goes on, and the history has one row for each such day.
 *
 * @param state which factors are locked for this client.
 * @param refusal for the log; the history only says which kind of factor was wrong.
 */
async function recordFailure(
  resources: Resources,
  user: User,
  state: FactorState,
  { reason: closer }: Refusal,
): Promise<void> {
  const isLocked = state.is_totp_locked === 1
  const wasLocked = isLocked && user.failed_factors > MAX_FAILURES_IN_A_ROW
  const isOfCode = ['locked', 'wrong_code', 'wrong_recovery_code'].includes(closer)
  const reason = isOfCode ? closer : 'wrong_passkey'
  const tally = openTally(resources, 'locked_factor', user.id)
  const event = {
    id: uuidv7(),
    action: 'factor.failed',
    userId: user.id,
    actorId: null,
    details: wasLocked
      ? sql`json_object('reason', ${reason}, 'count', ${tally.count})`
      : { reason, count: 1 },
  } as const
  const notice = enqueueNotice(resources, 'factor_locked', user, isLocked ? tally.isDue : sql`0`)
  await resources.db.writeBatch({
    notice: notice.statements,
    history: record(resources, event, wasLocked ? tally.isDue : sql`1`),
    tally: isLocked ? [tally.add(event.id, sql`1`)] : [],
  })
  if (isLocked) sendAfterwards(resources, notice.mailId)
}
