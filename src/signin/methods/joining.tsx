import type { Context } from 'hono'
import type { FC } from 'hono/jsx'
import type { Config } from '../../config/main.ts'
import type { AppError } from '../../http/problem.ts'
import { Button, Field, Form, Message } from '../../pages/components.tsx'
import { fieldErrors, problemText } from '../../pages/failing.tsx'
import { browserFormToken } from '../../pages/forms.ts'
import { NarrowPage } from '../../pages/layout.tsx'
import { respond } from '../../pages/respond.ts'
import type { PageEnv } from '../../pages/session.ts'
import { TermsBox } from '../../pages/terms.tsx'
import { type View, viewOf } from '../../pages/view.ts'
import { CHALLENGE_ACTION } from '../../throttle/bot-challenge.ts'
import { assertTermsOfNow } from '../../users/me.ts'
import type { FormPage } from '../pages.tsx'
import { type Continuation, originOfTarget } from '../targets.ts'

export interface BotChallenge {
  siteKey: string
  action: string
  script: string
}

/** The bot challenge that the deployment requires of new users; undefined if there is none. */
export function botChallengeOf({
  TURNSTILE_SITE_KEY: siteKey,
  TURNSTILE_URL,
}: Config): BotChallenge | undefined {
  const script = new URL('/turnstile/v0/api.js', TURNSTILE_URL)
  return siteKey === undefined ? undefined : { siteKey, action: CHALLENGE_ACTION, script: script.href }
}

/** The origin from which the page has to load the challenge's script. */
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

/** The new user, from a form. Throws 422 `terms_not_accepted`. */
export function joinerIn(
  config: Config,
  { name = '', terms_version, 'cf-turnstile-response': challenge_token }: Record<string, string>,
) {
  assertTermsOfNow(config, terms_version)
  return { name, terms_version, challenge_token }
}

export const isOfChallenge = ({ code }: AppError) => code.startsWith('challenge_')

/** The errors of a sign-up form; undefined if something else was refused. */
export function faultsOfJoiner(
  view: View,
  error: AppError,
): Pick<FormPage, 'message' | 'errors'> | undefined {
  const { common } = view.texts
  if (isOfChallenge(error)) return { message: { tone: 'danger', title: problemText(view, error) } }
  if (!error.errors) return undefined
  return {
    message: { tone: 'danger', title: common.check, text: common.checkHint },
    errors: fieldErrors(view, error),
  }
}

interface Joining {
  action: string
  email: string
  back: string
  /** Whether the form has the bot challenge. */
  isChallenged: boolean
  /** Hidden fields of the form. */
  hidden: Record<string, string | undefined>
}

/** Answers with the page that asks for the new user's details. */
export async function joinPage(
  c: Context<PageEnv>,
  on: Continuation,
  {
    status = 200,
    isChallenged,
    ...shown
  }: Joining & Omit<FormPage, 'view' | 'token'> & { status?: AppError['status'] },
) {
  const challenge = isChallenged ? botChallengeOf(c.var.config) : undefined
  const page = <JoinPage view={viewOf(c)} token={browserFormToken(c)} challenge={challenge} {...shown} />
  return respond(c, page, {
    status,
    ...(await originOfTarget(c.var, on.target, on.to)),
    ...thirdPartyOf(challenge),
  })
}

/** Creating an account takes only this page: name, address, terms and a button. */
const JoinPage: FC<FormPage & Omit<Joining, 'isChallenged'> & { challenge: BotChallenge | undefined }> = ({
  view,
  token,
  message,
  values = {},
  errors = {},
  action,
  email,
  challenge,
  back,
  hidden,
}) => {
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
