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
import { type Onwards, originOfTarget } from '../targets.ts'

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

/** Who joins, as a form says it. Throws 422 `terms_not_accepted`. */
export function joinerIn(
  config: Config,
  { name = '', terms_version, 'cf-turnstile-response': challenge_token }: Record<string, string>,
) {
  assertTermsOfNow(config, terms_version)
  return { name, terms_version, challenge_token }
}

export const isOfChallenge = ({ code }: AppError) => code.startsWith('challenge_')

/** What is wrong with a form for joining; undefined where it is something else that was refused. */
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
  /** Whether they show that they are no program. */
  isChallenged: boolean
  /** What the form brings along. */
  hidden: Record<string, string | undefined>
}

/** Answers with the page that asks who joins. */
export async function joinPage(
  c: Context<PageEnv>,
  on: Onwards,
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

/** An account is made after this page alone: by name, address, terms and a button. */
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
