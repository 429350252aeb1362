import type { Context } from 'hono'
import { html } from 'hono/html'
import * as z from 'zod'
import { limitHashing } from '../access/guards.ts'
import { ResetPassword } from '../auth/schemas.ts'
import type { AppEnv, Resources } from '../context.ts'
import { Hono } from '../http/hono.ts'
import { form, operation } from '../http/operation.ts'
import { page } from '../http/page.ts'
import { AppError, notFound } from '../http/problem.ts'
import { validate } from '../http/validate.ts'
import { acceptInvitation } from '../invitations/accept.ts'
import { AcceptInvitation } from '../invitations/schemas.ts'
import { PURPOSES, type Purpose } from '../links/models.ts'
import { LinkToken, MailedProof } from '../links/schemas.ts'
import { PASSWORD_MIN_LENGTH } from '../passwords/policy.ts'
import { confirmEmailChange, undoEmailChange } from '../recovery/email-change.ts'
import { resetPassword, verifyEmail } from '../recovery/reset.ts'
import { unlockAccount } from '../recovery/unlock.ts'
import { text } from '../values/text.ts'

/** Where the links in mails lead. Opening one does nothing, as mail scanners open them too: pressing its button does. */
interface LinkPage {
  title: string
  button: string
  done: string
  fields?: Field[]
  submit(resources: Resources, fields: object): Promise<unknown>
}

interface Field {
  name: string
  label: string
  type: 'text' | 'password'
  autocomplete: string
  required: boolean
}

const newPassword = (name: string): Field => ({
  name,
  label: `New password, at least ${PASSWORD_MIN_LENGTH} characters`,
  type: 'password',
  autocomplete: 'new-password',
  required: true,
})

const submitting =
  <S extends z.ZodType>(
    schema: () => S,
    use: (resources: Resources, input: z.output<S>) => Promise<unknown>,
  ) =>
  (resources: Resources, fields: object) =>
    use(resources, validate(schema(), fields))

const PAGES: Record<Purpose, LinkPage> = {
  verify_email: {
    title: 'Confirm your e-mail address',
    button: 'Confirm address',
    done: 'Your address is confirmed.',
    submit: submitting(MailedProof, verifyEmail),
  },
  reset_password: {
    title: 'Choose a new password',
    button: 'Set password',
    done: 'Your password is changed, and every device has been logged out. You can log in now.',
    fields: [newPassword('new_password')],
    submit: submitting(ResetPassword, resetPassword),
  },
  change_email: {
    title: 'Use this e-mail address',
    button: 'Use this address',
    done: 'This is the address of your account now.',
    submit: submitting(MailedProof, confirmEmailChange),
  },
  undo_email_change: {
    title: 'Keep the old e-mail address',
    button: 'Undo the change',
    done: 'The change is undone, and every device has been logged out. Now choose a new password.',
    submit: submitting(MailedProof, undoEmailChange),
  },
  unlock_account: {
    title: 'Unlock your account',
    button: 'Unlock my account',
    done: 'Your password can be used again. You can log in now.',
    submit: submitting(LinkToken, unlockAccount),
  },
  accept_invitation: {
    title: 'Accept the invitation',
    button: 'Make my account',
    done: 'Your account is made. You can log in now.',
    fields: [
      { name: 'name', label: 'Your name', type: 'text', autocomplete: 'name', required: false },
      newPassword('password'),
    ],
    submit: submitting(AcceptInvitation, acceptInvitation),
  },
}

const STYLE = `
body { font: 17px/1.5 system-ui, sans-serif; max-width: 24em; margin: 15vh auto 0; padding: 0 1.5em }
h1 { font-size: 1.4em; line-height: 1.2 }
label { display: block; margin: 1em 0 }
input { display: block; width: 100%; box-sizing: border-box; font: inherit; padding: .5em; margin-top: .25em }
button { font: inherit; padding: .6em 1.4em; border: 0; border-radius: .5em; background: #1f4fd8; color: #fff }
.error { color: #c02020 }
@media (prefers-color-scheme: dark) { .error { color: #ff8a80 } }`

const requirePage = (c: Context): LinkPage => {
  const purpose = c.req.param('purpose') ?? ''
  if (!Object.hasOwn(PAGES, purpose)) throw notFound()
  return PAGES[purpose as Purpose]
}

const answer = (c: Context, title: string, content: ReturnType<typeof html>) =>
  page(
    c,
    { title, style: STYLE, body: html`<main><h1>${title}</h1>${content}</main>` },
    { 'form-action': "'self'" },
  )

function formPage(c: Context, { title, button, fields = [] }: LinkPage, token: string, error?: string) {
  const inputs = fields.map(
    ({ name, label, type, autocomplete, required }) => html`<label>${label}
<input name="${name}" type="${type}" autocomplete="${autocomplete}" ${required ? 'required' : ''}></label>`,
  )
  return answer(
    c,
    title,
    html`${error ? html`<p class="error" role="alert">${error}</p>` : ''}
<form method="post" action="${c.req.path}"><input type="hidden" name="token" value="${token}">
${inputs}<button>${button}</button></form>`,
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
      path,
      responses: { 200: 'html' },
      problems: [notFound],
    }),
    (c) => formPage(c, requirePage(c), c.req.query('token') ?? ''),
  )
  .post(
    '/:purpose',
    operation({
      id: 'submitLinkPage',
      tag: 'mail',
      summary: 'What the button on that page does',
      description: 'A page in every case that a person can do something about; it then says what.',
      path,
      responses: { 200: 'html' },
      problems: [notFound],
    }),
    form(() => z.looseObject({ token: text(256) }).meta({ id: 'LinkForm' })),
    limitHashing,
    async (c) => {
      const linkPage = requirePage(c)
      // A field that was left empty was not filled in.
      const fields = Object.fromEntries(Object.entries(c.var.fields).filter(([, value]) => value !== ''))
      try {
        await linkPage.submit(c.var, fields)
        return answer(c, linkPage.title, html`<p>${linkPage.done}</p>`)
      } catch (error) {
        if (!(error instanceof AppError) || error.status >= 500) throw error
        return formPage(c, linkPage, fields.token ?? '', sentenceOf(error))
      }
    },
  )

const sentenceOf = ({ message, errors = [] }: AppError) =>
  errors.map(({ detail }) => detail).join(' ') || message
