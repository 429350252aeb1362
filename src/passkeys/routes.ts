import { reauthenticationRequired } from '../access/errors.ts'
import { signedInToEnrol } from '../access/guards.ts'
import type { AppEnv } from '../context.ts'
import { lastWayIn, mailCodeRequired } from '../factors/errors.ts'
import { ADDING_A_FACTOR, Passkey } from '../factors/schemas.ts'
import { Hono } from '../http/hono.ts'
import { body, operation } from '../http/operation.ts'
import { revalidated } from '../http/precondition.ts'
import { invalidLink } from '../links/errors.ts'
import { replaceSessionCookie } from '../sessions/cookie.ts'
import { tooManyAttempts } from '../throttle/errors.ts'
import { addressNotVerified, writeConflict } from '../users/errors.ts'
import { originsOf } from './ceremonies.ts'
import * as errors from './errors.ts'
import {
  PasskeyAdded,
  PasskeyEndpoints,
  PasskeyOptions,
  RegisterPasskey,
  RelatedOrigins,
  RenamePasskey,
} from './schemas.ts'
import { beginPasskey, registerPasskey, removePasskey, renamePasskey } from './service.ts'

const tag = 'factors'

/** Under /v1/auth/passkeys: one's own passkeys. */
export const passkeyRoutes = new Hono<AppEnv>()
  .post(
    '/options',
    operation({
      id: 'beginPasskey',
      tag,
      summary: 'What a browser needs to make a passkey',
      description: 'Needs a recent login. Counts only in this session.',
      responses: { 200: PasskeyOptions },
      problems: [reauthenticationRequired, errors.tooManyPasskeys],
    }),
    signedInToEnrol,
    async (c) => c.json(await beginPasskey(c.var, c.var.actor)),
  )
  .post(
    '/',
    operation({
      id: 'registerPasskey',
      tag,
      summary: 'Add the passkey that was made',
      description: ADDING_A_FACTOR,
      responses: { 201: PasskeyAdded },
      problems: [
        reauthenticationRequired,
        errors.invalidPasskey,
        errors.passkeyExists,
        errors.tooManyPasskeys,
        mailCodeRequired,
        addressNotVerified,
        invalidLink,
        writeConflict,
        () => tooManyAttempts(60),
      ],
    }),
    signedInToEnrol,
    body(RegisterPasskey),
    async (c) => {
      const added = await registerPasskey(c.var, c.var.actor, c.var.body)
      replaceSessionCookie(c, c.var.actor)
      return c.json(added, 201)
    },
  )
  .patch(
    '/:id',
    operation({
      id: 'renamePasskey',
      tag,
      summary: 'Give a passkey another name',
      description: 'Needs a recent login.',
      responses: { 200: Passkey },
      problems: [reauthenticationRequired, errors.passkeyNotFound, writeConflict],
    }),
    signedInToEnrol,
    body(RenamePasskey),
    async (c) => c.json(await renamePasskey(c.var, c.var.actor, c.req.param('id'), c.var.body)),
  )
  .delete(
    '/:id',
    operation({
      id: 'removePasskey',
      tag,
      summary: 'Remove a passkey; the last way in stays',
      description: 'Ends the other sessions. With the last factor go the recovery codes.',
      responses: { 204: null },
      problems: [reauthenticationRequired, errors.passkeyNotFound, lastWayIn, writeConflict],
    }),
    signedInToEnrol,
    async (c) => {
      await removePasskey(c.var, c.var.actor, c.req.param('id'))
      replaceSessionCookie(c, c.var.actor)
      return c.body(null, 204)
    },
  )

const CACHE_CONTROL = 'public, max-age=600'

/** What browsers and password managers look for. Served on every host, including a former one. */
export const relyingPartyRoutes = new Hono<AppEnv>()
  .get(
    '/.well-known/webauthn',
    operation({
      id: 'getRelatedOrigins',
      tag,
      summary: 'Origins at which passkeys of ours may be used (WebAuthn level 3 section 5.11)',
      description: 'For browsers.',
      responses: { 200: RelatedOrigins },
    }),
    revalidated,
    (c) => c.json({ origins: originsOf(c.var.config) }, 200, { 'cache-control': CACHE_CONTROL }),
  )
  .get(
    '/.well-known/passkey-endpoints',
    operation({
      id: 'getPasskeyEndpoints',
      tag,
      summary: 'Where passkeys are added and managed',
      description: 'For password managers.',
      responses: { 200: PasskeyEndpoints },
    }),
    revalidated,
    (c) => {
      const page = `${c.var.config.LINK_ORIGIN ?? c.var.config.ISSUER}/account/security`
      return c.json({ enroll: page, manage: page }, 200, { 'cache-control': CACHE_CONTROL })
    },
  )
