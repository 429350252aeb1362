import { sql } from 'drizzle-orm'
import { record } from '../activity/service.ts'
import { makeChallenge, openChallenge, openTry } from '../challenges/service.ts'
import type { Resources } from '../context.ts'
import { selectFactorState } from '../factors/state.ts'
import { Refusal } from '../http/problem.ts'
import { checkPasskey, requestOptions, selectPasskey } from '../passkeys/ceremonies.ts'
import { passkeys } from '../passkeys/models.ts'
import type { PasskeyOptions } from '../passkeys/schemas.ts'
import { selectUsers, users } from '../users/models.ts'
import { arriving, assertMayEnter } from './arrival.ts'
import { invalidCredentials } from './errors.ts'
import type { PasskeyLogIn } from './schemas.ts'
import type { Proven } from './start-session.ts'

/**
 * What a browser needs to sign in with any passkey of ours. Nobody types an address, and none is revealed.
 */
export function beginPasskeyLogin({ config }: Resources): PasskeyOptions {
  const challenge_id = makeChallenge(config, { kind: 'signin', userId: null, about: 'any' })
  return { challenge_id, options: requestOptions(config, challenge_id) }
}

/**
 * Signs in by a passkey alone, which is both factors at once. The challenge is used up before anything else
 * is checked.
 *
 * @throws 401 `invalid_credentials`, whatever was wrong. Only after the right passkey: 403
 *   `account_disabled`, `email_not_verified`; 403 `second_factor_required` if its counter went back.
 */
export async function provePasskey(resources: Resources, input: PasskeyLogIn): Promise<Proven> {
  const { db, config, now } = resources
  const challenge = openChallenge(config, 'signin', input.challenge_id, now)
  if (!challenge) throw invalidCredentials(new Refusal('challenge'))
  const attempt = openTry(challenge, now)
  const ownerId = sql`(SELECT user_id FROM ${passkeys} WHERE credential_id = ${input.credential.id})`
  const results = await db.writeBatch({
    count: attempt.count,
    counted: attempt.counted,
    passkey: selectPasskey(input.credential.id),
    user: selectUsers().where(sql`${users.id} = ${ownerId} AND deleted_at IS NULL`),
    factors: selectFactorState(config, ownerId),
  })
  const [user, row] = [results.user[0], results.passkey[0]]
  if (results.counted.length === 0) throw invalidCredentials(new Refusal('used'))
  const proved = checkPasskey(resources, input.challenge_id, input.credential, row, { isNamed: false })
  if (proved instanceof Refusal || !user) {
    if (user) {
      const details = { reason: 'wrong_passkey', count: 1 }
      const event = { action: 'login.failed', userId: user.id, actorId: null, details } as const
      await db.writeBatch({ history: record(resources, event, sql`1`) })
    }
    throw invalidCredentials(proved instanceof Refusal ? proved : new Refusal('inactive'))
  }
  assertMayEnter(resources, user)
  return {
    ...arriving(resources, user, input.device_token),
    factors: results.factors[0]!,
    proofs: [proved.isDoubtful ? 'doubtful_passkey' : 'passkey'],
    takeBack: proved.isDoubtful ? proved.spend(sql`1`) : [],
    used: [
      { isGood: attempt.isUnspent, spend: (isDone) => [attempt.spend(isDone)] },
      { isGood: proved.isGood, spend: proved.spend },
    ],
  }
}
