import { reauthenticationRequired } from '../access/errors.ts'
import { requirePermission, signedInToEnrol } from '../access/guards.ts'
import type { AppEnv } from '../context.ts'
import { Hono } from '../http/hono.ts'
import { body, operation } from '../http/operation.ts'
import { precondition } from '../http/precondition.ts'
import { invalidLink } from '../links/errors.ts'
import { MailRequested } from '../links/schemas.ts'
import { mailNotConfigured } from '../mail/errors.ts'
import { replaceSessionCookie } from '../sessions/cookie.ts'
import { tooManyAttempts } from '../throttle/errors.ts'
import { changeUser } from '../users/change.ts'
import { addressNotVerified, userDeleted, writeConflict } from '../users/errors.ts'
import { MANAGING_PROBLEMS } from '../users/routes/responses.ts'
import { requestMailCode } from './enrol.ts'
import * as errors from './errors.ts'
import { CODES_AT_ONCE } from './recovery-codes.ts'
import { resettingFactors } from './reset.ts'
import { ADDING_A_FACTOR, ConfirmTotp, Factors, RecoveryCodes, TotpSeed } from './schemas.ts'
import { beginTotp, confirmTotp, listFactors, removeTotp, renewRecoveryCodes } from './service.ts'

const tag = 'factors'

/** Under /v1/auth/factors: one's own factors. */
export const factorRoutes = new Hono<AppEnv>()
  .get(
    '/',
    operation({
      id: 'listFactors',
      tag,
      summary: 'Your second factors',
      description: 'With how many recovery codes are left. A passkey of a former domain is not `usable`.',
      responses: { 200: Factors },
    }),
    signedInToEnrol,
    async (c) => c.json(await listFactors(c.var, c.var.actor.sub)),
  )
  .post(
    '/totp',
    operation({
      id: 'beginTotp',
      tag,
      summary: 'Make a seed for an authenticator app',
      description: 'Shown once, and inert until a code of the app confirms it.',
      responses: { 201: TotpSeed },
      problems: [reauthenticationRequired, errors.totpExists],
    }),
    signedInToEnrol,
    async (c) => c.json(await beginTotp(c.var, c.var.actor), 201),
  )
  .post(
    '/totp/confirm',
    operation({
      id: 'confirmTotp',
      tag,
      summary: 'Confirm the authenticator app with its first code',
      description: ADDING_A_FACTOR,
      responses: { 200: RecoveryCodes },
      problems: [
        reauthenticationRequired,
        errors.wrongCode,
        errors.mailCodeRequired,
        errors.nothingToConfirm,
        addressNotVerified,
        invalidLink,
        writeConflict,
        () => tooManyAttempts(60),
      ],
    }),
    signedInToEnrol,
    body(ConfirmTotp),
    async (c) => {
      const codes = await confirmTotp(c.var, c.var.actor, c.var.body)
      replaceSessionCookie(c, c.var.actor)
      return c.json(codes)
    },
  )
  .delete(
    '/totp',
    operation({
      id: 'removeTotp',
      tag,
      summary: 'Remove the authenticator app',
      description: 'Ends the other sessions. With the last factor go the recovery codes.',
      responses: { 204: null },
      problems: [reauthenticationRequired, errors.factorNotFound, errors.lastWayIn, writeConflict],
    }),
    signedInToEnrol,
    async (c) => {
      if (await removeTotp(c.var, c.var.actor)) replaceSessionCookie(c, c.var.actor)
      return c.body(null, 204)
    },
  )
  .post(
    '/mail_code',
    operation({
      id: 'requestFactorCode',
      tag,
      summary: 'Ask for the mailed code that the first factor of an account takes',
      description: 'Needs a recent login. Counts only in this session.',
      responses: { 202: MailRequested },
      problems: [reauthenticationRequired, addressNotVerified, mailNotConfigured, () => tooManyAttempts(60)],
    }),
    signedInToEnrol,
    async (c) => c.json(await requestMailCode(c.var, c.var.actor), 202),
  )
  .post(
    '/recovery_codes',
    operation({
      id: 'renewRecoveryCodes',
      tag,
      summary: `Make ${CODES_AT_ONCE} new recovery codes`,
      description: 'The former ones stop working. Shown once; you are told by mail.',
      responses: { 200: RecoveryCodes },
      problems: [reauthenticationRequired, errors.noFactor, writeConflict],
    }),
    signedInToEnrol,
    async (c) => c.json(await renewRecoveryCodes(c.var, c.var.actor)),
  )

/** Under /v1/users: factors of users whom one manages. */
export const userFactorRoutes = new Hono<AppEnv>().delete(
  '/:id/factors',
  operation({
    id: 'resetFactors',
    tag: 'users',
    summary: 'Remove every second factor of a user who has lost them',
    description: 'Passkeys and recovery codes, too. Ends their sessions; they are told by mail.',
    responses: { 204: null },
    problems: [...MANAGING_PROBLEMS, reauthenticationRequired, userDeleted],
  }),
  requirePermission('users:update'),
  precondition,
  async (c) => {
    await changeUser(c.var, c.req.param('id'), resettingFactors(c.var, c.req.param('id')))
    return c.body(null, 204)
  },
)
