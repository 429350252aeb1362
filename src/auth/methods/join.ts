import { type SQL, sql } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import { record } from '../../activity/service.ts'
import type { Resources } from '../../context.ts'
import type { Statement } from '../../database/statements.ts'
import type { AppError } from '../../http/problem.ts'
import { invitations } from '../../invitations/models.ts'
import { publishDoubts } from '../../sessions/near.ts'
import { assertHuman } from '../../throttle/bot-challenge.ts'
import { type Authority, applyChange, isSameForProof } from '../../users/change.ts'
import { NO_PASSWORD } from '../../users/consequences.ts'
import {
  assertMaySignUp,
  insertUser,
  makeUserRow,
  refusalOfSignup,
  signupIsBlocked,
} from '../../users/create.ts'
import { emailTaken, signupBlocked } from '../../users/errors.ts'
import { emailIsProved, selectUsers, type User, users } from '../../users/models.ts'
import { normalizeEmail } from '../../values/email.ts'
import { invitationOpen, signupClosed } from '../errors.ts'

/*
 * What the first proof of an address does: it makes an account, or hands an account that somebody else may
 * have made with the address to the prover, and voids everything that could open it.
 */

/** A condition: that an address may sign up on its own; false where the settings forbid it. */
export const mayJoin = (resources: Resources, email: string): SQL | false =>
  resources.config.SIGNUP === 'open' &&
  refusalOfSignup(resources, email) === undefined &&
  sql`NOT ${signupIsBlocked(resources, email)}`

/**
 * Checks whether an address may sign up, before its owner is asked for anything.
 *
 * @throws 403 `signup_closed`, `signup_domain_refused`, `signup_blocked`; 409 `invitation_open`.
 */
export async function assertMayJoin(resources: Resources, email: string): Promise<void> {
  const { config, db, now } = resources
  const { verdict } = await db.read({
    verdict: sql<
      Record<'is_invited' | 'is_blocked', 0 | 1>
    >`SELECT ${isInvited(normalizeEmail(email), now)} AS is_invited,
      ${signupIsBlocked(resources, email)} AS is_blocked`,
  })
  if (verdict[0]!.is_invited) throw invitationOpen()
  if (config.SIGNUP === 'closed') throw signupClosed()
  assertMaySignUp(resources, email)
  if (verdict[0]!.is_blocked) throw signupBlocked()
}

/** A condition: that an address has an open invitation. */
const isInvited = (emailNormalized: string, now: number) =>
  sql`EXISTS (SELECT 1 FROM ${invitations} WHERE email_normalized = ${emailNormalized}
    AND accepted_at IS NULL AND withdrawn_at IS NULL AND expires_at > ${now})`

/** Somebody who signs up with an address that they have just proved. */
export interface Joining {
  /** Of the new account. */
  userId: string
  email: string
  name: string
  terms_version?: string | undefined
  challenge_token?: string | undefined
}

/** The proof behind it: valid once, and used up. */
export interface JoiningBy {
  isGood: SQL
  spend: (isDone: SQL) => readonly Statement[]
  /** Whether the bot challenge applies: not to somebody from a provider, which has done that itself. */
  isChallenged: boolean
  /** Further rows that the account begins with. */
  alsoWrite?: (isDone: SQL) => readonly Statement[]
  /** The error if the proof is no longer valid. */
  refused: () => AppError
}

/**
 * Makes an account without a password for somebody who has proved an address: account, history and the use of
 * the proof, in one batch. An account that holds the address unverified gives way.
 *
 * @throws 403 `signup_closed`, `signup_domain_refused`, `signup_blocked`, `challenge_failed`; 409
 *   `invitation_open`, as an invitation may give a role; 409 `email_taken`; 422 for outdated terms.
 */
export async function join(resources: Resources, joining: Joining, by: JoiningBy): Promise<User> {
  const { config, db, now } = resources
  if (config.SIGNUP === 'closed') throw signupClosed()
  assertMaySignUp(resources, joining.email)
  if (by.isChallenged) await assertHuman(resources, joining)
  const { email, name, terms_version } = joining
  const row = {
    ...(await makeUserRow(resources, { email, name, terms_version, role: 'user' }, true)),
    id: joining.userId,
  }
  const isTaken = emailIsProved(row.email_normalized)
  const invited = isInvited(row.email_normalized, now)
  const blocked = signupIsBlocked(resources, email)
  const isLet = sql`NOT ${isTaken} AND NOT ${invited} AND NOT ${blocked}`
  const creation = insertUser(resources, row, sql`${by.isGood} AND ${isLet}`, {
    action: 'user.signed_up',
    actorId: row.id,
  })
  const { isDone } = creation
  // A row of its own: `user.signed_up` does not imply a verified address.
  const proved = { id: uuidv7(), action: 'email.verified', userId: row.id, actorId: row.id } as const
  const { verdict, squatter, user } = await db.writeBatch(
    {
      ...creation.statements,
      proved: record(resources, proved, isDone),
      spending: by.spend(isDone),
      also: by.alsoWrite?.(isDone) ?? [],
      user: selectUsers().where(sql`${users.id} = ${row.id} AND ${isDone}`),
      verdict: sql<
        Record<'is_good' | 'is_taken' | 'is_invited' | 'is_blocked', 0 | 1>
      >`SELECT ${by.isGood} AS is_good,
        ${isTaken} AS is_taken, ${invited} AS is_invited, ${blocked} AS is_blocked`,
    },
    isDone,
  )
  if (user[0]) {
    await publishDoubts(resources, { users: squatter.map(({ id }) => id) })
    return user[0]
  }
  const { is_invited, is_taken, is_good, is_blocked } = verdict[0]!
  if (is_good && is_invited) throw invitationOpen()
  if (is_good && is_blocked) throw signupBlocked()
  throw is_good && is_taken ? emailTaken() : by.refused()
}

/**
 * Hands an account whose address was never verified to whoever has proved the address. Somebody else may have
 * made it, so everything that could open it or act for it is void: its sessions end, and it has no password.
 *
 * @param isMaker whether they have shown that they made it: then nothing is void.
 */
export const takeOver = (
  resources: Resources,
  by: Authority,
  user: User,
  {
    isMaker = false,
    alsoWrite,
  }: { isMaker?: boolean; alsoWrite?: (isDone: SQL) => readonly Statement[] } = {},
): Promise<User> =>
  applyChange(resources, by, user, {
    action: 'email.verified',
    reliesOn: isSameForProof(user),
    ...(alsoWrite && { alsoWrite }),
    ...(isMaker
      ? { set: { email_verified_at: resources.now } }
      : {
          set: { email_verified_at: resources.now, ...NO_PASSWORD },
          endsTokens: true,
          endsSessions: { reason: 'password_changed' },
          voidsWaysIn: true,
        }),
  })
