import { type SQL, sql } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import { hasRecentLogin, noRecentLogin } from '../access/guards.ts'
import { outranks } from '../access/permissions.ts'
import { type Action, activityLogs } from '../activity/models.ts'
import { record } from '../activity/service.ts'
import type { Config } from '../config/main.ts'
import type { Resources } from '../context.ts'
import { insertWhere, rowExists } from '../database/statements.ts'
import { type AppError, Refusal } from '../http/problem.ts'
import { type IdempotentRequest, openIdempotency, recalled } from '../idempotency/service.ts'
import { openMailRequest } from '../mail/limits.ts'
import { enqueueAsked, sendAfterwards } from '../mail/outbox.ts'
import { hashNewPassword, recordUnchecked } from '../passwords/service.ts'
import type { Claims } from '../sessions/access-tokens.ts'
import { invalidToken } from '../sessions/errors.ts'
import { tokenIsLive } from '../sessions/revocation.ts'
import { isBlocked } from '../signup-blocks/models.ts'
import { entriesOf } from '../values/blocked.ts'
import { normalizeEmail } from '../values/email.ts'
import { networksAround } from '../values/ip.ts'
import {
  adoptInvitations,
  deleteSquatter,
  type GivingWay,
  NO_SQUATTER,
  TO_PROOF,
  TO_WHO_MANAGES,
} from './consequences.ts'
import { emailTaken, externalIdTaken, outranked, signupBlocked, signupDomainRefused } from './errors.ts'
import { assertTermsOfNow } from './me.ts'
import { emailIsHeld, externalIdIsTaken, type NewUser, type Role, TYPED, users } from './models.ts'
import { nameFold } from './names.ts'
import { type CreateUser, type ManagedUser, toManagedUser } from './schemas.ts'

type WhoJoins = Pick<Resources, 'config' | 'origin'>

/**
 * Cached for each request, as it is needed several times: listing the networks around an IPv6 address takes a
 * while.
 */
const networksOf = new WeakMap<object, string[]>()

function networksAsked(origin: WhoJoins['origin']): string[] {
  const known = networksOf.get(origin)
  if (known) return known
  const networks = origin.ip === null ? [] : networksAround(origin.ip)
  networksOf.set(origin, networks)
  return networks
}

/**
 * Every entry, in SIGNUP_BLOCKED or the table, that would block somebody by their email address or their
 * network.
 */
const entriesAgainst = ({ origin }: Pick<WhoJoins, 'origin'>, email: string): string[] => [
  ...entriesOf(normalizeEmail(email)),
  ...networksAsked(origin),
]

/** A condition: that the table blocks somebody who registers. */
export const signupIsBlocked = (joining: Pick<WhoJoins, 'origin'>, email: string): SQL =>
  isBlocked(entriesAgainst(joining, email))

/** The refusal by the settings of an address that only its owner has vouched for. */
function refusalBy(
  { SIGNUP_DOMAINS, SIGNUP_BLOCKED }: Config,
  email: string,
  against: string[],
): AppError | undefined {
  const domain = normalizeEmail(email).split('@')[1]!
  // An allow-list names each domain, without its subdomains.
  if (SIGNUP_DOMAINS.length > 0 && !SIGNUP_DOMAINS.includes(domain)) return signupDomainRefused()
  return SIGNUP_BLOCKED.some((entry) => against.includes(entry)) ? signupBlocked() : undefined
}

/**
 * The refusal by the settings of somebody who registers. The table is checked in a later trip: see
 * `signupIsBlocked`.
 */
export const refusalOfSignup = (joining: WhoJoins, email: string): AppError | undefined =>
  refusalBy(joining.config, email, entriesAgainst(joining, email))

/** Throws 403 `signup_domain_refused`, `signup_blocked`. */
export function assertMaySignUp(joining: WhoJoins, email: string): void {
  const refusal = refusalOfSignup(joining, email)
  if (refusal) throw refusal
}

/** For an existing user: checks only the address. Throws 403 `signup_domain_refused`, `signup_blocked`. */
export function assertAddressIsLet(config: Config, email: string): void {
  const refusal = refusalBy(config, email, entriesOf(normalizeEmail(email)))
  if (refusal) throw refusal
}

/** What managers may set for a user besides name, address and role. */
type Given = { [name in 'locale' | 'external_id' | 'metadata' | 'admin_metadata']: string | null | undefined }

/**
 * A new user's row, with the password hashed. Throws 422 for a weak password, or for terms that are not the
 * current ones.
 */
export async function makeUserRow(
  resources: Resources,
  input: {
    email: string
    name: string
    password?: string | undefined
    role: Role
    terms_version?: string | undefined
  } & Partial<Given>,
  isVerified = false,
) {
  const { password, terms_version = null } = input
  if (terms_version !== null) assertTermsOfNow(resources.config, terms_version)
  const password_hash = password === undefined ? null : await hashNewPassword(resources, password, input)
  const { now } = resources
  return {
    id: uuidv7(),
    email: input.email,
    email_normalized: normalizeEmail(input.email),
    name: input.name,
    name_fold: nameFold(input.name),
    password_hash,
    role: input.role,
    status: 'active',
    disabled_reason: null,
    disabled_until: null,
    email_verified_at: isVerified ? now : null,
    version: 1,
    token_epoch: 0,
    failed_logins: 0,
    failed_factors: 0,
    factors: 0,
    password_is_given: 0,
    needs_reset: 0,
    created_at: now,
    updated_at: now,
    last_login_at: null,
    deleted_at: null,
    locale: input.locale ?? null,
    metadata: input.metadata ?? null,
    admin_metadata: input.admin_metadata ?? null,
    external_id: input.external_id ?? null,
    terms_version,
    terms_accepted_at: terms_version === null ? null : now,
  } as const satisfies NewUser
}

type Verdict = Record<'is_done' | 'holds' | 'is_others_id', 0 | 1>

/**
 * Creates a user in the name of an actor. Account, history, idempotency key and the mail that asks them to
 * confirm their address are written in one batch.
 *
 * @throws 409 `email_taken`, `external_id_taken`; 422 for a weak password or a key used for something else;
 *   403 `outranked`, and `reauthentication_required` for a role above `user`.
 */
export async function createUser(
  resources: Resources,
  input: CreateUser,
  request: IdempotentRequest | undefined,
  actor: Claims,
): Promise<ManagedUser> {
  if (!outranks(actor.role, input.role)) throw outranked()
  const isRecent = input.role === 'user' || hasRecentLogin(actor, resources.now)
  // A kept answer is repeated however old the login is by now. Without an idempotency key there is none.
  if (!isRecent && !request) throw noRecentLogin(actor)
  const row = {
    ...(await makeUserRow(resources, input)),
    password_is_given: input.password === undefined ? 0 : TYPED,
  }
  const answer = toManagedUser({ ...row, state: row.status })
  const holds = tokenIsLive(actor, resources.now)
  const isOthersId = row.external_id === null ? sql`0` : externalIdIsTaken(row.external_id)
  const mayCreate = sql`${holds} AND NOT ${emailIsHeld(row.email_normalized, TO_WHO_MANAGES.who)} AND NOT ${isOthersId}`
  const isMailed = input.notify && resources.send !== undefined
  const asked = openMailRequest(resources, {
    kind: 'account_made',
    emailNormalized: row.email_normalized,
    actor: { as: 'manager', id: actor.sub },
    isAsked: holds,
  })
  const mayMake = sql`${mayCreate} AND ${isRecent} AND ${isMailed ? asked.mayAsk : sql`1`}`
  const once = openIdempotency(resources, request, row.id, answer, mayMake)
  const creation = insertUser(resources, row, once.isFirst, {
    action: 'user.created',
    actorId: actor.sub,
    givingWay: TO_WHO_MANAGES,
  })
  const mail = enqueueAsked(
    resources,
    asked,
    {
      kind: 'account_made',
      subjectId: row.id,
      email: row.email,
      emailNormalized: row.email_normalized,
    },
    creation.isDone,
  )
  const results = await resources.db.writeBatch(
    {
      count: isMailed ? asked.count : [],
      claim: once.claim,
      ...creation.statements,
      mail: isMailed ? mail.statements : [],
      mailing: asked.verdict,
      countMade: isMailed ? [asked.countMade(mail.mailId)] : [],
      verdict: sql<Verdict>`SELECT ${creation.isDone} AS is_done, ${holds} AS holds, ${isOthersId} AS is_others_id`,
      ...once.recall,
    },
    creation.isDone,
  )
  const kept = recalled(request, results, answer)
  const { is_done, holds: isLive, is_others_id } = results.verdict[0]!
  if (kept === answer && !is_done) {
    if (!isLive) throw invalidToken(new Refusal('meanwhile'))
    if (!isRecent) throw noRecentLogin(actor)
    if (isMailed) asked.assertAllowed(results.mailing)
    if (is_others_id) throw externalIdTaken()
    throw emailTaken()
  }
  if (isMailed) sendAfterwards(resources, mail.mailId)
  return kept
}

/**
 * The statements that create a user if `condition` holds, which must include that the address is free. `isDone` is
 * the marker of the batch and the condition for what depends on it. A proved address is taken from whoever holds it
 * unproved, and invitations to it end (except `invitation`, which they accepted); `givingWay` says from whom else it
 * may be taken.
 */
export function insertUser(
  resources: Resources,
  row: Omit<Awaited<ReturnType<typeof makeUserRow>>, 'password_is_given'> & { password_is_given: number },
  condition: SQL,
  {
    action,
    actorId,
    invitation = '',
    givingWay,
  }: { action: Action; actorId: string | null; invitation?: string; givingWay?: GivingWay },
) {
  const event = { id: uuidv7(), action, userId: row.id, actorId, details: { role: row.role } }
  const isDone = rowExists(activityLogs, event.id)
  const isProved = row.email_verified_at !== null
  const { id, email_normalized } = row
  const toWhom = isProved ? TO_PROOF : givingWay
  const way = toWhom
    ? deleteSquatter(resources, email_normalized, { actorId, exceptId: id, givingWay: toWhom }, isDone)
    : NO_SQUATTER
  return {
    isDone,
    statements: {
      history: record(resources, event, condition),
      way: way.statements,
      squatter: way.squatter,
      creation: insertWhere(users, row, isDone),
      unchecked: recordUnchecked(resources, row.password_hash, row.id, isDone),
      adoption: isProved
        ? adoptInvitations(
            resources,
            { userId: id, email_normalized, actorId },
            isDone,
            sql`id <> ${invitation}`,
          )
        : [],
    },
  }
}
