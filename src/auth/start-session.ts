import { and, eq, isNotNull, type SQL, sql } from 'drizzle-orm'
import { type Amr, amrOf, isTwofold, type Proof } from '../access/assurance.ts'
import { record } from '../activity/service.ts'
import { CHALLENGE_SECONDS, makeChallenge } from '../challenges/service.ts'
import type { Resources } from '../context.ts'
import { build, databaseNow, rowExists, type Statement } from '../database/statements.ts'
import { accountHasFactor, type FactorState, hasFactor, methodsOf } from '../factors/state.ts'
import { type AppError, Refusal } from '../http/problem.ts'
import { oneTimeTokens } from '../links/models.ts'
import { voidTokens } from '../links/service.ts'
import { sendAfterwards } from '../mail/outbox.ts'
import { signAccessToken } from '../sessions/access-tokens.ts'
import { makeDeviceToken, newDevice } from '../sessions/device-tokens.ts'
import { accessTokenSeconds, lifetimeOf, SHORT_MS } from '../sessions/lifetimes.ts'
import { type Session, sessions } from '../sessions/models.ts'
import { orDoubting, publishDoubts } from '../sessions/near.ts'
import { makeRefreshToken } from '../sessions/refresh-tokens.ts'
import { beginSession, revokeSurplusSessions } from '../sessions/service.ts'
import type { KnownDevice } from '../throttle/devices.ts'
import { NO_FAILURES } from '../throttle/service.ts'
import { endDisabling } from '../users/change.ts'
import type { OwedMail } from '../users/consequences.ts'
import { profileColumns, type User, userIsActive, users } from '../users/models.ts'
import { toUser } from '../users/schemas.ts'
import { invalidCredentials, secondFactorRequired } from './errors.ts'
import type { Keeping } from './keep-signed-in.ts'
import { tellOfNewDevice } from './new-device.ts'
import type { Tokens } from './schemas.ts'

/** A user who has proved who they are, by any way in. */
export interface Proven {
  /** As they were at the time of the proof. */
  user: User
  proofs: readonly Proof[]
  /** When the proof was given, if not just now (epoch ms). The login is recent counted from then. */
  provenAt?: number
  /** Replaces an outdated hash. */
  newHash: string | undefined
  /** The identity at a provider that it relies on. */
  identityId?: string
  /** The password was imported with its user, and is one that nobody could set here. */
  needsBetterPassword?: true
  /** Made at the first use of an authenticator app that was imported with its user. */
  recoveryCodes?: readonly string[]
  /** Repeats the proof, where another login may have replaced the old hash at the same time. */
  again?: () => Promise<Proven>
  /** Undefined if the account does not know it. */
  device: KnownDevice | undefined
  /** Whether a device token was sent at all, valid or not. */
  knowsTokens: boolean
  clearAttempts: (condition: SQL) => readonly Statement[]
  /** The factors of the account beside its password, read with the user. */
  factors: FactorState
  /** Takes the attempt back if it turns out not to be a sign-in yet. */
  takeBack: readonly Statement[]
  /** What is valid once, and used up by this sign-in. */
  used?: readonly Used[]
  /** The error if the user, or what was used, has changed since the proof. */
  refused?: () => AppError
}

/** What a proof uses up: a code, a challenge. */
export interface Used {
  /** A condition: that it is still valid. */
  isGood: SQL
  spend: (isDone: SQL) => readonly Statement[]
  /** A mail that its use causes. */
  mail?: (isDone: SQL) => OwedMail
}

/**
 * The one place where a login's session begins, on condition that the user is still as they were at the time of
 * the proof: the same address and password, confirmed where that is required, with the same epoch, and active.
 * Here it is decided whether the proof is enough: an account with a factor needs two.
 *
 * @throws 403 `second_factor_required`, and no session has begun.
 */
export async function startSession(asked: Resources, proven: Proven, keeping: Keeping = {}): Promise<Tokens> {
  // The proof may have taken seconds.
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
  const session = beginSession(resources, {
    userId: row.id,
    idleEnd: sql`${databaseNow} + ${Math.min(idleMs, lifetimeMs)}`,
    end: sql`${databaseNow} + ${lifetimeMs}`,
    provedAt: proven.provenAt ?? null,
    amr,
  })
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
  } = await orDoubting(resources, { users: [row.id] }, () =>
    db.writeBatch(
      {
        session: session.insert(
          sql.join(
            [
              sql`EXISTS (SELECT 1 FROM ${users} WHERE ${isAsProven(resources, row)})`,
              // A factor that was added meanwhile must be asked for.
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
            // In the same statement, as each change of a row is billed.
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
        // An account that is locked again must be told again. It may have been locked since it was read; where nobody
        // but this attempt had failed by then, there is nothing to void, and looking would cost a row.
        unlocked:
          row.failed_logins > 1
            ? [voidTokens(now, ['unlock_account'], and(eq(oneTimeTokens.subject_id, row.id), isStarted))]
            : [],
        user: build.select(signerColumns).from(users).where(isThisUser),
        begun: build.select().from(sessions).where(eq(sessions.id, session.id)),
      },
      isStarted,
    ),
  )
  if (!user || !begun) {
    // The proof was no guess, whatever has changed since.
    if (proven.takeBack.length > 0) await db.writeBatch({ takeBack: proven.takeBack })
    if (proven.again) return startSession(resources, await proven.again(), keeping)
    throw refused()
  }
  sendAfterwards(resources, ...mails.map(({ mailId }) => mailId))
  Object.assign(resources.loggedAs, { sub: user.id, sid: session.id, began: amr.join('+') })
  // A login that ends a disabling changes the user's state like any other change.
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

/** A condition on a user: what the proof relies on has not changed. */
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

/** The columns of a user that tokens need. */
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
    /** By the clock that its times are from. */
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
 * What a challenge keeps from the first step: the account's epoch, so a new password ends the challenge;
 * whether a better password should be asked for; and the identity, which must still be connected at the end.
 */
const aboutOf = ({ user, proofs, needsBetterPassword, identityId }: Proven) =>
  [
    user.token_epoch,
    proofs.join('-'),
    ...(needsBetterPassword ? ['weak'] : []),
    ...(identityId ? [identityId] : []),
  ].join('.')

export function readAbout(about: string) {
  const [epoch, proofs, ...more] = about.split('.') as [string, string, ...string[]]
  const identityId = more.find((one) => one !== 'weak')
  return {
    epoch: Number(epoch),
    proofs: proofs.split('-') as Proof[],
    ...(identityId && { identityId }),
    ...(more.includes('weak') && { needsBetterPassword: true as const }),
  }
}

/**
 * The password was right, and a factor is due: the answer is a challenge, with no session, cookie or token.
 * The attempt is taken back, as it was no failure. It was no sign-in either, so no counter is reset.
 */
async function askForSecondFactor(resources: Resources, proven: Proven): Promise<AppError> {
  const { user, newHash, device } = proven
  // A device that the account knows may use a factor that strangers have locked.
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
