import type { Context } from 'hono'
import { requestMailCode } from '../factors/enrol.ts'
import { ConfirmTotp, type TotpSeed } from '../factors/schemas.ts'
import {
  beginTotp,
  beginTotpAgain,
  confirmTotp,
  listFactors,
  removeTotp,
  renewRecoveryCodes,
} from '../factors/service.ts'
import { Hono } from '../http/hono.ts'
import { AppError } from '../http/problem.ts'
import { validate } from '../http/validate.ts'
import { recentlyConfirmed } from '../pages/again.ts'
import { failingPage, fieldErrors, problemText } from '../pages/failing.tsx'
import { toDay } from '../pages/format.ts'
import { form, sessionOf } from '../pages/forms.ts'
import { assertShowable, respond } from '../pages/respond.ts'
import { type PageEnv, signedInPage } from '../pages/session.ts'
import { type Outcome, orExplain } from '../pages/submit.ts'
import { RegisterPasskey, RenamePasskey } from '../passkeys/schemas.ts'
import { beginPasskey, registerPasskey, removePasskey, renamePasskey } from '../passkeys/service.ts'
import { replaceSessionCookie } from '../sessions/cookie.ts'
import { NewPasskeyPage, RecoveryCodesPage, SetUpAppPage } from './factors.tsx'

const PAGE = '/account/security'
const ours = form(sessionOf)
const recent = recentlyConfirmed(PAGE)

/** What a form of these pages refused: shown beside its field where it has one. */
async function outcomeOf(c: Context<PageEnv>, error: unknown, field: string): Promise<Outcome> {
  assertShowable(c, error)
  const { view } = await c.var.signedIn()
  const text = problemText(view, error)
  const errors = error.errors
    ? fieldErrors(view, error)
    : { [error.code === 'invalid_link' || error.code === 'mail_code_required' ? 'mail_code' : field]: text }
  return {
    message: { tone: 'danger', title: error.errors ? view.texts.common.check : text },
    errors,
  }
}

/** Adding a first factor takes a mailed code, which is sent when its page is shown. */
async function mailFirst(c: Context<PageEnv>): Promise<string | undefined> {
  const { totp, passkeys } = await listFactors(c.var, c.var.actor.sub)
  if (!c.var.send || totp || passkeys.length > 0) return undefined
  return (await requestMailCode(c.var, c.var.actor)).request_token
}

const statusOf = (error: unknown) => (error instanceof AppError ? error.status : 500) as 400

async function setUpApp(
  c: Context<PageEnv>,
  seed: TotpSeed,
  requestToken: string | undefined,
  outcome: Outcome = {},
  status = 200,
) {
  const { view, viewer } = await c.var.signedIn()
  return respond(
    c,
    <SetUpAppPage view={view} viewer={viewer} seed={seed} requestToken={requestToken} {...outcome} />,
    { status: status as 200 },
  )
}

async function newPasskey(
  c: Context<PageEnv>,
  requestToken: string | undefined,
  outcome: Outcome = {},
  status = 200,
) {
  const given = await beginPasskey(c.var, c.var.actor)
  const { view, viewer } = await c.var.signedIn()
  return respond(
    c,
    <NewPasskeyPage view={view} viewer={viewer} given={given} requestToken={requestToken} {...outcome} />,
    { status: status as 200 },
  )
}

async function showCodes(c: Context<PageEnv>, codes: readonly string[]) {
  if (codes.length === 0) return c.redirect(`${PAGE}?done=added`, 303)
  const { view, viewer, user } = await c.var.signedIn()
  return respond(c, <RecoveryCodesPage view={view} viewer={viewer} codes={codes} email={user.email} />)
}

export const accountFactorRoutes = new Hono<PageEnv>()
  .use('/account/security/*', signedInPage(undefined, { mayOweFactor: true }))
  .post('/account/security/totp', recent, ours, (c) =>
    orExplain(c, PAGE, async () => {
      const requestToken = await mailFirst(c)
      return setUpApp(c, await beginTotp(c.var, c.var.actor), requestToken)
    }),
  )
  .post('/account/security/totp/confirm', recent, ours, async (c) => {
    const { code = '', seed_digest = '', request_token, mail_code } = c.var.fields
    const mail = request_token ? { request_token, mail_code: (mail_code ?? '').replace(/\s/g, '') } : {}
    try {
      const input = validate(ConfirmTotp(), { code: code.replace(/\s/g, ''), ...mail })
      const { recovery_codes } = await confirmTotp(c.var, c.var.actor, input, seed_digest)
      replaceSessionCookie(c, c.var.actor)
      return await showCodes(c, recovery_codes)
    } catch (error) {
      const outcome = await outcomeOf(c, error, 'code')
      return orExplain(c, PAGE, async () => {
        const seed = await beginTotpAgain(c.var, c.var.actor, seed_digest)
        return setUpApp(c, seed, request_token, outcome, statusOf(error))
      })
    }
  })
  .post('/account/security/totp/remove', recent, ours, (c) =>
    orExplain(c, PAGE, async () => {
      if (await removeTotp(c.var, c.var.actor)) replaceSessionCookie(c, c.var.actor)
      return c.redirect(`${PAGE}?done=removed`, 303)
    }),
  )
  .post('/account/security/recovery_codes', recent, ours, (c) =>
    orExplain(c, PAGE, async () =>
      showCodes(c, (await renewRecoveryCodes(c.var, c.var.actor)).recovery_codes),
    ),
  )
  .post('/account/security/recovery_codes/download', ours, async (c) => {
    const { view, user } = await c.var.signedIn()
    const codes = (c.var.fields.codes ?? '').slice(0, 1000)
    return c.body(`${view.organisation}\n${user.email}\n${toDay(view, view.now)}\n\n${codes}\n`, 200, {
      'content-type': 'text/plain; charset=utf-8',
      'content-disposition': 'attachment; filename="recovery-codes.txt"',
    })
  })
  .post('/account/security/passkeys/new', recent, ours, (c) =>
    orExplain(c, PAGE, async () => newPasskey(c, await mailFirst(c))),
  )
  .post('/account/security/passkeys', recent, ours, async (c) => {
    const { challenge_id, credential = '', name = '', request_token, mail_code } = c.var.fields
    const mail = request_token ? { request_token, mail_code: (mail_code ?? '').replace(/\s/g, '') } : {}
    try {
      const input = validate(RegisterPasskey(), {
        challenge_id,
        credential: readJson(credential),
        ...(name.trim() && { name }),
        ...mail,
      })
      const { recovery_codes } = await registerPasskey(c.var, c.var.actor, input)
      replaceSessionCookie(c, c.var.actor)
      return await showCodes(c, recovery_codes)
    } catch (error) {
      const outcome = await outcomeOf(c, error, 'name')
      return orExplain(c, PAGE, () =>
        newPasskey(c, request_token, { ...outcome, values: { name } }, statusOf(error)),
      )
    }
  })
  .post('/account/security/passkeys/:id/rename', recent, ours, (c) =>
    orExplain(c, PAGE, async () => {
      const input = validate(RenamePasskey(), { name: c.var.fields.name ?? '' })
      await renamePasskey(c.var, c.var.actor, c.req.param('id'), input)
      return c.redirect(`${PAGE}?done=renamed`, 303)
    }),
  )
  .post('/account/security/passkeys/:id/remove', recent, ours, (c) =>
    orExplain(c, PAGE, async () => {
      await removePasskey(c.var, c.var.actor, c.req.param('id'))
      replaceSessionCookie(c, c.var.actor)
      return c.redirect(`${PAGE}?done=removed`, 303)
    }),
  )
  .onError(failingPage)

function readJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
