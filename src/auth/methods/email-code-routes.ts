import type { AppEnv } from '../../context.ts'
import { Hono } from '../../http/hono.ts'
import { body, operation } from '../../http/operation.ts'
import { notFound } from '../../http/problem.ts'
import { invalidLink } from '../../links/errors.ts'
import { CODE_TRIES } from '../../links/service.ts'
import { mailNotConfigured } from '../../mail/errors.ts'
import { knownDevice } from '../../sessions/cookie.ts'
import { challengeFailed, challengeUnavailable, tooManyAttempts } from '../../throttle/errors.ts'
import { emailTaken, signupBlocked, signupDomainRefused, writeConflict } from '../../users/errors.ts'
import * as errors from '../errors.ts'
import { answerSignedIn, noCookieForOthers } from '../keep-signed-in.ts'
import { TokensOrCookie } from '../schemas.ts'
import { startSession } from '../start-session.ts'
import { proveEmailCode, requestEmailCode } from './email-code.ts'
import { AskForCode, CodeRequested, EmailCodeLogIn } from './schemas.ts'

const tag = 'auth'

/** Signing in, and up, with only a mailbox. */
export const emailCodeRoutes = new Hono<AppEnv>()
  .post(
    '/',
    operation({
      id: 'requestEmailCode',
      tag,
      summary: 'Mail a code that signs in',
      description:
        '202 whether or not there is an account. Where sign-up is open, addresses without one are mailed a code too; where sign-up takes a challenge, only with its token. Only where `EMAIL_CODE_SIGNIN` is on.',
      responses: { 202: CodeRequested },
      problems: [
        notFound,
        mailNotConfigured,
        () => tooManyAttempts(60),
        challengeFailed,
        () => challengeUnavailable(),
      ],
    }),
    body(AskForCode),
    async (c) => c.json(await requestEmailCode(c.var, { ...knownDevice(c), ...c.var.body }), 202),
  )
  .post(
    '/confirm',
    operation({
      id: 'logInByEmailCode',
      tag,
      summary: 'Sign in with a mailed code',
      description: `Confirms the address. ${CODE_TRIES} tries, only with the token of whoever asked. An account whose address was never proved loses its password and every other way in, unless \`signup_token\` shows who made it.`,
      responses: { 200: TokensOrCookie },
      problems: [
        notFound,
        invalidLink,
        errors.nameNeeded,
        () => errors.accountDisabled(null),
        errors.factorDue,
        errors.signupClosed,
        signupDomainRefused,
        signupBlocked,
        errors.invitationOpen,
        emailTaken,
        writeConflict,
        challengeFailed,
        () => challengeUnavailable(),
      ],
    }),
    body(EmailCodeLogIn),
    noCookieForOthers,
    async (c) => {
      const proven = await proveEmailCode(c.var, { ...knownDevice(c), ...c.var.body })
      return answerSignedIn(c, await startSession(c.var, proven, c.var.body), c.var.body)
    },
  )
