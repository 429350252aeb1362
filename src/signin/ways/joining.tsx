import type { FC } from 'hono/jsx'
import type { Config } from '../../config/main.ts'
import { Button, Field, Form, Message } from '../../pages/components.tsx'
import { NarrowPage } from '../../pages/layout.tsx'
import { TermsBox } from '../../pages/terms.tsx'
import type { View } from '../../pages/view.ts'
import { CHALLENGE_ACTION } from '../../throttle/bot-challenge.ts'
import type { FormPage } from '../pages.tsx'

export interface BotChallenge {
  siteKey: string
  action: string
  script: string
}

/** What the deployment asks of whoever joins, so that it is no program; undefined where it asks nothing. */
export function botChallengeOf({
  TURNSTILE_SITE_KEY: siteKey,
  TURNSTILE_URL,
}: Config): BotChallenge | undefined {
  const script = new URL('/turnstile/v0/api.js', TURNSTILE_URL)
  return siteKey === undefined ? undefined : { siteKey, action: CHALLENGE_ACTION, script: script.href }
}

/** The origin that a page with it has to take a script of. */
export const thirdPartyOf = (challenge: BotChallenge | undefined) =>
  challenge ? { thirdParty: new URL(challenge.script).origin } : {}

export const BotChallengeBox: FC<{ view: View; challenge: BotChallenge | undefined }> = ({
  view,
  challenge,
}) =>
  challenge ? (
    <>
      <noscript>
        <p class="hint">{view.texts.signin.signup.needsScript}</p>
      </noscript>
      <div
        class="cf-turnstile"
        data-sitekey={challenge.siteKey}
        data-action={challenge.action}
        data-language={view.language}
        data-size="flexible"
      />
      <script src={challenge.script} async defer />
    </>
  ) : null

/** An account is made after this page alone: by name, address, terms and a button. */
export const JoinPage: FC<
  FormPage & {
    action: string
    email: string
    challenge: BotChallenge | undefined
    back: string
    /** What the form brings along. */
    hidden: Record<string, string | undefined>
  }
> = ({ view, token, message, values = {}, errors = {}, action, email, challenge, back, hidden }) => {
  const { common, signin } = view.texts
  return (
    <NarrowPage
      view={view}
      title={signin.signup.title}
      isError={message?.tone === 'danger'}
      below={<a href={back}>{signin.check.other}</a>}
    >
      <div class="stack">
        <h1>{signin.signup.title}</h1>
        <p class="soft">{signin.code.joins(email)}</p>
      </div>
      <Message message={message} />
      <Form action={action} token={token}>
        {Object.entries(hidden).map(
          ([name, value]) => value && <input type="hidden" name={name} value={value} />,
        )}
        <Field
          name="name"
          label={common.name}
          value={values.name}
          error={errors.name}
          autocomplete="name"
          required
          autofocus={!message}
        />
        <TermsBox view={view} error={errors.terms_version} />
        <BotChallengeBox view={view} challenge={challenge} />
        <Button style="primary" wide busy={signin.signup.busy}>
          {signin.signup.button}
        </Button>
      </Form>
    </NarrowPage>
  )
}
