import { reauthenticationRequired } from '../access/errors.ts'
import {
  anyIssuedToken,
  endsTheft,
  limitHashing,
  signedIn,
  signedInHere,
  signedInToEnrol,
} from '../access/guards.ts'
import { challengeSpent } from '../challenges/errors.ts'
import { CHALLENGE_LIFETIME, MAX_TRIES } from '../challenges/service.ts'
import type { AppEnv } from '../context.ts'
import { invalidSecondFactor } from '../factors/errors.ts'
import { Hono } from '../http/hono.ts'
import { body, operation } from '../http/operation.ts'
import { answerList } from '../http/pagination.ts'
import { precondition } from '../http/precondition.ts'
import { tooManyRequests } from '../http/problem.ts'
import { idempotent } from '../idempotency/service.ts'
import { PasskeyOptions } from '../passkeys/schemas.ts'
import { wrongPassword } from '../passwords/errors.ts'
import { changePassword } from '../recovery/change-password.ts'
import { ChangePassword } from '../recovery/schemas.ts'
import { clearOwnCookie, knownDevice, moveSessionCookie, rememberDevice } from '../sessions/cookie.ts'
import { invalidRefreshToken, sessionNotFound, sessionRevoked } from '../sessions/errors.ts'
import { SessionList } from '../sessions/schemas.ts'
import { listOwnSessions } from '../sessions/service.ts'
import {
  challengeFailed,
  challengeUnavailable,
  tooManyAttempts as tooManyAttemptsProblem,
} from '../throttle/errors.ts'
import { emailTaken, signupBlocked, signupDomainRefused, writeConflict } from '../users/errors.ts'
import { toUser } from '../users/schemas.ts'
import * as errors from './errors.ts'
import { answerSignedIn, noCookieForOthers } from './keep-signed-in.ts'
import { logIn } from './login.ts'
import { endMySession, logOut, logOutAll } from './logout.ts'
import { beginPasskeyLogin, provePasskey } from './passkey-login.ts'
import { refresh } from './refresh.ts'
import {
  LogIn,
  LogInForm,
  PasskeyLogIn,
  Refresh,
  RefreshForm,
  SecondFactor,
  SecondFactorChallenge,
  SignedUp,
  SignUp,
  SignupAccepted,
  Tokens,
  TokensOrCookie,
} from './schemas.ts'
import { beginSecondFactor, proveSecondFactor } from './second-factor.ts'
import { signUp } from './signup.ts'
import { startSession, toTokens } from './start-session.ts'

const tag = 'auth'
const tooManyAttempts = () => tooManyAttemptsProblem(60)

export const authRoutes = new Hono<AppEnv>()
  .post(
    '/signup',
    operation({
      id: 'signUp',
      tag,
      summary: 'Sign up',
      description:
        '201 with the user; where addresses have to be verified, 202 with a body of the same form whether or not the address is taken.',
      responses: { 201: SignedUp, 202: SignupAccepted },
      responseHeaders: { 201: { Location: 'Where the user is.', ETag: 'The version of the user.' } },
      problems: [
        emailTaken,
        errors.signupClosed,
        signupDomainRefused,
        signupBlocked,
        challengeFailed,
        () => challengeUnavailable(),
        tooManyAttempts,
      ],
    }),
    body(SignUp),
    idempotent,
    limitHashing,
    async (c) => {
      const { status, body } = await signUp(c.var, c.var.body, c.var.idempotent)
      if (status === 202) return c.json(body, status)
      return c.json(body, status, { location: `/v1/users/${body.id}`, etag: `"${body.version}"` })
    },
  )
  .post(
    '/login',
    operation({
      id: 'logIn',
      tag,
      summary: 'Log in, with JSON or the form of OAuth2 password clients',
      description: 'Where a second factor is due, 403 `second_factor_required` with the challenge to answer.',
      responses: { 200: TokensOrCookie },
      problems: [
        errors.invalidCredentials,
        errors.emailNotVerified,
        () => errors.accountDisabled(null),
        errors.factorDue,
        tooManyAttempts,
      ],
    }),
    body(LogIn, LogInForm),
    noCookieForOthers,
    limitHashing,
    async (c) => {
      const proven = await logIn(c.var, { ...knownDevice(c), ...c.var.body })
      return answerSignedIn(c, await startSession(c.var, proven, c.var.body), c.var.body)
    },
  )
  .post(
    '/login/second_factor',
    operation({
      id: 'proveSecondFactor',
      tag,
      summary: 'Answer the challenge of a login with the second factor',
      description: `${MAX_TRIES.login} tries a challenge, within ${CHALLENGE_LIFETIME}. A passkey whose counter went back leads to another challenge. \`amr\` of the access token says what was used.`,
      responses: { 200: TokensOrCookie },
      problems: [challengeSpent, invalidSecondFactor, errors.factorDue],
    }),
    body(SecondFactor),
    noCookieForOthers,
    async (c) => {
      const proven = await proveSecondFactor(c.var, { ...knownDevice(c), ...c.var.body })
      return answerSignedIn(c, await startSession(c.var, proven, c.var.body), c.var.body)
    },
  )
  .post(
    '/login/second_factor/options',
    operation({
      id: 'beginSecondFactor',
      tag,
      summary: 'What a browser needs to answer the challenge with a passkey',
      description: 'Uses up no try.',
      responses: { 200: PasskeyOptions },
      problems: [challengeSpent],
    }),
    body(SecondFactorChallenge),
    async (c) => c.json(await beginSecondFactor(c.var, c.var.body.challenge)),
  )
  .post(
    '/login/passkey/options',
    operation({
      id: 'beginPasskeyLogin',
      tag,
      summary: 'What a browser needs to sign in with a passkey',
      description: 'Names no account.',
      responses: { 200: PasskeyOptions },
    }),
    (c) => c.json(beginPasskeyLogin(c.var)),
  )
  .post(
    '/login/passkey',
    operation({
      id: 'logInByPasskey',
      tag,
      summary: 'Sign in with a passkey alone',
      description: 'With user verification it is both factors at once.',
      responses: { 200: TokensOrCookie },
      problems: [
        errors.invalidCredentials,
        errors.emailNotVerified,
        () => errors.accountDisabled(null),
        errors.factorDue,
      ],
    }),
    body(PasskeyLogIn),
    noCookieForOthers,
    async (c) => {
      const proven = await provePasskey(c.var, { ...knownDevice(c), ...c.var.body })
      return answerSignedIn(c, await startSession(c.var, proven, c.var.body), c.var.body)
    },
  )
  .post(
    '/refresh_token',
    operation({
      id: 'refreshTokens',
      tag,
      summary: 'Trade a refresh token for the next, with JSON or the form of OAuth2 password clients',
      description:
        'Repeatable: for as long as the deployment allows (`REFRESH_GRACE_SECONDS`), the same token gives the same successor while that is unused.',
      responses: { 200: Tokens },
      problems: [invalidRefreshToken, sessionRevoked, () => tooManyRequests(60)],
    }),
    body(Refresh, RefreshForm),
    async (c) => c.json(await refresh(c.var, c.var.body.refresh_token)),
  )
  .post(
    '/logout',
    operation({
      id: 'logOut',
      tag,
      summary: 'End this session',
      description: 'Safe to repeat. Apps that were signed in by it end too, except with `offline_access`.',
      responses: { 204: null },
      responseHeaders: { 204: { 'Clear-Site-Data': 'Makes a browser forget what it kept.' } },
    }),
    anyIssuedToken,
    async (c) => {
      await logOut(c.var, c.var.actor)
      clearOwnCookie(c, c.var.actor)
      return c.body(null, 204, { 'clear-site-data': '"cache", "storage"' })
    },
  )
  .post(
    '/logout_all',
    operation({
      id: 'logOutEverywhere',
      tag,
      summary: 'End all your sessions',
      description: 'This one too, with every access token. Devices become unknown; keys stay.',
      responses: { 204: null },
      problems: [writeConflict],
    }),
    endsTheft,
    signedInToEnrol,
    precondition,
    async (c) => {
      await logOutAll(c.var, c.var.actor)
      clearOwnCookie(c, c.var.actor)
      return c.body(null, 204)
    },
  )
  .post(
    '/change_password',
    operation({
      id: 'changePassword',
      tag,
      summary: 'Set a new password; ends the other sessions and every access token',
      description:
        'Answers with the next pair of tokens, or a new cookie, as what it was called with is void, copies too; and with a `device_token`, as earlier ones are void.',
      responses: { 200: TokensOrCookie },
      problems: [wrongPassword, tooManyAttempts, writeConflict],
    }),
    endsTheft,
    signedInHere,
    precondition,
    body(ChangePassword),
    limitHashing,
    async (c) => {
      const { session, user, deviceToken } = await changePassword(c.var, c.var.actor, c.var.body)
      if (c.var.actor.turn === undefined)
        return c.json({ ...(await toTokens(c.var, session, user)), device_token: deviceToken })
      moveSessionCookie(c, { turn: session.turn, epoch: user.token_epoch })
      rememberDevice(c, deviceToken)
      return c.json({ user: toUser(user) })
    },
  )
  .get(
    '/sessions',
    operation({
      id: 'listOwnSessions',
      tag,
      summary: 'Your open sessions',
      description: 'Newest first. Those of apps are not listed.',
      responses: { 200: SessionList },
    }),
    signedIn,
    async (c) => answerList(c, await listOwnSessions(c.var, c.var.actor)),
  )
  .delete(
    '/sessions/:id',
    operation({
      id: 'endOwnSession',
      tag,
      summary: 'End one of your sessions',
      description:
        'Any but this one takes a recent login. Apps that were signed in by it end too, except with `offline_access`.',
      responses: { 204: null },
      problems: [sessionNotFound, reauthenticationRequired],
    }),
    endsTheft,
    signedIn,
    async (c) => {
      await endMySession(c.var, c.var.actor, c.req.param('id'))
      if (c.req.param('id') === c.var.actor.sid) clearOwnCookie(c, c.var.actor)
      return c.body(null, 204)
    },
  )
