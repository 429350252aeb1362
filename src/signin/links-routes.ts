import type { Context } from 'hono'
import { html } from 'hono/html'
import type { ContentfulStatusCode } from 'hono/utils/http-status'
import * as z from 'zod'
import { limitByNetwork, limitHashing } from '../access/guards.ts'
import type { AppEnv } from '../context.ts'
import { Hono } from '../http/hono.ts'
import { form, operation } from '../http/operation.ts'
import { page } from '../http/page.ts'
import { AppError, notFound, toProblem } from '../http/problem.ts'
import { invalidLink } from '../links/errors.ts'
import { PURPOSES, type Purpose } from '../links/models.ts'
import { askerOf } from './asker-cookie.ts'
import { type Field, type LinkPage, PAGES } from './link-pages.ts'

const STYLE = `
body { font: 17px/1.5 system-ui, sans-serif; max-width: 24em; margin: 15vh auto 0; padding: 0 1.5em }
h1 { font-size: 1.4em; line-height: 1.2 }
label { display: block; margin: 1em 0 }
input { display: block; width: 100%; box-sizing: border-box; font: inherit; padding: .5em; margin-top: .25em }
button { font: inherit; padding: .6em 1.4em; border: 0; border-radius: .5em; background: #1f4fd8; color: #fff }
.error { color: #c02020 }
@media (prefers-color-scheme: dark) { .error { color: #ff8a80 } }`

type Fields = Record<string, string>
type PageContext = Context<AppEnv & { Variables: { fields: Fields } }>

const pageOf = (c: Context): LinkPage | undefined => {
  const purpose = c.req.param('purpose') ?? ''
  return Object.hasOwn(PAGES, purpose) ? PAGES[purpose as Purpose] : undefined
}

function requirePage(c: Context): LinkPage {
  const linkPage = pageOf(c)
  if (!linkPage) throw notFound()
  return linkPage
}

const askerHere = (c: PageContext) => askerOf(c, c.var, c.req.param('purpose') as Purpose)

interface Problem {
  sentence: string
  status: ContentfulStatusCode
  headers: Record<string, string>
}

const answer = (c: Context, title: string, content: ReturnType<typeof html>, problem?: Problem) =>
  page(
    c,
    {
      title,
      style: STYLE,
      body: html`<main><h1>${title}</h1>
${problem ? html`<p class="error" role="alert">${problem.sentence}</p>` : ''}${content}</main>`,
      ...(problem && { status: problem.status, headers: problem.headers }),
    },
    { 'form-action': "'self'" },
  )

const CODE: Field = {
  name: 'code',
  label: 'The code in the mail',
  type: 'text',
  autocomplete: 'one-time-code',
  required: true,
}

/**
 * The form of a page. What was typed comes back, but for passwords. Without the token of a link it takes the code of
 * the mail, in the browser that asked for it; elsewhere it says that the link is needed.
 */
function formPage(c: PageContext, linkPage: LinkPage, typed: Fields, problem?: Problem) {
  const { title, button, fields = [], ofStrangers = [], hasCode } = linkPage
  const asker = askerHere(c)
  const token = typed.token ?? ''
  const takesCode = token === '' && hasCode && Object.keys(asker).length > 0
  if (token === '' && !takesCode) {
    const { status, message } = invalidLink()
    const sentence = `${message} Open the link in your mail.`
    return answer(c, title, html``, problem ?? { sentence, status, headers: {} })
  }
  const isKnown = asker.signup_token !== undefined && problem === undefined
  const shown = [...(takesCode ? [CODE] : []), ...fields, ...(isKnown ? [] : ofStrangers)]
  const inputs = shown.map(
    ({ name, label, type, autocomplete, required }) => html`<label>${label}
<input name="${name}" type="${type}" autocomplete="${autocomplete}" value="${type === 'text' ? (typed[name] ?? '') : ''}" ${required ? 'required' : ''}></label>`,
  )
  return answer(
    c,
    title,
    html`<form method="post" action="${c.req.path}">${token ? html`<input type="hidden" name="token" value="${token}">` : ''}
${inputs}<button>${button}</button></form>`,
    problem,
  )
}

const path = { purpose: () => z.enum(PURPOSES).meta({ description: 'What the link is for.' }) }

export const linkPages = new Hono<AppEnv>()
  .get(
    '/:purpose',
    operation({
      id: 'showLinkPage',
      tag: 'mail',
      summary: 'The page that a mailed link opens; opening it does nothing',
      description: 'Every problem of a page is a page as well, of the same status.',
      path,
      responses: { 200: 'html' },
      problems: [notFound],
    }),
    limitByNetwork,
    (c) => formPage(c as never, requirePage(c), { token: c.req.query('token') ?? '' }),
  )
  .post(
    '/:purpose',
    operation({
      id: 'submitLinkPage',
      tag: 'mail',
      summary: 'What the button on that page does',
      description: 'Every problem of a page is a page as well, of the same status, with its form.',
      path,
      responses: { 200: 'html' },
      problems: [notFound, invalidLink],
    }),
    form(() => z.looseObject({ token: z.string() }).meta({ id: 'LinkForm' })),
    limitByNetwork,
    limitHashing,
    async (c) => {
      const linkPage = requirePage(c)
      const fields = filledIn(c.var.fields)
      const asker = askerHere(c as never)
      // A request token is for its code alone; a sign-up is a proof beside a link, too.
      const { request_token: _, ...beside } = asker
      const proof = fields.token === undefined ? asker : linkPage.ofStrangers ? beside : {}
      const done = await linkPage.submit(c.var, { ...fields, ...proof })
      return answer(c, linkPage.title, html`<p>${done ?? linkPage.done}</p>`)
    },
  )
  .onError((error, c) => {
    const linkPage = pageOf(c)
    const problem = toProblem(error, c)
    if (!linkPage || problem.status === 415) return problem
    const typed = filledIn({ token: c.req.query('token') ?? '', ...(c.get('fields' as never) as Fields) })
    const wait = problem.headers.get('retry-after')
    return formPage(c as never, linkPage, typed, {
      sentence: [sentenceOf(error), ...(wait ? [waitInWords(Number(wait))] : [])].join(' '),
      status: problem.status as ContentfulStatusCode,
      headers: wait ? { 'retry-after': wait } : {},
    })
  })

/** A field that was left empty was not filled in. */
const filledIn = (fields: Fields): Fields =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== ''))

function sentenceOf(error: unknown): string {
  if (!(error instanceof AppError)) return 'Something went wrong on our side.'
  return error.errors?.map(({ detail }) => detail).join(' ') || error.message
}

function waitInWords(seconds: number): string {
  const [count, unit] = seconds < 90 ? [seconds, 'second'] : [Math.ceil(seconds / 60), 'minute']
  return `Try again in ${count} ${unit}${count === 1 ? '' : 's'}.`
}
