import { and, asc, eq, isNotNull, isNull, sql } from 'drizzle-orm'
import { canStillSignIn } from '../access/can-sign-in.ts'
import type { Resources } from '../context.ts'
import { build } from '../database/statements.ts'
import { Refusal } from '../http/problem.ts'
import { addedAt } from '../links/service.ts'
import { openNotices } from '../mail/limits.ts'
import { enqueueNotice } from '../mail/outbox.ts'
import { passkeys } from '../passkeys/models.ts'
import type { Claims } from '../sessions/access-tokens.ts'
import { invalidToken } from '../sessions/errors.ts'
import { tokenIsLive } from '../sessions/revocation.ts'
import { applyChange, byActor, isSamePerson } from '../users/change.ts'
import { writeConflict } from '../users/errors.ts'
import { toTime, toTimeOrNull } from '../values/ids.ts'
import { addFactor, findMailProof, type Own, readOwn, removeFactor } from './enrol.ts'
import { factorNotFound, lastWayIn, noFactor, nothingToConfirm, totpExists, wrongCode } from './errors.ts'
import { factors, recoveryCodes } from './models.ts'
import { makeRecoveryCodes, storeRecoveryCodes } from './recovery-codes.ts'
import type { ConfirmTotp, Factors, RecoveryCodes, TotpSeed } from './schemas.ts'
import { accountHasFactor, hasFactor } from './state.ts'
import { makeSeed, openSeed, sealSeed, seedDigest, shownSeed, stepOfCode } from './totp.ts'

/** One's own factors. */
export async function listFactors({ db, config }: Resources, userId: string): Promise<Factors> {
  const {
    totp: [totp],
    codes: [codes],
    keys,
  } = await db.read({
    totp: build
      .select({ confirmed_at: factors.confirmed_at })
      .from(factors)
      .where(eq(factors.user_id, userId)),
    codes: sql<{ left: number }>`SELECT count(*) AS left FROM ${recoveryCodes} WHERE user_id = ${userId}`,
    keys: build.select().from(passkeys).where(eq(passkeys.user_id, userId)).orderBy(asc(passkeys.rp_id)),
  })
  return {
    totp: totp?.confirmed_at ? { confirmed_at: toTime(totp.confirmed_at) } : null,
    recovery_codes_left: codes!.left,
    passkeys: keys
      .map((key) => ({
        id: key.id,
        name: key.name,
        created_at: toTime(key.created_at),
        last_used_at: toTimeOrNull(key.last_used_at),
        synced: key.is_synced === 1,
        usable: key.rp_id === config.WEBAUTHN_RP_ID,
      }))
      .sort((one, other) => (one.id < other.id ? -1 : 1)),
  }
}

/**
 * Makes a seed for an authenticator app, in place of one that was never confirmed. It has no effect until a
 * code confirms it.
 *
 * @throws 403 `reauthentication_required`; 409 `totp_exists`.
 */
export async function beginTotp(resources: Resources, actor: Claims): Promise<TotpSeed> {
  const { db, config, now } = resources
  const { user, totp } = await readOwn(resources, actor)
  if (totp?.confirmed_at) throw totpExists()
  const seed = makeSeed()
  const { keyId, text } = await sealSeed(config, actor.sub, seed)
  const { made } = await db.writeBatch({
    pending: sql`INSERT INTO ${factors} (user_id, seed, key_id, created_at)
      SELECT ${actor.sub}, ${text}, ${keyId}, ${now} WHERE ${tokenIsLive(actor, now)}
      ON CONFLICT (user_id) DO UPDATE SET seed = ${text}, key_id = ${keyId}, created_at = ${now}
      WHERE confirmed_at IS NULL`,
    made: build.select({ seed: factors.seed }).from(factors).where(eq(factors.user_id, actor.sub)),
  })
  if (made[0] && made[0].seed !== text) throw totpExists()
  if (!made[0]) throw invalidToken(new Refusal('meanwhile'))
  return shownSeed(seed, config, user.email)
}

/**
 * The unconfirmed seed.
 *
 * @param seen the digest of the seed that a page shows. Another session may have made another seed since, and the page
 *   must neither show nor confirm that one: it may be in the app of somebody who only has the password.
 */
async function openPending({ config }: Resources, { user, totp }: Own, seen?: string) {
  if (!totp || totp.confirmed_at) throw nothingToConfirm()
  const seed = await openSeed(config, totp)
  const shown = shownSeed(seed, config, user.email)
  if (seen !== undefined && seen !== seedDigest(shown)) throw nothingToConfirm()
  return { totp, seed, shown }
}

/** The unconfirmed seed again, for a page whose code was refused. Throws 409 `nothing_to_confirm`. */
export async function beginTotpAgain(resources: Resources, actor: Claims, seen: string): Promise<TotpSeed> {
  return (await openPending(resources, await readOwn(resources, actor), seen)).shown
}

/**
 * Confirms the app by its first code: from here on, signing in requires one. The mailed code is checked last,
 * because it allows only five tries.
 *
 * @param seen the digest of the seed that the page shows, if it comes from a page.
 * @throws 403 `wrong_code`, `mail_code_required`, `reauthentication_required`; 409 `nothing_to_confirm`; 400;
 *   429 `too_many_attempts`.
 */
export async function confirmTotp(
  resources: Resources,
  actor: Claims,
  input: ConfirmTotp,
  seen?: string,
): Promise<RecoveryCodes> {
  const { now } = resources
  const confirmedAt = addedAt(actor.sub, now)
  const own = await readOwn(resources, actor)
  const { totp, seed } = await openPending(resources, own, seen)
  const step = stepOfCode(seed, input.code, now)
  if (step === undefined) throw wrongCode(new Refusal('wrong_code'))
  const mailProof = await findMailProof(resources, actor, input)
  const isPending = and(
    eq(factors.user_id, actor.sub),
    eq(factors.seed, totp.seed),
    isNull(factors.confirmed_at),
  )!
  const recovery_codes = await addFactor(resources, actor, own, mailProof, {
    kind: 'totp',
    proof: 'otp',
    details: {},
    about: sql`CAST(${confirmedAt} AS TEXT)`,
    unless: {
      gone: {
        is: sql`(NOT EXISTS (SELECT 1 FROM ${factors} WHERE ${isPending}))`,
        refused: nothingToConfirm,
      },
    },
    write: (isDone) => [
      build.update(factors).set({ confirmed_at: confirmedAt, last_step: step }).where(and(isPending, isDone)),
    ],
  })
  return { recovery_codes }
}

/**
 * Removes the app. Answers whether it was a factor, so that other sessions have ended.
 *
 * @throws 403 `reauthentication_required`; 404 `factor_not_found`; 409 `last_way_in`.
 */
export async function removeTotp(resources: Resources, actor: Claims): Promise<boolean> {
  const own = await readOwn(resources, actor)
  if (!own.totp) throw factorNotFound()
  const isTheirs = eq(factors.user_id, actor.sub)
  // An app that was never confirmed is no factor, so nobody is told.
  if (!own.totp.confirmed_at) {
    const holds = tokenIsLive(actor, resources.now)
    const { verdict } = await resources.db.writeBatch({
      pending: build.delete(factors).where(and(isTheirs, isNull(factors.confirmed_at), holds)),
      verdict: sql<
        Record<'holds' | 'is_there', 0 | 1>
      >`SELECT ${holds} AS holds, EXISTS (SELECT 1 FROM ${factors} WHERE ${isTheirs}) AS is_there`,
    })
    if (!verdict[0]!.holds) throw invalidToken(new Refusal('meanwhile'))
    // Another session has confirmed it since.
    if (verdict[0]!.is_there) throw writeConflict()
    return false
  }
  const isFactor = and(isTheirs, isNotNull(factors.confirmed_at))!
  await removeFactor(resources, actor, own, {
    kind: 'totp',
    details: {},
    unless: {
      gone: { is: sql`(NOT EXISTS (SELECT 1 FROM ${factors} WHERE ${isFactor}))`, refused: factorNotFound },
      last: {
        is: sql`(NOT ${canStillSignIn(resources.config, actor.sub, { totp: true })})`,
        refused: lastWayIn,
      },
    },
    write: (isDone) => [build.delete(factors).where(and(isFactor, isDone))],
  })
  return true
}

/** New recovery codes; the former ones become void. Throws 403 `reauthentication_required`; 409 `no_factor`. */
export async function renewRecoveryCodes(resources: Resources, actor: Claims): Promise<RecoveryCodes> {
  const { now } = resources
  const { user, state } = await readOwn(resources, actor)
  if (!hasFactor(state)) throw noFactor()
  const recovery_codes = makeRecoveryCodes()
  const told = openNotices(resources, 'recovery_codes_renewed', actor.sid, user.id)
  await applyChange(resources, byActor(actor, now), user, {
    action: 'recovery_codes.renewed',
    set: {},
    leavesUser: true,
    reliesOn: isSamePerson(user),
    unless: { none: { is: sql`(NOT ${accountHasFactor(user.id)})`, refused: noFactor } },
    alsoWrite: (isDone) => storeRecoveryCodes(user.id, recovery_codes, now, isDone),
    mails: (isDone) => [enqueueNotice(resources, 'recovery_codes_renewed', user, isDone, { told })],
  })
  return { recovery_codes }
}
