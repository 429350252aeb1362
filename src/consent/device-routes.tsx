import type { Context } from 'hono'
import { limitByNetwork } from '../access/guards.ts'
import { Hono } from '../http/hono.ts'
import {
  approveDevice,
  findDevice,
  questionOf,
  refuseDevice,
  requireDevice,
  sealDevice,
} from '../oauth/device/approval.ts'
import type { DeviceRow } from '../oauth/device/codes.ts'
import { DEVICE_CODE_MS } from '../oauth/models.ts'
import { scopesIn } from '../oauth/scopes.ts'
import { againAt } from '../pages/again.ts'
import { carriedHere, carry } from '../pages/carried.ts'
import type { Said } from '../pages/components.tsx'
import { failingPage, problemText } from '../pages/failing.tsx'
import { toDuration } from '../pages/format.ts'
import { form, sessionOf } from '../pages/forms.ts'
import { assertShowable, respond } from '../pages/respond.ts'
import { type PageEnv, signedInPage } from '../pages/session.ts'
import { doneMessage } from '../pages/submit.ts'
import { DevicePage, DeviceQuestionPage } from './device-pages.tsx'

const PAGE = '/device'

async function codePage(c: Context<PageEnv>, given: { message?: Said; code?: string; status?: number } = {}) {
  const { view, viewer } = await c.var.signedIn()
  const { message, code, status = 200 } = given
  return respond(c, <DevicePage view={view} token={viewer.formToken} message={message} code={code} />, {
    status: status as 200,
  })
}

/**
 * Shows a refusal on the page where the code is typed; sends to reauthentication and back where that is
 * required.
 */
async function refused(c: Context<PageEnv>, error: unknown, code: string | undefined) {
  assertShowable(c, error)
  if (error.code === 'reauthentication_required') {
    const carried = code === undefined ? undefined : await carry(c, PAGE, { code })
    return c.redirect(againAt(PAGE, carried), 303)
  }
  const { view } = await c.var.signedIn()
  const { device, unverified } = view.texts.apps
  const said: Record<string, string> = {
    wrong_user_code: device.wrong,
    device_over: device.over,
    may_not_use_app: device.mayNot,
    address_not_verified: unverified.title,
  }
  const title = said[error.code] ?? problemText(view, error)
  const message: Said = {
    tone: 'danger',
    title,
    ...(error.code === 'wrong_user_code' && {
      text: device.wrongHint(toDuration(view, DEVICE_CODE_MS)),
    }),
  }
  return codePage(c, { message, status: error.status, ...(code !== undefined && { code }) })
}

async function ask(c: Context<PageEnv>, device: DeviceRow) {
  const { view, viewer, user } = await c.var.signedIn()
  const question = await questionOf(c.var, c.var.actor, user, device)
  const sealed = sealDevice(c.var, device, c.var.actor)
  return respond(
    c,
    <DeviceQuestionPage
      view={view}
      token={viewer.formToken}
      user={user}
      question={question}
      sealed={sealed}
    />,
  )
}

/**
 * For devices without a browser. The code is typed here, never taken from a link, and the user is always
 * asked.
 */
export const devicePages = new Hono<PageEnv>()
  .get(PAGE, signedInPage(), async (c) => {
    const { view } = await c.var.signedIn()
    const { device } = view.texts.apps
    const message = doneMessage(c, { allowed: device.allowed, denied: device.denied })
    const { values } = await carriedHere(c)
    return codePage(c, { ...(message && { message }), ...(values?.code && { code: values.code }) })
  })
  .post(PAGE, limitByNetwork, signedInPage(), form(sessionOf), async (c) => {
    const { code, device: sealed, decision, shown } = c.var.fields
    try {
      if (sealed === undefined) return await ask(c, await findDevice(c.var, c.var.actor, code ?? ''))
      const device = await requireDevice(c.var, c.var.actor, sealed)
      if (decision !== 'allow') {
        await refuseDevice(c.var, c.var.actor, device)
        return c.redirect(`${PAGE}?done=denied`, 303)
      }
      const { user } = await c.var.signedIn()
      const question = await questionOf(c.var, c.var.actor, user, device)
      // If the app asks for more than the page showed, the user is asked again.
      if (!question.scopes.every((scope) => scopesIn(shown).includes(scope))) return await ask(c, device)
      await approveDevice(c.var, c.var.actor, user, question)
      return c.redirect(`${PAGE}?done=allowed`, 303)
    } catch (error) {
      return refused(c, error, sealed === undefined ? code : undefined)
    }
  })
  .onError(failingPage)
