import type { Child, FC } from 'hono/jsx'
import type { InvitationShown } from '../invitations/accept.ts'
import type { LinkPurpose } from '../links/models.ts'
import { Button, Field, Form, Message, type Said } from '../pages/components.tsx'
import { NarrowPage } from '../pages/layout.tsx'
import { TermsBox } from '../pages/terms.tsx'
import type { View } from '../pages/view.ts'
import type { Field as LinkField } from './link-pages.ts'

interface Props {
  view: View
  purpose: LinkPurpose
  message?: Said | undefined
}

/** No script on these pages: their URL contains a token. */
const Page: FC<Props & { title: string; children?: Child }> = ({ view, title, message, children }) => (
  <NarrowPage view={view} title={title} isError={message?.tone === 'danger'} withoutScript>
    {children}
  </NarrowPage>
)

/** The form of a link: one button, and the fields that it needs. */
export const LinkForm: FC<
  Props & {
    formToken: string
    token: string
    takesCode: boolean
    /** Where another mail can be asked for. */
    instead: string
    fields: LinkField[]
    values: Record<string, string>
    errors: Record<string, string>
    invitation?: InvitationShown | undefined
  }
> = ({
  view,
  purpose,
  message,
  formToken,
  token,
  takesCode,
  instead,
  fields,
  values,
  errors,
  invitation,
}) => {
  const { links, common } = view.texts
  const invites = links.accept_invitation
  const texts = links[purpose]
  const title = invitation
    ? invites.invited(invitation.inviter ?? invites.somebody, view.organisation)
    : texts.title
  return (
    <Page view={view} purpose={purpose} title={title} message={message}>
      <div class="stack">
        <h1>{title}</h1>
        {invitation && <p class="soft">{invites.lead(invitation.email)}</p>}
        {invitation && invitation.role !== 'user' && (
          <p class="soft">{invites.asRole(common.roles[invitation.role])}</p>
        )}
        {purpose !== 'accept_invitation' && (
          <p class="soft">
            {takesCode && purpose === 'verify_email' ? links[purpose].leadOfCode : links[purpose].lead}
          </p>
        )}
      </div>
      <Message message={message} />
      <Form action={view.path} token={formToken}>
        {token && <input type="hidden" name="token" value={token} />}
        {invitation && (
          <input
            type="text"
            name="username"
            value={invitation.email}
            autocomplete="username"
            readonly
            hidden
          />
        )}
        {takesCode && (
          <Field
            name="code"
            label={links.code}
            class="code"
            inputmode="numeric"
            autocomplete="one-time-code"
            error={errors.code}
            required
          />
        )}
        {fields.map(({ name, label, hint, type, autocomplete, required }) => (
          <Field
            name={name}
            label={label(view.texts)}
            hint={hint?.(view.texts)}
            type={type}
            value={values[name] ?? (name === 'name' ? (invitation?.name ?? '') : '')}
            error={errors[name]}
            autocomplete={autocomplete}
            required={required}
          />
        ))}
        {purpose === 'accept_invitation' && <TermsBox view={view} error={errors.terms_version} />}
        <Button style="primary" wide>
          {texts.button}
        </Button>
      </Form>
      {takesCode && (
        <a class="button quiet wide" href={instead}>
          {links.next[purpose][1]}
        </a>
      )}
    </Page>
  )
}

/** What was done, and where to continue. */
export const LinkDone: FC<Props & { said: readonly string[]; to: string }> = ({
  view,
  purpose,
  said,
  to,
}) => {
  const { links } = view.texts
  const [title, text] = said
  const label = to.startsWith('/forgot')
    ? links.choosePassword
    : to.startsWith('/account')
      ? links.toAccount
      : links.signIn
  return (
    <Page view={view} purpose={purpose} title={title!}>
      <div class="stack">
        <h1>{title}</h1>
        {text && <p class="soft">{text}</p>}
      </div>
      <div class="actions">
        <a class="button primary wide" href={to}>
          {label}
        </a>
      </div>
    </Page>
  )
}

/** A link that no longer works, and what to do instead. */
export const LinkExpired: FC<Props & { instead: string; said: string }> = ({
  view,
  purpose,
  instead,
  said,
}) => {
  const { links } = view.texts
  const [hint, button] = links.next[purpose]
  return (
    <Page view={view} purpose={purpose} title={said} message={{ tone: 'danger', title: said }}>
      <h1 class="visually-hidden">{said}</h1>
      <Message message={{ tone: 'danger', title: said, text: hint }} />
      <div class="actions">
        <a class="button primary wide" href={instead}>
          {button}
        </a>
      </div>
    </Page>
  )
}
