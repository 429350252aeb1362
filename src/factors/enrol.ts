import { and, eq, type SQL, sql } from 'drizzle-orm'
import { amrOf, type Proof } from '../access/assurance.ts'
import { requireRecentLogin } from '../access/guards.ts'
import type { Resources } from '../context.ts'
import { build, type Statement } from '../database/statements.ts'
import { Refusal } from '../http/problem.ts'
import { invalidLink } from '../links/errors.ts'
import type { OneTimeToken } from '../links/models.ts'
import type { MailRequested } from '../links/schemas.ts'
import { linkIsLive, voidTokens } from '../links/service.ts'
import { type Notices, openAddedNotices, openNotices } from '../mail/limits.ts'
import { enqueueNotice } from '../mail/outbox.ts'
import type { Claims } from '../sessions/access-tokens.ts'
import { invalidToken } from '../sessions/errors.ts'
import { sessions } from '../sessions/models.ts'
import { applyChange, byActor, isSamePerson } from '../users/change.ts'
import type { Obstacles } from '../users/consequences.ts'
import { addressNotVerified, writeConflict } from '../users/errors.ts'
import { selectUsers, type User, users } from '../users/models.ts'
import { mailCodeRequired } from './errors.ts'
import { factors, type Totp } from './models.ts'
import { mailOwnCode, requireOwnCode } from './own-code.ts'
import { makeRecoveryCodes, removeRecoveryCodes, storeRecoveryCodes } from './recovery-codes.ts'
import type { MailProof } from './schemas.ts'
import { accountHasFactor, type FactorState, hasFactor, selectFactorState } from './state.ts'

/** What must be known about a user who adds or removes a way in. */
export interface Own {
  user: User
  state: FactorState
  totp: Totp | undefined
  amr: readonly string[]
  /** The count of what this session has added. */
  added: { told: Notices; obstacle: Obstacles[string]; assertMayAdd: () => void }
}

/** From the primary: the session may have just begun. Throws 403 `reauthentication_required`. */
export async function readOwn(resources: Resources, actor: Claims): Promise<Own> {
  const { db, config, now } = resources
  requireRecentLogin(actor, now)
  const added = openAddedNotices(resources, 'factors added', actor.sid, actor.sub)
  const {
    user: [user],
    state: [state],
    totp: [totp],
    session: [session],
    spent,
  } = await db.readPrimary({
    user: selectUsers().where(eq(users.id, actor.sub)),
    state: selectFactorState(config, actor.sub),
    totp: build.select().from(factors).where(eq(factors.user_id, actor.sub)),
    session: build.select({ amr: sessions.amr }).from(sessions).where(eq(sessions.id, actor.sid)),
    spent: added.spent,
  })
  if (!user || !state || !session) throw invalidToken(new Refusal('unknown'))
  return {
    user,
    state,
    totp,
    amr: JSON.parse(session.amr) as string[],
    added: { ...added, assertMayAdd: () => added.assertMayAdd(spent) },
  }
}

/**
 * Mails the code that an account's first factor requires: somebody who has only stolen the password cannot
 * add a factor of their own.
 *
 * @throws 409 `address_not_verified`; 429 `too_many_attempts`; 503 `mail_not_configured`.
 */
export const requestMailCode = (resources: Resources, actor: Claims): Promise<MailRequested> =>
  mailOwnCode(resources, actor, 'enrol_factor', async () => (await readOwn(resources, actor)).user)

/** Checks the mailed code, if there is one. Throws 400 `invalid_link`. */
export async function findMailProof(
  resources: Resources,
  actor: Claims,
  { mail_code, request_token }: MailProof,
): Promise<OneTimeToken | undefined> {
  if (mail_code === undefined) return undefined
  return requireOwnCode(resources, actor, 'enrol_factor', { code: mail_code, request_token })
}

/**
 * Where mail is configured, an unverified address can take no factor, and the first factor requires a mailed
 * code.
 *
 * @throws 409 `address_not_verified`; 403 `mail_code_required`.
 */
function assertMayEnrol({ send }: Resources, { user, state }: Own, proof: OneTimeToken | undefined) {
  if (!send) return
  if (user.email_verified_at === null) throw addressNotVerified()
  if (!hasFactor(state) && proof?.email_normalized !== user.email_normalized) throw mailCodeRequired()
}

/** A factor to add. */
export interface NewFactor {
  kind: 'totp' | 'passkey'
  proof: Proof
  details: object
  /** What the link in its notice removes: a passkey's id, or when the app was confirmed. */
  about: string | SQL
  unless: Obstacles
  write: (isDone: SQL) => readonly Statement[]
}

/**
 * Adds a factor that has just been used for the first time: it joins the session's `amr`, which nothing else
 * adds to. The other sessions end, the owner is told, and the account's first factor comes with recovery
 * codes.
 *
 * @throws 409 `write_conflict` if the account's first factor came or its last one went meanwhile; 400 `invalid_link`;
 *   429 `too_many_attempts` if the owner could no longer be told of another one.
 */
export async function addFactor(
  resources: Resources,
  actor: Claims,
  own: Own,
  mailProof: OneTimeToken | undefined,
  factor: NewFactor,
): Promise<string[]> {
  assertMayEnrol(resources, own, mailProof)
  own.added.assertMayAdd()
  const { now } = resources
  const { user, amr, added } = own
  const isFirst = !hasFactor(own.state)
  const codes = isFirst ? makeRecoveryCodes() : []
  const isOutdated = isFirst ? accountHasFactor(user.id) : sql`(NOT ${accountHasFactor(user.id)})`
  await applyChange(
    resources,
    {
      ...byActor(actor, now),
      ...(mailProof && {
        spend: (isDone) => voidTokens(now, ['enrol_factor'], sql`id = ${mailProof.id} AND ${isDone}`),
      }),
    },
    user,
    {
      action: 'factor.added',
      details: { kind: factor.kind, ...factor.details },
      set: {},
      leavesUser: true,
      reliesOn: isSamePerson(user),
      unless: {
        ...factor.unless,
        outdated: { is: isOutdated, refused: writeConflict },
        ...(mailProof && {
          code: {
            is: sql`(NOT ${linkIsLive(mailProof.id)})`,
            refused: () => invalidLink(new Refusal('meanwhile')),
          },
        }),
        told: added.obstacle,
      },
      endsSessions: { reason: 'factors_changed', exceptId: actor.sid },
      alsoWrite: (isDone) => [
        ...factor.write(isDone),
        ...(isFirst ? storeRecoveryCodes(user.id, codes, now, isDone) : []),
        build
          .update(sessions)
          .set({ amr: JSON.stringify(amrOf([factor.proof], amr)) })
          .where(and(eq(sessions.id, actor.sid), isDone)),
      ],
      mails: (isDone) => [
        enqueueNotice(resources, `${factor.kind}_added`, user, isDone, {
          about: factor.about,
          told: added.told,
        }),
      ],
    },
  )
  return codes
}

/**
 * Removes a factor: the other sessions end, the owner is told, and the recovery codes go with the last
 * factor.
 */
export async function removeFactor(
  resources: Resources,
  actor: Claims,
  { user }: Own,
  factor: Omit<NewFactor, 'proof' | 'about'>,
): Promise<void> {
  const kind = `${factor.kind}_removed` as const
  const told = openNotices(resources, kind, actor.sid, user.id)
  await applyChange(resources, byActor(actor, resources.now), user, {
    action: 'factor.removed',
    details: { kind: factor.kind, ...factor.details },
    set: {},
    leavesUser: true,
    reliesOn: isSamePerson(user),
    unless: factor.unless,
    endsSessions: { reason: 'factors_changed', exceptId: actor.sid },
    alsoWrite: (isDone) => [
      ...factor.write(isDone),
      removeRecoveryCodes(user.id, sql`${isDone} AND NOT ${accountHasFactor(user.id)}`),
    ],
    mails: (isDone) => [enqueueNotice(resources, kind, user, isDone, { told })],
  })
}
