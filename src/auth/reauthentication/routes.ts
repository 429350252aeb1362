import { endsTheft, limitHashing, signedInToEnrol } from '../../access/guards.ts'
import type { AppEnv } from '../../context.ts'
import { wrongCode } from '../../factors/errors.ts'
import { Hono } from '../../http/hono.ts'
import { body, operation } from '../../http/operation.ts'
import { invalidLink } from '../../links/errors.ts'
import { MailRequested } from '../../links/schemas.ts'
import { mailNotConfigured } from '../../mail/errors.ts'
import { invalidPasskey } from '../../passkeys/errors.ts'
import { PasskeyOptions } from '../../passkeys/schemas.ts'
import { wrongPassword } from '../../passwords/errors.ts'
import { moveSessionCookie } from '../../sessions/cookie.ts'
import { tooManyAttempts as tooManyAttemptsProblem } from '../../throttle/errors.ts'
import { addressNotVerified } from '../../users/errors.ts'
import { toUser } from '../../users/schemas.ts'
import { factorNeededAgain, otherProofNeeded } from '../errors.ts'
import { Reauthenticate, ReauthenticatedOrCookie } from '../schemas.ts'
import { requestMailedProof } from './mailed-proof.ts'
import { beginReauthentication, freshAccessToken, reauthenticate } from './reauthenticate.ts'

const tag = 'auth'
const tooManyAttempts = () => tooManyAttemptsProblem(60)

/** Proving again who somebody is. An owner needs it to end a theft, so it is counted for the session only. */
export const reauthenticationRoutes = new Hono<AppEnv>()
  .post(
    '/reauthenticate/options',
    operation({
      id: 'beginReauthentication',
      tag,
      summary: 'What a browser needs to prove again who you are with a passkey',
      description: 'Counts only in this session.',
      responses: { 200: PasskeyOptions },
    }),
    endsTheft,
    signedInToEnrol,
    async (c) => {
      const { challenge_id, options } = await beginReauthentication(c.var, c.var.actor)
      return c.json({ challenge_id, options })
    },
  )
  .post(
    '/reauthenticate/mail_code',
    operation({
      id: 'requestMailedProof',
      tag,
      summary: 'Mail a code that proves again who you are',
      description: 'Only where there is neither a password nor a passkey. Counts only in this session.',
      responses: { 202: MailRequested },
      problems: [otherProofNeeded, addressNotVerified, mailNotConfigured, tooManyAttempts],
    }),
    endsTheft,
    signedInToEnrol,
    async (c) => c.json(await requestMailedProof(c.var, c.var.actor), 202),
  )
  .post(
    '/reauthenticate',
    operation({
      id: 'reauthenticate',
      tag,
      summary: 'Prove again who you are: an access token that counts as a recent login',
      description: 'Only that token does: a refresh gives one with the time of the login.',
      responses: { 200: ReauthenticatedOrCookie },
      problems: [
        wrongPassword,
        wrongCode,
        invalidPasskey,
        invalidLink,
        otherProofNeeded,
        () => factorNeededAgain(['totp', 'recovery_code']),
        tooManyAttempts,
      ],
    }),
    endsTheft,
    signedInToEnrol,
    body(Reauthenticate),
    limitHashing,
    async (c) => {
      const proven = await reauthenticate(c.var, c.var.actor, c.var.body)
      if (c.var.actor.turn === undefined) return c.json(await freshAccessToken(c.var, c.var.actor, proven))
      moveSessionCookie(c, { turn: proven.turn, auth_time: Math.floor(proven.provedAt / 1000) })
      return c.json({ user: toUser(proven.user) })
    },
  )
