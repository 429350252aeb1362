import type { Context } from 'hono'
import * as z from 'zod'
import { limitByNetwork, limitHashing } from '../access/guards.ts'
import { comesFromElsewhere } from '../access/origin.ts'
import { keepSignedIn } from '../auth/keep-signed-in.ts'
import { logIn } from '../auth/login.ts'
import { startSession } from '../auth/start-session.ts'
import type { AppEnv } from '../context.ts'
import { Hono } from '../http/hono.ts'
import { form as anyForm, operation } from '../http/operation.ts'
import { AppError, notFound, Refusal, toAppError } from '../http/problem.ts'
import { validate } from '../http/validate.ts'
import { acceptInvitation, type InvitationShown, showInvitation } from '../invitations/accept.ts'
import { AcceptInvitation } from '../invitations/schemas.ts'
import { invalidLink } from '../links/errors.ts'
import type { LinkPurpose } from '../links/models.ts'
import { PURPOSES } from '../links/models.ts'
import type { Said } from '../pages/components.tsx'
import { failingPage, fieldErrors, problemText } from '../pages/failing.tsx'
import { browserFormToken, browserOf, isOurForm, staleForm } from '../pages/forms.ts'
import { noteProblem, respond } from '../pages/respond.ts'
import { homeOf } from '../pages/session.ts'
import { doneMessage } from '../pages/submit.ts'
import { type View, viewOf } from '../pages/view.ts'
import { wrongPassword } from '../passwords/errors.ts'
import { proofNeeded } from '../recovery/errors.ts'
import type { Claims } from '../sessions/access-tokens.ts'
import { knownDevice, readSessionCookie, toClaims } from '../sessions/cookie.ts'
import { tooManyAttempts } from '../throttle/errors.ts'
import { emailTaken, signupBlocked, signupDomainRefused, writeConflict } from '../users/errors.ts'
import { assertTermsOfNow } from '../users/me.ts'
import { askerOf } from './asker-cookie.ts'
import { LinkDone, LinkExpired, LinkForm } from './link-form.tsx'
import { type LinkPage, type Outcome, PAGES } from './link-pages.ts'
import { waitOf } from './refusals.tsx'

type Fields = Record<string, string>
type LinkEnv = AppEnv & { Variables: { fields: Fields } }
type LinkContext = Context<LinkEnv>

/** URLs of these pages contain a token, so no referrer is sent. */
const QUIETLY = { referrer: 'no-referrer' } as const

function requirePage(c: Context): { purpose: LinkPurpose; page: LinkPage } {
  const purpose = c.req.param('purpose') ?? ''
  if (!Object.hasOwn(PAGES, purpose)) throw notFound()
  return { purpose: purpose as LinkPurpose, page: PAGES[purpose as LinkPurpose] }
}

/** The signed-in user, according to the cookie; the write that relies on it decides. */
function actorOf(c: LinkContext): Claims | undefined {
  const cookie = readSessionCookie(c, c.var.config.keys.session_cookie, c.var.now)
  return cookie && toClaims(cookie)
}

interface Refused {
  message: Said
  errors: Fields
  status: AppError['status']
}

/**
 * The form of a link. What was typed is kept, except passwords. Without a token from a link it asks for the
 * code in the mail, but only in the browser that requested it; elsewhere it says that the link is needed.
 */
function formPage(c: LinkContext, typed: Fields, refused?: Refused, invitation?: InvitationShown) {
  const { purpose, page } = requirePage(c)
  const view = viewOf(c)
  const asker = askerOf(c, purpose)
  const token = typed.token ?? ''
  const takesCode = token === '' && page.hasCode && Object.keys(asker).length > 0
  if (token === '' && !takesCode) {
    noteProblem(c, invalidLink(new Refusal('absent')))
    return expiredPage(c, view.texts.links.needsLink)
  }
  // Whoever types a code here did not make the account: that is another page.
  const isMaker = asker.signup_token !== undefined && !takesCode
  const isKnown = (isMaker || actorOf(c) !== undefined) && !refused
  return respond(
    c,
    <LinkForm
      view={view}
      purpose={purpose}
      formToken={browserFormToken(c)}
      token={token}
      takesCode={takesCode}
      instead={page.instead}
      fields={[...page.fields, ...(isKnown ? [] : page.ofStrangers)]}
      values={typed}
      errors={refused?.errors ?? {}}
      message={refused?.message ?? doneMessage(c, { sent: view.texts.signin.check.sent })}
      invitation={invitation}
    />,
    { ...QUIETLY, ...(refused && { status: refused.status }) },
  )
}

function expiredPage(c: LinkContext, said?: string) {
  const { purpose, page } = requirePage(c)
  const view = viewOf(c)
  const sentence = said ?? view.texts.links.expired
  return respond(c, <LinkExpired view={view} purpose={purpose} instead={page.instead} said={sentence} />, {
    ...QUIETLY,
    status: invalidLink().status,
  })
}

/** What was done: a browser continues by itself, if the form was ours. */
function donePage(c: LinkContext, said: Outcome, actor: Claims | undefined, isOurs: boolean) {
  const { purpose, page } = requirePage(c)
  const view = viewOf(c)
  const { links } = view.texts
  const next = said === 'done' ? ((actor && page.next?.signedIn) ?? page.next?.signedOut) : undefined
  if (next && isOurs) return c.redirect(next, 303)
  const sentences = {
    done: links[purpose].done,
    asked: links.change_email.asked,
    kept: links.disown_factor.kept,
  }[said]
  const to = said === 'kept' ? '/forgot' : (next ?? (actor ? '/account' : '/signin')).split('?')[0]!
  return respond(c, <LinkDone view={view} purpose={purpose} said={sentences} to={to} />, QUIETLY)
}

const path = { purpose: () => z.enum(PURPOSES).meta({ description: 'What the link is for.' }) }

export const linkPages = new Hono<LinkEnv>()
  .get(
    '/:purpose',
    operation({
      id: 'showLinkPage',
      tag: 'mail',
      summary: 'The page that a mailed link opens; opening it does nothing',
      description: 'Every problem of a page is a page as well, of the same status.',
      path,
      responses: { 200: 'html' },
      problems: [notFound, invalidLink],
    }),
    limitByNetwork,
    async (c) => {
      const { purpose } = requirePage(c)
      const token = c.req.query('token') ?? ''
      const isInvitation = purpose === 'accept_invitation' && token !== ''
      const invitation = isInvitation ? await showInvitation(c.var, token) : undefined
      return formPage(c, { token }, undefined, invitation)
    },
  )
  .post(
    '/:purpose',
    operation({
      id: 'submitLinkPage',
      tag: 'mail',
      summary: 'What the button on that page does',
      description: 'Every problem of a page is a page as well, of the same status, with its form.',
      path,
      responses: { 200: 'html', 303: null },
      problems: [
        notFound,
        invalidLink,
        staleForm,
        proofNeeded,
        wrongPassword,
        signupDomainRefused,
        signupBlocked,
        emailTaken,
        writeConflict,
        () => tooManyAttempts(60),
      ],
    }),
    anyForm(() => z.looseObject({ token: z.string() }).meta({ id: 'LinkForm' })),
    limitByNetwork,
    limitHashing,
    async (c) => {
      const { purpose, page } = requirePage(c)
      if (comesFromElsewhere(c, [c.var.config.ISSUER])) throw staleForm()
      const isOurs = isOurForm(c, c.var.fields, browserOf(c))
      const fields = filledIn(c.var.fields)
      if (purpose === 'accept_invitation') return accept(c, fields, isOurs)
      const asker = askerOf(c, purpose)
      // A request token is valid only with its code; a sign-up token also proves something beside a link.
      const { request_token: _, ...beside } = asker
      const proof = fields.token === undefined ? asker : page.ofStrangers.length > 0 ? beside : {}
      const actor = actorOf(c)
      const device = page.takesDevice ? knownDevice(c) : {}
      const submit = (by: Claims | undefined) => page.submit(c.var, { ...fields, ...proof, ...device }, by)
      const said = await submit(actor).catch((error) => {
        // The link may be valid while the cookie's session has ended.
        if (!actor || toAppError(error).code !== 'invalid_link' || fields.token === undefined) throw error
        return submit(undefined)
      })
      return donePage(c, said, actor, isOurs)
    },
  )
  .onError(async (error, c) => {
    const known = toAppError(error)
    if (known.status >= 500 || ['not_found', 'stale_form', 'unsupported_media_type'].includes(known.code))
      return failingPage(error, c)
    const view = viewOf(c)
    noteProblem(c, known)
    if (known.code === 'invalid_link' && (c.var.fields?.code ?? '') === '') return expiredPage(c)
    const typed = filledIn({ token: c.req.query('token') ?? '', ...c.var.fields })
    const invitation =
      c.req.param('purpose') === 'accept_invitation'
        ? await showInvitation(c.var, typed.token ?? '').catch(() => undefined)
        : undefined
    return formPage(c, typed, refusedBy(view, known), invitation)
  })

/** Creates the account, and signs in whoever created it here. */
async function accept(c: LinkContext, fields: Fields, isOurs: boolean) {
  const input = validate(AcceptInvitation(), fields)
  assertTermsOfNow(c.var.config, input.terms_version)
  const { email, role } = await acceptInvitation(c.var, input)
  if (!isOurs) return donePage(c, 'done', undefined, false)
  try {
    const proven = await logIn(c.var, { email, password: input.password, ...knownDevice(c) })
    keepSignedIn(c, await startSession(c.var, proven, { cookie: true }), true)
    return c.redirect(homeOf(role), 303)
  } catch (error) {
    // The account exists all the same.
    if (!(error instanceof AppError)) throw error
    return donePage(c, 'done', undefined, false)
  }
}

function refusedBy(view: View, error: AppError): Refused {
  const { common, signin } = view.texts
  const errors = fieldErrors(view, error)
  const isOfCode = error.code === 'invalid_link'
  const message: Said = waitOf(view, error) ?? {
    tone: 'danger',
    title: error.errors
      ? (Object.values(errors)[0] ?? common.check)
      : isOfCode
        ? signin.check.wrong[0]!
        : problemText(view, error),
    ...(isOfCode && { text: signin.check.wrong[1] }),
  }
  return { message, errors, status: error.status }
}

/** An empty field counts as absent; codes are typed with spaces. */
const filledIn = ({ form_token: _, username: __, ...fields }: Fields): Fields =>
  Object.fromEntries(
    Object.entries({ ...fields, ...(fields.code && { code: fields.code.replace(/\s/g, '') }) }).filter(
      ([, value]) => value !== '',
    ),
  )
