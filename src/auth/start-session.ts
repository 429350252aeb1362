import { and, eq, isNotNull, type SQL, sql } from 'drizzle-orm'
import { type Amr, amrOf, isTwofold, type Proof } from '../access/assurance.ts'
import { record } from '../activity/service.ts'
import { CHALLENGE_SECONDS, makeChallenge } from '../challenges/service.ts'
import type { Resources } from '../context.ts'
import {
  build,
  databaseNow,
  type Given,
  insertWhere,
  rowExists,
  type Statement,
} from '../database/statements.ts'
import { accountHasFactor, type FactorState, hasFactor, methodsOf } from '../factors/state.ts'
import { type AppError, Refusal } from '../http/problem.ts'
import { oneTimeTokens } from '../links/models.ts'
import { voidTokens } from '../links/service.ts'
import { sendAfterwards } from '../mail/outbox.ts'
import { signAccessToken } from '../sessions/access-tokens.ts'
import { makeDeviceToken, newDevice } from '../sessions/device-tokens.ts'
import { accessTokenSeconds, lifetimeOf, SHORT_MS } from '../sessions/lifetimes.ts'
import { type Session, sessions } from '../sessions/models.ts'
import { publishDoubts } from '../sessions/near.ts'
import { makeRefreshToken } from '../sessions/refresh-tokens.ts'
import { beginning, revokeSurplusSessions } from '../sessions/service.ts'
import type { KnownDevice } from '../throttle/devices.ts'
import { MAX_FAILURES_IN_A_ROW, NO_FAILURES } from '../throttle/service.ts'
import { endDisabling } from '../users/change.ts'
import type { OwedMail } from '../users/consequences.ts'
import { profileColumns, type User, userIsActive, users } from '../users/models.ts'
import { toUser } from '../users/schemas.ts'
import { invalidCredentials, secondFactorRequired } from './errors.ts'
import type { Keeping } from './keep-signed-in.ts'
import { tellOfNewDevice } from './new-device.ts'
import type { Tokens } from './schemas.ts'

/** Who has proved who they are, by whatever way in. */
export interface Proven {
  /** As they were when it was proved. */
  user: User
  proofs: readonly Proof[]
  /** When they were shown, where that was not just now (epoch ms): it is a recent login for so long from then on. */
  provenAt?: number
  /** Replaces a hash that is not of today. */
  newHash: string | undefined
  /** It came with its user, and could not be set here. */
  needsBetterPassword?: true
  /** Made for whoever signs in by the authenticator app that they came with, for the first time. */
  recoveryCodes?: readonly string[]
  /** Proves it anew, where the old hash may have been replaced by somebody who proved it at the same time. */
  again?: () => Promise<Proven>
  /** Where it was known. */
  device: KnownDevice | undefined
  /** Whether a device token was brought at all, be it good or not. */
  knowsTokens: boolean
  clearAttempts: (condition: SQL) => readonly Statement[]
  /** What the account has to prove itself with beside its password, read with the user. */
  factors: FactorState
  /** Takes the attempt back, where it turns out to be no sign-in yet. */
  takeBack: readonly Statement[]
  /** What is good once, and is used up. */
  used?: readonly Used[]
  /** Thrown where the user, or what was used, is no longer as it was when it was proved. */
  refused?: () => AppError
}

/** What a proof uses up: a code, a challenge. */
export interface Used {
  /** A condition: that it is still good. */
  isGood: SQL
  spend: (isDone: SQL) => readonly Statement[]
  /** A mail that is owed then. */
  mail?: (isDone: SQL) => OwedMail
}

/**
 * The one place where a session begins, on the condition that the user still is as they were when it was proved: the
 * same address and password, confirmed where it has to be, with the same epoch, and not shut out. Here it is decided
 * whether what was proved suffices: of an account that has a factor, two are asked.
 *
 * @throws 403 `second_factor_required`, and nothing has begun.
 */
export async function startSession(asked: Resources, proven: Proven, keeping: Keeping = {}): Promise<Tokens> {
  // What was proved may have taken seconds.
  const now = Date.now()
  const resources = { ...asked, now }
  const { db } = resources
  const { user: row, newHash, used = [] } = proven
  const { refused = () => invalidCredentials(new Refusal('meanwhile')) } = proven
  const amr = amrOf(proven.proofs)
  const { idleMs, absoluteMs } = lifetimeOf(resources.config, row.role)
  if (hasFactor(proven.factors) && !isTwofold(amr)) throw await askForSecondFactor(resources, proven)
  const lifetimeMs =
    keeping.cookie && keeping.remember === false ? Math.min(SHORT_MS, absoluteMs) : absoluteMs
  const session = {
    ...beginning(resources, row.id),
    idle_expires_at: sql`${databaseNow} + ${Math.min(idleMs, lifetimeMs)}`,
    expires_at: sql`${databaseNow} + ${lifetimeMs}`,
    proved_at: proven.provenAt ?? null,
    amr: JSON.stringify(amr),
    parent_id: null,
    client_id: null,
    client_epoch: null,
    scope: null,
    resource: null,
  } satisfies Given<Session>
  const isStarted = rowExists(sessions, session.id)
  const isThisUser = and(eq(users.id, row.id), isStarted)
  const event = {
    action: 'session.started',
    userId: row.id,
    actorId: row.id,
    details: { session_id: session.id },
  } as const
  const mails = [
    ...used.flatMap(({ mail }) => (mail ? [mail(isStarted)] : [])),
    ...tellOfNewDevice(resources, proven, keeping, session.id, isStarted),
  ]
  const {
    evicted,
    user: [user],
    begun: [begun],
  } = await db.writeBatch(
    {
      session: insertWhere(
        sessions,
        session,
        sql.join(
          [
            sql`EXISTS (SELECT 1 FROM ${users} WHERE ${isAsProven(resources, row)})`,
            // A factor that was added meanwhile is asked for.
            ...(isTwofold(amr) ? [] : [sql`NOT ${accountHasFactor(row.id)}`]),
            ...used.map(({ isGood }) => isGood),
          ],
          sql` AND `,
        ),
      ),
      history: record(resources, event, isStarted),
      ...revokeSurplusSessions(resources, row.id),
      login: build
        .update(users)
        .set({
          last_login_at: now,
          // With the rest, as each change of a row is billed.
          ...NO_FAILURES,
          failed_factors: 0,
          ...(newHash && { password_hash: newHash }),
          ...(!proven.device && { devices: sql`${users.devices} + 1` }),
        })
        .where(isThisUser),
      enabling:
        row.status === 'disabled'
          ? endDisabling(resources, row.id, sql`disabled_until <= ${now} AND ${isStarted}`)
          : [],
      attempts: proven.clearAttempts(isStarted),
      used: used.flatMap(({ spend }) => spend(isStarted)),
      mails: mails.flatMap(({ statements }) => statements),
      // Whoever is locked once more has to be told once more.
      unlocked:
        row.failed_logins >= MAX_FAILURES_IN_A_ROW
          ? [voidTokens(now, ['unlock_account'], and(eq(oneTimeTokens.subject_id, row.id), isStarted))]
          : [],
      user: build.select(signerColumns).from(users).where(isThisUser),
      begun: build.select().from(sessions).where(eq(sessions.id, session.id)),
    },
    isStarted,
  )
  if (!user || !begun) {
    // What was proved was no guess, whatever has moved since.
    if (proven.takeBack.length > 0) await db.writeBatch({ takeBack: proven.takeBack })
    if (proven.again) return startSession(resources, await proven.again(), keeping)
    throw refused()
  }
  sendAfterwards(resources, ...mails.map(({ mailId }) => mailId))
  Object.assign(resources.loggedAs, { sub: user.id, sid: session.id, began: amr.join('+') })
  // A login that ends a disabling is a change like any other.
  const changed = row.status === 'disabled' || evicted.length > 0 ? [row.id] : []
  await publishDoubts(resources, { users: changed, sessions: evicted.map(({ id }) => id) })
  return {
    ...(await toTokens(
      resources,
      { ...begun, now: begun.created_at, created_at: proven.provenAt ?? begun.created_at },
      user,
    )),
    device_token: makeDeviceToken(resources.config, proven.device ?? newDevice(user), now),
    ...(proven.needsBetterPassword && { needs_better_password: true }),
    ...(proven.recoveryCodes && { recovery_codes: [...proven.recoveryCodes] }),
  }
}

/** A condition on a user: what the proof rests on has not moved since. */
const isAsProven = ({ config, now }: Resources, row: User) =>
  and(
    eq(users.id, row.id),
    eq(users.token_epoch, row.token_epoch),
    eq(users.email_normalized, row.email_normalized),
    row.password_hash === null
      ? sql`${users.password_hash} IS NULL`
      : eq(users.password_hash, row.password_hash),
    config.EMAIL_VERIFICATION === 'required' ? isNotNull(users.email_verified_at) : undefined,
    userIsActive(now),
  )

/** What has to be known of a user to give them tokens. */
export const signerColumns = {
  ...profileColumns,
  token_epoch: users.token_epoch,
  device_epoch: users.device_epoch,
  devices: users.devices,
}

export type Signer = Pick<User, keyof typeof signerColumns>

export async function toTokens(
  { config, now }: Resources,
  session: Pick<Session, 'id' | 'counter' | 'created_at' | 'idle_expires_at' | 'expires_at' | 'amr'> & {
    /** By the clock of its times. */
    now?: number
  },
  user: Signer,
): Promise<Tokens> {
  const leftMs = Math.min(session.idle_expires_at, session.expires_at) - (session.now ?? now)
  const lifetimeSeconds = accessTokenSeconds(config, user.role, leftMs)
  const accessToken = await signAccessToken(config, now, {
    userId: user.id,
    sessionId: session.id,
    role: user.role,
    epoch: user.token_epoch,
    authenticatedAt: session.created_at,
    amr: JSON.parse(session.amr) as Amr,
    lifetimeSeconds,
  })
  return {
    access_token: accessToken,
    token_type: 'Bearer',
    expires_in: lifetimeSeconds,
    refresh_token: makeRefreshToken(config.keys.refresh_token, session.id, session.counter),
    refresh_expires_in: Math.round(leftMs / 1000),
    user: toUser(user),
  }
}

/**
 * What a challenge says of the password that was right: the account's epoch, so a new password ends it, and whether a better
 * one is to be asked for.
 */
const aboutOf = ({ user, proofs, needsBetterPassword }: Proven) =>
  [user.token_epoch, proofs.join('-'), ...(needsBetterPassword ? ['weak'] : [])].join('.')

export function openAbout(about: string) {
  const [epoch, proofs, weak] = about.split('.') as [string, string, string?]
  return {
    epoch: Number(epoch),
    proofs: proofs.split('-') as Proof[],
    ...(weak && { needsBetterPassword: true as const }),
  }
}

/**
 * The password was right, and a factor is due: no session, no cookie, no token but the challenge. The attempt was no
 * failure and is taken back; it is no sign-in either, so no count begins anew.
 */
async function askForSecondFactor(resources: Resources, proven: Proven): Promise<AppError> {
  const { user, newHash, device } = proven
  // What others have locked stays open to a device that the account knows.
  const factors = device ? { ...proven.factors, is_totp_locked: 0 as const } : proven.factors
  const isAsRead = and(eq(users.id, user.id), eq(users.password_hash, user.password_hash ?? ''))
  await resources.db.writeBatch({
    attempt: proven.takeBack,
    hash: newHash ? [build.update(users).set({ password_hash: newHash }).where(isAsRead)] : [],
  })
  return secondFactorRequired({
    challenge: makeChallenge(resources.config, {
      kind: 'login',
      userId: user.id,
      about: aboutOf(proven),
    }),
    methods: methodsOf(factors).filter(
      (method) => method !== 'passkey' || !proven.proofs.includes('doubtful_passkey'),
    ),
    expires_in: CHALLENGE_SECONDS,
  })
}
