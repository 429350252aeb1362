import type { FC } from 'hono/jsx'
import { AsRequest, Button, Field, Form, Message } from '../../pages/components.tsx'
import { ConsolePage, Head, Section, type Viewer } from '../../pages/layout.tsx'
import type { Outcome } from '../../pages/submit.ts'
import type { View } from '../../pages/view.ts'
import { PASSWORD_MIN_LENGTH } from '../../passwords/policy.ts'
import { RoleSelect } from './roles.tsx'

export const AddUserPage: FC<{ view: View; viewer: Viewer } & Outcome> = ({
  view,
  viewer,
  message,
  values = {},
  errors = {},
}) => {
  const { common, console } = view.texts
  const texts = console.add
  return (
    <ConsolePage view={view} viewer={viewer} title={texts.title} isError={message?.tone === 'danger'}>
      <p class="crumb">
        <a href="/admin/people">{console.people.title}</a>
      </p>
      <Head title={texts.title} lead={texts.lead} />
      <Message message={message} />
      <div class="sections">
        <Section title={console.person.details} hint={<a href="/admin/invitations">{texts.invite}</a>}>
          <Form action="/admin/people/new" token={viewer.formToken}>
            <Field
              name="name"
              label={common.name}
              value={values.name}
              error={errors.name}
              autocomplete="off"
              required
            />
            <Field
              name="email"
              label={common.email}
              type="email"
              value={values.email}
              error={errors.email}
              autocomplete="off"
              required
            />
            <RoleSelect view={view} viewer={viewer} value={values.role} />
            <Field
              name="password"
              label={common.password}
              type="password"
              hint={texts.passwordHint(PASSWORD_MIN_LENGTH)}
              error={errors.password}
              autocomplete="new-password"
            />
            <Button style="primary">{texts.button}</Button>
          </Form>
          <AsRequest
            view={view}
            method="POST"
            path="/v1/users"
            body={{ name: 'Ada Lovelace', email: 'ada@example.com', password: '…', role: 'user' }}
          />
        </Section>
      </div>
    </ConsolePage>
  )
}
