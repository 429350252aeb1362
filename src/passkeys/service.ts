import { and, eq, sql } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import { canStillSignIn } from '../access/can-sign-in.ts'
import { requireRecentLogin } from '../access/guards.ts'
import { makeChallenge, openChallenge, openTry } from '../challenges/service.ts'
import type { Resources } from '../context.ts'
import { build, insertWhere } from '../database/statements.ts'
import { addFactor, findMailProof, readOwn, removeFactor } from '../factors/enrol.ts'
import { lastWayIn } from '../factors/errors.ts'
import type { Passkey as PasskeyView } from '../factors/schemas.ts'
import { Refusal } from '../http/problem.ts'
import { addedAt, readAddedAt } from '../links/service.ts'
import type { Claims } from '../sessions/access-tokens.ts'
import { sessions } from '../sessions/models.ts'
import { applyChange, byActor, isSamePerson } from '../users/change.ts'
import { toTime, toTimeOrNull } from '../values/ids.ts'
import { describeUserAgent } from '../values/user-agent.ts'
import {
  creationOptions,
  expectedOf,
  refusalOf,
  selectPasskey,
  selectUsablePasskeys,
  userHandleOf,
} from './ceremonies.ts'
import { invalidPasskey, passkeyExists, passkeyNotFound, tooManyPasskeys } from './errors.ts'
import { type Passkey, passkeys } from './models.ts'
import type { PasskeyAdded, PasskeyOptions, RegisterPasskey, RenamePasskey } from './schemas.ts'
import { PasskeyRefusal, verifyRegistration } from './webauthn.ts'

const MAX_PASSKEYS = 20

const toPasskey = (row: Passkey, rpId: string): PasskeyView => ({
  id: row.id,
  name: row.name,
  created_at: toTime(row.created_at),
  last_used_at: toTimeOrNull(row.last_used_at),
  synced: row.is_synced === 1,
  usable: row.rp_id === rpId,
})

/** What a browser needs to make a passkey. Throws 403 `reauthentication_required`; 409 `too_many_passkeys`. */
export async function beginPasskey(resources: Resources, actor: Claims): Promise<PasskeyOptions> {
  const { config, db } = resources
  // Along with the next read, of the primary: an authenticator that is not told of its newest passkey overwrites that.
  const known = db.piggyback(build.select().from(passkeys).where(eq(passkeys.user_id, actor.sub)))
  const { user, state } = await readOwn(resources, actor)
  if (state.passkeys >= MAX_PASSKEYS) throw tooManyPasskeys()
  const challenge_id = makeChallenge(config, { kind: 'enrol', userId: actor.sub, about: actor.sid })
  return { challenge_id, options: creationOptions(config, challenge_id, user, await known.rows) }
}

/**
 * Adds a passkey that was made for a challenge of this session. The mailed code is checked last, because it
 * allows only five tries.
 *
 * @throws 400 `invalid_passkey`, `invalid_link`; 403 `mail_code_required`, `reauthentication_required`; 409
 *   `passkey_exists`, `too_many_passkeys`, `address_not_verified`; 429 `too_many_attempts`.
 */
export async function registerPasskey(
  resources: Resources,
  actor: Claims,
  input: RegisterPasskey,
): Promise<PasskeyAdded> {
  const { config, db, now, origin } = resources
  requireRecentLogin(actor, now)
  const challenge = openChallenge(config, 'enrol', input.challenge_id, now)
  if (challenge?.userId !== actor.sub || challenge.about !== actor.sid)
    throw invalidPasskey(new Refusal('challenge'))
  const attempt = openTry(challenge, now)
  const [own, { counted, taken }] = await Promise.all([
    readOwn(resources, actor),
    db.writeBatch({
      count: attempt.count,
      counted: attempt.counted,
      taken: selectPasskey(input.credential.id),
    }),
  ])
  if (counted.length === 0) throw invalidPasskey(new Refusal('used'))
  const made = read(resources, input)
  if (taken.length > 0) throw passkeyExists()
  if (own.state.passkeys >= MAX_PASSKEYS) throw tooManyPasskeys()
  const mailProof = await findMailProof(resources, actor, input)
  const row: Passkey = {
    id: uuidv7(),
    user_id: actor.sub,
    credential_id: made.credentialId,
    rp_id: config.WEBAUTHN_RP_ID,
    public_key: made.publicKey,
    sign_count: made.signCount,
    transports: JSON.stringify(input.credential.response.transports ?? []),
    aaguid: made.aaguid,
    may_be_synced: made.mayBeSynced ? 1 : 0,
    is_synced: made.isSynced ? 1 : 0,
    name: input.name ?? describeUserAgent(origin.userAgent) ?? 'Passkey',
    created_at: now,
    last_used_at: null,
  }
  const isTaken = sql`EXISTS (SELECT 1 FROM ${passkeys} WHERE credential_id = ${row.credential_id})`
  const isFull = sql`((SELECT count(*) FROM ${passkeys} WHERE user_id = ${actor.sub}) >= ${MAX_PASSKEYS})`
  const added = readAddedAt(resources, actor.sub)
  const recovery_codes = await addFactor(resources, actor, own, mailProof, {
    kind: 'passkey',
    proof: 'passkey',
    details: { name: row.name },
    about: row.id,
    unless: {
      used: { is: sql`(NOT ${attempt.isUnspent})`, refused: () => invalidPasskey(new Refusal('used')) },
      taken: { is: isTaken, refused: passkeyExists },
      full: { is: isFull, refused: tooManyPasskeys },
    },
    write: (isDone) => [
      insertWhere(passkeys, { ...row, created_at: addedAt(actor.sub, now) }, isDone),
      attempt.spend(isDone),
    ],
  })
  const created_at = (await added.rows)[0]!.at
  return { ...toPasskey({ ...row, created_at }, config.WEBAUTHN_RP_ID), recovery_codes }
}

function read({ config }: Resources, { challenge_id, credential }: RegisterPasskey) {
  const { id, response } = credential
  try {
    return verifyRegistration({ id, ...response }, expectedOf(config, challenge_id))
  } catch (error) {
    if (error instanceof PasskeyRefusal) throw invalidPasskey(refusalOf(error))
    throw error
  }
}

/** Reads one of one's own passkeys. Throws 404 `passkey_not_found`. */
async function requireOwn(resources: Resources, actor: Claims, id: string) {
  const isThis = and(eq(passkeys.id, id), eq(passkeys.user_id, actor.sub))!
  const [own, { found }] = await Promise.all([
    readOwn(resources, actor),
    resources.db.readPrimary({ found: build.select().from(passkeys).where(isThis) }),
  ])
  if (!found[0]) throw passkeyNotFound()
  return { own, row: found[0], isThis, exists: sql`EXISTS (SELECT 1 FROM ${passkeys} WHERE ${isThis})` }
}

/** Throws 403 `reauthentication_required`; 404 `passkey_not_found`. */
export async function renamePasskey(
  resources: Resources,
  actor: Claims,
  id: string,
  { name }: RenamePasskey,
): Promise<PasskeyView> {
  const { own, row, isThis, exists } = await requireOwn(resources, actor, id)
  if (row.name !== name)
    await applyChange(resources, byActor(actor, resources.now), own.user, {
      action: 'passkey.renamed',
      details: { name: { from: row.name, to: name } },
      set: {},
      leavesUser: true,
      reliesOn: isSamePerson(own.user),
      unless: { gone: { is: sql`(NOT ${exists})`, refused: passkeyNotFound } },
      alsoWrite: (isDone) => [build.update(passkeys).set({ name }).where(and(isThis, isDone))],
    })
  return toPasskey({ ...row, name }, resources.config.WEBAUTHN_RP_ID)
}

/**
 * Removes a passkey, but never the last way in, even if two are removed at once.
 *
 * @throws 403 `reauthentication_required`; 404 `passkey_not_found`; 409 `last_way_in`.
 */
export async function removePasskey(resources: Resources, actor: Claims, id: string): Promise<void> {
  const { own, row, isThis, exists } = await requireOwn(resources, actor, id)
  const { config } = resources
  const isLast =
    row.rp_id === config.WEBAUTHN_RP_ID
      ? sql`(NOT ${canStillSignIn(config, actor.sub, { passkeyId: id })})`
      : sql`0`
  await removeFactor(resources, actor, own, {
    kind: 'passkey',
    details: { name: row.name },
    unless: {
      gone: { is: sql`(NOT ${exists})`, refused: passkeyNotFound },
      last: { is: isLast, refused: lastWayIn },
    },
    write: (isDone) => [build.delete(passkeys).where(and(isThis, isDone))],
  })
}

/**
 * The remaining passkeys, which the authenticator is told (Signal API): one's own that work on this
 * deployment. It forgets all others, so none may be missing: adding one moves the session's turn, or ends the
 * session, and a replica that has not heard of this turn is not believed.
 */
export async function knownPasskeys({
  config,
  db,
  actor: { sub, sid, turn = 0 },
  signedIn,
}: Pick<Resources, 'config' | 'db'> & { actor: Claims; signedIn(): Promise<unknown> }) {
  const asked = {
    known: selectUsablePasskeys(config, sub),
    session: build.select({ turn: sessions.turn }).from(sessions).where(eq(sessions.id, sid)),
  }
  const read = await db.read(asked)
  const hasHeard = read.session[0] !== undefined && read.session[0].turn >= turn
  // Whoever turns out not to be signed in any more costs no other trip.
  if (!hasHeard) await signedIn()
  const { known } = hasHeard ? read : await db.readPrimary(asked)
  return {
    rpId: config.WEBAUTHN_RP_ID,
    userId: userHandleOf(sub),
    allAcceptedCredentialIds: known.map(({ credential_id }) => credential_id),
  }
}
