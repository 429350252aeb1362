import { and, eq, type SQL, sql } from 'drizzle-orm'
import { hasUsablePasskey } from '../access/can-sign-in.ts'
import { type Action, activityLogs } from '../activity/models.ts'
import { apiKeys } from '../api-keys/models.ts'
import type { Config } from '../config/main.ts'
import type { Resources } from '../context.ts'
import { factors, recoveryCodes } from '../factors/models.ts'
import { removeRecoveryCodes } from '../factors/recovery-codes.ts'
import { accountHasFactor } from '../factors/state.ts'
import { identities } from '../identities/models.ts'
import type { OneTimeToken } from '../links/models.ts'
import { noteFollowed, requireToken } from '../links/service.ts'
import { enqueueNotice } from '../mail/outbox.ts'
import { passkeys } from '../passkeys/models.ts'
import { openDeviceToken } from '../sessions/device-tokens.ts'
import { sessions } from '../sessions/models.ts'
import { whileDoubting } from '../sessions/near.ts'
import { revokeSessions } from '../sessions/service.ts'
import { knowsDevice } from '../throttle/devices.ts'
import { applyChange, byToken, isSamePerson } from '../users/change.ts'
import type { Change } from '../users/consequences.ts'
import { type User, users } from '../users/models.ts'
import { timeOfId } from '../values/ids.ts'
import { hasPasswordStill, requirePasswordOf } from './link-password.ts'
import { selectSubject } from './mail-link.ts'
import type { DisownFactor, FactorDisowned } from './schemas.ts'

/**
 * "This was not me", about a sign-in: the mail's reader ends that session, the apps' sessions under it, and
 * the keys it made. All devices become strangers again, as nothing tells which one it was, so the next
 * sign-in is reported too.
 *
 * @throws 400 `invalid_link`.
 */
export async function disownSession(resources: Resources, input: { token: string }): Promise<void> {
  const { now } = resources
  const { token, subject: user } = await requireToken(resources, 'disown_session', input, selectSubject)
  const id = token.about ?? ''
  await whileDoubting(resources, { users: [user.id], sessions: [id] }, () =>
    applyChange(resources, byToken(token, now), user, {
      action: 'session.ended',
      details: { session_id: id, reason: 'disowned' },
      set: {},
      forgetsDevices: true,
      reliesOn: isSamePerson(user),
      alsoWrite: (isDone) => [
        revokeSessions(now, 'ended', and(eq(sessions.id, id), eq(sessions.user_id, user.id), isDone)),
        sql`DELETE FROM ${apiKeys} WHERE user_id = ${user.id} AND session_id = ${id} AND ${isDone}`,
        // Sessions with `offline_access` end too: the user did not allow them.
        revokeSessions(
          now,
          'parent_ended',
          and(eq(sessions.parent_id, id), eq(sessions.user_id, user.id), isDone),
        ),
      ],
    }),
  )
}

/**
 * "This was not me", about a factor that was added or removed, or an identity that was linked. Every session
 * and key ends. An identity is removed. A factor is removed if another stays, or if the reader proves that
 * they had the account before it was added: by a device that had signed in, or by a password that was set
 * before, and not by a reset. The mailbox alone cannot remove a factor, or a thief would only need a reset.
 * If the factor stays, the link stays valid and devices stay known, as the proof may be at hand later.
 * Otherwise every device becomes a stranger.
 *
 * @throws 400 `invalid_link`; 403 `wrong_password`, and nothing is done.
 */
export async function disownFactor(resources: Resources, input: DisownFactor): Promise<FactorDisowned> {
  const { token, subject: user } = await requireToken(
    resources,
    'disown_factor',
    { token: input.token },
    selectSubject,
  )
  if (input.password !== undefined) await requirePasswordOf(resources, token, user, input.password)
  const which = factorOf(resources.config, token, user)
  const mayGo = sql`(${which.isThere} AND (${which.anotherStays} OR ${hadAccount(resources, input, token, user)}))`
  // From the primary: somebody may have signed in since the link was first followed, a moment ago.
  const {
    verdict: [verdict],
  } = await resources.db.readPrimary({
    verdict: sql<{ is_there: 0 | 1; may_go: 0 | 1; has_open: 0 | 1; name: string | null }>`SELECT
      ${which.isThere} AS is_there, ${mayGo} AS may_go,
      EXISTS (SELECT 1 FROM ${sessions} WHERE user_id = ${user.id} AND revoked_at IS NULL)
        OR EXISTS (SELECT 1 FROM ${apiKeys} WHERE user_id = ${user.id}) AS has_open,
      (SELECT name FROM ${passkeys} WHERE id = ${token.about}) AS name`,
  })
  const { is_there, may_go, has_open, name } = verdict!
  const ending = {
    set: {},
    reliesOn: isSamePerson(user),
    endsTokens: true,
    endsSessions: { reason: 'ended' },
    endsKeys: true,
    forgetsDevices: may_go === 1 || is_there === 0,
  } satisfies Partial<Change>
  const by = byToken(token, resources.now)
  if (!may_go) {
    const details = { reason: is_there ? 'disowned_kept' : 'disowned' }
    const keeping = is_there
      ? { ...by, spend: (isDone: SQL) => noteFollowed(resources, token, isDone) }
      : { ...by, holds: sql`(${by.holds} AND NOT ${which.isThere})` }
    // A second click has nothing to end, until somebody signs in.
    if (!is_there || token.clicked_at === null || has_open)
      await applyChange(resources, keeping, user, { action: 'sessions.ended', details, ...ending })
    return { factor: is_there ? 'kept' : 'none' }
  }
  await applyChange(resources, { ...by, holds: sql`(${by.holds} AND ${mayGo})` }, user, {
    action: which.kind === 'identity' ? 'identity.unlinked' : 'factor.removed',
    details:
      which.kind === 'identity'
        ? { reason: 'disowned' }
        : { kind: which.kind, ...(name !== null && { name }), reason: 'disowned' },
    ...ending,
    alsoWrite: (isDone) => [
      which.remove(isDone),
      // A thief who added it may have made new recovery codes with it.
      sql`DELETE FROM ${recoveryCodes} WHERE user_id = ${user.id} AND created_at >= ${timeOfId(token.id)} AND ${isDone}`,
      removeRecoveryCodes(user.id, sql`${isDone} AND NOT ${accountHasFactor(user.id)}`),
    ],
    mails: (isDone) => [enqueueNotice(resources, `${which.kind}_removed`, user, isDone)],
  })
  return { factor: 'removed' }
}

/** The factor or identity that a mail is about, as conditions. */
function factorOf(config: Config, { about }: OneTimeToken, { id: userId }: User) {
  const [, identityId] = /^identity\.(.+)$/.exec(about ?? '') ?? []
  if (identityId !== undefined) {
    const isThis = sql`user_id = ${userId} AND id = ${identityId}`
    // It can always be removed: an identity is not a second factor, and the mailbox is another way in.
    return {
      kind: 'identity' as const,
      isThere: sql`EXISTS (SELECT 1 FROM ${identities} WHERE ${isThis})`,
      anotherStays: sql`1`,
      remove: (isDone: SQL) => sql`DELETE FROM ${identities} WHERE ${isThis} AND ${isDone}`,
    }
  }
  const confirmedAt = /^\d+$/.test(about ?? '') ? Number(about) : undefined
  const isApp = sql`user_id = ${userId} AND confirmed_at IS NOT NULL`
  const isThisApp = sql`user_id = ${userId} AND confirmed_at = ${confirmedAt ?? null}`
  const isThisPasskey = sql`user_id = ${userId} AND id = ${about}`
  return confirmedAt === undefined
    ? {
        kind: 'passkey' as const,
        isThere: sql`EXISTS (SELECT 1 FROM ${passkeys} WHERE ${isThisPasskey})`,
        anotherStays: sql`(${hasUsablePasskey(config, userId, about ?? '')} OR EXISTS (SELECT 1 FROM ${factors} WHERE ${isApp}))`,
        remove: (isDone: SQL) => sql`DELETE FROM ${passkeys} WHERE ${isThisPasskey} AND ${isDone}`,
      }
    : {
        kind: 'totp' as const,
        isThere: sql`EXISTS (SELECT 1 FROM ${factors} WHERE ${isThisApp})`,
        anotherStays: hasUsablePasskey(config, userId),
        remove: (isDone: SQL) => sql`DELETE FROM ${factors} WHERE ${isThisApp} AND ${isDone}`,
      }
}

/** A condition: that the mail's reader had the account before the factor was added. */
function hadAccount(
  { config, now }: Resources,
  { password, device_token }: DisownFactor,
  token: OneTimeToken,
  user: User,
): SQL {
  const timeAdded = timeOfId(token.id)
  const device = openDeviceToken(config, device_token, now)
  // Other disownings since then made all devices strangers, but an older device is still the owner's.
  const disownings = sql`(SELECT count(*) FROM ${activityLogs} WHERE ${activityLogs.user_id} = ${user.id}
    AND ${activityLogs.action} IN ('session.ended', 'sessions.ended', 'factor.removed', 'identity.unlinked')
    AND ${activityLogs.id} > ${token.id} AND ${activityLogs.details} ->> '$.reason' = 'disowned')`
  const isOlderDevice =
    device && (device.knownSince ?? timeAdded) < timeAdded
      ? sql`EXISTS (SELECT 1 FROM ${users} WHERE ${users.id} = ${user.id} AND ${knowsDevice(device, disownings)})`
      : sql`0`
  // A password that was set by a reset only proves the mailbox.
  const newest = (action: Action) => sql`coalesce((SELECT max(${activityLogs.id}) FROM ${activityLogs}
    WHERE ${activityLogs.user_id} = ${user.id} AND ${activityLogs.action} = ${action}), '')`
  const isOlderPassword =
    password === undefined
      ? sql`0`
      : sql`(${hasPasswordStill(user)} AND ${newest('password.changed')} < ${token.id}
          AND ${newest('password.reset')} <= ${newest('password.changed')})`
  return sql`(${isOlderDevice} OR ${isOlderPassword})`
}
