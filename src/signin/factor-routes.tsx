import type { Context } from 'hono'
import { limitByNetwork } from '../access/guards.ts'
import { provePasskey } from '../auth/passkey-login.ts'
import { PasskeyLogIn, SecondFactor } from '../auth/schemas.ts'
import { proveSecondFactor } from '../auth/second-factor.ts'
import { Hono } from '../http/hono.ts'
import { AppError, Refusal } from '../http/problem.ts'
import { validate } from '../http/validate.ts'
import type { Said } from '../pages/components.tsx'
import { failingPage } from '../pages/failing.tsx'
import { browserFormToken, browserOf, form } from '../pages/forms.ts'
import { noteProblem, respond } from '../pages/respond.ts'
import type { PageEnv } from '../pages/session.ts'
import { viewOf } from '../pages/view.ts'
import { knownDevice, readSessionCookie } from '../sessions/cookie.ts'
import { lookUpCookie } from '../sessions/cookie-lookup.ts'
import { afterFirstCodes, clearFactorDue, type FactorDue, readFactorDue } from './factor-cookie.ts'
import { credentialIn, FactorPage } from './factor-pages.tsx'
import { ShownCodesPage } from './methods/codes-page.tsx'
import { completeSignIn } from './methods/enter.tsx'
import { refusedSignIn } from './refusals.tsx'
import { destinationAfter, originOfTarget, paramsOf, readContinuation } from './targets.ts'

const factorPage = async (c: Context, due: FactorDue, message?: Said, status = 200) =>
  respond(c, <FactorPage view={viewOf(c)} token={browserFormToken(c)} due={due} message={message} />, {
    status: status as 200,
    ...(await originOfTarget(c.var as PageEnv['Variables'], due.target, due.to)),
  })

async function shownCodesPage(c: Context<PageEnv>) {
  const on = afterFirstCodes(c)
  const { config, now } = c.var
  const cookie = on && readSessionCookie(c, config.keys.session_cookie, now)
  // The session may have been ended meanwhile.
  if (!cookie || !(await lookUpCookie(c.var, cookie)())) return undefined
  return respond(c, <ShownCodesPage view={viewOf(c)} href={destinationAfter(c.var, cookie.role, on)} />)
}

export const factorPages = new Hono<PageEnv>()
  .get('/signin/factor', async (c) => {
    const due = readFactorDue(c)
    return due ? factorPage(c, due) : c.redirect('/signin', 303)
  })
  .post('/signin/factor', limitByNetwork, form(browserOf), async (c) => {
    const due = readFactorDue(c)
    if (!due) return (await shownCodesPage(c)) ?? c.redirect('/signin?done=spent', 303)
    const { code, recovery_code, credential } = c.var.fields
    const given = credential
      ? { passkey: credentialIn(c.var.fields) }
      : recovery_code
        ? { recovery_code }
        : { code: (code ?? '').replace(/\s/g, '') }
    try {
      const input = () => validate(SecondFactor(), { challenge: due.challenge, ...given, ...knownDevice(c) })
      return await completeSignIn(c, () => proveSecondFactor(c.var, input()), due)
    } catch (error) {
      if (!(error instanceof AppError) || error.status >= 500) throw error
      noteProblem(c, error)
      if (error.code === 'challenge_spent') {
        clearFactorDue(c)
        return c.redirect('/signin?done=spent', 303)
      }
      const { wrong, passkeyFailed, triesLeft } = viewOf(c).texts.factors
      const [title, hint] = credential ? passkeyFailed : wrong
      const left = error.members?.tries_left
      const text = typeof left === 'number' ? `${hint} ${triesLeft(left)}` : hint
      return factorPage(c, due, { tone: 'danger', title: title!, text }, error.status)
    }
  })
  .post('/signin/passkey', limitByNetwork, form(browserOf), async (c) => {
    const { challenge_id, remember } = c.var.fields
    const on = readContinuation(c.var.fields)
    const entering = { email: '', stays: remember === 'yes', ...on }
    try {
      const sent = { challenge_id, credential: credentialIn(c.var.fields), ...knownDevice(c) }
      return await completeSignIn(c, () => provePasskey(c.var, validate(PasskeyLogIn(), sent)), entering)
    } catch (error) {
      if (!(error instanceof AppError) || error.status >= 500) throw error
      noteProblem(c, error)
      // The passkey was right, so its owner is told what keeps them out.
      if (['account_disabled', 'email_not_verified'].includes(error.code)) return refusedSignIn(c, error, on)
      const isUnknown = error.cause instanceof Refusal && error.cause.reason === 'unknown'
      const tried = isUnknown ? challenge_id : undefined
      const query = { done: 'passkey', ...paramsOf(on), ...(tried && { tried }) }
      return c.redirect(`/signin?${new URLSearchParams(query)}`, 303)
    }
  })
  .onError(failingPage)
